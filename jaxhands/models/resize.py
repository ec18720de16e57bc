"""Enlarging maps, as the references do it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def enlarge_nearest(x: Float[Array, "b h w c"], factor: int) -> Float[Array, "b p q c"]:
  """Every pixel becomes `factor` x `factor` equal ones."""
  b, h, w, c = x.shape
  spread = jnp.broadcast_to(x[:, :, None, :, None], (b, h, factor, w, factor, c))
  return spread.reshape(b, h * factor, w * factor, c)


def double_bilinear(x: Float[Array, "b h w c"]) -> Float[Array, "b p q c"]:
  """Twice the rows and columns, bilinear, with the corner pixels' centres kept (PyTorch's `align_corners=True`).

  Two small matrix products: their gradients are products, too, and not scatters.
  """
  rows, columns = (jnp.asarray(_doubling(size), x.dtype) for size in x.shape[1:3])
  x = jnp.einsum("ph,bhwc->bpwc", rows, x, precision="highest")
  return jnp.einsum("qw,bpwc->bpqc", columns, x, precision="highest")


def _doubling(size: int) -> np.ndarray:
  """[2 size, size] weights of the old pixels in each new one."""
  at = np.arange(2 * size) * (size - 1) / (2 * size - 1)
  return np.maximum(1 - np.abs(at[:, None] - np.arange(size)), 0)


def resize_bilinear(
  x: Float[Array, "b h w c"], out_hw: tuple[int, int], stride: float = 1.0
) -> Float[Array, "b p q c"]:
  """Bilinear, with the edges of old and new picture on each other (PyTorch's `align_corners=False`), not antialiased.

  Args:
    x: maps.
    out_hw: rows and columns of the result.
    stride: the result holds every so many-th row and column, from the first on, of the picture that is `stride` times
      as large: what a label map of a crop holds (`geometry.crop.resize_affine`).
  """
  scale = jnp.array([out_hw[0] / x.shape[1], out_hw[1] / x.shape[2]])
  shift = jnp.full(2, (1 - 1 / stride) / 2)
  shape = (x.shape[0], *out_hw, x.shape[3])
  return jax.image.scale_and_translate(x, shape, (1, 2), scale, shift, "bilinear", antialias=False)
