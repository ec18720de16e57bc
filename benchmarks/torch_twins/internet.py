"""InterNet's twin, and what it has in common with other twins of pose networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.torch_twins import layers, trunks
from jaxhands.systems.internet import InterNet

JOINTS = 21


class SkipUpsampler(nn.Module):
  """`models.heads.heatmap.Upsampler` of the kind "skip": shuffled pixels with the trunk's map of that size."""

  def __init__(self, channels: list[int], features: int):
    """`channels`: of the trunk's last map, and of those of twice, four times, ... its rows."""
    super().__init__()
    sources = [channels[0], *[features] * (len(channels) - 2)]
    self.expand = nn.ModuleList(nn.Conv2d(source, 4 * features, 1, bias=False) for source in sources)
    self.lateral = nn.ModuleList(nn.Conv2d(finer, features, 1, bias=False) for finer in channels[1:])
    self.norm = nn.ModuleList(nn.BatchNorm2d(features) for _ in sources)
    self.look = nn.ModuleList(layers.conv_norm(features, features) for _ in sources)

  def forward(self, x: Tensor, maps: dict[int, Tensor]) -> Tensor:
    for expand, lateral, norm, look in zip(self.expand, self.lateral, self.norm, self.look, strict=True):
      x = nn.functional.pixel_shuffle(expand(x), 2)
      x = look(nn.functional.relu(norm(x + lateral(maps[x.shape[2]])), inplace=True))
    return x


class InterNetTwin(layers.Twin):
  """Backbone, two upsamplers with heatmaps, two dense heads."""

  def __init__(self, system: InterNet):
    super().__init__()
    self.system = system
    self.backbone, channels = trunks.resnet(system.depth, system.width)
    features = system.upsampler_features
    outputs = JOINTS * (system.bins if system.head == "heatmap3d" else 2)
    if system.upsampler == "skip":
      of_maps = [channels // 2**i for i in range(system.doublings + 1)]  # a stage has twice the channels of the last
      self.upsamplers = nn.ModuleList(SkipUpsampler(of_maps, features) for _ in range(2))
    else:
      self.upsamplers = nn.ModuleList(
        layers.upsampler(system.upsampler, channels, features, system.doublings) for _ in range(2)
      )
    self.heatmaps = nn.ModuleList(nn.Conv2d(features, outputs, 1) for _ in range(2))
    self.handedness = layers.dense_head(channels, 512, 2)
    self.root_depth = layers.dense_head(channels, 512, system.bins)

  def forward(self, batch: layers.Batch) -> dict[str, Tensor | list[Tensor]]:
    features, by_rows = batch["image"], {}
    for layer in self.backbone:
      features = layer(features)
      by_rows[features.shape[2]] = features  # the last of each size
    pooled = features.mean((2, 3))
    more = (by_rows,) if self.system.upsampler == "skip" else ()
    maps = [head(up(features, *more)) for up, head in zip(self.upsamplers, self.heatmaps, strict=True)]
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
