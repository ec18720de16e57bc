"""HDRM's twin: HDRNet with the discriminator's step, and HASM where it gives the masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from benchmarks.torch_twins import hasm, layers
from jaxhands.models import discriminator as gan
from jaxhands.models import hdrnet as ours
from jaxhands.systems.hdr.hdrm import HDRM

Planes = list[tuple[Tensor, int]]  # [B, 1, h, w], 1 = valid; of so many channels


class PartialConv(nn.Module):
  """As ours, with one plane for each group of channels; the usual one convolves a mask of all channels."""

  def __init__(self, inputs: int, features: int, kernel: int, stride: int, bias: bool, mean: bool):
    super().__init__()
    self.conv = nn.Conv2d(inputs, features, kernel, stride, kernel // 2, bias=False)
    self.bias = nn.Parameter(torch.zeros(features, 1, 1)) if bias else None
    self.inputs, self.features = 1 if mean else kernel**2 * inputs, features
    self.kernel, self.stride = kernel, stride

  def forward(self, x: Tensor, planes: Planes) -> tuple[Tensor, Planes]:
    with torch.no_grad():
      whole = torch.cat([plane.expand(-1, count, -1, -1) for plane, count in planes], 1)
      total = sum((count * plane for plane, count in planes), x.new_zeros(()))
      ones = total.new_ones(1, 1, self.kernel, self.kernel)
      count = F.conv2d(total, ones, stride=self.stride, padding=self.kernel // 2)
      valid = (count > 0).to(x.dtype)
      factor = self.inputs / count.clamp(min=1) * valid
    out = self.conv(x * whole) * factor
    return (out if self.bias is None else out + self.bias * valid), [(valid, self.features)]


class HDRNet(nn.Module):
  """The generator."""

  def __init__(self, system: HDRM):
    super().__init__()
    self.levels = system.levels
    widths = [system.width * min(2**level, ours._WIDEST) for level in range(system.levels)]
    self.convs, self.norms, self.transformers = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
    channels, side = 8, min(system.crop_hw)
    for level, features in enumerate(widths, start=1):
      kernel = ours._KERNELS[level - 1] if level <= len(ours._KERNELS) else 3
      side //= 2
      self._unit(f"enc{level}", channels, features, kernel, 2, system, side, norm=level > 1)
      channels = features
    for level in range(system.levels, 0, -1):
      side *= 2
      skip = widths[level - 2] if level > 1 else 8
      outputs = widths[level - 2] if level > 1 else 3
      self._unit(f"dec{level}", channels + skip, outputs, 3, 1, system, side, norm=level > 1)
      channels = outputs

  def _unit(
    self, name: str, inputs: int, features: int, kernel: int, stride: int, system: HDRM, side: int, norm: bool
  ) -> None:
    self.convs[name] = PartialConv(inputs, features, kernel, stride, name == "dec1", system.released)
    if norm:
      self.norms[name] = nn.BatchNorm2d(features)
    heads, ratio, reduction = ours._TRANSFORMERS.get(name, (0, 0, 0))
    if system.transformers and heads and side >= 2 * reduction:
      block = layers.TransformerBlock(features, heads, ratio, reduction)
      self.transformers[name] = nn.Sequential(block, nn.LayerNorm(features))

  def _transformed(self, x: Tensor, name: str) -> Tensor:
    if name not in self.transformers:
      return x
    return self.transformers[name](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

  def forward(self, x: Tensor, planes: Planes) -> Tensor:
    skips = [(x, planes)]
    for level in range(1, self.levels + 1):
      name = f"enc{level}"
      x, planes = self.convs[name](*skips[-1])
      x = F.relu(self.norms[name](x) if name in self.norms else x)
      skips.append((self._transformed(x, name), planes))
    x, planes = skips.pop()
    for level in range(self.levels, 0, -1):
      name, (skip, skip_planes) = f"dec{level}", skips.pop()
      x = torch.cat([F.interpolate(x, scale_factor=2), skip], 1)
      planes = [(F.interpolate(plane, scale_factor=2), count) for plane, count in planes] + skip_planes
      x, planes = self.convs[name](x, planes)
      if name in self.norms:
        x = self._transformed(F.leaky_relu(self.norms[name](x), 0.2), name)
    return x


def discriminator(width: int) -> nn.Sequential:
  """PatchGAN with spectral norm."""
  made: list[nn.Module] = []
  channels = 5
  widths = (width, 2 * width, 4 * width, 8 * width, 1)
  for features, stride in zip(widths, gan._STRIDES, strict=True):
    made += [spectral_norm(nn.Conv2d(channels, features, 4, stride, 1, bias=False)), nn.LeakyReLU(0.2)]
    channels = features
  return nn.Sequential(*made[:-1])


class HDRMTwin(layers.Twin):
  """Generator and discriminator, with an Adam each."""

  def __init__(self, system: HDRM):
    super().__init__()
    self.system = system
    self.hdrnet = HDRNet(system)
    self.discriminator = discriminator(system.discriminator_width) if system.adversarial else None
    self.hasm = hasm.build(system.hasm).requires_grad_(False) if system.hasm is not None else None  # pyright: ignore[reportArgumentType]

  def trained(self) -> dict[str, list[nn.Parameter]]:
    found = {"generator": list(self.hdrnet.parameters())}
    return found | ({"discriminator": list(self.discriminator.parameters())} if self.discriminator else {})

  def _holes(self, batch: layers.Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Planes [B, 1, h, w]: hidden, to be removed, visible, background."""
    masks = batch["masks"].float()
    if self.hasm is not None:
      with torch.no_grad():
        odds = self.hasm.eval()({"image": batch["hasm_image"]})
      masks = (F.interpolate(odds, self.system.crop_hw, mode="bilinear") > 0).float().unflatten(1, (2, 2))
    amodal, visible, other_amodal, other_visible = (
      masks[:, hand, kind, None] for hand in range(2) for kind in range(2)
    )
    other = torch.maximum(other_amodal, other_visible)
    removed = (1 - amodal) * (other if self.system.released else other_visible)
    return amodal * (1 - visible), removed, visible, (1 - amodal) * (1 - other)

  def generate(self, image: Tensor, holes: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """HDRNet's output."""
    hidden, removed, visible, background = holes
    x = torch.cat([image * (1 - hidden), visible, image * (1 - removed), background], 1)
    return self.hdrnet(x.to(memory_format=torch.channels_last), [(1 - hidden, 4), (1 - removed, 4)])

  def forward(self, batch: layers.Batch) -> Tensor:
    holes = self._holes(batch)
    return torch.where(torch.maximum(holes[0], holes[1]) > 0, self.generate(batch["image"], holes), batch["image"])

  def losses(self, batch: layers.Batch) -> dict[str, Tensor]:
    holes = self._holes(batch)
    hidden, removed, visible, background = holes
    output, truth = self.generate(batch["image"], holes), batch["truth"]
    difference = (output - truth).abs()
    parts = (hidden * difference, removed * difference, (1 - hidden) * (1 - removed) * difference)
    total = self.system.l1 * sum((part.mean() for part in parts), difference.new_zeros(()))
    if self.discriminator is None:
      return {"generator": total}
    scores = {}
    for role, picture in (("real", truth), ("fake", output.detach()), ("generator", output)):
      scores[role] = self.discriminator(torch.cat([picture, visible, background], 1))
    ones = torch.ones_like(scores["real"])
    entropy = F.binary_cross_entropy_with_logits
    total = total + self.system.adversarial * entropy(scores["generator"], ones)
    return {
      "generator": total,
      "discriminator": (entropy(scores["real"], ones) + entropy(scores["fake"], torch.zeros_like(ones))) / 2,
    }


def build(system: HDRM) -> HDRMTwin:
  """The twin of this system, without VGG's losses."""
  return HDRMTwin(system)
