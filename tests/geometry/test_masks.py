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


def test_largest_blob():
  mask = np.zeros((10, 10), bool)
  mask[1:3, 1:3] = True
  mask[5:9, 5:9] = True
  mask[4, 4] = True  # touches by its corner
  found = masks.largest_blob(mask)
  expected = mask.copy()
  expected[1:3, 1:3] = False
  np.testing.assert_array_equal(found, expected)
  assert not masks.largest_blob(np.zeros((3, 3), bool)).any()
