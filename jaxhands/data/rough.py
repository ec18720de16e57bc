"""What cameras and scenes do to pictures, on the device: grey, exposure, contrast, blur, noise, things in front.

None of the papers has it: it is for training on rendered hands that are to be found in photos. Geometry stays as it is.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# How often each happens to a picture, and how much of it at most.
_GREY, _EXPOSED, _CONTRAST, _BLURRED, _NOISY, _COVERED = 0.1, 0.5, 0.5, 0.3, 0.5, 0.3
_EXPOSURE = (-0.4, 0.4)  # powers of e; beyond, fingers of bright pictures cannot be told apart
_CONTRASTS = (0.6, 1.4)
_BLUR_OF_WIDTH, _TAPS = 0.015, 4  # deviation as a share of the crop's width; kernel of 2 x 4 + 1 px
_NOISE = 0.06
_COVER = (0.08, 0.35)  # sides of what covers the picture, shares of its own


def roughened(image: Float[Array, "b h w 3"], rng: jax.Array, covers: bool = True) -> Float[jax.Array, "b h w 3"]:
  """RGB pictures in 0..1, each changed in some of the ways of the module.

  Args:
    image: pictures.
    rng: source of chance.
    covers: rectangles of one colour hide parts of them; not where labels say what is visible.
  """
  keys = iter(jax.random.split(rng, 12))
  one = (len(image), 1, 1, 1)

  def happens(share: float) -> jax.Array:
    return jax.random.bernoulli(next(keys), share, one)

  def within(low: float, high: float, shape: tuple[int, ...] = one) -> jax.Array:
    return jax.random.uniform(next(keys), shape, minval=low, maxval=high)

  image = jnp.where(happens(_GREY), image @ jnp.array([0.299, 0.587, 0.114])[:, None], image)
  gain = jnp.where(happens(_EXPOSED), within(*_EXPOSURE), 0)
  image = jnp.clip(image * jnp.exp(gain), 0, 1)
  mean = image.mean((1, 2, 3), keepdims=True)
  image = jnp.where(happens(_CONTRAST), mean + within(*_CONTRASTS) * (image - mean), image)
  if covers:
    image = jnp.where(
      happens(_COVERED) & _rectangles(image.shape, next(keys)), within(0.0, 1.0, (len(image), 1, 1, 3)), image
    )
  deviation = jnp.where(happens(_BLURRED), within(0.0, _BLUR_OF_WIDTH * image.shape[2]), 0)
  image = _blurred(image, deviation)
  noise = jnp.where(happens(_NOISY), within(0.0, _NOISE), 0)
  return jnp.clip(image + noise * jax.random.normal(rng, image.shape), 0, 1)


def _rectangles(shape: tuple[int, ...], rng: jax.Array) -> jax.Array:
  """One rectangle of each picture [b, h, w, 1], somewhere within it."""
  size_key, place_key = jax.random.split(rng)
  size = jax.random.uniform(size_key, (shape[0], 2), minval=_COVER[0], maxval=_COVER[1])
  low = jax.random.uniform(place_key, (shape[0], 2)) * (1 - size)
  inside = [
    (at >= low[:, axis, None]) & (at < (low + size)[:, axis, None])
    for axis, at in enumerate((jnp.arange(count) + 0.5) / count for count in shape[1:3])
  ]
  return (inside[0][:, :, None] & inside[1][:, None, :])[..., None]


def _blurred(image: jax.Array, deviation_px: jax.Array) -> jax.Array:
  """Gaussian blur along rows and columns, of a deviation [b, 1, 1, 1] for each picture; the edge goes on outside."""
  steps = jnp.arange(-_TAPS, _TAPS + 1)
  weights = jnp.exp(-0.5 * jnp.square(steps / jnp.maximum(deviation_px[..., 0], 1e-3)))  # [b, 1, taps]
  weights = (weights / weights.sum(-1, keepdims=True))[..., None, None]
  for axis in (1, 2):
    padding = [(0, 0)] * 4
    padding[axis] = (_TAPS, _TAPS)
    padded, count = jnp.pad(image, padding, mode="edge"), image.shape[axis]
    parts = [jax.lax.slice_in_dim(padded, tap, tap + count, axis=axis) for tap in range(2 * _TAPS + 1)]
    image = sum((weights[:, :, tap] * part for tap, part in enumerate(parts)), jnp.zeros(()))
  return image
