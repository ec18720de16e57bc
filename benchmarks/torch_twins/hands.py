"""The hand model of twins that estimate its parameters, and what they do with vectors of both hands."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel

_ARRAYS = ("v_template", "shapedirs", "posedirs", "weights", "joints_template", "joints_shapedirs", "hands_mean")


class Hands(nn.Module):
  """Both hands' arrays as buffers; lengths in mm."""

  v_template: Tensor
  shapedirs: Tensor
  posedirs: Tensor | None
  weights: Tensor
  joints_template: Tensor
  joints_shapedirs: Tensor
  hands_mean: Tensor
  tips: Tensor

  def __init__(self, model: HandModel):
    super().__init__()
    for name in _ARRAYS:
      array = getattr(model, name)
      self.register_buffer(name, None if array is None else torch.as_tensor(np.array(array), device="cpu"))
    self.register_buffer("tips", torch.as_tensor(np.array(model.tip_vertices), device="cpu").long())

  def rest_joints(self, shape: Tensor) -> Tensor:
    """[..., 2, 16, 3] of shapes [..., 2, 10]."""
    return self.joints_template + torch.einsum("hjcs,...hs->...hjc", self.joints_shapedirs, shape)

  def forward(self, turns: Tensor, shape: Tensor, translation: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Vertices [..., 2, V, 3] and 21 joints of rotations [..., 2, 16, 3, 3] and shapes [..., 2, 10]."""
    rest = self.rest_joints(shape)
    vertices = self.v_template + torch.einsum("hvcs,...hs->...hvc", self.shapedirs, shape)
    if self.posedirs is not None:
      feature = (turns[..., 1:, :, :] - torch.eye(3, device=turns.device)).flatten(-3)
      vertices = vertices + torch.einsum("hvcp,...hp->...hvc", self.posedirs, feature)
    turns, joints = _chain(turns, rest)
    if translation is not None:
      joints = joints + translation[..., None, :]
    offsets = joints - (turns @ rest[..., None])[..., 0]
    motion = torch.cat([turns, offsets[..., None]], -1)
    skin = (self.weights @ motion.flatten(-2)).unflatten(-1, (3, 4))
    vertices = (skin[..., :3] @ vertices[..., None])[..., 0] + skin[..., 3]
    tips = torch.stack([vertices[..., hand, self.tips[hand], :] for hand in range(2)], -3)
    return vertices, torch.cat([joints, tips], -2)[..., skeleton.INTERHAND_FROM_MANO21, :]


def _chain(turns: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
  """Global rotations and positions: the wrist, then five chains of three."""
  bones = (rest - rest[..., skeleton.MANO_PARENTS.clip(0), :])[..., 1:, :].unflatten(-2, (5, 3))
  local = turns[..., 1:, :, :].unflatten(-3, (5, 3))
  turn, position = turns[..., :1, :, :], rest[..., :1, :]
  all_turns, positions = [], []
  for level in range(3):
    position = position + (turn @ bones[..., level, :, None])[..., 0]
    turn = turn @ local[..., level, :, :]
    all_turns.append(turn)
    positions.append(position)
  found, places = torch.stack(all_turns, -3).flatten(-4, -3), torch.stack(positions, -2).flatten(-3, -2)
  return torch.cat([turns[..., :1, :, :], found], -3), torch.cat([rest[..., :1, :], places], -2)


def from_vectors(vectors: Tensor) -> Tensor:
  """Matrices of rotation vectors [..., 3], by Rodrigues' formula."""
  angle = vectors.square().sum(-1, keepdim=True).clamp(min=1e-12).sqrt()
  x, y, z = (vectors / angle).unbind(-1)
  zero = torch.zeros_like(x)
  skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
  sine, cosine = angle[..., None].sin(), angle[..., None].cos()
  return torch.eye(3, device=x.device) + sine * skew + (1 - cosine) * (skew @ skew)


def from_6d(columns: Tensor) -> Tensor:
  """Matrices of their first two columns [..., 6], made orthonormal."""
  first = F.normalize(columns[..., :3], dim=-1)
  second = columns[..., 3:]
  second = F.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
  return torch.stack([first, second, torch.linalg.cross(first, second)], -1)
