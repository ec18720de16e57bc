"""Colours on the device: ImageNet's normalisation, a random factor of each channel as InterNet and others have it, and
mmsegmentation's photometric distortion."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from jaxhands.geometry.arrays import Array

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)

_CHANNEL = (0.8, 1.2)  # factors of a channel
_BRIGHTNESS = 32.0 / 255
_FACTORS = (0.5, 1.5)  # of contrast and saturation
_HUE = 18 / 30  # of the six sectors of the circle; OpenCV's hue has 180 steps


def normalise(image: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
  """RGB in 0..1 less ImageNet's mean over its deviation."""
  return (image - IMAGENET_MEAN) / IMAGENET_STD


def denormalise(image: Float[Array, "*b h w 3"]) -> Float[Array, "*b h w 3"]:
  """Undoes `normalise`."""
  return image * IMAGENET_STD + IMAGENET_MEAN


def channel_factors(rng: jax.Array, batch: int) -> Float[jax.Array, "b 1 1 3"]:
  """Random factors for the channels of each of `batch` pictures."""
  return jax.random.uniform(rng, (batch, 1, 1, 3), minval=_CHANNEL[0], maxval=_CHANNEL[1])


def jittered(
  image: Float[jax.Array, "b h w 3"], factor: Float[jax.Array, "b 1 1 3"], white: int = 1
) -> Float[jax.Array, "b h w 3"]:
  """RGB of 0..`white` with its channels multiplied, clipped."""
  return jnp.clip(image * factor, 0, white)


def scale_channels(image: Float[jax.Array, "b h w 3"], rng: jax.Array) -> Float[jax.Array, "b h w 3"]:
  """`jittered`, by factors of its own."""
  return jittered(image, channel_factors(rng, len(image)))


def photometric(image: Float[jax.Array, "b h w 3"], rng: jax.Array) -> Float[jax.Array, "b h w 3"]:
  """Random brightness, contrast, saturation and hue of RGB pictures in 0..1, each with probability one half.

  In mmsegmentation's order: contrast comes second or last, by chance. Unlike there, nothing is rounded in between.
  """
  keys = jax.random.split(rng, 6)
  shape = (len(image), 1, 1, 1)
  switch, last = jax.random.bernoulli(keys[0], shape=(4, *shape)), jax.random.bernoulli(keys[1], shape=shape)
  shift = jnp.where(switch[0], jax.random.uniform(keys[2], shape, minval=-_BRIGHTNESS, maxval=_BRIGHTNESS), 0)
  contrast, saturation = (
    jnp.where(on, jax.random.uniform(key, shape, minval=_FACTORS[0], maxval=_FACTORS[1]), 1)
    for on, key in ((switch[1], keys[3]), (switch[2], keys[4]))
  )
  turn = jnp.where(switch[3], jax.random.uniform(keys[5], shape, minval=-_HUE, maxval=_HUE), 0)

  image = jnp.clip(image + shift, 0, 1)
  image = jnp.clip(image * jnp.where(last, 1, contrast), 0, 1)
  image = saturate_and_turn(image, saturation, turn)
  return jnp.clip(image * jnp.where(last, contrast, 1), 0, 1)


def saturate_and_turn(
  image: Float[jax.Array, "*b 3"], saturation: Shaped[Array, "*#b 1"], turn: Shaped[Array, "*#b 1"]
) -> Float[jax.Array, "*b 3"]:
  """Multiplies the saturation of HSV, at most to 1, and turns the hue, in sixths of the circle; RGB in and out."""
  value, chroma = image.max(-1, keepdims=True), jnp.ptp(image, -1, keepdims=True)
  red, green, blue = jnp.split(image, 3, -1)
  safe = jnp.where(chroma > 0, chroma, 1)
  hue = jnp.where(
    value == red, (green - blue) / safe, jnp.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4)
  )
  sector = jnp.mod(jnp.array([5.0, 3.0, 1.0]) + hue + turn, 6)
  return value - jnp.minimum(chroma * saturation, value) * jnp.clip(jnp.minimum(sector, 4 - sector), 0, 1)
