"""DIGIT's twin."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.torch_twins import layers, trunks
from jaxhands import schema
from jaxhands.hands import skeleton
from jaxhands.systems.digit import DIGIT

_JOINTS = 2 * skeleton.NUM_JOINTS


class UNet(nn.Module):
  """Down by max pooling, up by bilinear interpolation."""

  def __init__(self, inputs: int, features: tuple[int, ...], outputs: int):
    super().__init__()

    def double(inputs: int, inner: int, outputs: int) -> nn.Sequential:
      return nn.Sequential(layers.conv_norm(inputs, inner, bias=True), layers.conv_norm(inner, outputs, bias=True))

    channels = [inputs, *features]
    self.down = nn.ModuleList(double(a, b, b) for a, b in zip(channels, features, strict=False))
    self.up = nn.ModuleList()
    below = features[-1]
    for level in reversed(range(len(features) - 1)):
      joined = below + features[level]
      below = features[level] // 2 if level else features[0]
      self.up.append(double(joined, joined // 2, below))
    self.out = nn.Conv2d(below, outputs, 1)

  def forward(self, x: Tensor) -> Tensor:
    levels = []
    for level, block in enumerate(self.down):
      x = block(F.max_pool2d(x, 2) if level else x)
      levels.append(x)
    for block, skip in zip(self.up, reversed(levels[:-1]), strict=True):
      x = block(torch.cat([skip, F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)], 1))
    return self.out(x)


class DIGITTwin(layers.Twin):
  """HRNet, segmentation, semantic features, UNet and heads: the whole of DIGIT, none of its ablations."""

  def __init__(self, system: DIGIT):
    super().__init__()
    self.system = system
    self.backbone = trunks.HRNet(system.width, system.modules, system.blocks, system.stem, system.stride)
    whole = system.segmentation_kind == "conv"
    classes, features = schema.NUM_PARTS, list(system.segmentation_features) + ([schema.NUM_PARTS] if whole else [])
    head: list[nn.Module] = [nn.UpsamplingBilinear2d(scale_factor=2)] if whole else []
    channels = system.width
    for width in features:
      head.append(layers.conv_norm(channels, width, bias=True))
      channels = width
    head += (
      [nn.Conv2d(channels, classes, 3, padding=1)]
      if whole
      else [nn.Conv2d(channels, 4 * classes, 1), nn.PixelShuffle(2)]
    )
    self.segmentation = nn.Sequential(*head)

    semantic: list[nn.Module] = [] if whole else [nn.PixelUnshuffle(2)]
    channels = classes if whole else 4 * classes
    for i, width in enumerate(system.semantic_features):
      kernel = 3 if whole or i else 1
      semantic += [nn.Conv2d(channels, width, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]
      channels = width
    self.semantic = nn.Sequential(*semantic, *([nn.MaxPool2d(2)] if whole else []))

    fused = system.width + channels
    self.fusion = UNet(fused, tuple(system.fusion_features), fused)
    self.heatmap, self.depth = nn.Conv2d(fused, _JOINTS, 1), nn.Conv2d(fused, _JOINTS, 1)
    pooled: list[nn.Module] = []
    channels = fused
    for i, width in enumerate(system.pooled_features):
      pooled += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True), *([nn.MaxPool2d(2)] if i % 2 else [])]
      channels = width
    self.pooled = nn.Sequential(*pooled)
    self.root_depth = layers.dense_head(channels, channels, system.bins)
    self.handedness = layers.dense_head(channels, channels, 2)

  def forward(self, batch: layers.Batch) -> dict[str, Any]:
    features = self.backbone(batch["image"])
    parts = self.segmentation(features)
    x = self.fusion(torch.cat([features, self.semantic(parts)], 1))
    pooled = self.pooled(x).mean((2, 3))
    return {
      "parts": parts, "planes": self.heatmap(x), "depths": self.depth(x), "root_depth": self.root_depth(pooled),
      "hands": self.handedness(pooled),
    }  # fmt: skip

  def losses(self, batch: layers.Batch) -> dict[str, Tensor]:
    out, system = self(batch), self.system
    cells = out["planes"].flatten(2).softmax(-1).view_as(out["planes"])
    found = torch.cat([layers.expectation(cells), (cells * out["depths"]).sum((2, 3))[..., None]], -1)
    found = found.unflatten(1, (2, skeleton.NUM_JOINTS))
    plane, valid = batch["cells_valid"], batch["voxels_valid"]
    mask = torch.stack([plane, plane, valid], -1)
    child, parent = torch.as_tensor(skeleton.BONES.T).long()
    bones, true_bones = (x[:, :, child] - x[:, :, parent] for x in (found, batch["voxels"]))
    root = layers.masked_l1(layers.soft_argmax(out["root_depth"]), batch["root_bin"], batch["root_bin_valid"])
    present = batch["hand_present"].float()
    hands = layers.binary_cross_entropy(out["hands"], present, batch["hand_present_valid"][:, None])
    entropy = F.cross_entropy(out["parts"], batch["parts"].long(), reduction="none").mean((1, 2))
    total = layers.masked_l1(found, batch["voxels"], mask).mean() + system.root_depth_weight * root.mean()
    total = total + system.handedness_weight * hands.mean()
    total = (
      total + system.bone_weight * layers.masked_l1(bones, true_bones, mask[:, :, child] & mask[:, :, parent]).mean()
    )
    total = total + system.segmentation_weight * (entropy * batch["parts_valid"]).mean()
    if system.heatmap_weight:
      voxels = batch["voxels"].flatten(1, 2)[..., :2]
      total = (
        total
        + system.heatmap_weight * layers.heatmap_cross_entropy(out["planes"], voxels, plane.flatten(1, 2), 1.0).mean()
      )
    return {"loss": total}


def build(system: DIGIT) -> DIGITTwin:
  """The twin of this system.

  Raises:
    ValueError: an ablation, of which there is no twin.
  """
  if not (system.visual and system.pose and system.segmentation_weight and system.semantic == "scores"):
    raise ValueError("there is a twin of the whole of DIGIT only, with visual features, scores, pose and segmentation")
  return DIGITTwin(system)
