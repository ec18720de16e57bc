"""Rough pictures: in range, most of them changed, each in its own way, and not where nothing may cover them."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from jaxhands.data import rough


def _pictures(count=64):
  rng = np.random.default_rng(0)
  coarse = rng.random((count, 6, 6, 3)).astype(np.float32)
  return np.stack([cv2.resize(one, (32, 24)) for one in coarse])


def test_pictures_stay_pictures_and_differ():
  image = _pictures()
  found = np.asarray(jax.jit(rough.roughened)(image, jax.random.key(0)))
  assert found.shape == image.shape
  assert found.min() >= 0
  assert found.max() <= 1
  changed = np.abs(found - image).max((1, 2, 3))
  assert np.mean(changed > 0.02) > 0.7
  assert len(np.unique(changed.round(4))) > 40
  again = np.asarray(jax.jit(rough.roughened)(image, jax.random.key(0)))
  np.testing.assert_array_equal(found, again)


def test_covers_have_one_colour_and_come_only_where_they_may():
  drawn = jax.random.uniform(jax.random.key(1), (4, 400, 1, 1, 1))
  low, high = rough._COVER
  inside = np.asarray(rough._rectangles((30, 40), list(low + (high - low) * drawn[:2]), list(drawn[2:])))[..., 0]
  rows, columns = inside.any(2).sum(1), inside.any(1).sum(1)
  np.testing.assert_array_equal(inside.sum((1, 2)), rows * columns)
  assert rows.min() / 30 > 0
  assert rows.max() / 30 < 0.42
  assert inside.any(0)[2:-2, 2:-2].all()
  # A black picture stays black but for noise and covers.
  dark = jnp.zeros((64, 24, 32, 3))
  brightest = [float(jnp.quantile(rough.roughened(dark, jax.random.key(2), covers), 0.999)) for covers in (True, False)]
  assert brightest[1] < 0.2 < 0.6 < brightest[0]


def test_blur_is_that_of_opencv():
  image = _pictures(3)
  deviation = np.array([0.0, 0.7, 1.3], np.float32)
  found = np.asarray(rough._blurred(jnp.asarray(image), jnp.asarray(deviation)[:, None, None, None]))
  np.testing.assert_allclose(found[0], image[0], atol=1e-6)
  for one, blurred, sigma in zip(image[1:], found[1:], deviation[1:], strict=True):
    expected = cv2.GaussianBlur(one, (9, 9), float(sigma), borderType=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(blurred, expected, atol=1e-4)


def test_grain_is_noise():
  shape = (8, 40, 50, 3)
  found = np.asarray(rough._grain(jax.random.key(0), shape), np.float64)
  assert abs(found.mean()) < 0.02
  assert abs(found.std() - 1) < 0.02
  assert 3 < np.abs(found).max() < 3.5
  for axis in range(4):  # neighbours, channels and pictures know nothing of each other
    one, other = np.take(found, range(shape[axis] - 1), axis), np.take(found, range(1, shape[axis]), axis)
    assert abs((one * other).mean()) < 0.03
  assert abs((found * np.asarray(rough._grain(jax.random.key(1), shape))).mean()) < 0.02
