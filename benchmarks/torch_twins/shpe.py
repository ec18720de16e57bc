"""SHPE's twin."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.torch_twins import layers
from jaxhands.models.detnet import JOINTS
from jaxhands.systems.hdr.shpe import SHPE


def bottleneck(
  inputs: int, features: int, dilation: int = 1, *, projects: bool = False, pools: bool = False
) -> layers.Residual:
  """DetNet's block."""
  way = nn.Sequential(
    layers.conv_norm(inputs, features, 1),
    layers.conv_norm(features, features, 3, 2 if pools else 1, dilation=dilation),
    layers.conv_norm(features, 4 * features, 1, relu=False),
  )
  shortcut = layers.conv_norm(inputs, 4 * features, 1, relu=False) if projects else nn.MaxPool2d(2) if pools else None
  return layers.Residual(way, shortcut)


def map_head(inputs: int, features: int, outputs: int) -> nn.Sequential:
  """3x3 convolution, norm, ReLU, 1x1 convolution."""
  return nn.Sequential(layers.conv_norm(inputs, features), nn.Conv2d(features, outputs, 1))


class SHPETwin(layers.Twin):
  """DetNet."""

  def __init__(self, system: SHPE):
    super().__init__()
    self.system = system
    trunk: list[nn.Module] = [layers.conv_norm(3, system.width, 7, 2)]
    channels = system.width
    for stage, count in enumerate(system.blocks):
      for i in range(count):
        trunk.append(bottleneck(channels, system.width << stage, (1, 2, 4)[stage], projects=i == 0))
        channels = 4 * (system.width << stage)
      if stage == 0:
        trunk.append(bottleneck(channels, system.width, pools=True))
    features = system.head_features
    self.trunk = nn.Sequential(*trunk, layers.conv_norm(channels, features))
    self.heat = map_head(features + 2, features, JOINTS)
    self.delta = map_head(features + 2 + JOINTS, features, 3 * JOINTS)
    self.location = map_head(features + 2 + 4 * JOINTS, features, 3 * JOINTS)

  def forward(self, batch: layers.Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Heat before the sigmoid, delta and location."""
    x = self.trunk(batch["image"])
    size, height, width = len(x), *x.shape[2:]
    columns = torch.linspace(-1, 1, width, device=x.device, dtype=x.dtype).expand(size, 1, height, width)
    rows = torch.linspace(-1, 1, height, device=x.device, dtype=x.dtype)[:, None].expand(size, 1, height, width)
    x = torch.cat([x, columns, rows], 1)
    heat = self.heat(x)
    x = torch.cat([x, heat.sigmoid()], 1)
    delta = self.delta(x)
    return heat, delta, self.location(torch.cat([x, delta], 1))

  def losses(self, batch: layers.Batch) -> dict[str, Tensor]:
    heat, *vectors = self(batch)
    target = layers.gaussian(batch["cells"], heat.shape[2:], self.system.sigma)
    inside = batch["cells_valid"]
    total = self._norm(heat.sigmoid() - target, inside)
    for name, maps in zip(("delta", "location"), vectors, strict=True):
      maps = maps.unflatten(1, (JOINTS, 3))
      difference = (maps - batch[name][..., None, None]) * target[:, :, None]
      term = self._norm(difference, batch[f"{name}_valid"] & inside)
      total = total + self.system.weights[name] * term
    return {"loss": total}

  @staticmethod
  def _norm(difference: Tensor, counts: Tensor) -> Tensor:
    kept = difference * counts.view(*counts.shape, *[1] * (difference.ndim - 2))
    return kept.square().sum().clamp(min=1e-12).sqrt() / counts.sum().clamp(min=1)


def build(system: SHPE) -> SHPETwin:
  """The twin of this system."""
  return SHPETwin(system)
