"""InterNet's twin, and what it has in common with other twins of pose networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.torch_twins import layers, trunks
from jaxhands.systems.internet import InterNet

JOINTS = 21


class InterNetTwin(layers.Twin):
  """Backbone, two upsamplers with heatmaps, two dense heads."""

  def __init__(self, system: InterNet):
    super().__init__()
    self.system = system
    self.backbone, channels = trunks.resnet(system.depth, system.width)
    features = system.upsampler_features
    outputs = JOINTS * (system.bins if system.head == "heatmap3d" else 2)
    self.upsamplers = nn.ModuleList(
      layers.upsampler(system.upsampler, channels, features, system.doublings) for _ in range(2)
    )
    self.heatmaps = nn.ModuleList(nn.Conv2d(features, outputs, 1) for _ in range(2))
    self.handedness = layers.dense_head(channels, 512, 2)
    self.root_depth = layers.dense_head(channels, 512, system.bins)

  def forward(self, batch: layers.Batch) -> dict[str, Tensor | list[Tensor]]:
    features = self.backbone(batch["image"])
    pooled = features.mean((2, 3))
    maps = [head(up(features)) for up, head in zip(self.upsamplers, self.heatmaps, strict=True)]
    return {"maps": maps, "hands": self.handedness(pooled), "root_depth": self.root_depth(pooled)}

  def losses(self, batch: layers.Batch) -> dict[str, Tensor]:
    out = self(batch)
    root = layers.masked_l1(layers.soft_argmax(out["root_depth"]), batch["root_bin"], batch["root_bin_valid"]).mean()
    unit = self.system.depth_range_mm / self.system.bins
    valid = batch["hand_present_valid"][:, None]
    hands = layers.binary_cross_entropy(out["hands"], batch["hand_present"].float(), valid).mean()
    total = self.system.root_depth_weight * unit * root + self.system.handedness_weight * hands
    for hand, maps in enumerate(out["maps"]):
      total = total + self._pose_loss(maps, batch, hand)
    return {"loss": total}

  def _pose_loss(self, maps: Tensor, batch: layers.Batch, hand: int) -> Tensor:
    voxels, valid = batch["voxels"][:, hand], batch["voxels_valid"][:, hand]
    size = maps.shape[2:]
    if self.system.head == "heatmap3d":
      volumes = maps.unflatten(1, (JOINTS, self.system.bins))
      target = layers.gaussian(voxels, (self.system.bins, *size), self.system.sigma)
      return ((volumes - target) ** 2 * valid[..., None, None, None]).sum() / len(maps)
    scores, depths = maps.split(JOINTS, 1)
    cells = scores.flatten(2).softmax(-1).view_as(scores)
    z = self.system.bins / 2 * (1 + (cells * depths).sum((2, 3)))
    plane = batch["cells_valid"][:, hand]
    mask = torch.stack([plane, plane, valid], -1)
    found = torch.cat([layers.expectation(cells), z[..., None]], -1)
    entropy = layers.heatmap_cross_entropy(scores, voxels[..., :2], plane, self.system.sigma)
    return layers.masked_l1(found, voxels, mask).mean() / 2 + entropy.mean() / 2


def build(system: InterNet) -> InterNetTwin:
  """The twin of this system."""
  return InterNetTwin(system)
