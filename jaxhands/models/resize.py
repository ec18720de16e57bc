"""Enlarging maps, as the references do it."""

from __future__ import annotations

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
