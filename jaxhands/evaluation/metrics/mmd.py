"""Maximum mean discrepancy (Gretton et al., JMLR 2012) of a system's samples from several annotations of a picture.

The paper (HandFlow, section 5.4) averages over scales of a Gaussian kernel, and gives neither scales nor form. Here,
with d^2(x, y) the mean over the joints of their squared distances and s the scales 10, 20, 50, 100, 200, 500 mm,

    k_s(x, y) = exp(-d^2(x, y) / 2 s^2)
    MMD_s^2   = mean k_s(x, x') + mean k_s(y, y') - 2 mean k_s(x, y)      over all pairs, equal ones too (V-statistic)
    MMD       = mean over s of sqrt(max(MMD_s^2, 0))                      of each picture; then the mean over pictures
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from jaxhands import schema
from jaxhands.evaluation.metrics import distribution
from jaxhands.evaluation.metrics.base import AVERAGES, Metric, Protocol, Quantity
from jaxhands.geometry.arrays import Array, einsum
from jaxhands.hands.model import HandModel

SCALES_MM = (10.0, 20.0, 50.0, 100.0, 200.0, 500.0)


def mmd(protocol: Protocol, model: HandModel, alignment: distribution.Alignment) -> Metric:
  """MMD under an alignment, 0 (the same distribution) to 1.41 (two poses far from each other)."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    samples, known = distribution.samples(prediction, batch, protocol)
    hands = distribution.comparable(batch["hand_present"] & known, alignment)
    valid = batch["annotations_valid"]
    annotations = distribution.annotated_joints(model, batch)
    found = discrepancy(
      distribution.aligned(samples, alignment), distribution.aligned(annotations, alignment), hands, valid
    )
    counted = hands.any(-1) & valid.any(-1)
    return jnp.where(counted, found, 0), counted.astype(jnp.float32)

  needs = distribution.ANNOTATED | distribution.pose_needs(protocol)
  quantity = Quantity(f"mmd_{alignment}", fn, needs, distribution.pose_predicts(protocol))
  return Metric(f"mmd/{alignment}", "", quantity, AVERAGES["pooled"], optional=True)


def discrepancy(
  samples: Float[Array, "b s 2 21 3"],
  annotations: Float[Array, "b a 2 21 3"],
  hands: Bool[Array, "b 2"],
  valid: Bool[Array, "b a"],
) -> Float[jax.Array, " b"]:
  """The module's MMD of each picture, of poses in mm that are aligned already.

  Args:
    samples: of the system, all of the same weight.
    annotations: the other set.
    hands: whose joints count.
    valid: annotations that exist; of a picture without any the value means nothing.
  """
  share = valid / jnp.maximum(valid.sum(-1, keepdims=True), 1)
  annotations = jnp.where(valid[..., None, None, None], annotations, 0)
  # Near the origin: squares of metres would take from float32 the millimetres that count.
  centre = einsum("ba,bahjc->bhjc", share, annotations)[:, None]
  counted = jnp.sqrt(hands / jnp.maximum(schema.NUM_JOINTS * hands.sum(-1, keepdims=True), 1))[:, None, :, None, None]
  both = [
    jnp.where(counted > 0, poses - centre, 0) * counted
    for poses in (samples, jnp.where(valid[..., None, None, None], annotations, centre))
  ]
  points = jnp.concatenate(both, axis=1).reshape(len(hands), -1, 2 * schema.NUM_JOINTS * 3)
  signed = jnp.concatenate([jnp.full(samples.shape[:2], 1 / samples.shape[1]), -share], axis=1)
  squares = jnp.square(points).sum(-1)
  products = einsum("bid,bjd->bij", points, points)
  distances = jnp.maximum(squares[:, :, None] + squares[:, None] - 2 * products, 0)
  # MMD^2 is w K w of both sets together, with the weights of one of them negative.
  weights = signed[:, :, None] * signed[:, None]
  found = [(weights * jnp.exp(distances * (-0.5 / (s * s)))).sum((1, 2)) for s in SCALES_MM]
  return jnp.mean(jnp.sqrt(jnp.maximum(jnp.stack(found), 0)), axis=0)
