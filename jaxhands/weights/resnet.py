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
  for stage, count in enumerate(blocks, start=1):
    for i in range(count):
      theirs, ours = f"{source}layer{stage}.{i}.", f"{target}layer{stage}_{i}/"
      for k in range(1, 4 if kind == "bottleneck" else 3):
        tensors += [*conv(f"{theirs}conv{k}", f"{ours}conv{k}"), *norm(f"{theirs}bn{k}", f"{ours}bn{k}")]
      if i == 0 and (stage > 1 or kind == "bottleneck"):
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
