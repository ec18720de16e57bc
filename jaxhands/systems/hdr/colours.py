"""Colours of HDR's pictures on the device: ImageNet's mean and deviation, and what changes in training."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_MEAN, _STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
_FACTORS = (0.8, 1.2)  # range of the factor of each channel in training


def normalised(image: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
  """RGB of 0..1 without ImageNet's mean and deviation."""
  return (image - _MEAN) / _STD


def restored(image: Float[Array, "*b 3"]) -> Float[Array, "*b 3"]:
  """Undoes `normalised`; not clipped."""
  return image * _STD + _MEAN


def factors(rng: jax.Array, batch: int) -> Float[Array, "b 1 1 3"]:
  """Of each channel of each example."""
  return jax.random.uniform(rng, (batch, 1, 1, 3), minval=_FACTORS[0], maxval=_FACTORS[1])


def jittered(image: Float[Array, "b h w 3"], factor: Float[Array, "b 1 1 3"]) -> Float[Array, "b h w 3"]:
  """RGB of 0..1 with its channels multiplied, clipped."""
  return jnp.clip(image * factor, 0, 1)
