"""HASM's twin."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.torch_twins import layers, trunks
from jaxhands.models.heads.masks import MASKS
from jaxhands.systems.hdr.hasm import HASM


class MaskHead(nn.Module):
  """Mixes each map at its own size, enlarges, and scores the pixels."""

  def __init__(self, maps: int, features: int, outputs: int, dropout: float):
    super().__init__()
    self.fusion = nn.Parameter(torch.empty(features, maps * features))
    nn.init.kaiming_normal_(self.fusion)
    self.bn, self.drop, self.scores = nn.BatchNorm2d(features), nn.Dropout2d(dropout), nn.Conv2d(features, outputs, 1)

  def forward(self, maps: list[Tensor]) -> Tensor:
    total = maps[0].new_zeros(())
    for x, part in zip(maps, self.fusion.chunk(len(maps), 1), strict=True):
      mixed = F.conv2d(x, part[:, :, None, None])
      same = mixed.shape[2:] == maps[0].shape[2:]
      total = total + (mixed if same else F.interpolate(mixed, maps[0].shape[2:], mode="bilinear"))
    return self.scores(self.drop(F.relu(self.bn(total), inplace=True)))


class HASMTwin(layers.Twin):
  """The trunk, with a decoder of four heads."""

  def __init__(self, system: HASM):
    super().__init__()
    self.system = system
    if system.resnet_depth:
      self.backbone = trunks.StagesOfResNet(system.resnet_depth, system.width or 64)
    else:
      self.backbone = trunks.MiT(system.backbone, system.width, system.drop_path)
    features = system.decoder_features
    self.narrow = nn.ModuleList(layers.conv_norm(width, features, 1) for width in self.backbone.widths)
    outputs = 2 if system.released else 1
    count = len(self.backbone.widths)
    self.heads = nn.ModuleList(MaskHead(count, features, outputs, system.dropout) for _ in MASKS)

  def forward(self, batch: layers.Batch) -> Tensor:
    """Log odds of the four masks [B, 4, h, w]."""
    maps = [narrow(x) for narrow, x in zip(self.narrow, self.backbone(batch["image"]), strict=True)]
    scores = torch.stack([head(maps) for head in self.heads], 1)
    odds = scores[:, :, 1] - scores[:, :, 0] if self.system.released else scores[:, :, 0]
    return F.interpolate(odds, self.system.map_hw, mode="bilinear")

  def losses(self, batch: layers.Batch) -> dict[str, Tensor]:
    masks = batch["masks"].flatten(1, 2).float()
    valid = batch["masks_valid"].flatten(1, 2)[..., None, None]
    return {"loss": layers.binary_cross_entropy(self(batch), masks, valid).mean((0, 2, 3)).sum()}


def build(system: HASM) -> HASMTwin:
  """The twin of this system."""
  return HASMTwin(system)
