"""Name map of DIGIT's release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from jaxhands.weights.convert import Tensor, conv, linear, norm
from jaxhands.weights.hrnet import hrnet

_UNET = {
  "inc.double_conv": "down0", "down1.maxpool_conv.1.double_conv": "down1", "down2.maxpool_conv.1.double_conv": "down2",
  "down3.maxpool_conv.1.double_conv": "down3", "up1.conv.double_conv": "up2", "up2.conv.double_conv": "up1",
  "up3.conv.double_conv": "up0",
}  # fmt: skip
_FIRST = "backbone.conv1.weight"


def digit(modules: Sequence[int] = (1, 4, 3), blocks: int = 4) -> list[Tensor]:
  """The 1903 tensors of the release, for a trunk of `models.backbones.hrnet.HRNet`."""

  def layer(theirs: str, number: int, ours: str) -> list[Tensor]:
    return [*conv(f"{theirs}.{number}", f"{ours}/conv", bias=True), *norm(f"{theirs}.{number + 1}", f"{ours}/bn")]

  tensors = hrnet("backbone.", "backbone/", modules, blocks)
  head = "hand_segm.segm_head."
  tensors += layer(f"{head}upsampler.up1.conv.double_conv", 0, "segmentation/layer0")
  tensors += layer(f"{head}upsampler.up1.conv.double_conv", 3, "segmentation/layer1")
  tensors += layer(f"{head}segm_net.double_conv", 0, "segmentation/layer2")
  tensors += conv(f"{head}segm_net.double_conv.3", "segmentation/scores", bias=True)
  for i in range(2):
    tensors += conv(f"conv_segm_feat.{2 * i}", f"semantic/conv{i}", bias=True)
  for theirs, ours in _UNET.items():
    for i in range(2):
      tensors += layer(f"merge_layer.{theirs}", 3 * i, f"fusion/{ours}/layer{i}")
  tensors += conv("merge_layer.outc.conv", "fusion/out", bias=True)
  tensors += conv("conv_hm", "heatmap", bias=True) + conv("conv_depth", "depth", bias=True)
  for i, number in enumerate((0, 2, 5, 7, 10, 12)):
    tensors += conv(f"conv_head.{number}", f"pooled/conv{i}", bias=True)
  for theirs, ours in (("root_fc", "root_depth"), ("hand_fc", "handedness")):
    tensors += linear(f"{theirs}.0", f"{ours}/hidden")
    tensors += linear(f"{theirs}.2", f"{ours}/scores")
  return tensors


def without_wrapper(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """The tensors under the names that the network itself gives them; the release wraps it in another module."""
  prefix = next((key.removesuffix(_FIRST) for key in state_dict if key.endswith(f".{_FIRST}")), "")
  return {key.removeprefix(prefix): value for key, value in state_dict.items()}
