"""Name map of HRNet (DIGIT's backbone, and the ImageNet networks that it starts from)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from jaxhands.weights.convert import IGNORED, Tensor, Variables, conv, convert, norm
from jaxhands.weights.resnet import residual_blocks

# What ImageNet networks have besides, with the coarse results of the last exchange.
_CLASSIFIER = r"(incre_modules|downsamp_modules|final_layer|classifier)\."


def hrnet(source: str, target: str, modules: Sequence[int] = (1, 4, 3), blocks: int = 4) -> list[Tensor]:
  """Name map of a trunk: torch names under `source` ("backbone." or ""), variables under `target` ("backbone/").

  Args:
    source: prefix of the torch names, with its dot.
    target: prefix of the variables, with its slash.
    modules: exchanges of the stages 2 to 4.
    blocks: residual blocks of each branch, and of the first stage.
  """

  def layer(theirs: str, ours: str) -> list[Tensor]:
    return [*conv(f"{source}{theirs}.0", f"{target}{ours}/conv"), *norm(f"{source}{theirs}.1", f"{target}{ours}/bn")]

  tensors = []
  for i in (1, 2):
    tensors += conv(f"{source}conv{i}", f"{target}stem{i - 1}/conv") + norm(f"{source}bn{i}", f"{target}stem{i - 1}/bn")
  tensors += residual_blocks(f"{source}layer1.", f"{target}layer1_", blocks, convs=3, shortcut=True)
  tensors += layer("transition1.0", "transition1_0")
  for stage, count in enumerate(modules, start=2):
    tensors += layer(f"transition{stage - 1}.{stage - 1}.0", f"transition{stage - 1}_{stage - 1}")
    for k in range(count):
      last = stage == len(modules) + 1 and k == count - 1
      theirs, ours = f"stage{stage}.{k}.", f"stage{stage}_{k}/"
      for branch in range(stage):
        names = f"{source}{theirs}branches.{branch}.", f"{target}{ours}branch{branch}_"
        tensors += residual_blocks(*names, blocks, convs=2, shortcut=False)
      for i in range(1 if last else stage):
        for j in range(i + 1, stage):
          tensors += layer(f"{theirs}fuse_layers.{i}.{j}", f"{ours}fuse{i}_{j}")
        for j in range(i):
          for n in range(i - j):
            tensors += layer(f"{theirs}fuse_layers.{i}.{j}.{n}", f"{ours}fuse{i}_{j}_{n}")
  return tensors


def import_imagenet(state_dict: Mapping[str, np.ndarray], modules: Sequence[int], blocks: int) -> Variables:
  """Variables `{"params", "batch_stats"}` of a trunk from an ImageNet network; its classifier is left out.

  Raises:
    ValueError: see `convert`.
  """
  coarse = rf"stage{len(modules) + 1}\.{modules[-1] - 1}\.fuse_layers\.[1-9]\."
  classifier = [Tensor(key, IGNORED) for key in state_dict if re.match(f"{_CLASSIFIER}|{coarse}", key)]
  return convert(state_dict, [*hrnet("", "", modules, blocks), *classifier])
