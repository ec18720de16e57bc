"""Overlap of the hands: from whole masks where there are some, else from boxes."""

import jax
import numpy as np

from jaxhands.evaluation.metrics.overlap import overlap


def batch():
  """Two hands of 4 x 4 px that share a quarter of each; in joints, boxes that share 1/3 of what both cover."""
  masks = np.zeros((1, 2, 2, 12, 12), np.uint8)
  masks[0, 0, 0, 2:6, 2:6] = 1
  masks[0, 1, 0, 4:8, 4:8] = 1
  masks[0, 0, 1], masks[0, 1, 1] = masks[0, 0, 0], masks[0, 1, 0] & ~masks[0, 0, 0] & 1  # visible ones never overlap
  joints_img = np.zeros((1, 2, 21, 2), np.float32)
  joints_img[0, 0, 0], joints_img[0, 1, 0], joints_img[0, 1, 1:] = [10, 10], [5, 0], [15, 10]
  return {
    "masks": masks,
    "masks_valid": np.ones((1, 2, 2), bool),
    "joints_img": joints_img,
    "joints_img_valid": np.ones((1, 2, 21), bool),
    "hand_present": np.ones((1, 2), bool),
  }


def measured(changes, without=()):
  found = jax.jit(overlap)({key: value for key, value in (batch() | changes).items() if key not in without})
  return float(found.overlap[0]), bool(found.known[0]), bool(found.from_masks[0])


def test_masks_are_the_whole_hands():
  value, known, from_masks = measured({})
  np.testing.assert_allclose(value, 4 / 28, rtol=1e-6)
  assert known
  assert from_masks


def test_boxes_where_there_are_no_masks():
  for changes, without in (({}, ("masks", "masks_valid")), ({"masks_valid": np.zeros((1, 2, 2), bool)}, ())):
    value, known, from_masks = measured(changes, without)
    np.testing.assert_allclose(value, 50 / 150, rtol=1e-6)
    assert known
    assert not from_masks


def test_hands_apart_do_not_overlap():
  apart = batch()["masks"]
  apart[0, 1] = 0
  apart[0, 1, :, 8:, 8:] = 1
  assert measured({"masks": apart}) == (0.0, True, True)
  far = batch()["joints_img"]
  far[0, 1] += 100
  assert measured({"joints_img": far}, ("masks", "masks_valid"))[:2] == (0.0, True)


def test_one_hand_alone_or_nothing_to_measure_is_unknown():
  assert measured({"hand_present": np.array([[True, False]])}) == (0.0, False, False)
  one_hand = np.ones((1, 2, 21), bool)
  one_hand[0, 1] = False
  assert measured({"joints_img_valid": one_hand}, ("masks", "masks_valid")) == (0.0, False, False)
  assert measured({"masks": np.zeros_like(batch()["masks"])})[:2] == (0.0, False)
