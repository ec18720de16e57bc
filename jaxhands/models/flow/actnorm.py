"""ActNorm: each dimension is scaled and shifted, at first so that the rows of one batch have mean 0 and deviation 1.

    z_i = exp(s_i) y_i + b_i          log |det dz/dy| = sum_i s_i

Start, from rows y^(1) .. y^(n): with d_i their deviation (over n - 1), at least 1e-3,

    s_i = -log d_i                    b_i = -mean(y_i / d_i)

as in the normalizing-flow library that ProHMR uses (Glow, Kingma & Dhariwal 2018, section 3.1).
"""

from __future__ import annotations

from typing import Any

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_SMALLEST_DEVIATION = 1e-3


class ActNorm(distrax.Bijector):
  """The bijection y -> z of the module's equations, on the last axis.

  Args:
    log_scale, shift: s and b, [D].
  """

  def __init__(self, log_scale: Float[Array, " d"], shift: Float[Array, " d"]):
    super().__init__(event_ndims_in=1, is_constant_jacobian=True)
    self._log_scale, self._shift = log_scale, shift

  def forward_and_log_det(self, x: Float[Any, "*b d"]) -> tuple[Float[Array, "*b d"], Float[Array, "*b"]]:
    return jnp.exp(self._log_scale) * x + self._shift, jnp.broadcast_to(self._log_scale.sum(), x.shape[:-1])

  def inverse_and_log_det(self, y: Float[Any, "*b d"]) -> tuple[Float[Array, "*b d"], Float[Array, "*b"]]:
    x = (y - self._shift) * jnp.exp(-self._log_scale)
    return x, jnp.broadcast_to(-self._log_scale.sum(), y.shape[:-1])


def start(
  rows: Float[Array, "*b d"], weight: Float[Array, "*b"]
) -> tuple[Float[jax.Array, " d"], Float[jax.Array, " d"]]:
  """`log_scale` and `shift` with which the rows come out with mean 0 and deviation 1.

  Args:
    rows: of one batch.
    weight: 1, or 0 for rows that do not exist.
  """
  axes = tuple(range(rows.ndim - 1))
  counted, total = weight[..., None], jnp.maximum(weight.sum(), 1)
  mean = (counted * rows).sum(axes) / total
  variance = (counted * jnp.square(rows - mean)).sum(axes) / jnp.maximum(total - 1, 1)
  deviation = jnp.maximum(jnp.sqrt(variance), _SMALLEST_DEVIATION)
  return -jnp.log(deviation), -mean / deviation


class ActNormLayer(nn.Module):
  """The parameters of an `ActNorm`, at first 0; set from a batch's rows where these are given.

  Attributes:
    features: D.
  """

  features: int

  @nn.compact
  def __call__(
    self, rows: Float[Array, "*b {self.features}"] | None = None, weight: Float[Array, "*b"] | None = None
  ) -> ActNorm:
    """The bijection; with `rows`, which need mutable "params", its start (see `start`)."""
    parameters = [self.param(name, nn.initializers.zeros, (self.features,)) for name in ("log_scale", "shift")]
    if rows is not None:
      parameters = start(rows, jnp.ones(rows.shape[:-1], rows.dtype) if weight is None else weight)
      for name, value in zip(("log_scale", "shift"), parameters, strict=True):
        self.put_variable("params", name, value)
    return ActNorm(*parameters)
