"""Random colours of a batch, on the device: a factor for each channel of a picture, as InterNet and others have it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

RANGE = (0.8, 1.2)


def factors(rng: jax.Array, batch: int) -> Float[Array, "b 1 1 3"]:
  """Of each channel of each of `batch` pictures, drawn from `RANGE`."""
  return jax.random.uniform(rng, (batch, 1, 1, 3), minval=RANGE[0], maxval=RANGE[1])


def jittered(
  image: Float[Array, "b h w 3"], factor: Float[Array, "b 1 1 3"], white: int = 1
) -> Float[Array, "b h w 3"]:
  """RGB of 0..`white` with its channels multiplied, clipped."""
  return jnp.clip(image * factor, 0, white)


def scale_channels(image: Float[Array, "b h w 3"], rng: jax.Array) -> Float[Array, "b h w 3"]:
  """`jittered`, by factors of its own."""
  return jittered(image, factors(rng, len(image)))
