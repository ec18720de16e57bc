"""Enlarging against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.models.resize import double_bilinear, enlarge_nearest


def _picture(h: int, w: int) -> np.ndarray:
  return np.random.default_rng(0).normal(size=(2, h, w, 3)).astype(np.float32)


def test_nearest():
  x = _picture(3, 4)
  found = enlarge_nearest(jnp.asarray(x), 4)
  for row in range(12):
    for column in range(16):
      np.testing.assert_array_equal(found[:, row, column], x[:, row // 4, column // 4])


@pytest.mark.parametrize(("h", "w"), [(3, 5), (2, 2), (8, 8)])
def test_bilinear_keeps_the_corners(h, w):
  x = _picture(h, w)
  found = np.asarray(double_bilinear(jnp.asarray(x)))
  for row in range(2 * h):
    for column in range(2 * w):
      y, u = row * (h - 1) / (2 * h - 1), column * (w - 1) / (2 * w - 1)
      top, left = min(int(y), h - 2), min(int(u), w - 2)
      dy, dx = y - top, u - left
      upper = (1 - dx) * x[:, top, left] + dx * x[:, top, left + 1]
      lower = (1 - dx) * x[:, top + 1, left] + dx * x[:, top + 1, left + 1]
      np.testing.assert_allclose(found[:, row, column], (1 - dy) * upper + dy * lower, atol=1e-5)
  np.testing.assert_allclose(found[:, [0, 0, -1, -1], [0, -1, 0, -1]], x[:, [0, 0, -1, -1], [0, -1, 0, -1]], atol=1e-6)


def test_half_precision_stays_half():
  x = jnp.asarray(_picture(4, 4), jnp.bfloat16)
  assert jax.eval_shape(double_bilinear, x).dtype == jnp.bfloat16
