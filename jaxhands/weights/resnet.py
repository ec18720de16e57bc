"""Name map of torchvision's ResNets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jaxhands.weights.convert import IGNORED, Tensor, Variables, conv, convert, norm


def resnet(source: str, target: str, blocks: Sequence[int], kind: str) -> list[Tensor]:
  """Name map of a trunk: torch names under `source` ("backbone." or ""), variables under `target` ("backbone/").

  Args:
    source: prefix of the torch names, with its dot.
    target: prefix of the variables, with its slash.
    blocks: blocks of the four stages, e.g. (3, 4, 6, 3).
    kind: "basic" (two convolutions in a block) or "bottleneck" (three), as `models.backbones.resnet.structure` says.
  """
  tensors = [*conv(f"{source}conv1", f"{target}conv1"), *norm(f"{source}bn1", f"{target}bn1")]
  convs = 3 if kind == "bottleneck" else 2
  for stage, count in enumerate(blocks, start=1):
    shortcut = stage > 1 or kind == "bottleneck"
    tensors += residual_blocks(f"{source}layer{stage}.", f"{target}layer{stage}_", count, convs, shortcut)
  return tensors


def residual_blocks(source: str, target: str, count: int, convs: int, shortcut: bool) -> list[Tensor]:
  """Name map of blocks one after the other: torch names `source` + "0.conv1", variables `target` + "0/conv1".

  Args:
    source, target: prefixes of the blocks' numbers.
    count: of blocks.
    convs: in each of them.
    shortcut: the first one has a convolution beside them.
  """
  tensors = []
  for i in range(count):
    theirs, ours = f"{source}{i}.", f"{target}{i}/"
    for k in range(1, convs + 1):
      tensors += [*conv(f"{theirs}conv{k}", f"{ours}conv{k}"), *norm(f"{theirs}bn{k}", f"{ours}bn{k}")]
    if i == 0 and shortcut:
      tensors += conv(f"{theirs}downsample.0", f"{ours}downsample_conv")
      tensors += norm(f"{theirs}downsample.1", f"{ours}downsample_bn")
  return tensors


def import_torchvision(state_dict: Mapping[str, np.ndarray], blocks: Sequence[int], kind: str) -> Variables:
  """Variables `{"params", "batch_stats"}` of a trunk from a torchvision file; its classifier, if any, is left out.

  Raises:
    ValueError: see `convert`.
  """
  classifier = [Tensor(key, IGNORED) for key in ("fc.weight", "fc.bias") if key in state_dict]
  return convert(state_dict, [*resnet("", "", blocks, kind), *classifier])
