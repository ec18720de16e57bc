"""Intershape's twin."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.torch_twins import hands, internet, layers, trunks
from jaxhands import schema
from jaxhands.data import colour
from jaxhands.hands import skeleton
from jaxhands.models.backbones.resnet import structure
from jaxhands.models.intershape import MIDDLE1
from jaxhands.systems import intershape as ours

_VARIANCE = 1.5  # of the Gaussians of equation 3, in cells
_MIDDLE = 4  # base of the middle finger among MANO's joints
_FEW = 1e-6


class Features(nn.Module):
  """Attention, a bottleneck, the mean."""

  def __init__(self, inputs: int, features: int, stride: int):
    super().__init__()
    inner = inputs // 2
    self.way = nn.Sequential(
      nn.Conv2d(inputs, inner, 1, bias=False), nn.ReLU(inplace=True),
      nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.ReLU(inplace=True),
      nn.Conv2d(inner, features, 1, bias=False),
    )  # fmt: skip
    self.shortcut = nn.Conv2d(inputs, features, 1, stride, bias=False)

  def forward(self, x: Tensor, attention: Tensor | None) -> Tensor:
    x = x if attention is None else x * attention[:, None]
    return F.relu(self.way(x) + self.shortcut(x), inplace=True).mean((2, 3))


class Parameters(nn.Module):
  """Pose and shape of one hand."""

  def __init__(self, inputs: int, hidden: int, layers: int = 4):
    super().__init__()
    made: list[nn.Module] = []
    for i in range(layers):
      made += [nn.Linear(hidden if i else inputs, hidden), nn.ReLU(inplace=True)]
    self.hidden, self.pose, self.shape = nn.Sequential(*made), nn.Linear(hidden, 48), nn.Linear(hidden, 10)
    for last in (self.pose, self.shape):
      nn.init.normal_(last.weight, std=0.01)
      nn.init.zeros_(last.bias)

  def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
    x = self.hidden(x)
    return self.pose(x), self.shape(x)


class IntershapeTwin(layers.Twin):
  """InterNet, kept as it is, and the network that reads it."""

  def __init__(self, system: ours.Intershape):
    super().__init__()
    self.system = system
    self.heatmaps = internet.build(system.heatmaps).requires_grad_(False)
    volumes = system.heatmaps.head == "heatmap3d"
    self.bins = max(system.heatmaps.bins // ours._BINS, 1)
    seen = 2 * internet.JOINTS * (len(range(0, system.heatmaps.bins, self.bins)) if volumes else 2)
    self.encoder, top = trunks.resnet(system.depth, system.width, seen)
    blocks, kind = structure(system.depth)
    # Which of the encoder's layers end a stage, after the stem and its pooling.
    self.ends = {1 + sum(blocks[: stage + 1]): f"layer{stage + 1}" for stage in range(4)}
    channels = {
      f"layer{stage + 1}": (system.width << stage) * (1 if kind == "basic" else 4) for stage in range(len(blocks))
    }
    self.relative = layers.dense_head(top, top // 2, 4)
    self.initial = nn.ModuleList(Parameters(top, system.hidden) for _ in range(2))
    self.features, self.refined = nn.ModuleList(), nn.ModuleList()
    known = 58 * (2 if system.context == "both" else 1)
    for level in system.refinements:
      stride = 2 ** (4 - int(level[-1]))
      self.features.append(nn.ModuleList(Features(channels[level], top, stride) for _ in range(2)))
      self.refined.append(nn.ModuleList(Parameters(known + top + 4, system.hidden) for _ in range(2)))
    model = system.loaded_hand_model()
    self.whole, self.tips = hands.Hands(model), hands.Hands(model.tips_only())
    self.mean_pose = nn.Buffer(F.pad(self.tips.hands_mean, (3, 0)))

  def prepared(self, batch: schema.Batch, train: bool) -> schema.Batch:
    """With the targets of `Intershape.targets`, as "true_...", in training."""
    if not train:
      return batch
    targets = self.system.targets(batch, jax.tree.map(jnp.asarray, self.system.loaded_hand_model()))
    return {**batch, **{f"true_{name}": value for name, value in targets.items()}}

  @torch.no_grad()
  def _read(self, image: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
    """Maps of both hands, attention [B, 2, g, g] and peaks [B, 2, 21, 3] (x, y, weight)."""
    self.heatmaps.eval()
    both = self.heatmaps({"image": image})["maps"]
    step = self.system.grid * ours._STRIDE // self.system.crop_hw[0]
    maps, attention, peaks = [], [], []
    for found in both:
      if self.system.heatmaps.head == "heatmap3d":
        volume = found.unflatten(1, (internet.JOINTS, -1)) / self.system.heatmaps.joints_codec.peak
        maps.append(volume[:, :, :: self.bins, ::step, ::step].flatten(1, 2))
        attention.append(volume.amax((1, 2)))
        planes = volume.amax(2)
        height, place = planes.flatten(2).max(-1)
        width = planes.shape[-1]
        peaks.append(torch.stack([place % width, place // width, height], -1))
      else:
        scores, depths = found.split(internet.JOINTS, 1)
        cells = scores.flatten(2).softmax(-1).view_as(scores)
        places = layers.expectation(cells)
        planes = cells / cells.amax((2, 3), keepdim=True).clamp(min=1e-8)
        maps.append(torch.cat([planes[..., ::step, ::step], (planes * depths)[..., ::step, ::step]], 1))
        attention.append(planes.amax(1))
        peaks.append(torch.cat([places, self._narrowness(cells, places)[..., None]], -1))
    return maps, torch.stack(attention, 1), torch.stack(peaks, 1)

  def _narrowness(self, cells: Tensor, places: Tensor) -> Tensor:
    rows, columns = (torch.arange(size, device=cells.device) for size in cells.shape[2:])
    across = (cells.sum(2) * (columns - places[..., :1]) ** 2).sum(-1)
    down = (cells.sum(3) * (rows - places[..., 1:]) ** 2).sum(-1)
    return (2 * self.system.heatmaps.sigma**2 / (across + down).clamp(min=_FEW)).clamp(max=1)

  def forward(self, batch: layers.Batch) -> dict[str, Tensor]:
    """The estimates [B, S, 2, ...] of `HandRegression`; in evaluation also the last one's "vertices"."""
    system, image = self.system, batch["image"]
    read, attention, peaks = self._read(image)
    mean, deviation = (torch.tensor(x)[:, None, None] for x in (colour.IMAGENET_MEAN, colour.IMAGENET_STD))
    x, maps = (image - mean) / deviation, {}
    for i, layer in enumerate(self.encoder):
      x = layer(x)
      if name := self.ends.get(i):
        maps[name] = x
        x = torch.cat([x, *read], 1) if name == "layer2" else x
    top, pooled = maps["layer4"], maps["layer4"].mean((2, 3))
    relative = self.relative(pooled)
    first = [
      one((top * a[:, None] if (a := self._seen(attention, side, top.shape[2])) is not None else top).mean((2, 3)))
      for side, one in enumerate(self.initial)
    ]
    estimates, drawn = [self._estimate(first, peaks)], []
    for level, features, refined in zip(system.refinements, self.features, self.refined, strict=True):
      last, seen = estimates[-1], maps[level]
      if system.attention == "rendered":
        drawn.append(self._drawn(last, seen.shape[2]))
      found = []
      for side in range(2):
        where = drawn[-1][:, side] if system.attention == "rendered" else self._seen(attention, side, seen.shape[2])
        told = (1 - side, side) if system.context == "both" else (side,)
        known = [last[key][:, one] for one in told for key in ("shape", "pose")]
        found.append(refined[side](torch.cat([*known, features[side](seen, where), relative], 1)))  # pyright: ignore[reportIndexIssue]
      estimates.append(self._estimate(found, peaks))
    out = {key: torch.stack([one[key] for one in estimates], 1) for key in estimates[0]}
    if not self.training:
      out["vertices"] = self.whole(self._turns(out["pose"][:, -1]), out["shape"][:, -1])[0]
    return out | {"relative": relative}

  def _seen(self, attention: Tensor, side: int, size: int) -> Tensor | None:
    if self.system.attention == "none":
      return None
    step, seen = attention.shape[-1] // size, attention[:, side]
    return seen[:, ::step, ::step] if self.system.heatmaps.head == "heatmap3d" else F.max_pool2d(seen, step)

  def _turns(self, pose: Tensor) -> Tensor:
    return hands.from_vectors((pose + self.mean_pose).unflatten(-1, (16, 3)))

  def _estimate(self, found: list[tuple[Tensor, Tensor]], peaks: Tensor) -> dict[str, Tensor]:
    pose, shape = (torch.stack(both, 1) for both in zip(*found, strict=True))
    if self.system.shared_shape:
      shape = shape.mean(1, keepdim=True).expand_as(shape)
    joints = self.tips(self._turns(pose), shape)[1]
    joints = joints - joints[..., MIDDLE1 : MIDDLE1 + 1, :]
    rest, camera = self.tips.rest_joints(shape), _fitted(joints.detach(), peaks)
    return {"pose": pose, "shape": shape, "joints": joints, "rest": rest, "camera": camera}

  def _drawn(self, last: dict[str, Tensor], size: int) -> Tensor:
    """Equation 3, [B, 2, size, size]."""
    places = last["camera"][..., None, :1] * last["joints"][..., :2] + last["camera"][..., None, 1:]
    cells = torch.arange(size, device=places.device)
    x, y = torch.exp(-((places[..., None] * size / self.system.grid - cells) ** 2) / (2 * _VARIANCE)).unbind(-2)
    return 1 - (1 - y[..., :, None] * x[..., None, :]).prod(2)

  def losses(self, batch: layers.Batch) -> dict[str, Tensor]:
    out, weights = self(batch), self.system.weights
    rest, shape, valid = out["rest"], out["shape"], batch["true_joints_valid"]
    unit = _length(rest[..., _MIDDLE, :] - rest[..., 0, :])
    joints, truth = out["joints"] / unit[..., None, None], batch["true_joints"]
    true_unit = _length(truth[..., MIDDLE1, :] - truth[..., skeleton.WRIST, :]).where(valid.any(-1), 1)
    relative_truth = (truth - truth[..., MIDDLE1 : MIDDLE1 + 1, :]) / true_unit[..., None, None]
    scale, shift = out["relative"][:, None, None, :1].exp(), out["relative"][:, None, None, 1:]
    apart = scale * (joints[:, :, schema.LEFT] + shift) - joints[:, :, schema.RIGHT]
    apart = torch.stack([apart, apart / scale], 2)
    truly = (truth[:, schema.LEFT] - truth[:, schema.RIGHT])[:, None] / true_unit[..., None, None]
    child, parent = np.arange(1, 16), skeleton.MANO_PARENTS[1:]
    bones = _length(rest[..., child, :] - rest[..., parent, :]) / unit[..., None]
    posed, known = (x[:, :, skeleton.MANO21_FROM_INTERHAND] for x in (truth, valid))
    true_bones = _length(posed[..., child, :] - posed[..., parent, :]) / true_unit[..., None]
    mask = valid[:, None, ..., None]
    terms = {
      "offset": ((apart - truly[:, None]).square() * valid.all(1)[:, None, None, :, None]),
      "consistency": (shape[:, :, 0] - shape[:, :, 1]).square() * batch["true_present"].all(-1)[:, None, None],
      "joint": (joints - relative_truth[:, None]).abs() * mask,
      "bone": (bones - true_bones[:, None]).square() * (known[..., child] & known[..., parent])[:, None],
      "shape": (shape - batch["true_shape"][:, None]).square() * batch["true_shape_valid"][:, None, :, None],
      "regulariser": torch.cat([0.1 * shape.square(), out["pose"][..., 3:].square()], -1),
    }
    return {"loss": sum((weights[name] * term.sum() for name, term in terms.items()), shape.new_zeros(())) / len(shape)}


def _fitted(joints: Tensor, peaks: Tensor) -> Tensor:
  """Scale and place of joints [..., 21, 3] in the picture, by least squares."""
  weight, points, cells = peaks[..., 2:].square(), joints[..., :2], peaks[..., :2]
  total = weight.sum(-2, keepdim=True).clamp(min=_FEW)
  centre, centre_cells = ((weight * x).sum(-2, keepdim=True) / total for x in (points, cells))
  a, b = points - centre, cells - centre_cells
  scale = (weight * a * b).sum((-2, -1)) / (weight * a * a).sum((-2, -1)).clamp(min=_FEW)
  return torch.cat([scale[..., None], centre_cells[..., 0, :] - scale[..., None] * centre[..., 0, :]], -1)


def _length(vectors: Tensor) -> Tensor:
  return vectors.square().sum(-1).clamp(min=1e-16).sqrt()


def build(system: ours.Intershape) -> IntershapeTwin:
  """The twin of this system.

  Raises:
    ValueError: a release, or a loss of the attention, of which there is no twin.
  """
  if system.release or system.attention_weight or system.camera != "fit":
    raise ValueError("there is a twin of the paper's Intershape alone: no release, no attention_weight, camera='fit'")
  return IntershapeTwin(system)
