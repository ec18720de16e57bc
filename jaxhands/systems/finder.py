"""Finds the hands of a whole picture: a box around each, and which hand it is; for `predict --finder`.

Of no paper. A small ResNet whose maps of strides 32, 16 and 8 are added up. For each cell of 8 px it says whether the
middle of a hand's box is there, how far it is from there to the four sides of the box, and whether it is a right hand:
centres as heatmaps (CenterNet, Zhou et al., 2019), sides by distances (FCOS, Tian et al., 2019), learnt where the
heatmap's target is large (TTFNet, Liu et al., 2020). Boxes are those of `box_img`: the joints' tight box x 1.2, also
beyond the picture.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxhands import losses, schema
from jaxhands.data import augment, colour, host_ops, rough
from jaxhands.geometry import arrays, boxes, crop
from jaxhands.models.backbones.resnet import ResNet
from jaxhands.models.conv import Conv, ConvNorm
from jaxhands.models.pooling import max_pool
from jaxhands.models.resize import enlarge_nearest
from jaxhands.systems import base, construct

_PARTS = ("backbone", "neck", "head")
_STRIDE = 32  # of the backbone
_CELL_PX = 8
_PRIOR = 0.01  # probability of a hand in each cell when training begins
_SPREAD = 0.12  # deviation of a target's Gaussian, share of the box's side
_SPREAD_CELLS = 0.6  # and at least
_SMALLEST_PX = 16.0  # longer side of a hand's box; of smaller ones, whose fingers nobody sees, nothing is asked
_SHOWN = 0.6  # share of its joints that a hand has in the crop; of others nothing is asked
_LEARNT = 0.2  # of the target from which on distances and side are learnt
_LARGEST = 6.0  # exponent of distances
_NEAR, _NEAR_SIDES, _NEAR_SHIFT = 0.4, (1.1, 4.5), 0.35
_PART, _PART_SIDES = 0.2, (0.35, 0.8)


@dataclasses.dataclass(frozen=True)
class Whole:
  """Looks at the whole picture, where its hands are annotated; elsewhere, in prediction, at the box that it is told."""

  deterministic: ClassVar[bool] = True

  def __call__(self, example: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    if not example["joints_img_valid"].any():
      return example
    height, width = _picture_hw(example)
    return example | {"box_img": np.array([-0.5, -0.5, width, height], np.float32)}


@dataclasses.dataclass(frozen=True)
class Windows:
  """Now and then looks at a part of the picture, around a hand or anywhere, as the predictor's second look does."""

  def __call__(self, example: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    extent = np.array(_picture_hw(example)[::-1], np.float64)
    hands = np.flatnonzero(example["joints_img_valid"].sum(1) > 1)  # a single joint has no size
    kind = rng.random()
    if kind < _NEAR and len(hands):
      hand = int(rng.choice(hands))
      box = np.asarray(crop.box_around(example["joints_img"][hand], example["joints_img_valid"][hand]), np.float64)
      side = max(box[2:].max(), _SMALLEST_PX) * np.exp(rng.uniform(*np.log(_NEAR_SIDES)))
      centre = box[:2] + box[2:] / 2 + rng.uniform(-_NEAR_SHIFT, _NEAR_SHIFT, 2) * side
    elif kind < _NEAR + _PART:
      side = extent.max() * rng.uniform(*_PART_SIDES)
      centre = rng.uniform(0, extent)
    else:
      return example
    centre = np.clip(centre, 0, extent)
    return example | {"box_img": np.array([*(centre - side / 2), side, side], np.float32)}


def _picture_hw(example: Mapping[str, Any]) -> tuple[int, int]:
  """Of the picture as it was before it was decoded smaller."""
  height, width = example["picture"].shape[:2]
  return height * example["reduction"], width * example["reduction"]


class Neck(nn.Module):
  """Adds up maps of strides 32, 16 and 8, and smooths the sum."""

  features: int
  dtype: jnp.dtype | type
  bn_groups: int

  @nn.compact
  def __call__(self, maps: Mapping[str, Float[Array, "b h w c"]], train: bool) -> Float[Array, "b p q d"]:
    shared = {"dtype": self.dtype, "bn_groups": self.bn_groups}
    x = ConvNorm(self.features, 1, relu=False, name="layer4", **shared)(maps["layer4"], train)
    for name in ("layer3", "layer2"):
      own = ConvNorm(self.features, 1, relu=False, name=name, **shared)(maps[name], train)
      x = nn.relu(enlarge_nearest(x, 2) + own)
    return ConvNorm(self.features, 3, name="smooth", **shared)(x, train)


class Head(nn.Module):
  """Scores of each cell."""

  features: int
  dtype: jnp.dtype | type
  bn_groups: int

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> dict[str, Float[Array, "b h w *k"]]:
    """ "hand" and "right" [b, h, w]; "sides" [b, h, w, 4], logarithms of cells to left, top, right, bottom."""
    x = ConvNorm(self.features, 3, name="hidden", dtype=self.dtype, bn_groups=self.bn_groups)(x, train)

    def prior(key: jax.Array, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
      return jnp.zeros(shape, dtype).at[0].set(np.log(_PRIOR / (1 - _PRIOR)))

    init = nn.initializers.normal(0.01)
    out = Conv(6, 1, dtype=self.dtype, kernel_init=init, bias_init=prior, name="out")(x).astype(jnp.float32)
    return {"hand": out[..., 0], "right": out[..., 1], "sides": jnp.clip(out[..., 2:] + 1.0, -_LARGEST, _LARGEST)}


class Network(nn.Module):
  """Backbone, neck and head as the fields of a system say; the backbone begins as for training from scratch (He)."""

  of: Finder

  @nn.compact
  def __call__(self, image: Float[Array, "b h w 3"], train: bool) -> dict[str, jax.Array]:
    """Scores of the cells of 8 px, as `Head` gives them, for a normalised image."""

    of = self.of
    training = base.training(of, train)
    shared = {"dtype": of.dtype, "bn_groups": of.bn_groups}
    maps = ResNet(of.depth, of.width, name="backbone", **shared)(image, training("backbone"))
    summed = Neck(of.features, name="neck", **shared)(maps, training("neck"))
    return Head(of.features, name="head", **shared)(summed, training("head"))


@dataclasses.dataclass(frozen=True)
class Finder(base.Defaults):
  """The system; see `configs/finder.py` for the sizes.

  Attributes:
    crop_hw: size of the input in px, a multiple of 32.
    depth, width: of the ResNet.
    features: channels of neck and head.
    candidates: boxes that a prediction has.
    box_weight, side_weight: of these losses.
    rough: see `configs.base`, `data`.
    augmentation: of crops in training.
    dtype: of the network's arithmetic; losses and boxes stay float32.
    bn_groups: see `models.norm.BatchNorm`.
    frozen: parts whose norm stays in evaluation mode; the trainer keeps their variables.
  """

  crop_hw: tuple[int, int] = (160, 160)
  depth: int = 18
  width: int = 16
  features: int = 48
  candidates: int = 6
  box_weight: float = 1.0
  side_weight: float = 0.5
  rough: bool = False
  augmentation: augment.Augmentation = augment.FINDER
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1
  frozen: tuple[str, ...] = ()

  view = "pair"
  needs = frozenset({"image", "crop_from_img", "joints_img", "joints_img_valid"})

  def __post_init__(self):
    if self.crop_hw[0] % _STRIDE or self.crop_hw[1] % _STRIDE:
      raise ValueError(f"crop_hw={self.crop_hw} is not a multiple of {_STRIDE}, the stride of the backbone")
    if self.candidates < 1:
      raise ValueError(f"candidates={self.candidates}: a prediction has at least one box")
    base.check_frozen(self, _PARTS)

  @property
  def network(self) -> Network:
    return Network(self)

  @property
  def grid_hw(self) -> tuple[int, int]:
    return self.crop_hw[0] // _CELL_PX, self.crop_hw[1] // _CELL_PX

  @property
  def objectives(self) -> tuple[base.Objective, ...]:
    return (base.Objective("boxes", _PARTS, fn=self.loss),)

  def host_ops(self, train: bool) -> tuple[base.HostOp, ...]:
    """The whole picture; in training a part of it now and then, with `augmentation`."""
    to_view, decode, cut = host_ops.crop_ops(
      self.crop_hw, augmentation=self.augmentation if train else None, box_factor=1.0
    )
    return (to_view, decode, Whole(), *((Windows(),) if train else ()), cut)

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    """`image` normalised with ImageNet's mean and deviation; in training changed in colour, with `targets`."""
    image = batch["image"].astype(jnp.float32) / 255
    if train:
      image = colour.photometric(image, rng)
      if self.rough:
        image = rough.roughened(image, jax.random.fold_in(rng, 1))
    return {**batch, "image": colour.normalise(image)} | (self.targets(batch) if train else {})

  # ---- learning -------------------------------------------------------------------

  def targets(self, batch: schema.Batch) -> dict[str, Any]:
    """What the losses compare with.

    Returns:
      "hand" [B, h, w]: 1 at the middle of each hand's box, falling off as a Gaussian; "asked" [B, h, w]: False around
      hands that are too small or only partly there; "boxes" [B, h, w, 4]: the box of each cell's hand in px of the
      crop; "right" [B, h, w]: it is a right one.
    """
    joints = crop.apply_affine(batch["crop_from_img"], batch["joints_img"])
    valid = batch["joints_img_valid"]
    box = jnp.asarray(crop.box_around(joints, valid))
    low, high = box[..., :2], box[..., :2] + box[..., 2:]
    within = crop.inside(joints, self.crop_hw) & valid
    middle = (low + high) / 2
    there = valid.any(-1) & (box[..., 2:].max(-1) > 0)
    whole = (within.sum(-1) >= _SHOWN * valid.sum(-1)) & (box[..., 2:].max(-1) >= _SMALLEST_PX)
    counted = there & whole & crop.inside(middle, self.crop_hw)

    rows, columns = (_centres(count) for count in self.grid_hw)
    cell = jnp.stack(jnp.broadcast_arrays(columns[None, :], rows[:, None]), -1)  # [h, w, 2], px
    spread = jnp.maximum(_SPREAD * box[..., 2:], _SPREAD_CELLS * _CELL_PX)
    # The middle's own cell has the full height.
    nearest = jnp.floor((middle + 0.5) / _CELL_PX) * _CELL_PX + (_CELL_PX - 1) / 2
    off = (cell - nearest[:, :, None, None]) / spread[:, :, None, None]
    height = jnp.where(counted[..., None, None], jnp.exp(-0.5 * jnp.square(off).sum(-1)), 0)  # [B, 2, h, w]
    inside = ((cell >= low[:, :, None, None] - _CELL_PX) & (cell <= high[:, :, None, None] + _CELL_PX)).all(-1)
    unasked = (inside & (there & ~counted)[..., None, None]).any(1)
    right = height[:, schema.RIGHT] >= height[:, schema.LEFT]
    spread_out = box[:, :, None, None]
    return {
      "hand": height.max(1),
      "asked": ~unasked | (height.max(1) > _LEARNT),
      "boxes": jnp.where(right[..., None], spread_out[:, schema.RIGHT], spread_out[:, schema.LEFT]),
      "right": right,
    }

  def loss_values(self, out: Mapping[str, Any], batch: schema.Batch) -> dict[str, Float[Array, " b"]]:
    """The terms of each example, from the network's scores and a batch with `targets`.

    "centre" is CenterNet's focal loss, a sum over the cells for each hand, or of an example without hands; "box" is
    1 - IoU, and "side" the cross-entropy of which hand it is, both means weighted by the target.
    """
    target, asked = batch["hand"], batch["asked"]
    peaks = (target >= 1) & asked
    prob = jax.nn.sigmoid(out["hand"])
    missed = jnp.where(peaks, jnp.square(1 - prob) * jax.nn.softplus(-out["hand"]), 0)
    false = jnp.where(~peaks & asked, (1 - target) ** 4 * jnp.square(prob) * jax.nn.softplus(out["hand"]), 0)
    centre = (missed + false).sum((1, 2)) / jnp.maximum(peaks.sum((1, 2)), 1)
    weight = jnp.where(target > _LEARNT, target, 0)
    total = jnp.maximum(weight.sum((1, 2)), 1e-6)
    iou = boxes.iou(self.boxes(out["sides"]), batch["boxes"])
    entropy = losses.binary_cross_entropy(out["right"], batch["right"].astype(jnp.float32), weight > 0)
    return {
      "centre": centre,
      "box": self.box_weight * (weight * (1 - iou)).sum((1, 2)) / total,
      "side": self.side_weight * (weight * entropy).sum((1, 2)) / total,
    }

  # ---- predicting -----------------------------------------------------------------

  def boxes(self, sides: Float[arrays.Array, "b h w 4"]) -> Float[jax.Array, "b h w 4"]:
    """Each cell's box [x, y, width, height], px of the crop, from the logarithms of the distances of its sides."""
    rows, columns = (_centres(count) for count in sides.shape[1:3])
    cell = jnp.stack(jnp.broadcast_arrays(columns[None, :], rows[:, None]), -1)
    distance = jnp.exp(sides) * _CELL_PX
    return jnp.concatenate([cell - distance[..., :2], distance[..., :2] + distance[..., 2:]], -1)

  def predict(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    """`boxes` of the highest peaks of the heatmap, highest first, and `boxes_prob` of a right and a left hand."""
    out: Any = self.network.apply(variables, batch["image"], False)
    prob = jax.nn.sigmoid(out["hand"])
    highest = max_pool(prob[..., None], 3, 1, 1)[..., 0]
    peaks = jnp.where(prob >= highest, prob, 0).reshape(len(prob), -1)
    score, at = jax.lax.top_k(peaks, self.candidates)
    boxes = jnp.take_along_axis(self.boxes(out["sides"]).reshape(len(prob), -1, 4), at[..., None], 1)
    right = jnp.take_along_axis(jax.nn.sigmoid(out["right"]).reshape(len(prob), -1), at, 1)
    return {"boxes": boxes, "boxes_prob": jnp.stack([score * right, score * (1 - right)], -1)}


def _centres(count: int) -> np.ndarray:
  """Crop pixels at which the cells' middles lie."""
  return np.arange(count, dtype=np.float32) * _CELL_PX + (_CELL_PX - 1) / 2


def build(config: Any) -> Finder:
  """The system that `config.system` describes; see `construct.from_fields`."""
  return construct.from_fields(Finder, config)
