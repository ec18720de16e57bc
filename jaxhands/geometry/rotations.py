"""Rotations as axis-angle (rad), matrices, quaternions (w, x, y, z) and 6D (the first two columns of the matrix).

All functions act on the last axes, serve NumPy and JAX, and have finite gradients everywhere, also at no rotation.
6D vectors hold the first column, then the second (Zhou et al., CVPR 2019, as laid out by ProHMR and manopth).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from jaxhands.geometry.arrays import Array, matmul, namespace

_TINY = 1e-12  # divisors of the references' `normalize`
_SMALL_SQ = 1e-4  # squared angle below which series are used: their next term is under 1e-12
_SMALL_FOR_CUBE_SQ = 0.25  # the same where an angle's cube divides: float32 keeps too few digits of smaller ones


def _norm_sq(x: Any) -> Any:
  return (x * x).sum(-1, keepdims=True)


def _normalize(x: Any) -> Any:
  xp = namespace(x)
  square = _norm_sq(x)
  zero = square < _TINY * _TINY
  return x / xp.where(zero, _TINY, xp.sqrt(xp.where(zero, 1, square)))


def _half_angle_factors(axis_angle: Any) -> tuple[Any, Any]:
  """cos(angle / 2) and sin(angle / 2) / angle, [*b, 1] each, smooth at 0."""
  xp = namespace(axis_angle)
  square = _norm_sq(axis_angle)
  small = square < _SMALL_SQ
  angle = xp.sqrt(xp.where(small, 1, square))
  cos = xp.where(small, 1 - square / 8 + square * square / 384, xp.cos(0.5 * angle))
  sin = xp.where(small, 0.5 - square / 48 + square * square / 3840, xp.sin(0.5 * angle) / angle)
  return cos, sin


def quaternion_from_axis_angle(axis_angle: Float[Array, "*b 3"]) -> Float[Array, "*b 4"]:
  """Unit quaternion (w, x, y, z) of a rotation vector in rad."""
  cos, sin = _half_angle_factors(axis_angle)
  return namespace(axis_angle).concatenate([cos, sin * axis_angle], axis=-1)


def matrix_from_axis_angle(axis_angle: Float[Array, "*b 3"]) -> Float[Array, "*b 3 3"]:
  """Rodrigues' formula; agrees with smplx, manopth and PyTorch3D to 3e-7."""
  return _matrix_from_unit_quaternion(quaternion_from_axis_angle(axis_angle))


def left_jacobian(axis_angle: Float[Array, "*b 3"]) -> Float[Array, "*b 3 3"]:
  """How a rotation turns when its vector v (rad) changes: exp(v + dv) = exp(J dv) exp(v) to first order (SO(3))."""
  xp = namespace(axis_angle)
  _, half_sin = _half_angle_factors(axis_angle)
  square = _norm_sq(axis_angle)
  small = square < _SMALL_FOR_CUBE_SQ
  angle = xp.sqrt(xp.where(small, 1, square))
  series = 1 / 6 - square / 120 + square**2 / 5040 - square**3 / 362880
  third = xp.where(small, series, (angle - xp.sin(angle)) / angle**3)
  x, y, z = (axis_angle[..., i] for i in range(3))
  zero = xp.zeros_like(x)
  skew = xp.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(axis_angle.shape + (3,))
  square_of_skew = axis_angle[..., :, None] * axis_angle[..., None, :] - square[..., None] * np.eye(3, dtype=np.float32)
  # (1 - cos) / angle^2 by the half angle, which loses no digits where the angle is small.
  return np.eye(3, dtype=np.float32) + 2 * half_sin[..., None] ** 2 * skew + third[..., None] * square_of_skew


def matrix_from_quaternion(quaternion: Float[Array, "*b 4"]) -> Float[Array, "*b 3 3"]:
  """Rotation of a quaternion (w, x, y, z) of any length but zero."""
  return _matrix_from_unit_quaternion(_normalize(quaternion))


def _matrix_from_unit_quaternion(quaternion: Any) -> Any:
  xp = namespace(quaternion)
  double = quaternion + quaternion
  w, x, y, z = (quaternion[..., i] for i in range(4))
  x2, y2, z2 = (double[..., i] for i in (1, 2, 3))
  wx, wy, wz, xx, xy, xz, yy, yz, zz = w * x2, w * y2, w * z2, x * x2, x * y2, x * z2, y * y2, y * z2, z * z2
  entries = [1 - yy - zz, xy - wz, xz + wy, xy + wz, 1 - xx - zz, yz - wx, xz - wy, yz + wx, 1 - xx - yy]
  return xp.stack(entries, axis=-1).reshape(quaternion.shape[:-1] + (3, 3))


def quaternion_from_matrix(matrix: Float[Array, "*b 3 3"]) -> Float[Array, "*b 4"]:
  """Unit quaternion (w, x, y, z) whose largest component is positive, as PyTorch3D's `matrix_to_quaternion`."""
  xp = namespace(matrix)
  m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
  wx, wy, wz = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
  xy, xz, yz = m[1][0] + m[0][1], m[0][2] + m[2][0], m[2][1] + m[1][2]
  ww, xx = 1 + m[0][0] + m[1][1] + m[2][2], 1 + m[0][0] - m[1][1] - m[2][2]
  yy, zz = 1 - m[0][0] + m[1][1] - m[2][2], 1 - m[0][0] - m[1][1] + m[2][2]
  # Row i is 4 q_i q: the row of the largest component is far from zero, so that its normalisation is smooth.
  rows = xp.stack([ww, wx, wy, wz, wx, xx, xy, xz, wy, xy, yy, yz, wz, xz, yz, zz], axis=-1)
  rows = rows.reshape(matrix.shape[:-2] + (4, 4))
  best = xp.stack([ww, xx, yy, zz], axis=-1).argmax(-1)
  return _normalize(xp.take_along_axis(rows, best[..., None, None], axis=-2)[..., 0, :])


def axis_angle_from_quaternion(quaternion: Float[Array, "*b 4"]) -> Float[Array, "*b 3"]:
  """Rotation vector (rad) of a unit quaternion, of length at most pi."""
  xp = namespace(quaternion)
  quaternion = xp.where(quaternion[..., :1] < 0, -quaternion, quaternion)
  cos, axis = quaternion[..., :1], quaternion[..., 1:]
  square = _norm_sq(axis)
  small = square < _SMALL_SQ
  sin = xp.sqrt(xp.where(small, 1, square))
  # asin(s) / s = 1 + s^2 / 6 + 3 s^4 / 40
  factor = xp.where(small, 2 + square / 3 + 3 * square * square / 20, 2 * xp.arctan2(sin, cos) / sin)
  return factor * axis


def axis_angle_from_matrix(matrix: Float[Array, "*b 3 3"]) -> Float[Array, "*b 3"]:
  """Rotation vector (rad) of length at most pi; at pi its sign is arbitrary."""
  return axis_angle_from_quaternion(quaternion_from_matrix(matrix))


def _matrix_from_columns(*columns: Any) -> Any:
  return namespace(*columns).stack(columns, axis=-1)


def _cross(a: Any, b: Any) -> Any:
  ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
  bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
  return namespace(a, b).stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def matrix_from_6d(rotation_6d: Float[Array, "*b 6"]) -> Float[Array, "*b 3 3"]:
  """Gram-Schmidt on the two columns, the third their cross product."""
  first = _normalize(rotation_6d[..., :3])
  second = rotation_6d[..., 3:]
  second = _normalize(second - (first * second).sum(-1, keepdims=True) * first)
  return _matrix_from_columns(first, second, _cross(first, second))


def matrix_from_6d_robust(rotation_6d: Float[Array, "*b 6"]) -> Float[Array, "*b 3 3"]:
  """Orthonormalises both columns alike: each is turned half of what is missing to a right angle (manopth)."""
  first, second = _normalize(rotation_6d[..., :3]), _normalize(rotation_6d[..., 3:])
  middle, across = _normalize(first + second), _normalize(first - second)
  first, second = _normalize(middle + across), _normalize(middle - across)
  return _matrix_from_columns(first, second, _cross(first, second))


def rotation_6d_from_matrix(matrix: Float[Array, "*b 3 3"]) -> Float[Array, "*b 6"]:
  """The first column, then the second."""
  return namespace(matrix).concatenate([matrix[..., :, 0], matrix[..., :, 1]], axis=-1)


def orthonormality(rotation_6d: Float[Array, "*b 6"]) -> Float[Array, "*b 2 2"]:
  """(A^T A - I)^2, element by element, of the raw 3x2 matrix A (ProHMR takes the mean, HandFlowNet Eq. 9 the sum)."""
  rows = rotation_6d.reshape(rotation_6d.shape[:-1] + (2, 3))
  gram = matmul(rows, rows.swapaxes(-1, -2))
  return (gram - np.eye(2, dtype=np.float32)) ** 2


def mirror_axis_angle(axis_angle: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
  """The rotation seen in a mirror across the plane x = 0: (x, y, z) -> (x, -y, -z)."""
  return axis_angle * np.array([1, -1, -1], np.float32)
