"""Intershape's loss terms: equations 4 to 9, the attention's and a predicted camera's.

Where paper and releases differ: `systems.intershape`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxhands import losses, schema
from jaxhands.geometry.attention import joint_attention
from jaxhands.hands import skeleton
from jaxhands.models import intershape as models
from jaxhands.models.intershape import MIDDLE1

_TINY = 1e-8  # v2's bound of lengths that are divided by
_MCP, _ROOT = 4, 0  # base of the middle finger and wrist among MANO's joints
WEIGHTS = {"offset": 1.0, "consistency": 0.01, "joint": 10.0, "bone": 100.0, "shape": 0.1}  # equation 10
# At the mean shape and pose, where training begins, the paper's weights leave little to these.
STARTS_SMALL = {
  "consistency": "both hands begin with the mean shape",
  "bone": "the mean shape's bones are nearly right",
  "shape": "the paper's weight; what a picture says of shapes is little",
  "regulariser": "hands begin with the mean pose and shape, which it draws to",
}
KEYPOINT_WEIGHT = 0.1  # v1's settings; a predicted camera has no other teacher


def terms(out: Mapping[str, Any], targets: Mapping[str, Any], v2: bool) -> dict[str, Float[Array, " b"]]:
  """Equations 4 to 9 of each example: sums over all estimates, joints and coordinates, without weights.

  Args:
    out: `HandRegression`'s estimates; lengths in mm.
    targets: of `Intershape.targets`.
    v2: the second release's regulariser.
  Returns:
    "offset", "consistency", "joint", "bone", "shape" and "regulariser" [B]; lengths are multiples of a hand's bone from
    the wrist to the base of the middle finger.
  """
  rest, shape, fingers = out["rest_joints"], out["shape"], out["pose"][..., 3:]
  own_length = jnp.maximum(length(rest[..., _MCP, :] - rest[..., _ROOT, :]), _TINY)
  unit = out["joints"] / own_length[..., None, None]
  joints, valid = targets["joints"], targets["joints_valid"]
  true_length = length(joints[..., MIDDLE1, :] - joints[..., skeleton.WRIST, :])
  true_length = jnp.where(valid.any(-1), jnp.maximum(true_length, _TINY), 1)
  truth = (joints - joints[..., MIDDLE1 : MIDDLE1 + 1, :]) / true_length[..., None, None]

  scale, shift = jnp.exp(out["relative"][:, None, None, :1]), out["relative"][:, None, None, 1:]
  apart = scale * (unit[:, :, schema.LEFT] + shift) - unit[:, :, schema.RIGHT]  # by the right hand's unit
  apart = jnp.stack([apart, apart / scale], axis=2)
  truly = (joints[:, schema.LEFT] - joints[:, schema.RIGHT])[:, None] / true_length[..., None, None]
  both = jnp.broadcast_to(valid.all(1, keepdims=True), valid.shape)

  child, parent = np.arange(1, 16), skeleton.MANO_PARENTS[1:]
  posed, known = joints[:, :, skeleton.MANO21_FROM_INTERHAND], valid[:, :, skeleton.MANO21_FROM_INTERHAND]
  bones = length(rest[..., child, :] - rest[..., parent, :]) / own_length[..., None]
  true_bones = length(posed[..., child, :] - posed[..., parent, :]) / true_length[..., None]

  if v2:  # only the right hand's global rotation is left out
    pose = jnp.square(out["pose"]).sum((1, 2, 3)) - jnp.square(out["pose"][:, :, schema.RIGHT, :3]).sum((1, 2))
    regulariser = jnp.square(shape).sum((1, 2, 3)) + 0.1 * pose
  else:
    regulariser = 0.1 * jnp.square(shape).sum((1, 2, 3)) + jnp.square(fingers).sum((1, 2, 3))
  difference = shape[:, :, schema.RIGHT] - shape[:, :, schema.LEFT]
  return {
    "offset": _summed(losses.squared_error, apart, truly, both),
    "consistency": _summed(
      losses.squared_error, difference, jnp.zeros_like(difference[:, 0]), targets["present"].all(-1)
    ),
    "joint": _summed(losses.absolute_error, unit, truth, valid),
    "bone": _summed(losses.squared_error, bones, true_bones, known[..., child] & known[..., parent]),
    "shape": _summed(losses.squared_error, shape, targets["shape"], targets["shape_valid"]),
    "regulariser": regulariser,
  }


def attention_error(out: Mapping[str, Any], targets: Mapping[str, Any], grid: int) -> Float[jax.Array, " b"]:
  """Mean square of each map's difference from equation 3 of the true joints, summed over hands and refinements."""
  seen = targets["cells_valid"].all(-1)
  errors = []
  for drawn in out["attention"]:
    size = drawn.shape[-1]
    true = joint_attention(targets["cells"] * np.float32(size / grid), size)
    errors.append(jnp.where(seen, jnp.square(drawn - true).mean((2, 3)), 0).sum(-1))
  return sum(errors, jnp.zeros(len(seen)))


def keypoint_error(out: Mapping[str, Any], targets: Mapping[str, Any]) -> Float[jax.Array, " b"]:
  """Absolute differences of the joints as a predicted camera shows them, in cells of the heatmaps."""
  shown = models.projected(out["joints"], out["camera"])
  return _summed(losses.absolute_error, shown, targets["cells"], targets["cells_valid"])


def length(vectors: Float[Array, "*b 3"]) -> Float[jax.Array, "*b"]:
  """Euclidean, with gradient 0 at 0."""
  squares = jnp.square(vectors).sum(-1)
  return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


def _summed(error: Any, predicted: jax.Array, truth: jax.Array, counted: jax.Array) -> jax.Array:
  """Sum [B] of an error of `losses` over all estimates [B, S, ...] and what of the truth [B, ...] counts."""
  mask = counted[:, None].reshape(len(counted), 1, *counted.shape[1:], *(1,) * (truth.ndim - counted.ndim))
  shape = predicted.shape
  found = error(predicted, jnp.broadcast_to(truth[:, None], shape), jnp.broadcast_to(mask, shape))
  return found.sum(tuple(range(1, found.ndim)))
