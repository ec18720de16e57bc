"""Boxes [x, y, width, height] beside each other; for NumPy and JAX."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxhands.geometry.arrays import Array, namespace


def iou(a: Float[Array, "*#b 4"], b: Float[Array, "*#b 4"]) -> Float[Array, "*b"]:
  """Intersection over union of two boxes; 0 of a box without area."""
  xp = namespace(a, b)
  low = xp.maximum(a[..., :2], b[..., :2])
  high = xp.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
  shared = xp.maximum(high - low, 0).prod(-1)
  either = a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - shared
  return xp.where(either > 0, shared / xp.where(either > 0, either, 1), 0)


def distinct(boxes: Float[np.ndarray, "n 4"], prob: Float[np.ndarray, " n"], most_iou: float) -> list[int]:
  """Which boxes stay, likeliest first, when each one takes away those that share more than `most_iou` with it."""
  kept: list[int] = []
  for index in np.argsort(-prob, kind="stable"):
    if not kept or iou(boxes[kept], boxes[index]).max() <= most_iou:
      kept.append(int(index))
  return kept
