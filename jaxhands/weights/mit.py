"""Name maps of MiT and of its blocks: as mmsegmentation writes them, and as NVIDIA and PVTv2 do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jaxhands.weights.convert import IGNORED, Tensor, Variables, conv, convert, layer_norm, linear, packed_linear


def pvt_block(source: str, target: str, reduces: bool) -> list[Tensor]:
  """A block of PVTv2, and of NVIDIA's MiT, as `models.attention.Block`.

  Args:
    source: prefix of the torch names, with its dot.
    target: prefix of the variables, with its slash.
    reduces: keys and values come from fewer tokens.
  """
  tensors = [
    *layer_norm(f"{source}norm1", f"{target}norm1"),
    *linear(f"{source}attn.q", f"{target}attention/query"),
    *packed_linear(f"{source}attn.kv", (f"{target}attention/key", f"{target}attention/value")),
    *linear(f"{source}attn.proj", f"{target}attention/out"),
    *layer_norm(f"{source}norm2", f"{target}norm2"),
    *linear(f"{source}mlp.fc1", f"{target}ffn/expand"),
    *_depthwise(f"{source}mlp.dwconv.dwconv", f"{target}ffn/depthwise"),
    *linear(f"{source}mlp.fc2", f"{target}ffn/contract"),
  ]
  return tensors + (_reduction(f"{source}attn.", target) if reduces else [])


def mmseg_block(source: str, target: str, reduces: bool) -> list[Tensor]:
  """A block of mmsegmentation's MiT; arguments as of `pvt_block`."""
  packed = tuple(f"{target}attention/{name}" for name in ("query", "key", "value"))
  tensors = [
    *layer_norm(f"{source}norm1", f"{target}norm1"),
    *packed_linear(f"{source}attn.attn.in_proj", packed, joint="_"),
    *linear(f"{source}attn.attn.out_proj", f"{target}attention/out"),
    *layer_norm(f"{source}norm2", f"{target}norm2"),
    *pointwise(f"{source}ffn.layers.0", f"{target}ffn/expand"),
    *_depthwise(f"{source}ffn.layers.1", f"{target}ffn/depthwise"),
    *pointwise(f"{source}ffn.layers.4", f"{target}ffn/contract"),
  ]
  return tensors + (_reduction(f"{source}attn.", target) if reduces else [])


def mmseg(source: str, target: str, blocks: Sequence[int]) -> list[Tensor]:
  """MiT in mmsegmentation's names, as `models.backbones.mit.MiT`.

  Args:
    source: prefix of the torch names, with its dot ("backbone." or "").
    target: prefix of the variables, with its slash ("backbone/" or "").
    blocks: of the four stages.
  """
  tensors = []
  for stage, count in enumerate(blocks, start=1):
    theirs = f"{source}layers.{stage - 1}."
    tensors += conv(f"{theirs}0.projection", f"{target}embed{stage}/projection", bias=True)
    tensors += layer_norm(f"{theirs}0.norm", f"{target}embed{stage}/norm")
    for i in range(count):
      tensors += mmseg_block(f"{theirs}1.{i}.", f"{target}stage{stage}_{i}/", reduces=stage < len(blocks))
    tensors += layer_norm(f"{theirs}2", f"{target}norm{stage}")
  return tensors


def nvidia(source: str, target: str, blocks: Sequence[int]) -> list[Tensor]:
  """MiT in NVIDIA's names; arguments as of `mmseg`."""
  tensors = []
  for stage, count in enumerate(blocks, start=1):
    tensors += conv(f"{source}patch_embed{stage}.proj", f"{target}embed{stage}/projection", bias=True)
    tensors += layer_norm(f"{source}patch_embed{stage}.norm", f"{target}embed{stage}/norm")
    for i in range(count):
      tensors += pvt_block(f"{source}block{stage}.{i}.", f"{target}stage{stage}_{i}/", reduces=stage < len(blocks))
    tensors += layer_norm(f"{source}norm{stage}", f"{target}norm{stage}")
  return tensors


def is_imagenet(state_dict: Mapping[str, np.ndarray]) -> bool:
  """Whether these are the tensors of a trunk alone, as its authors or mmsegmentation give them away."""
  return "patch_embed1.proj.weight" in state_dict or "layers.0.0.projection.weight" in state_dict


def import_imagenet(state_dict: Mapping[str, np.ndarray], blocks: Sequence[int]) -> Variables:
  """Variables {"params": ...} of a trunk trained on ImageNet; its classifier, if any, is left out.

  Raises:
    ValueError: see `convert`.
  """
  names = nvidia if "patch_embed1.proj.weight" in state_dict else mmseg
  classifier = [Tensor(key, IGNORED) for key in ("head.weight", "head.bias") if key in state_dict]
  return convert(state_dict, [*names("", "", blocks), *classifier])


def _reduction(source: str, target: str) -> list[Tensor]:
  return [
    *conv(f"{source}sr", f"{target}attention/reduction", bias=True),
    *layer_norm(f"{source}norm", f"{target}attention/reduction_norm"),
  ]


def pointwise(source: str, target: str) -> list[Tensor]:
  """A 1x1 convolution as a fully connected layer: OI11 -> IO."""
  kernel = Tensor(f"{source}.weight", f"params/{target}/kernel", lambda w: w[:, :, 0, 0].T)
  return [kernel, Tensor(f"{source}.bias", f"params/{target}/bias")]


def _depthwise(source: str, target: str) -> list[Tensor]:
  """For `models.attention.DepthwiseConv`: C1HW -> HWC."""
  kernel = Tensor(f"{source}.weight", f"params/{target}/kernel", lambda w: w[:, 0].transpose(1, 2, 0))
  return [kernel, Tensor(f"{source}.bias", f"params/{target}/bias")]
