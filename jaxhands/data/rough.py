"""What cameras and scenes do to pictures, on the device: grey, exposure, contrast, blur, noise, things in front.

None of the papers has it: it is for training on rendered hands that are to be found in photos. Geometry stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# How often each happens to a picture, and how much of it at most.
_GREY, _EXPOSED, _CONTRAST, _BLURRED, _NOISY, _COVERED = 0.1, 0.5, 0.5, 0.3, 0.5, 0.3
_EXPOSURE = (-0.4, 0.4)  # powers of e; beyond, fingers of bright pictures cannot be told apart
_CONTRASTS = (0.6, 1.4)
_BLUR_OF_WIDTH, _TAPS = 0.015, 4  # deviation as a share of the crop's width; kernel of 2 x 4 + 1 px
_NOISE = 0.06
_COVER = (0.08, 0.35)  # sides of what covers the picture, shares of its own
_DRAWN = 17  # numbers for each picture


def roughened(image: Float[Array, "b h w 3"], rng: jax.Array, covers: bool = True) -> Float[jax.Array, "b h w 3"]:
  """RGB pictures in 0..1, each changed in some of the ways of the module.

  Args:
    image: pictures.
    rng: source of chance.
    covers: rectangles of one colour hide parts of them; not where labels say what is visible.
  """
  few_key, noise_key = jax.random.split(rng)
  # Drawn in one call: each call is a dozen functions to compile.
  drawn = iter(jax.random.uniform(few_key, (_DRAWN, len(image), 1, 1, 1)))

  def happens(share: float) -> jax.Array:
    return next(drawn) < share

  def within(low: float, high: float) -> jax.Array:
    return low + (high - low) * next(drawn)

  image = jnp.where(happens(_GREY), image @ jnp.array([0.299, 0.587, 0.114])[:, None], image)
  gain = jnp.where(happens(_EXPOSED), within(*_EXPOSURE), 0)
  image = jnp.clip(image * jnp.exp(gain), 0, 1)
  mean = image.mean((1, 2, 3), keepdims=True)
  image = jnp.where(happens(_CONTRAST), mean + within(*_CONTRASTS) * (image - mean), image)
  if covers:
    sides, places = ([within(*limits) for _ in range(2)] for limits in (_COVER, (0.0, 1.0)))
    colour = jnp.concatenate([within(0.0, 1.0) for _ in range(3)], axis=-1)
    image = jnp.where(happens(_COVERED) & _rectangles(image.shape[1:3], sides, places), colour, image)
  deviation = jnp.where(happens(_BLURRED), within(0.0, _BLUR_OF_WIDTH * image.shape[2]), 0)
  image = _blurred(image, deviation)
  noise = jnp.where(happens(_NOISY), within(0.0, _NOISE), 0)
  return jnp.clip(image + noise * _grain(noise_key, image.shape), 0, 1)


def _grain(rng: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  """Noise of mean 0 and deviation 1: the sum of the four bytes of a hash of each value's number.

  JAX's own generator takes longer for the noise of small pictures than a small network for its training step. The hash
  is lowbias32 (Wellons, 2018); the sum of four even bytes is close to a normal one, and never above 3.5.
  """
  number = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
  first, second = jax.random.bits(rng, (2,))
  hashed = number * jnp.uint32(0x9E3779B1) + first
  for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
    hashed = (hashed ^ (hashed >> shift)) * jnp.uint32(factor) ^ second
  hashed ^= hashed >> 16
  total = sum(((hashed >> shift) & 255).astype(jnp.int32) for shift in (0, 8, 16, 24))
  return (total - 510) * jnp.float32((4 * (256**2 - 1) / 12) ** -0.5)


def _rectangles(hw: tuple[int, ...], sides: Sequence[jax.Array], places: Sequence[jax.Array]) -> jax.Array:
  """One rectangle of each picture [b, h, w, 1]; `sides` and `places`, [b, 1, 1, 1] by axis, are shares in 0..1."""
  inside = jnp.bool_(True)
  for axis, (side, place) in enumerate(zip(sides, places, strict=True), 1):
    at = ((jnp.arange(hw[axis - 1]) + 0.5) / hw[axis - 1]).reshape(-1, *(1,) * (3 - axis))
    low = place * (1 - side)
    inside &= (at >= low) & (at < low + side)
  return inside


def _blurred(image: jax.Array, deviation_px: jax.Array) -> jax.Array:
  """Gaussian blur along rows and columns, of a deviation [b, 1, 1, 1] for each picture; the edge goes on outside.

  As products with banded matrices, which every platform has a fast form of.
  """
  steps = jnp.arange(-_TAPS, _TAPS + 1)
  weights = jnp.exp(-0.5 * jnp.square(steps / jnp.maximum(deviation_px[:, 0, 0], 1e-3)))  # [b, taps]
  weights = weights / weights.sum(-1, keepdims=True)
  rows, columns = (jnp.einsum("bt,tij->bij", weights, _shifts(count)) for count in image.shape[1:3])
  image = jnp.einsum("bij,bjwc->biwc", rows, image)
  return jnp.einsum("bij,bhjc->bhic", columns, image)


def _shifts(count: int) -> np.ndarray:
  """Matrices [taps, count, count] that move a row by -4 .. 4 px and repeat its ends."""
  at, same = np.arange(count), np.eye(count, dtype=np.float32)
  return np.stack([same[np.clip(at + step, 0, count - 1)] for step in range(-_TAPS, _TAPS + 1)])
