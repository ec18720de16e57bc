"""RootNet's twin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.torch_twins import layers, trunks
from jaxhands.systems.rootnet import RootNet


class RootNetTwin(layers.Twin):
  """Backbone, upsampler with a heatmap for each root, and a factor of the depth."""

  def __init__(self, system: RootNet):
    super().__init__()
    self.backbone, channels = trunks.resnet(system.depth, system.width)
    self.upsampler = layers.upsampler(system.upsampler, channels, system.upsampler_features, 3)
    self.position = nn.Conv2d(system.upsampler_features, system.roots, 1)
    self.depth = nn.Linear(channels, system.roots)

  def forward(self, batch: layers.Batch) -> tuple[Tensor, Tensor]:
    features = self.backbone(batch["image"])
    return self.position(self.upsampler(features)), self.depth(features.mean((2, 3)))

  def losses(self, batch: layers.Batch) -> dict[str, Tensor]:
    scores, gamma = self(batch)
    cells = layers.expectation(scores.flatten(2).softmax(-1).view_as(scores))
    place = layers.masked_l1(cells, batch["cells"], torch.stack([batch["cells_valid"]] * 2, -1)).sum(-1)
    depth = layers.masked_l1(gamma * batch["k"][:, None], batch["depth"], batch["depth_valid"])
    return {"loss": (place.mean() + depth.mean()) / 3}


def build(system: RootNet) -> RootNetTwin:
  """The twin of this system."""
  return RootNetTwin(system)
