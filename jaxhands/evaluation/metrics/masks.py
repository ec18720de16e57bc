"""Masks: intersection over union of what is whole, visible and invisible; boxes made of them; plain baselines.

A mask is where its probability is above one half. Pixels are counted over all examples before dividing, as segmentation
is measured (mmsegmentation's IoU of the foreground), so that a hand counts by its size, and pixels on a hand that is
not there count as wrong.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxhands import schema
from jaxhands.evaluation.metrics.base import Baseline, Metric, Quantity, pooled_mean
from jaxhands.geometry import crop

_AMODAL, _VISIBLE = 0, 1
KINDS = ("amodal", "visible", "invisible")
# Share of a hand that the other one hides: name -> above, up to. Hands that nothing hides are the first.
OCCLUSION = {"0": (-1.0, 0.0), "0-25": (0.0, 0.25), "25-50": (0.25, 0.5), "50-100": (0.5, 1.0)}
_DIRECTIONS = 96  # of the half planes whose intersection stands for a convex hull
_NEEDS = frozenset({"masks", "masks_valid"})
_PREDICTS = frozenset({"masks"})


def metrics() -> tuple[Metric, ...]:
  """All metrics of masks: of each kind for both hands, for each, and by how much of a hand is hidden; boxes, errors."""
  found = [_iou(f"iou/{kind}", kind) for kind in KINDS]
  for kind, (hand, name) in itertools.product(KINDS, enumerate(schema.HANDS)):
    found.append(_iou(f"iou/{kind}/{name}", kind, hand=hand))
  for kind, (name, (above, up_to)) in itertools.product(KINDS, OCCLUSION.items()):
    if kind != "invisible" or up_to > 0:
      found.append(_iou(f"iou/{kind}/hidden_{name}", kind, above=above, up_to=up_to))
  return (*found, box_iou(), mask_error())


def box_iou() -> Metric:
  """Mean intersection over union of the boxes of whole hands, as `geometry.crop.box_of_mask` makes them.

  0 for a hand that was not found, and for a box where no hand is.
  """
  quantity = Quantity("box_iou", _box_iou, _NEEDS, _PREDICTS)
  groups = ("all", "single", "interacting")
  return Metric("box_iou", "0..1", quantity, pooled_mean, groups, better="higher", optional=True)


def mask_error() -> Metric:
  """Mean over masks of the wrong pixels' share of the union, which is 1 - IoU of each."""
  quantity = Quantity("mask_error", _mask_error, _NEEDS, _PREDICTS)
  return Metric("mask_error", "share", quantity, pooled_mean, ("all", "single", "interacting"), optional=True)


def baselines() -> tuple[Baseline, ...]:
  """What needs no idea of hidden hands: a visible mask, taken as the whole hand or widened to its convex hull.

  Of the predicted visible masks, and of the true ones, which tell more than anyone can see. And an ellipse in the true
  box of each hand, as the mean pose stands at the true wrist.
  """
  rules = {"visible as amodal": lambda visible: visible, "convex hull": convex_hulls}
  of_whole = tuple(metric for metric in metrics() if metric.name.startswith(("iou/amodal", "iou/invisible", "box_iou")))
  of_shape = tuple(metric for metric in metrics() if metric.name.startswith(("iou/amodal", "iou/visible")))
  return (
    *(
      Baseline(
        f"{name}, {of}", functools.partial(_from_visible, rule, of == "true"), of_whole, _NEEDS, _PREDICTS,
        plain=of != "true",
      )
      for (name, rule), of in itertools.product(rules.items(), ("predicted", "true"))
    ),
    Baseline("ellipse in the true box", _ellipses, of_shape, _NEEDS, _PREDICTS),
  )  # fmt: skip


def convex_hulls(masks: Any) -> Any:
  """Convex hulls of masks [..., h, w], bool: the intersection of half planes in many directions around each mask.

  Exact at the mask's extreme points; between two of them it may stick out by a hundredth of their distance.
  """
  height, width = masks.shape[-2:]
  rows, columns = jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")
  angles = jnp.arange(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)

  def cut(inside: Any, angle: Any) -> tuple[Any, None]:
    along = columns * jnp.cos(angle) + rows * jnp.sin(angle)
    farthest = jnp.where(masks, along, -jnp.inf).max((-2, -1), keepdims=True)
    return inside & (along <= farthest + 1e-3), None

  return jax.lax.scan(cut, jnp.ones(masks.shape, bool), angles)[0]


def _from_visible(
  rule: Callable[[Any], Any], of_truth: bool, prediction: schema.Prediction, batch: schema.Batch
) -> schema.Prediction:
  visible = (batch if of_truth else prediction)["masks"][:, :, _VISIBLE] > 0.5
  return {"masks": jnp.stack([rule(visible), visible], axis=2).astype(jnp.float32)}


def _ellipses(_: schema.Prediction, batch: schema.Batch) -> schema.Prediction:
  """Each hand's largest ellipse within the box of its true whole mask; nothing of it is hidden."""
  truth = batch["masks"][:, :, _AMODAL] > 0
  box, there = crop.box_of_mask(truth)
  height, width = truth.shape[-2:]
  across = 2 * (jnp.arange(width) - box[..., :1] - box[..., 2:3] / 2) / (box[..., 2:3] + 1)
  down = 2 * (jnp.arange(height) - box[..., 1:2] - box[..., 3:] / 2) / (box[..., 3:] + 1)
  inside = (across[..., None, :] ** 2 + down[..., :, None] ** 2 <= 1) & there[..., None, None]
  return {"masks": jnp.stack([inside, inside], axis=2).astype(jnp.float32)}


def _iou(name: str, kind: str, hand: int | None = None, above: float = -1.0, up_to: float = 1.0) -> Metric:
  """Pixels in both over pixels in either, of one hand or both, of hands of which a certain share is hidden."""
  limited = (above, up_to) != (-1.0, 1.0)

  def reduce(counted: np.ndarray, weight: np.ndarray) -> float:
    if hand is not None:
      counted, weight = counted[:, hand], weight[:, hand]
    both, either, hidden = np.moveaxis(counted.astype(np.float64), -1, 0)
    chosen = weight * ((hidden > above) & (hidden <= up_to)) if limited else weight
    total = (either * chosen).sum()
    return float((both * chosen).sum() / total) if total > 0 else float("nan")

  quantity = Quantity(f"{kind}_pixels", functools.partial(_pixels, kind), _NEEDS, _PREDICTS)
  return Metric(name, "0..1", quantity, reduce, better="higher", optional=True)


def _pixels(kind: str, prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
  """[B, 2, 3]: shares of the map's pixels in both masks and in either, and the hidden share of the true hand.

  The last is -2 for a hand that is not there, which no range of it holds.
  """
  predicted, truth = (_of_kind(kind, masks > 0.5) for masks in (prediction["masks"], batch["masks"]))
  areas = batch["masks"].mean((3, 4), dtype=jnp.float32)
  whole, visible = areas[:, :, _AMODAL], areas[:, :, _VISIBLE]
  hidden = jnp.where(whole > 0, 1 - visible / jnp.where(whole > 0, whole, 1), -2)
  counts = (predicted & truth).mean((2, 3)), (predicted | truth).mean((2, 3)), hidden
  valid = batch["masks_valid"]
  counted = valid.all(-1) if kind == "invisible" else valid[:, :, KINDS.index(kind)]
  return jnp.where(counted[..., None], jnp.stack(counts, -1), 0), counted.astype(jnp.float32)


def _of_kind(kind: str, masks: Any) -> Any:
  """Masks [B, 2, 2, h, w] -> those of a kind [B, 2, h, w]."""
  if kind == "invisible":
    return masks[:, :, _AMODAL] & ~masks[:, :, _VISIBLE]
  return masks[:, :, KINDS.index(kind)]


def _mask_error(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
  predicted, truth = prediction["masks"] > 0.5, batch["masks"] > 0
  either = (predicted | truth).sum((3, 4))
  wrong = (predicted ^ truth).sum((3, 4))
  counted = batch["masks_valid"] & (either > 0)
  return jnp.where(counted, wrong / jnp.maximum(either, 1), 0), counted.astype(jnp.float32)


def _box_iou(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
  predicted, truth = prediction["masks"][:, :, _AMODAL] > 0.5, batch["masks"][:, :, _AMODAL] > 0
  (ours, found), (theirs, there) = crop.box_of_mask(predicted), crop.box_of_mask(truth)
  # From edge to edge of the pixels, so that the box of a single one has a size.
  ours, theirs = (box + jnp.array([0, 0, 1, 1]) for box in (ours, theirs))
  low = jnp.maximum(ours[..., :2], theirs[..., :2])
  high = jnp.minimum(ours[..., :2] + ours[..., 2:], theirs[..., :2] + theirs[..., 2:])
  shared = jnp.maximum(high - low, 0).prod(-1)
  either = ours[..., 2:].prod(-1) + theirs[..., 2:].prod(-1) - shared
  counted = batch["masks_valid"][:, :, _AMODAL] & (found | there)
  return jnp.where(counted & found & there, shared / either, 0), counted.astype(jnp.float32)
