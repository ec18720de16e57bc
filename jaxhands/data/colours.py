"""Random colours of a batch, on the device."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

RANGE = (0.8, 1.2)


def scale_channels(image: Float[Array, "b h w 3"], rng: jax.Array) -> Float[Array, "b h w 3"]:
  """Every channel of every picture (0..1) times a factor of its own, drawn from `RANGE`; clipped to 0..1.

  InterNet's and DIGIT's augmentation.
  """
  factors = jax.random.uniform(rng, (image.shape[0], 1, 1, 3), minval=RANGE[0], maxval=RANGE[1])
  return jnp.clip(image * factors, 0, 1)
