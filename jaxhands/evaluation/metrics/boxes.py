"""Hands found in whole pictures: recall of their boxes, boxes where no hand is, and whether the side is right.

A hand counts if the picture shows its middle and most of its joints. It is found if a box that is likelier than not
shares enough with its own, which is that of its joints x 1.2 (`box_img`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxhands import schema
from jaxhands.evaluation.metrics.base import Baseline, Metric, Quantity, pooled_mean
from jaxhands.geometry import boxes, crop

LIKELY = 0.5  # probability of a hand from which on a box counts
SAME, NEAR, OTHER = 0.5, 0.3, 0.1  # intersection over union: found, loosely found, and below which a box is false
# Longer side of a hand's box as a share of the crop's: name -> from, up to.
SIZES = {"small": (0.0, 0.1), "middle": (0.1, 0.25), "large": (0.25, np.inf)}
_SHOWN = 0.6  # share of a hand's joints
_NEEDS = frozenset({"image", "crop_from_img", "joints_img", "joints_img_valid"})
_PREDICTS = frozenset({"boxes", "boxes_prob"})
_GROUPS = ("all", "single", "interacting")


def metrics() -> tuple[Metric, ...]:
  """Recall, loose recall, recall by size, side of hands that are found, error of boxes, false boxes, alarms."""
  own = Quantity("box_overlap", _overlaps, _NEEDS, _PREDICTS)
  false, alarm = (
    Quantity(name, functools.partial(_false, name == "alarms"), _NEEDS, _PREDICTS) for name in ("false_boxes", "alarms")
  )
  shown = {"quantity": own, "better": "higher", "optional": True}
  return (
    Metric("box_recall", "share", reduce=_share(SAME), groups=_GROUPS, **shown),
    Metric("box_recall_loose", "share", reduce=_share(NEAR), groups=_GROUPS, **shown),
    *(Metric(f"box_recall/{name}", "share", reduce=_share(SAME, *limits), **shown) for name, limits in SIZES.items()),
    Metric("box_side", "share", reduce=_side, groups=_GROUPS, **shown),
    Metric(
      "box_error", "share", Quantity("box_error", _errors, _NEEDS, _PREDICTS), pooled_mean, _GROUPS, optional=True
    ),
    Metric("false_boxes", "per picture", false, pooled_mean, optional=True),
    Metric("alarms", "share", alarm, pooled_mean, optional=True),
  )


def baselines() -> tuple[Baseline, ...]:
  """The whole picture as the box of a hand, which finds those that fill it."""
  recalls = tuple(metric for metric in metrics() if metric.name.startswith("box_recall"))
  return (Baseline("whole picture", _whole, recalls, _NEEDS, _PREDICTS),)


def _whole(prediction: schema.Prediction, batch: schema.Batch) -> schema.Prediction:
  height, width = batch["image"].shape[1:3]
  box = jnp.array([-0.5, -0.5, width, height], jnp.float32)
  shape = prediction["boxes_prob"].shape
  return {"boxes": jnp.broadcast_to(box, (*shape[:2], 4)), "boxes_prob": jnp.full(shape, 0.5)}


def _truth(batch: schema.Batch) -> tuple[Any, Any, Any]:
  """Boxes [B, 2, 4] in px of the crop, whether there is a hand, and whether it counts."""
  joints = crop.apply_affine(batch["crop_from_img"], batch["joints_img"])
  valid, crop_hw = batch["joints_img_valid"], batch["image"].shape[1:3]
  box = crop.box_around(joints, valid)
  there = valid.any(-1)
  shown = (crop.inside(joints, crop_hw) & valid).sum(-1) >= _SHOWN * valid.sum(-1)
  return box, there, there & shown & crop.inside(box[..., :2] + box[..., 2:] / 2, crop_hw)


def _overlaps(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
  """[B, 2, 3] of each hand: IoU of the best likely box, its longer side, and whether the box says the same side."""
  box, _, counted = _truth(batch)
  prob = prediction["boxes_prob"]
  iou = boxes.iou(prediction["boxes"][:, None], box[:, :, None])  # [B, 2, K]
  iou = jnp.where((prob.sum(-1) >= LIKELY)[:, None], iou, 0)
  best = iou.argmax(-1)  # [B, 2]
  right = jnp.take_along_axis(prob[..., 0] > prob[..., 1], best, 1)
  same = right == (jnp.arange(2) == schema.RIGHT)
  size = box[..., 2:].max(-1) / max(batch["image"].shape[1:3])
  value = jnp.stack([iou.max(-1), size, same.astype(jnp.float32)], -1)
  return jnp.where(counted[..., None], value, 0), counted.astype(jnp.float32)


def _errors(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
  """1 - IoU of the best likely box of each hand, [B, 2]."""
  value, weight = _overlaps(prediction, batch)
  return jnp.where(weight > 0, 1 - value[..., 0], 0), weight


def _false(whole_picture: bool, prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
  """Of each picture the number of likely boxes on no hand; or, of those without hands, whether there is any."""
  box, there, _ = _truth(batch)
  iou = jnp.where(there[:, None], boxes.iou(prediction["boxes"][:, :, None], box[:, None]), 0)  # [B, K, 2]
  false = ((prediction["boxes_prob"].sum(-1) >= LIKELY) & (iou.max(-1) < OTHER)).sum(-1).astype(jnp.float32)
  if not whole_picture:
    return false, jnp.ones(false.shape, jnp.float32)
  return jnp.minimum(false, 1), (~there.any(-1)).astype(jnp.float32)


def _share(least: float, above: float = 0.0, up_to: float = np.inf) -> Callable[[np.ndarray, np.ndarray], float]:
  """Share of hands, of some size, whose box is found."""

  def reduce(value: np.ndarray, weight: np.ndarray) -> float:
    chosen = weight * ((value[..., 1] >= above) & (value[..., 1] < up_to))
    return pooled_mean((value[..., 0] >= least).astype(np.float32), chosen)

  return reduce


def _side(value: np.ndarray, weight: np.ndarray) -> float:
  return pooled_mean(value[..., 2], weight * (value[..., 0] >= SAME))
