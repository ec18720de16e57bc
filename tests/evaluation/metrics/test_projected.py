"""Samples in the picture, against NumPy that goes from picture to picture."""

import jax
import numpy as np

from jaxhands.evaluation.metrics import projected
from tests.evaluation.metrics import scenes

COUNT, SAMPLES = 6, 9


def _scene():
  batch = scenes.truth(count=COUNT)
  rng = np.random.default_rng(3)
  batch["camera_valid"] = np.arange(COUNT) != 2
  batch["camera_img"][2] = 0
  batch["camera_img"][1:2, 0, 0] *= 1.5  # its pixels are no squares
  batch["box_img"] = np.stack([[100.0, 80, w, 0.8 * w] for w in rng.uniform(150, 400, COUNT)]).astype(np.float32)
  noise = rng.normal(0, [6, 6, 40], (COUNT, SAMPLES, 2, 21, 3))
  return batch, {"samples": (batch["joints_cam"][:, None] + noise).astype(np.float32)}


def _measured(metric):
  batch, prediction = _scene()
  assert metric.quantity.needs <= set(batch)
  value, weight = jax.jit(metric.quantity.fn)(prediction, batch)
  return np.asarray(value), np.asarray(weight) > 0


def _pixels(samples, camera_img):
  points = samples.astype(np.float64) @ camera_img.astype(np.float64).T
  return points[..., :2] / points[..., 2:]


def test_visible_joints_are_in_place_within_5_px_of_a_crop_of_224():
  batch, prediction = _scene()
  value, weight = _measured(projected.in_place())
  np.testing.assert_array_equal(
    weight, batch["joints_visible"] & batch["joints_img_valid"] & batch["camera_valid"][:, None, None]
  )
  for b in np.flatnonzero(batch["camera_valid"]):
    away = np.linalg.norm(_pixels(prediction["samples"][b], batch["camera_img"][b]) - batch["joints_img"][b], axis=-1)
    limit = 5 / 224 * 1.25 * batch["box_img"][b, 2]  # the crop is the box made square, and a quarter larger
    np.testing.assert_allclose(value[b][weight[b]], (away < limit).mean(0)[weight[b]], atol=1e-6)
  assert 0.05 < value[weight].mean() < 0.95


def test_deviations_in_depth_and_in_the_picture():
  batch, prediction = _scene()
  depth, counted = _measured(projected.in_depth())
  across, counted_too = _measured(projected.in_picture())
  present = batch["hand_present"] & batch["camera_valid"][:, None]
  np.testing.assert_array_equal(counted, np.repeat(present[..., None], 21, -1))
  np.testing.assert_array_equal(counted, counted_too)
  for b, hand in np.argwhere(present):
    samples = prediction["samples"][b, :, hand].astype(np.float64)
    np.testing.assert_allclose(depth[b, hand], samples[..., 2].std(0), rtol=1e-4)
    mm = _pixels(samples, batch["camera_img"][b]).std(0) / batch["camera_img"][b][[0, 1], [0, 1]]
    expected = np.linalg.norm(mm, axis=-1) * samples[..., 2].mean(0)
    np.testing.assert_allclose(across[b, hand], expected, rtol=1e-3)
  assert depth[counted].mean() > 3 * across[counted].mean(), "the noise was so"
