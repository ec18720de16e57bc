"""The camera's part in a picture."""

import dataclasses

import numpy as np
import pytest

from jaxhands.render import sensor
from jaxhands.render.skin import linear_from_srgb, srgb_from_linear

PLAIN = sensor.Sensor()


def _scene(seed=0, size=64):
  return np.random.default_rng(seed).uniform(0, 0.9, (size, size, 3)).astype(np.float32)


def test_a_plain_sensor_is_the_gamma_curve():
  linear = _scene()
  assert np.abs(sensor.develop(linear, PLAIN).astype(int) - srgb_from_linear(linear)).max() <= 1.5
  levels = np.arange(256.0)
  back = linear_from_srgb(levels).astype(np.float32)[None, :, None].repeat(3, axis=2)
  np.testing.assert_array_equal(sensor.develop(back, PLAIN)[0, :, 0], levels)


def test_exposure_and_white_balance_scale_light():
  linear = _scene() * 0.4
  bright = sensor.develop(linear, dataclasses.replace(PLAIN, exposure=2.0))
  np.testing.assert_allclose(bright, sensor.develop(2 * linear, PLAIN), atol=1)
  red = sensor.develop(linear, dataclasses.replace(PLAIN, white_balance=(1.5, 1.0, 0.5))).astype(int)
  plain = sensor.develop(linear, PLAIN).astype(int)
  assert (red[..., 0] >= plain[..., 0]).all()
  assert (red[..., 2] <= plain[..., 2]).all()
  np.testing.assert_array_equal(red[..., 1], plain[..., 1])


def test_monochrome_has_no_colour_even_in_its_noise():
  grey = sensor.develop(_scene(), dataclasses.replace(PLAIN, monochrome=True, read_noise=0.02))
  np.testing.assert_array_equal(grey[..., 0], grey[..., 1])
  np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


def test_noise_has_the_wanted_strength_and_belongs_to_the_sensor():
  flat = np.full((128, 128, 3), 0.25, np.float32)
  noisy = dataclasses.replace(PLAIN, read_noise=0.01, shot_noise=0.04)
  linear = linear_from_srgb(sensor.develop(flat, noisy).astype(float))
  assert linear.mean() == pytest.approx(0.25, abs=0.003)
  assert linear.std() == pytest.approx(0.01 + 0.04 * 0.5, rel=0.05)
  other = flat.copy()
  other[:64] = 0.6
  np.testing.assert_array_equal(sensor.develop(flat, noisy)[64:], sensor.develop(other, noisy)[64:])
  shifted = sensor.develop(flat, dataclasses.replace(noisy, noise_shift=(17, 5)))
  np.testing.assert_array_equal(shifted[:100, :100], sensor.develop(flat, noisy)[17:117, 5:105])


@pytest.mark.parametrize("blur", [{"defocus_px": 1.5}, {"motion_px": (6.0, 0.0)}, {"motion_px": (-3.0, 4.0)}])
def test_blur_keeps_light_and_place(blur):
  linear = np.zeros((65, 65, 3), np.float32)
  linear[32, 32] = 1.0
  blurred = sensor._blurred(linear, dataclasses.replace(PLAIN, **blur))
  assert blurred[..., 0].sum() == pytest.approx(1.0, abs=1e-4)
  y, x = np.mgrid[:65, :65]
  assert (blurred[..., 0] * x).sum() == pytest.approx(32, abs=1e-3)
  assert (blurred[..., 0] * y).sum() == pytest.approx(32, abs=1e-3)
  spread = np.sqrt((blurred[..., 0] * (x - 32) ** 2).sum())
  expected = blur.get("defocus_px", abs(blur.get("motion_px", (0, 0))[0]) / np.sqrt(12))
  assert spread == pytest.approx(expected, abs=0.2)


def test_sampled_sensors_are_reasonable():
  sensors = [sensor.sample_sensor(np.random.default_rng(seed)) for seed in range(200)]
  studio = [sensor.sample_sensor(np.random.default_rng(seed), studio=True) for seed in range(200)]
  assert all(s.defocus_px >= 0 and s.exposure > 0 and 0 < s.jpeg_quality <= 100 for s in sensors + studio)
  assert 0.2 < np.mean([s.monochrome for s in studio]) < 0.5
  assert np.mean([s.monochrome for s in sensors]) < 0.15
  assert np.mean([s.exposure for s in studio]) < np.mean([s.exposure for s in sensors])
