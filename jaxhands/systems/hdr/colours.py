"""How the colours of HDR's crops change in training: a factor for each channel."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_FACTORS = (0.8, 1.2)


def factors(rng: jax.Array, batch: int) -> Float[Array, "b 1 1 3"]:
  """Of each channel of each example."""
  return jax.random.uniform(rng, (batch, 1, 1, 3), minval=_FACTORS[0], maxval=_FACTORS[1])


def jittered(image: Float[Array, "b h w 3"], factor: Float[Array, "b 1 1 3"]) -> Float[Array, "b h w 3"]:
  """RGB of 0..1 with its channels multiplied, clipped."""
  return jnp.clip(image * factor, 0, 1)
