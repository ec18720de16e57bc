"""The backbones: ResNet, HRNet and MiT."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.torch_twins.layers import TransformerBlock, conv_norm, residual
from jaxhands.models.backbones import mit
from jaxhands.models.backbones.resnet import structure


def resnet(depth: int, width: int, more: int = 0) -> tuple[nn.Sequential, int]:
  """ResNet's trunk, with the number of channels of its last map; the third stage sees `more` channels beside."""
  blocks, kind = structure(depth)
  layers: list[nn.Module] = [conv_norm(3, width, 7, 2), nn.MaxPool2d(3, 2, 1)]
  channels = width
  for stage, count in enumerate(blocks):
    channels += more if stage == 2 else 0
    for i in range(count):
      layers.append(residual(kind, channels, width << stage, 2 if stage and not i else 1))
      channels = (width << stage) * (1 if kind == "basic" else 4)
  return nn.Sequential(*layers), channels


class StagesOfResNet(nn.Module):
  """ResNet's trunk with the maps of all four stages."""

  def __init__(self, depth: int, width: int):
    super().__init__()
    (self.counts, kind), (self.layers, _) = structure(depth), resnet(depth, width)
    self.widths = [(width << stage) * (1 if kind == "basic" else 4) for stage in range(4)]

  def forward(self, x: Tensor) -> list[Tensor]:
    ends, maps = np.cumsum(self.counts) + 1, []  # behind stem and pooling
    for i, layer in enumerate(self.layers):
      x = layer(x)
      if i in ends:
        maps.append(x)
    return maps


class Exchange(nn.Module):
  """One module of a stage of HRNet."""

  def __init__(self, widths: list[int], blocks: int, outputs: int):
    super().__init__()
    self.branches = nn.ModuleList(
      nn.Sequential(*(residual("basic", width, width) for _ in range(blocks))) for width in widths
    )
    self.fuse = nn.ModuleList(
      nn.ModuleList(self._way(widths, j, i) for j in range(len(widths))) for i in range(outputs)
    )

  @staticmethod
  def _way(widths: list[int], source: int, target: int) -> nn.Module:
    if source > target:
      scale = nn.UpsamplingNearest2d(scale_factor=2 ** (source - target))
      return nn.Sequential(conv_norm(widths[source], widths[target], 1, relu=False), scale)
    steps = []
    for k in range(target - source):
      last = k == target - source - 1
      steps.append(conv_norm(widths[source], widths[target] if last else widths[source], 3, 2, relu=not last))
    return nn.Sequential(*steps)

  def forward(self, maps: list[Tensor]) -> list[Tensor]:
    maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
    fused = []
    for ways in self.fuse:
      total = maps[0].new_zeros(())
      for way, x in zip(ways, maps, strict=True):  # pyright: ignore[reportArgumentType]
        total = total + way(x)
      fused.append(F.relu(total, inplace=True))
    return fused


class HRNet(nn.Module):
  """HRNet whose finest branch alone is the result."""

  def __init__(self, width: int, modules: tuple[int, ...], blocks: int, stem: int, stride: int):
    super().__init__()
    layers = [conv_norm(3, stem, 3, 2), conv_norm(stem, stem, 3, 2)]
    layers += [residual("bottleneck", stem if i == 0 else 4 * stem, stem) for i in range(blocks)]
    channels = 4 * stem
    if stride == 8:
      layers.append(conv_norm(channels, channels, 3, 2))
    self.stem = nn.Sequential(*layers)
    self.first = conv_norm(channels, width)
    self.transitions, self.stages = nn.ModuleList(), nn.ModuleList()
    widths = [width]
    for stage, count in enumerate(modules):
      self.transitions.append(conv_norm(channels if stage == 0 else widths[-1], width << len(widths), 3, 2))
      widths = [*widths, width << len(widths)]
      last = stage == len(modules) - 1
      exchanges = [Exchange(widths, blocks, 1 if last and k == count - 1 else len(widths)) for k in range(count)]
      self.stages.append(nn.Sequential(*exchanges))

  def forward(self, image: Tensor) -> Tensor:
    x = self.stem(image)
    maps: list[Tensor] = []
    for transition, stage in zip(self.transitions, self.stages, strict=True):
      maps = [*maps, transition(maps[-1])] if maps else [self.first(x), transition(x)]
      maps = stage(maps)
    return maps[0]


class MiT(nn.Module):
  """SegFormer's trunk: the normed maps of its four stages."""

  def __init__(self, size: str, width: int, drop_path: float):
    super().__init__()
    published, blocks = mit.structure(size)
    widths = [(width or published) * heads for heads in mit.HEADS]
    rates = iter(np.linspace(0, drop_path, sum(blocks)).tolist())
    self.embeds, self.stages, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
    self.embed_norms = nn.ModuleList(nn.LayerNorm(width) for width in widths)
    self.widths = widths
    for stage, count in enumerate(blocks):
      kernel, stride = (3, 2) if stage else (7, 4)
      self.embeds.append(nn.Conv2d(widths[stage - 1] if stage else 3, widths[stage], kernel, stride, kernel // 2))
      made = [
        TransformerBlock(widths[stage], mit.HEADS[stage], 4, mit.REDUCTIONS[stage], next(rates)) for _ in range(count)
      ]
      self.stages.append(nn.Sequential(*made))
      self.norms.append(nn.LayerNorm(widths[stage]))

  def forward(self, image: Tensor) -> list[Tensor]:
    maps, x = [], image
    for embed, embed_norm, stage, norm in zip(self.embeds, self.embed_norms, self.stages, self.norms, strict=True):
      tokens = norm(stage(embed_norm(embed(x).permute(0, 2, 3, 1))))
      x = tokens.permute(0, 3, 1, 2)
      maps.append(x)
    return maps
