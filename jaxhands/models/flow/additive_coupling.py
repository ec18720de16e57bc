"""Additive coupling (NICE, Dinh et al. 2014): half of the dimensions is moved by what the other half says.

    z_A = y_A                         log |det dz/dy| = 0
    z_B = y_B + t(y_A)

A flow whose couplings are all additive keeps volumes but for one factor, the same everywhere: what noise 0 becomes is
then the exact mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import distrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.flow.halves import Halves


class AdditiveCoupling(distrax.Bijector):
  """The bijection y -> z of the module's equations, on the last axis.

  Args:
    halves: A and B.
    conditioner: t, of [*b, |A|] to [*b, |B|].
  """

  def __init__(self, halves: Halves, conditioner: Callable[[jax.Array], jax.Array]):
    super().__init__(event_ndims_in=1, is_constant_log_det=True)
    self._halves, self._conditioner = halves, conditioner

  def forward_and_log_det(self, x: Float[Any, "*b d"]) -> tuple[Float[Array, "*b d"], Float[Array, "*b"]]:
    kept, moved = self._halves.split(x)
    return self._halves.join(kept, moved + self._conditioner(kept)), jnp.zeros(x.shape[:-1], x.dtype)

  def inverse_and_log_det(self, y: Float[Any, "*b d"]) -> tuple[Float[Array, "*b d"], Float[Array, "*b"]]:
    kept, moved = self._halves.split(y)
    return self._halves.join(kept, moved - self._conditioner(kept)), jnp.zeros(y.shape[:-1], y.dtype)
