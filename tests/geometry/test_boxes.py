"""Intersection over union against areas counted in pixels, and which boxes stay beside likelier ones."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxhands.geometry import boxes

_SIDES = st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 15), st.integers(0, 15))


def _pixels(box):
  x, y, width, height = box
  found = np.zeros((40, 40), bool)
  found[y : y + height, x : x + width] = True
  return found


@given(_SIDES, _SIDES)
def test_iou_counts_pixels(a, b):
  one, other = _pixels(a), _pixels(b)
  expected = (one & other).sum() / max((one | other).sum(), 1)
  for array in (np.array, jnp.array):
    np.testing.assert_allclose(boxes.iou(array(a, np.float32), array(b, np.float32)), expected, atol=1e-6)


def test_iou_of_all_pairs():
  a = np.array([[0, 0, 10, 10], [0, 0, 0, 0], [5, 0, 10, 10]], np.float32)
  np.testing.assert_allclose(boxes.iou(a[:, None], a[None]), [[1, 0, 1 / 3], [0, 0, 0], [1 / 3, 0, 1]], rtol=1e-6)


def test_likelier_boxes_take_away_what_is_the_same():
  found = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [30, 0, 10, 10], [5, 0, 10, 10]], np.float32)
  prob = np.array([0.6, 0.9, 0.2, 0.7])
  assert boxes.distinct(found, prob, 0.5) == [1, 3, 2]  # 9 of 11 shared; 6 of 14
  assert boxes.distinct(found, prob, 0.9) == [1, 3, 0, 2]
  assert boxes.distinct(found[:0], prob[:0], 0.5) == []
