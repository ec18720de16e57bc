"""One pose beside several annotations of its picture: how much the choice of the annotation decides; and density.

HandFlow's table 1: the mean joint error from the annotation that is nearest, and from the one that is farthest, each
under one alignment; of occluded joints alone as its RR*.
"""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp

from jaxhands import schema
from jaxhands.evaluation.metrics import distribution, pose
from jaxhands.evaluation.metrics.base import AVERAGES, Metric, Protocol, Quantity
from jaxhands.hands.model import HandModel

Which = Literal["closest", "farthest"]


def mpjpe_of_annotation(
  protocol: Protocol, model: HandModel, which: Which, alignment: distribution.Alignment, occluded: bool = False
) -> Metric:
  """Mean over pictures of the mean joint error (mm) from one annotation of each, of a system's one pose.

  Args:
    protocol: where the pose's depth comes from.
    model: of the annotations.
    which: annotation, by this error.
    alignment: under which poses are compared.
    occluded: only joints that are not visible (`pose.hidden`).
  """

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    lifted = distribution.pose(prediction, batch, protocol)
    hands = distribution.comparable(batch["hand_present"] & lifted.valid, alignment)
    joints = jnp.broadcast_to(hands[..., None], lifted.joints_cam.shape[:3])
    if occluded:
      joints &= pose.hidden(batch["joints_visible"])
    annotations = distribution.aligned(distribution.annotated_joints(model, batch), alignment)
    error = jnp.linalg.norm(annotations - distribution.aligned(lifted.joints_cam, alignment)[:, None], axis=-1)
    counted = joints.sum((1, 2))
    mean = jnp.where(joints[:, None], error, 0).sum((2, 3)) / jnp.maximum(counted, 1)[:, None]
    valid = batch["annotations_valid"]
    if which == "closest":
      found = jnp.where(valid, mean, jnp.inf).min(-1)
    else:
      found = jnp.where(valid, mean, -jnp.inf).max(-1)
    weight = valid.any(-1) & (counted > 0)
    return jnp.where(weight, found, 0), weight.astype(jnp.float32)

  name = f"mpjpe_{which}/{alignment}{'_occluded' if occluded else ''}"
  needs = distribution.ANNOTATED | distribution.pose_needs(protocol) | ({"joints_visible"} if occluded else set())
  quantity = Quantity(name.replace("/", "_"), fn, needs, distribution.pose_predicts(protocol))
  return Metric(name, "mm", quantity, AVERAGES["pooled"], optional=True)


def nll() -> Metric:
  """Mean over pictures of the mean negative log-density (nat) of a picture's annotations."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    valid = batch["annotations_valid"]
    count = valid.sum(-1)
    total = jnp.where(valid, -prediction["annotations_log_prob"], 0).sum(-1)
    return total / jnp.maximum(count, 1), (count > 0).astype(jnp.float32)

  quantity = Quantity("nll", fn, frozenset({"annotations_valid"}), frozenset({"annotations_log_prob"}))
  return Metric("nll", "nat", quantity, AVERAGES["pooled"], optional=True)
