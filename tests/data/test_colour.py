"""Colours: hue and saturation against Python's colorsys, brightness and contrast by what they keep."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.data import colour

RNG = np.random.default_rng(0)


def test_normalise_and_back():
  image = RNG.random((2, 3, 4, 3)).astype(np.float32)
  np.testing.assert_allclose(colour.denormalise(colour.normalise(image)), image, atol=1e-6)
  np.testing.assert_allclose(colour.normalise(np.float32([[[0.485, 0.456, 0.406]]])), 0, atol=1e-6)


@pytest.mark.parametrize(("saturation", "turn"), [(1.0, 0.0), (0.5, 0.3), (1.5, -0.6), (3.0, 2.5)])
def test_saturation_and_hue(saturation, turn):
  colours = np.concatenate([RNG.random((40, 3)), [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 0, 1]]])
  factors = jnp.full((len(colours), 1), saturation), jnp.full((len(colours), 1), turn)
  found = colour.saturate_and_turn(jnp.asarray(colours, jnp.float32), *factors)
  for before, after in zip(colours, np.asarray(found), strict=True):
    hue, old, value = colorsys.rgb_to_hsv(*before)
    expected = colorsys.hsv_to_rgb((hue + turn / 6) % 1, min(saturation * old, 1), value)
    np.testing.assert_allclose(after, expected, atol=1e-5)


def test_photometric_changes_each_picture_alone_and_half_of_the_time():
  image = jnp.broadcast_to(jnp.asarray([0.6, 0.4, 0.3]), (2000, 1, 1, 3))
  found = np.asarray(colour.photometric(image, jax.random.key(0)))[:, 0, 0]
  assert found.min() >= 0
  assert found.max() <= 1
  same = np.isclose(found, [0.6, 0.4, 0.3], atol=1e-6).all(1).mean()
  assert same == pytest.approx(1 / 16, abs=0.02)  # none of four changes
  assert len(np.unique(found.round(5), axis=0)) > 1500
  grey = np.asarray(colour.photometric(jnp.full((500, 1, 1, 3), 0.5), jax.random.key(1)))
  np.testing.assert_allclose(np.ptp(grey, -1), 0, atol=1e-6)  # neither saturation nor hue


def test_photometric_bounds():
  """Of a grey picture only brightness (up to 32 of 255) and contrast (0.5 to 1.5) change."""
  found = np.asarray(colour.photometric(jnp.full((4000, 1, 1, 3), 0.4), jax.random.key(2)))[:, 0, 0, 0]
  assert found.min() == pytest.approx(0.5 * (0.4 - 32 / 255), abs=0.02)
  assert found.max() == pytest.approx(1.5 * (0.4 + 32 / 255), abs=0.04)
