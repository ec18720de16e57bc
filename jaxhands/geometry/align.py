"""Closed-form alignments: similarity between point sets (Procrustes), weak-perspective camera to 2D points."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float

from jaxhands.geometry.arrays import Array, matmul, namespace


def _weighted_means(weight: Any, *points: Any) -> list[Any]:
  """Means over the points' axis, [*b, 1, C]; 0 where no point has weight."""
  xp = namespace(weight, *points)
  total = weight.sum(-1)[..., None, None]
  share = weight[..., None] / xp.where(total == 0, 1, total)
  return [(share * p).sum(-2, keepdims=True) for p in points]


def procrustes(
  points: Float[Array, "*b N 3"], target: Float[Array, "*b N 3"], weight: Float[Array, "*b N"] | None = None
) -> Float[Array, "*b N 3"]:
  """`points` after the similarity (scale, rotation without mirror, translation) that brings them nearest to `target`.

  Least squares, weighted by `weight` (e.g. validity); without any weight, zeros.
  """
  xp = namespace(points, target)
  weights: Any = xp.ones_like(points[..., 0]) if weight is None else weight
  center, target_center = _weighted_means(weights, points, target)
  a, b = points - center, target - target_center
  spread = (weights * (a * a).sum(-1)).sum(-1)
  turn, fit = _turn(a, b, weights)
  scale = fit / xp.where(spread == 0, 1, spread)
  return scale[..., None, None] * matmul(a, turn) + target_center


def rigid(
  points: Float[Array, "*b N 3"], target: Float[Array, "*b N 3"], weight: Float[Array, "*b N"]
) -> tuple[Float[Array, "*b 3 3"], Float[Array, "*b 3"]]:
  """Rotation R and shift t with which R p + t of `points` lie nearest to `target`, by weighted least squares."""
  center, target_center = _weighted_means(weight, points, target)
  turn = _turn(points - center, target - target_center, weight)[0].swapaxes(-1, -2)
  return turn, (target_center - matmul(center, turn.swapaxes(-1, -2)))[..., 0, :]


def _turn(a: Any, b: Any, weight: Any) -> tuple[Any, Any]:
  """T [*b, 3, 3] without mirror that makes the rows a T nearest to b, and the weighted sum of a T . b."""
  xp = namespace(a, b)
  u, values, vt = xp.linalg.svd(matmul((weight[..., None] * a).swapaxes(-1, -2), b))
  mirrored = xp.sign(xp.linalg.det(u) * xp.linalg.det(vt))
  signs = xp.stack([xp.ones_like(mirrored), xp.ones_like(mirrored), mirrored], axis=-1)
  return matmul(u * signs[..., None, :], vt), (values * signs).sum(-1)


def reconstruction_error(
  points: Float[Array, "*b N 3"], target: Float[Array, "*b N 3"], weight: Float[Array, "*b N"] | None = None
) -> Float[Array, " *b"]:
  """Mean distance after `procrustes`, over points with weight: PA-MPJPE in the points' unit."""
  xp = namespace(points, target)
  weights: Any = xp.ones_like(points[..., 0]) if weight is None else weight
  distance = xp.sqrt(((procrustes(points, target, weights) - target) ** 2).sum(-1))
  total = weights.sum(-1)
  return (weights * distance).sum(-1) / xp.where(total == 0, 1, total)


def weak_perspective(
  points: Float[Array, "*b N 3"], points_img: Float[Array, "*b N 2"], confidence: Float[Array, "*b N"]
) -> Float[Array, "*b 3"]:
  """(s, tx, ty) minimising sum_j c_j^2 |s (X_j, Y_j) + (tx, ty) - (x_j, y_j)|^2 (Intershape's camera fit).

  s is in pixels per unit of `points`. Nothing keeps s positive. Without confidence, or with all points in one place,
  the fit is undetermined: s = 0.
  """
  xp = namespace(points, points_img, confidence)
  weight = confidence * confidence
  center, center_img = _weighted_means(weight, points[..., :2], points_img)
  a, b = points[..., :2] - center, points_img - center_img
  spread = (weight * (a * a).sum(-1)).sum(-1)
  # What rounding leaves of points in one place is no spread.
  one_place = spread <= 1e-12 * (weight * (points[..., :2] ** 2).sum(-1)).sum(-1)
  scale = xp.where(one_place, 0, (weight * (a * b).sum(-1)).sum(-1) / xp.where(one_place, 1, spread))
  shift = center_img[..., 0, :] - scale[..., None] * center[..., 0, :]
  return xp.concatenate([scale[..., None], shift], axis=-1)
