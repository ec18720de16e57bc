"""Boxes of masks by looking at every pixel; in the picture whatever the crop does."""

import cv2
import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxhands.geometry import crop, masks


@given(
  x=st.integers(25, 50), y=st.integers(20, 35), mirror=st.booleans(), scale=st.floats(0.8, 1.2),
  rotation=st.floats(-0.5, 0.5),
)  # fmt: skip
def test_hand_boxes_come_back_to_the_picture(x, y, mirror, scale, rotation):
  """A disc in the picture, seen in a turned, scaled, mirrored crop whose masks have half its size."""
  picture = np.zeros((80, 100), np.uint8)
  cv2.circle(picture, (x, y), 8, 1, -1)
  affine = np.asarray(
    crop.crop_affine(np.float32([0, -10, 100, 100]), (128, 128), (0, 0), scale, rotation, mirror), np.float32
  )
  on_map = np.asarray(crop.resize_affine(affine, (128, 128), (64, 64)), np.float64)
  seen = cv2.warpAffine(picture, on_map, (64, 64), flags=cv2.INTER_NEAREST)
  probabilities = np.zeros((2, 2, 64, 64), np.float32)
  probabilities[1, 0] = 0.2 + 0.6 * seen
  probabilities[0, 1] = 1  # a visible mask alone makes no box
  found, there = masks.hand_boxes(probabilities, affine, (128, 128))
  np.testing.assert_array_equal(there, [False, True])
  np.testing.assert_array_equal(found[0], 0)
  # A pixel of the masks is 1.6 pixels of the picture, and a disc's last row is narrower than that.
  np.testing.assert_allclose(found[1, :2], [x - 8, y - 8], atol=2.5)
  np.testing.assert_allclose(found[1, 2:], 16, atol=4)


def test_hand_boxes_of_a_batch_on_the_device():
  probabilities = np.zeros((3, 2, 2, 16, 16), np.float32)
  probabilities[1, 0, 0, 4:9, 2:7] = 0.9
  affines = np.float32([[[1, 0, 0], [0, 1, 0]], [[2, 0, -4], [0, 2, 6]], [[1, 0, 0], [0, 1, 0]]])
  found, there = jax.jit(masks.hand_boxes, static_argnums=2)(probabilities, affines, (16, 16))
  assert there.tolist() == [[False, False], [True, False], [False, False]]
  np.testing.assert_allclose(found[1, 0], [3, -1, 2, 2])


@given(st.integers(0, 999), st.floats(0.2, 0.7))
def test_the_largest_part_is_that_of_opencv(seed, density):
  mask = np.random.default_rng(seed).random((2, 24, 31)) < density
  for plane, found in zip(mask, np.asarray(masks.largest_part(mask)), strict=True):
    _, labels, stats, _ = cv2.connectedComponentsWithStats(plane.astype(np.uint8), connectivity=8)
    assert found.sum() == stats[1:, cv2.CC_STAT_AREA].max()
    (label,) = np.unique(labels[found])
    np.testing.assert_array_equal(found, labels == label)


def test_parts_of_large_maps_are_blocks_that_touch():
  mask = np.zeros((300, 260), bool)
  mask[10:30, 10:30] = mask[200:280, 100:140] = mask[281:290, 100:140] = True
  found = np.asarray(masks.largest_part(mask))
  assert not found[:100].any()
  np.testing.assert_array_equal(found[100:], mask[100:])
  assert not np.asarray(masks.largest_part(np.zeros((3, 3), bool))).any()


def test_a_hand_is_there_by_many_pixels_that_belong_together():
  planes = np.full((4, 64, 64), 0.1, np.float32)
  planes[0, 5, 7] = 0.99  # a stray pixel
  planes[1, ::4, ::4] = 0.99  # many of them
  planes[2, 20:30, 20:30], planes[2, 50, 50] = 0.8, 0.99  # a hand, and a stray pixel
  planes[3, 20:30, 20:30] = 0.4  # an unlikely hand
  prob, part = masks.presence(planes)
  np.testing.assert_allclose(prob, [0.99 / 20, 0.99 / 20, 0.8, 0.4], rtol=1e-5)
  assert np.asarray(part).sum((1, 2)).tolist() == [1, 1, 100, 0]
