"""HandFlowNet's twin."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.torch_twins import hands, layers, trunks
from jaxhands import schema
from jaxhands.geometry import crop, lift
from jaxhands.hands import skeleton, vector
from jaxhands.hands.model import HandModel
from jaxhands.models.flow.halves import Halves
from jaxhands.systems import handflow as ours

_SMALLEST = 1e-3  # of the diagonal


class Block(nn.Module):
  """A residual block."""

  def __init__(self, hidden: int, dropout: float, norm: bool):
    super().__init__()
    self.norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in range(2 if norm else 0))
    self.linears, self.dropout = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(2)), nn.Dropout(dropout)

  def forward(self, x: Tensor) -> Tensor:
    y = x
    for i, linear in enumerate(self.linears):
      if self.norms:
        y = self.norms[i](y.flatten(0, 1)).view_as(y)
      y = F.relu(y)
      y = linear(self.dropout(y) if i else y)
    return x + y


class Layer(nn.Module):
  """ActNorm, LULinear and a coupling."""

  def __init__(self, halves: Halves, context: int, of: ours.HandFlow):
    super().__init__()
    size = halves.features
    self.kept, self.moved = torch.from_numpy(halves.kept), torch.from_numpy(halves.moved)
    self.order = torch.from_numpy(np.argsort(np.concatenate([halves.kept, halves.moved])))
    self.affine, self.smallest_scale = of.coupling == "affine", of.smallest_scale
    self.log_scale, self.shift = nn.Parameter(torch.zeros(size)), nn.Parameter(torch.zeros(size))
    entries = size * (size - 1) // 2
    self.lower, self.upper = nn.Parameter(torch.zeros(entries)), nn.Parameter(torch.zeros(entries))
    self.diagonal, self.bias = nn.Parameter(torch.full((size,), 0.54)), nn.Parameter(torch.zeros(size))
    self.below, self.above = np.tril_indices(size, -1), np.triu_indices(size, 1)
    self.from_context = nn.Linear(context, of.hidden)
    self.from_kept = nn.Linear(len(self.kept), of.hidden, bias=False)
    self.blocks = nn.Sequential(*(Block(of.hidden, of.dropout, of.batch_norm) for _ in range(of.blocks)))
    self.last = nn.Linear(of.hidden, len(self.moved) * (2 if self.affine else 1))

  def _triangles(self) -> tuple[Tensor, Tensor, Tensor]:
    """L, U, and the logarithm of its determinant."""
    positive = F.softplus(self.diagonal) + _SMALLEST
    lower = torch.eye(len(self.bias), device=positive.device).index_put(
      tuple(map(torch.from_numpy, self.below)), self.lower
    )
    upper = torch.diag(positive).index_put(tuple(map(torch.from_numpy, self.above)), self.upper)
    return lower, upper, positive.log().sum()

  def _coupling(self, kept: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and shift of the moved half."""
    out = self.last(self.blocks(self.from_kept(kept) + projected))
    if not self.affine:
      return torch.ones_like(out), out
    shift, unscaled = out.chunk(2, -1)
    return torch.sigmoid(unscaled + 2) + self.smallest_scale, shift

  def to_noise(self, y: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
    lower, upper, log_det = self._triangles()
    y = (self.log_scale.exp() * y + self.shift) @ upper.T @ lower.T + self.bias
    kept, moved = y[..., self.kept], y[..., self.moved]
    scale, shift = self._coupling(kept, projected)
    z = torch.cat([kept, moved * scale + shift], -1)[..., self.order]
    return z, self.log_scale.sum() + log_det + scale.log().sum(-1)

  def from_noise(self, z: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
    lower, upper, log_det = self._triangles()
    kept, moved = z[..., self.kept], z[..., self.moved]
    scale, shift = self._coupling(kept, projected)
    y = torch.cat([kept, (moved - shift) / scale], -1)[..., self.order] - self.bias
    columns = torch.linalg.solve_triangular(lower, y.flatten(0, -2).T, upper=False, unitriangular=True)
    y = torch.linalg.solve_triangular(upper, columns, upper=True).T.view_as(y)
    return (y - self.shift) * (-self.log_scale).exp(), -self.log_scale.sum() - log_det - scale.log().sum(-1)


class HandFlowTwin(layers.Twin):
  """ResNet and flow."""

  def __init__(self, system: ours.HandFlow):
    super().__init__()
    self.system = system
    self.backbone, _ = trunks.resnet(system.depth, system.width)
    self.flow = nn.ModuleList(
      Layer(Halves(vector.SIZE, keeps_odd=i % 2 == 1), system.context, system) for i in range(system.layers)
    )
    model = HandModel.named(system.hand_model)
    self.whole, self.tips = hands.Hands(model), hands.Hands(model.tips_only())

  def prepared(self, batch: schema.Batch, train: bool) -> schema.Batch:
    """With vectors of the annotations and what places them in the camera."""
    system, model = self.system, jax.tree.map(jnp.asarray, HandModel.named(self.system.hand_model))
    if train:
      rows, valid = system.targets(batch, model)
    else:
      rows, valid = system.encoded(batch["annotations_mano"], batch["annotations_valid"], batch, model)
    affine, camera = batch["crop_from_img"], lift.any_camera(batch)
    return {
      **batch, "rows": rows, "rows_valid": valid, "camera": camera, "turn": crop.view_rotation(affine),
      "img_from_crop": crop.invert_affine(affine), "focal": system.code._focal_crop(affine, camera),
      "places": system.code.normalised(crop.apply_affine(affine, batch["joints_img"])),
    }  # fmt: skip

  def _features(self, image: Tensor) -> Tensor:
    last = self.backbone(image)
    return last.mean((2, 3)) if self.system.pooled else last.flatten(1)

  def _conditioned(self, features: Tensor) -> list[Tensor]:
    return [layer.from_context(features)[:, None] for layer in self.flow]  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]

  def _to_noise(self, rows: Tensor, projected: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The log-likelihood [B, A] of rows, and its determinant's part."""
    total = rows.new_zeros(rows.shape[:2])
    for layer, each in zip(self.flow, projected, strict=True):
      rows, log_det = layer.to_noise(rows, each)  # pyright: ignore[reportCallIssue]
      total = total + log_det
    return _normal(rows) + total, total

  def _from_noise(self, z: Tensor, projected: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Rows of noise, and their log-likelihood."""
    likelihood = _normal(z)
    for layer, each in reversed(list(zip(self.flow, projected, strict=True))):
      z, log_det = layer.from_noise(z, each)  # pyright: ignore[reportCallIssue]
      likelihood = likelihood - log_det
    return z, likelihood

  def _posed(self, rows: Tensor, batch: layers.Batch, model: hands.Hands) -> tuple[Tensor, Tensor, Tensor]:
    """Vertices and joints (mm, camera) and joints' places in the crop (-1..1) of vectors [B, S, 218]."""
    each = rows.unflatten(-1, (2, vector.HAND_SIZE))
    turns = hands.from_6d(each[..., vector.ROTATIONS].unflatten(-1, (16, 6)))
    first = batch["turn"].mT[:, None, None] @ turns[..., 0, :, :]
    turns = torch.cat([first[..., None, :, :], turns[..., 1:, :, :]], -3)
    shape, camera = each[..., vector.SHAPE], batch["camera"][:, None, None]
    depth = batch["focal"][:, None, None] * torch.exp(-each[..., vector.SCALE][..., 0].clamp(*self.system.code.scales))
    size = torch.tensor(self.system.crop_hw[::-1], device=rows.device)
    back, affine = batch["img_from_crop"][:, None, None], batch["crop_from_img"][:, None, None, None]
    wrist = (back[..., :2] @ ((each[..., vector.WRIST] + 1) * size / 2)[..., None])[..., 0] + back[..., 2]
    y = (wrist[..., 1] - camera[..., 1, 2]) / camera[..., 1, 1]
    x = (wrist[..., 0] - camera[..., 0, 2] - camera[..., 0, 1] * y) / camera[..., 0, 0]
    place = torch.stack([x * depth, y * depth, depth], -1)
    vertices, joints = model(turns, shape, place - model.rest_joints(shape)[..., 0, :])
    rays = joints[..., :2] / joints[..., 2:].clamp(min=10)
    pixels = (camera[..., None, :2, :2] @ rays[..., None])[..., 0] + camera[..., None, :2, 2]
    cropped = (affine[..., :2] @ pixels[..., None])[..., 0] + affine[..., 2]
    return vertices, joints, 2 * cropped / size - 1

  def forward(self, batch: layers.Batch) -> tuple[Tensor, ...]:
    """Of a prediction: joints of samples, their log-likelihood, the mode's vertices, the annotations' likelihood."""
    projected = self._conditioned(self._features(batch["image"]))
    count = len(batch["image"])
    noise = torch.randn(self.system.samples, vector.SIZE, device=projected[0].device).expand(count, -1, -1)
    samples, likelihood = self._from_noise(noise, projected)
    mode, _ = self._from_noise(torch.zeros_like(noise[:, :1]), projected)
    density, _ = self._to_noise(batch["rows"], projected)
    _, joints, places = self._posed(samples, batch, self.tips)
    vertices, *_ = self._posed(mode, batch, self.whole)
    return joints, places, likelihood, vertices, density

  def losses(self, batch: layers.Batch) -> dict[str, Tensor]:
    rows, valid, weights = batch["rows"], batch["rows_valid"], self.system.weights
    rows = rows + self.system.noise * torch.randn_like(rows)
    features = self._features(batch["image"])
    projected = self._conditioned(features)
    terms = {}
    likelihood, _ = self._to_noise(rows, projected)
    terms["nll"] = -(likelihood * valid).sum(-1) / valid.sum(-1).clamp(min=1)
    if "determinant" in weights:
      _, again = self._to_noise(rows, self._conditioned(features.detach()))
      terms["determinant"] = (again * valid).sum(-1) / valid.sum(-1).clamp(min=1)
    count = len(rows)
    noise = torch.randn(count, ours._TRAINED_SAMPLES, vector.SIZE, device=rows.device)
    samples, _ = self._from_noise(noise, projected)
    mode, _ = self._from_noise(torch.zeros_like(noise[:, :1]), projected)
    drawn = torch.cat([mode, samples], 1)
    _, joints, places = self._posed(drawn, batch, self.tips)
    terms["mode"] = (mode[:, 0] - rows[:, 0]).square().sum(-1) * valid[:, 0]
    wrist, true = joints[:, 0, :1, skeleton.WRIST :], batch["joints_cam"]
    difference = (joints[:, 0] - wrist - (true - true[:, :1, skeleton.WRIST :])) / ours._UNIT_MM
    terms["joints"] = (difference.square().sum(-1) * batch["joints_cam_valid"]).mean((1, 2))
    seen = (batch["joints_visible"] & batch["joints_img_valid"])[:, None]
    distance = (places - batch["places"][:, None]).abs().sum(-1) * seen
    projection = distance.sum((2, 3)) / seen.sum((2, 3)).clamp(min=1)
    terms["projection"], terms["projection_samples"] = projection[:, 0], projection[:, 1:].mean(1)
    terms["orthonormality"] = _orthonormality(mode).mean(1) + _orthonormality(samples).mean(1)
    return {"loss": sum((weight * terms[name].mean() for name, weight in weights.items()), rows.new_zeros(()))}


def _normal(z: Tensor) -> Tensor:
  return -0.5 * (z.square() + np.log(2 * np.pi)).sum(-1)


def _orthonormality(rows: Tensor) -> Tensor:
  columns = rows.unflatten(-1, (2, vector.HAND_SIZE))[..., vector.ROTATIONS].unflatten(-1, (16, 2, 3))
  return (columns @ columns.mT - torch.eye(2, device=rows.device)).square().mean((-1, -2, -3, -4))


def build(system: ours.HandFlow) -> HandFlowTwin:
  """The twin of this system."""
  return HandFlowTwin(system)
