"""Hands by boxes: in pixels of the picture whatever the look, what a second look makes of them, and their sides."""

import pathlib

import numpy as np
import pytest

from jaxhands.geometry import boxes, crop
from jaxhands.prediction import predictor
from jaxhands.prediction.find import find_hands
from jaxhands.prediction.picture import Picture

CROP = 64


class Boxes(predictor.Model):
  """Finds the boxes that it knows of each picture, by their colours' place in it, wherever the crop shows them.

  `seen` maps a picture's first pixel to (box, right, left) of its hands; `blind` are those that only a crop around all
  of a picture shows. Boxes smaller than `smallest` px of the crop are not seen.
  """

  def __init__(self, seen, blind=(), smallest=0.0):
    self.seen, self.blind, self.smallest, self.windows = seen, blind, smallest, []

  def maps(self, pictures, boxes=None, cameras=None):
    looked = [None] * len(pictures) if boxes is None else boxes
    rows, affines = [], []
    for picture, window in zip(pictures, looked, strict=True):
      self.windows.append(window)
      Picture(pathlib.Path(), picture, boxes=window)  # the predictor looks at none that shows too little
      height, width = picture.shape[:2]
      window = np.array([-0.5, -0.5, width, height], np.float32) if window is None else np.asarray(window, np.float32)
      affine = np.asarray(crop.crop_affine(crop.process_box(window, (CROP, CROP), 1.0), (CROP, CROP)))
      found, prob = np.zeros((3, 4), np.float32), np.zeros((3, 2), np.float32)
      known = self.seen[int(picture[0, 0, 0])]
      for row, (box, *sides) in enumerate(known):
        corners = np.array([box[:2], box[:2] + box[2:]], np.float32)
        low, high = np.asarray(crop.apply_affine(affine, corners))
        middle = (low + high) / 2
        hidden = max(window[2:]) < max(width, height) and row in self.blind
        if (middle >= 0).all() and (middle < CROP).all() and max(high - low) >= self.smallest and not hidden:
          found[row], prob[row] = [*low, *(high - low)], sides
      order = np.argsort(-prob.sum(-1), kind="stable")
      rows.append((found[order], prob[order]))
      affines.append(np.stack([affine, affine]))
    return {"boxes": np.stack([r[0] for r in rows]), "boxes_prob": np.stack([r[1] for r in rows])}, np.stack(affines)


def _picture(number, height=300, width=360):
  picture = np.zeros((height, width, 3), np.uint8)
  picture[0, 0, 0] = number
  return picture


def _box(*sides):
  return np.array(sides, np.float32)


def test_boxes_are_pixels_of_the_picture_and_each_side_has_its_own():
  right, left = _box(30, 40, 60, 50), _box(200, 100, 80, 70)
  finder = Boxes({1: [(left, 0.1, 0.8), (right, 0.7, 0.2)], 2: [(right, 0.2, 0.7)], 3: []})
  found = find_hands(finder, [_picture(1), _picture(2), _picture(3)])
  np.testing.assert_allclose(found.boxes[0], [right, left], atol=1e-3)
  np.testing.assert_allclose(found.boxes[1], [np.zeros(4), right], atol=1e-3)
  np.testing.assert_allclose(found.prob, [[0.9, 0.9], [0, 0.9], [0, 0]], rtol=1e-5)
  assert not found.boxes[2].any()


def test_of_two_hands_of_one_side_one_is_taken_for_the_other():
  one, other = _box(30, 40, 60, 50), _box(200, 100, 80, 70)
  finder = Boxes({1: [(one, 0.3, 0.6), (other, 0.1, 0.8)]})
  found = find_hands(finder, [_picture(1)])
  np.testing.assert_allclose(found.boxes[0], [one, other], atol=1e-3)


def test_what_a_second_look_does_not_see_is_none():
  real, false = _box(30, 40, 60, 50), _box(200, 100, 80, 70)
  finder = Boxes({1: [(false, 0.9, 0.0), (real, 0.0, 0.6)]}, blind=(0,))
  found = find_hands(finder, [_picture(1)])
  np.testing.assert_allclose(found.boxes[0], [np.zeros(4), real], atol=1e-3)
  assert found.prob[0, 1] == pytest.approx(0.6)


def test_parts_of_a_large_picture_show_what_the_whole_does_not():
  small = _box(1000, 700, 60, 60)
  finder = Boxes({1: [(small, 0.9, 0.0)]}, smallest=5.0)
  found = find_hands(finder, [_picture(1, 900, 1200)])
  np.testing.assert_allclose(found.boxes[0, 0], small, atol=0.01)
  parts = [window for window in finder.windows if window is not None and window[2] > 300]
  covered = np.zeros((900, 1200), bool)
  for x, y, w, h in np.array(parts) + [0.5, 0.5, 0, 0]:
    covered[int(y) : int(np.ceil(y + h)), int(x) : int(np.ceil(x + w))] = True
  assert covered.all()
  assert not find_hands(finder, [_picture(1, 900, 1200)[:, :900]]).boxes.any()


def test_no_look_at_a_thin_picture_shows_nothing_of_it():
  small, large = _box(700, 1, 6, 6), _box(300, -400, 900, 900)
  finder = Boxes({1: [(small, 0.9, 0.0), (large, 0.0, 0.9)]})
  found = find_hands(finder, [_picture(1, 8, 1600), _picture(1, 900, 1200)])
  assert not found.boxes[0, 1].any()
  np.testing.assert_allclose(found.boxes[:, 0], [small, small], atol=0.01)
  np.testing.assert_allclose(found.boxes[1, 1], large, atol=0.01)
  Picture(pathlib.Path(), _picture(1, 8, 1600), boxes=found.boxes[0])


def test_hands_are_one_where_boxes_are_alike_and_at_most_two():
  one = _box(30, 40, 60, 50)
  finder = Boxes({1: [(one, 0.9, 0.0), (one + [4, 0, 0, 0], 0.0, 0.8), (_box(200, 100, 80, 70), 0.0, 0.7)]})
  found = find_hands(finder, [_picture(1)])
  assert boxes.iou(found.boxes[0, 0], one) > 0.99
  assert found.boxes[0, 1, 0] == pytest.approx(200, abs=0.01)
