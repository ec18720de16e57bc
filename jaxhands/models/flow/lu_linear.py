"""LULinear: a matrix as the product of two triangular ones, Glow's 1x1 convolution for vectors.

    z = L (U y) + b                   log |det dz/dy| = sum_i log U_ii

L is lower triangular with ones on its diagonal, U upper triangular with U_ii = softplus(d_i) + 1e-3 > 0. The inverse
subtracts b and solves with L, then with U. At first it is the identity: both triangles 0, softplus(d_i) = 1 - 1e-3,
b = 0.
"""

from __future__ import annotations

import math
from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_SMALLEST_DIAGONAL = 1e-3
_IDENTITY = math.log(math.expm1(1 - _SMALLEST_DIAGONAL))  # of which softplus is what U_ii = 1 lacks


class LULinear(distrax.Bijector):
  """The bijection y -> z of the module's equations, on the last axis.

  Args:
    lower, upper: entries beside the diagonals, row after row, [D (D - 1) / 2] each.
    diagonal: d, [D].
    bias: b, [D].
  """

  def __init__(
    self,
    lower: Float[Array, " e"],
    upper: Float[Array, " e"],
    diagonal: Float[Array, " d"],
    bias: Float[Array, " d"],
  ):
    super().__init__(event_ndims_in=1, is_constant_jacobian=True)
    size = len(bias)
    positive = jax.nn.softplus(diagonal) + _SMALLEST_DIAGONAL
    self._lower = _filled(jnp.eye(size, dtype=lower.dtype), np.tril_indices(size, -1), lower)
    self._upper = _filled(jnp.diag(positive), np.triu_indices(size, 1), upper)
    self._bias, self._log_det = bias, jnp.log(positive).sum()

  def forward_and_log_det(self, x: Float[Any, "*b d"]) -> tuple[Float[Array, "*b d"], Float[Array, "*b"]]:
    y = _times(self._lower, _times(self._upper, x)) + self._bias
    return y, jnp.broadcast_to(self._log_det, x.shape[:-1])

  def inverse_and_log_det(self, y: Float[Any, "*b d"]) -> tuple[Float[Array, "*b d"], Float[Array, "*b"]]:
    columns = (y - self._bias).reshape(-1, y.shape[-1]).T
    solve = jax.scipy.linalg.solve_triangular
    columns = solve(self._upper, solve(self._lower, columns, lower=True, unit_diagonal=True))
    return columns.T.reshape(y.shape), jnp.broadcast_to(-self._log_det, y.shape[:-1])


def _filled(matrix: Float[Array, "d d"], places: tuple[np.ndarray, ...], entries: Float[Array, " e"]) -> jax.Array:
  # Without these promises the compiler looks at every index, for seconds.
  promises: dict[str, Any] = {"mode": "promise_in_bounds", "unique_indices": True, "indices_are_sorted": True}
  return matrix.at[places].set(entries, **promises)


def _times(matrix: Float[Array, "d d"], rows: Float[Array, "*b d"]) -> Float[Array, "*b d"]:
  return jnp.matmul(rows, matrix.T, precision="highest")


class LULinearLayer(nn.Module):
  """The parameters of an `LULinear`, at first those of the identity.

  Attributes:
    features: D.
  """

  features: int

  @nn.compact
  def __call__(self) -> LULinear:
    entries = (self.features * (self.features - 1) // 2,)
    zeros, identity = nn.initializers.zeros, nn.initializers.constant(_IDENTITY)
    return LULinear(
      self.param("lower", zeros, entries),
      self.param("upper", zeros, entries),
      self.param("diagonal", identity, (self.features,)),
      self.param("bias", zeros, (self.features,)),
    )
