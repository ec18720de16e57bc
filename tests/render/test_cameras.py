"""Cameras see the hands, at the wanted size and distance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxhands.render import cameras
from tests.render import posed


def _project(view, points):
  seen = view.to_cam(points).astype(np.float64) @ view.camera_img.T.astype(np.float64)
  return seen[:, :2] / seen[:, 2:], seen[:, 2]


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 60.0, 150.0]))
def test_the_hands_are_in_the_picture(seed, spread_mm):
  rng = np.random.default_rng(seed)
  points = rng.normal(0, spread_mm, (40, 3)) + rng.normal(0, 500, 3)
  ranges = cameras.ViewRange()
  view = cameras.sample_view(rng, points, ranges=ranges)
  rotation = view.cam_from_world[:, :3].astype(np.float64)
  np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
  assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-5)
  places, depth = _project(view, points)
  assert (depth > 0).all()
  low, size = places.min(0), np.ptp(places, axis=0)
  assert ranges.box_px[0] - 0.1 <= size.max() <= ranges.box_px[1] + 0.1
  assert (low > ranges.margin_px - 0.1).all()
  assert (low + size < np.array([319, 319]) - ranges.margin_px + 0.1).all()
  middle = (points.min(0) + points.max(0)) / 2
  reach = np.linalg.norm(points - middle, axis=1).max()
  assert max(500, 2 * reach) - 1 <= view.to_cam(middle)[2] <= max(1200, 2 * reach) + 1


def test_direction_and_up():
  points = posed.posed(0)
  ranges = cameras.ViewRange(roll_rad=0.0)
  for direction in np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0], [0.3, 0.9, 0.2]]):
    view = cameras.sample_view(np.random.default_rng(0), points, direction, ranges)
    rotation = view.cam_from_world[:, :3]
    np.testing.assert_allclose(rotation[2], -direction / np.linalg.norm(direction), atol=1e-6)
    assert rotation[1] @ (0, 1, 0) >= -1e-6  # the picture's y runs down


def test_dome_surrounds_the_scene():
  points = posed.posed(0)
  views = cameras.sample_dome(np.random.default_rng(0), points, 40)
  forward = np.stack([view.cam_from_world[2, :3] for view in views])
  assert len(views) == 40
  assert np.linalg.norm(forward.mean(0)) < 0.1
  nearest = np.sort(forward @ forward.T, axis=1)[:, -2]
  assert np.degrees(np.arccos(nearest)).min() > 15


def test_same_seed_same_camera():
  one, two = (cameras.sample_view(np.random.default_rng(5), posed.posed(0)) for _ in range(2))
  np.testing.assert_array_equal(one.camera_img, two.camera_img)
  np.testing.assert_array_equal(one.cam_from_world, two.cam_from_world)
