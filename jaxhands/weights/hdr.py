"""Name maps of HDR's release: its generator, discriminator, and single-hand pose network."""

from __future__ import annotations

from collections.abc import Sequence

from jaxhands.weights.convert import Tensor, conv, layer_norm, norm
from jaxhands.weights.mit import pvt_block

# Unit of ours -> its name in the release, and whether keys and values of its transformer come from fewer tokens.
_TRANSFORMERS = {"enc3": ("enc_3", True), "enc5": ("enc_5", False), "dec5": ("dec_5", False), "dec3": ("dec_3", True)}


def hdrnet(target: str, levels: int = 8) -> list[Tensor]:
  """The generator (`PConvUNet`) as `models.hdrnet.HDRNet` with transformers; its all-ones mask kernels do not count.

  Args:
    target: prefix of the variables, with its slash, or "".
    levels: units of the encoder.
  """
  tensors = []
  for level in range(1, levels + 1):
    for part in ("enc", "dec"):
      last = (part, level) == ("dec", 1)
      tensors += conv(f"{part}_{level}.conv.input_conv", f"{target}{part}{level}_conv", bias=last)
      if level > 1:
        tensors += norm(f"{part}_{level}.bn", f"{target}{part}{level}_bn")
  for unit, (theirs, reduces) in _TRANSFORMERS.items():
    tensors += pvt_block(f"{theirs}_transformer.block1.0.", f"{target}{unit}_transformer/block/", reduces)
    tensors += layer_norm(f"{theirs}_transformer.norm1", f"{target}{unit}_transformer/norm")
  return tensors


def discriminator(target: str) -> list[Tensor]:
  """The discriminator (`InpaintDiscriminator`) as `models.discriminator.Discriminator`, without the alias `features.0`.

  Args:
    target: prefix of the variables, with its slash, or "".
  """
  tensors = []
  for layer in range(1, 6):
    theirs, ours = f"conv{layer}.0.", f"{target}conv{layer}"
    tensors += [
      Tensor(f"{theirs}weight_orig", f"params/{ours}/kernel", lambda w: w.transpose(2, 3, 1, 0)),
      Tensor(f"{theirs}weight_u", f"spectral/{ours}/u"),
      Tensor(f"{theirs}weight_v", f"spectral/{ours}/v"),
    ]
  return tensors


def detnet(target: str, blocks: Sequence[int] = (2, 4, 6), trunk: str = "resnet") -> list[Tensor]:
  """DetNet as `models.detnet.DetNet`.

  Args:
    target: prefix of the variables, with its slash, or "".
    blocks: bottlenecks of block 1, 2 and 3.
    trunk: how the release calls it: "resnet" in HDR's, "resnet50" in Minimal-Hand's.
  """
  tensors = [*conv(f"{trunk}.conv1", f"{target}stem_conv"), *norm(f"{trunk}.bn1", f"{target}stem_bn")]
  bottlenecks = [
    (f"block{stage}.{i}", f"block{stage}_{i}", i == 0)
    for stage, count in enumerate(blocks, start=1)
    for i in range(count)
  ]
  for theirs, ours, projects in [*bottlenecks, ("pool.0", "pool", False)]:
    for number, part in enumerate(("in", "mid", "out"), start=1):
      tensors += conv(f"{trunk}.{theirs}.conv{number}", f"{target}{ours}/{part}_conv")
      tensors += norm(f"{trunk}.{theirs}.bn{number}", f"{target}{ours}/{part}_bn")
    if projects:
      tensors += conv(f"{trunk}.{theirs}.shortcut.0", f"{target}{ours}/shortcut_conv")
      tensors += norm(f"{trunk}.{theirs}.shortcut.1", f"{target}{ours}/shortcut_bn")
  tensors += conv(f"{trunk}.squeeze.0", f"{target}squeeze_conv")
  tensors += norm(f"{trunk}.squeeze.1", f"{target}squeeze_bn")
  for theirs, ours in (("hmap_0", "heat"), ("dmap_0", "delta"), ("lmap_0", "location")):
    tensors += conv(f"{theirs}.project.0", f"{target}{ours}/conv")
    tensors += norm(f"{theirs}.project.1", f"{target}{ours}/bn")
    tensors += conv(f"{theirs}.prediction", f"{target}{ours}/maps", bias=True)
  return tensors
