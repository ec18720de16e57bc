"""Gaussian proxies: that they fill the hand, what collides, and what hides a point."""

import itertools

import numpy as np
import pytest

from jaxhands.hands import proxies
from jaxhands.hands.model import HandModel

MODEL = HandModel.default()
NO_SHAPE = np.zeros((2, 10), np.float32)


def _posed(seed=0, left=(60.0, 10.0, 520.0)):
  rng = np.random.default_rng(seed)
  mano = rng.normal(0, 0.2, (2, 61)).astype(np.float32)
  mano[:, 58:] = [[-70, 0, 500], left]
  return MODEL.forward_mano(mano)


def test_proxies_lie_along_the_bones():
  posed = _posed()
  found = proxies.centres(posed.keypoints)
  assert found.shape == (2, proxies.COUNT, 3) == (2, 57, 3)
  thumb_tip, next_joint = posed.keypoints[0, 0], posed.keypoints[0, 1]
  np.testing.assert_allclose(
    found[0, :3], next_joint + np.array([[1], [3], [5]]) / 6 * (thumb_tip - next_joint), rtol=1e-5
  )
  np.testing.assert_array_equal(proxies.centres(posed.keypoints[None].repeat(3, 0))[2], found)


def test_two_deviations_reach_the_skin():
  """Of the skin of the fingers, most lies between one and three deviations from its nearest proxy."""
  posed = MODEL.forward(np.zeros((2, 16, 3), np.float32), NO_SHAPE, np.zeros((2, 3), np.float32))
  deviations, centres = proxies.deviations_mm(MODEL, NO_SHAPE), proxies.centres(posed.keypoints)
  np.testing.assert_allclose(deviations[0], deviations[1], rtol=1e-3)  # the left hand is the mirrored right one
  assert 2 < deviations[:, :45].min() < deviations[:, :45].max() < 12
  fingers = np.asarray(MODEL.weights[0]).argmax(1) > 0
  apart = np.linalg.norm(posed.vertices[0, fingers][:, None] - centres[0], axis=-1)
  nearest = apart.argmin(1)
  units = apart.min(1) / deviations[0][nearest]
  assert np.mean((units > 1) & (units < 3)) > 0.8
  larger = proxies.deviations_mm(MODEL, np.full((2, 10), 1.5, np.float32))
  assert not np.allclose(larger, deviations)


def test_overlap_is_that_of_each_pair():
  deviations = proxies.deviations_mm(MODEL, NO_SHAPE)
  right = _posed().keypoints[0]
  centres = proxies.centres(np.stack([right, right + np.float32([15, 0, 5])]))
  found = proxies.overlap_mm(centres, deviations)
  for i, j in itertools.product((0, 20, 56), (3, 30, 50)):
    expected = deviations[0, i] + deviations[1, j] - np.linalg.norm(centres[0, i] - centres[1, j])
    assert found[i, j] == pytest.approx(expected, abs=1e-2)
  assert found.max() > 0, "these hands are one in the other"
  far = proxies.overlap_mm(proxies.centres(_posed(left=(250.0, 0.0, 500.0)).keypoints), deviations)
  assert far.max() < 0


def test_a_hand_hides_what_is_behind_it():
  deviations = proxies.deviations_mm(MODEL, NO_SHAPE)
  centres = proxies.centres(_posed().keypoints)
  one = centres[0, 25]
  behind, before, beside = one * 1.1, one * 0.9, one * 1.1 + np.array([0, 300, 0], np.float32)
  points = np.stack([behind, before, beside]).astype(np.float32)
  np.testing.assert_array_equal(proxies.hidden(points, centres, deviations, 12.0), [True, False, False])
  # Some 50 mm behind: hidden if that is more than it may lie below the surface.
  assert not proxies.hidden(points[:1], centres, deviations, 200.0)[0]
