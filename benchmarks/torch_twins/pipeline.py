"""The twin of HDR's pipeline: its networks, one after the other, and the cuts between them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.torch_twins import hasm, hdrm, layers, shpe
from jaxhands.systems.hdr.pipeline import Pipeline
from jaxhands.systems.hdr.shpe import SHPE

_SHARE = 0.6  # of the picture's side that a hand's crop has; where it lies costs nothing


class PipelineTwin(layers.Twin):
  """Masks, crops of both hands, recovery, poses; crops have fixed places, no boxes are searched."""

  def __init__(self, system: Pipeline):
    super().__init__()
    self.system = system
    self.hasm, self.hdrm = hasm.build(system.hasm), hdrm.HDRNet(system.hdrm)
    self.pose = shpe.build(system.pose)  # pyright: ignore[reportArgumentType]

  def forward(self, batch: layers.Batch) -> tuple[Tensor, ...]:
    system = self.system
    picture = batch["picture"].permute(0, 3, 1, 2).float() / 255
    odds = self.hasm({"image": self._cut(picture, system.crop_hw, 1.0)})
    hands = torch.cat([self._cut(picture, system.hand_hw, share) for share in (_SHARE, -_SHARE)])
    masks = torch.cat([self._cut((odds > 0).float(), system.hand_hw, share) for share in (_SHARE, -_SHARE)])
    amodal, visible, other_amodal, other_visible = masks.unbind(1)
    other = torch.maximum(other_amodal, other_visible)
    hidden, removed = (amodal * (1 - visible))[:, None], ((1 - amodal) * other_visible)[:, None]
    background = ((1 - amodal) * (1 - other))[:, None]
    x = torch.cat([hands * (1 - hidden), visible[:, None], hands * (1 - removed), background], 1)
    output = self.hdrm(x.to(memory_format=torch.channels_last), [(1 - hidden, 4), (1 - removed, 4)])
    recovered = torch.where(torch.maximum(hidden, removed) > 0, output, hands)
    before = (self._heat(hands),) if system.compare else ()
    return odds, recovered, *self.pose({"image": recovered}), *before

  def _heat(self, images: Tensor) -> Tensor:
    """SHPE's heat alone: of the crops as they are ours shows joints in the picture, which need no other map."""
    x = self.pose.trunk(images)
    ranges = [torch.linspace(-1, 1, size, device=x.device, dtype=x.dtype) for size in x.shape[2:]]
    rows, columns = torch.meshgrid(*ranges, indexing="ij")
    return self.pose.heat(torch.cat([x, torch.stack([columns, rows]).expand(len(x), -1, -1, -1)], 1))

  def _cut(self, maps: Tensor, size: tuple[int, int], share: float) -> Tensor:
    affine = maps.new_tensor([[share, 0, 0], [0, abs(share), 0]]).expand(len(maps), 2, 3)
    grid = F.affine_grid(affine, [len(maps), 1, *size], align_corners=False).to(maps.dtype)
    return F.grid_sample(maps, grid, align_corners=False).to(memory_format=torch.channels_last)


def build(system: Pipeline) -> PipelineTwin | None:
  """The twin of this system; None with another estimator than SHPE."""
  return PipelineTwin(system) if isinstance(system.pose, SHPE) else None
