"""Metrics of boxes against counts by hand, through the evaluator."""

import jax
import numpy as np
import pytest

from jaxhands.evaluation.evaluator import Evaluator
from jaxhands.evaluation.metrics.base import Protocol
from tests import replay

SIDE = 100
# Right and left hand of each picture: x, y, width, height of the joints' tight box, of which `box_img` is 1.2 times.
HANDS = [
  [(10, 10, 40, 40), (60, 60, 30, 30)],
  [(10, 10, 5, 5), None],
  [None, (70, 70, 60, 60)],
  [None, None],
]


def _grown(place):
  x, y, w, h = place
  return [x - 0.1 * w, y - 0.1 * h, 1.2 * w, 1.2 * h]


def _truth():
  count = len(HANDS)
  joints, valid = np.zeros((count, 2, 21, 2), np.float32), np.zeros((count, 2, 21), bool)
  rng = np.random.default_rng(0)
  for row, hands in enumerate(HANDS):
    for side, place in enumerate(hands):
      if place is not None:
        x, y, w, h = place
        joints[row, side] = rng.uniform((x, y), (x + w, y + h), (21, 2))
        joints[row, side, :2] = (x, y), (x + w, y + h)
        valid[row, side] = True
  return {
    "joints_img": joints, "joints_img_valid": valid, "hand_present": valid.any(-1),
    "joints_cam_valid": valid, "joints_visible": valid, "image": np.zeros((count, SIDE, SIDE, 3), np.uint8),
    "crop_from_img": np.repeat(np.eye(2, 3, dtype=np.float32)[None], count, 0),
    "hand_present_valid": np.ones(count, bool),
  }  # fmt: skip


def _numbers(boxes, prob):
  mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
  prediction = {"boxes": np.array(boxes, np.float32), "boxes_prob": np.array(prob, np.float32)}
  evaluator = Evaluator(replay.Replay(), mesh, protocol=Protocol())
  return evaluator(replay.variables(prediction), replay.batches(_truth(), 2), resamples=5)


def test_everything_is_counted():
  nothing = [0, 0, 0, 0]
  wrong = [80, 0, 10, 10]
  shifted = _grown((20, 10, 40, 40))  # 38 of 58 columns shared: 0.655
  result = _numbers(
    [[shifted, _grown((60, 60, 30, 15))], [_grown((10, 10, 5, 5)), wrong], [wrong, nothing], [wrong, wrong]],
    [[(0.2, 0.7), (0.1, 0.6)], [(0.3, 0.1), (0.5, 0.1)], [(0.9, 0.0), (0.0, 0.0)], [(0.3, 0.3), (0.2, 0.0)]],
  )
  found = result.metrics
  # Three hands count: of the third picture's one the middle is in the picture, and too few of the joints.
  assert found["box_recall/all"] == pytest.approx(2 / 3)
  assert found["box_recall/interacting"] == 1
  assert found["box_recall/small"] == 0  # its box is less likely than not
  assert "box_recall/middle" not in found  # there is none
  assert found["box_recall/large"] == 1
  assert found["box_side/all"] == pytest.approx(1 / 2)  # the first is called a left one
  first = 38 / 58
  assert found["box_error/all"] == pytest.approx((1 - first + 0.5 + 1) / 3, abs=0.01)
  assert found["false_boxes"] == pytest.approx(3 / 4)
  assert found["alarms"] == 1
  assert result.units["false_boxes"] == "per picture"
  assert "whole picture" in {row["method"] for row in result.also}


def test_a_perfect_finder():
  nothing = [0, 0, 0, 0]
  boxes = [[_grown(place) if place else nothing for place in hands] for hands in HANDS]
  prob = [[(1.0 - side, float(side)) if place else (0, 0) for side, place in enumerate(hands)] for hands in HANDS]
  found = _numbers(boxes, prob).metrics
  assert found["box_recall/all"] == found["box_recall_loose/all"] == found["box_side/all"] == 1
  assert found["false_boxes"] == found["alarms"] == 0
  assert found["box_error/all"] == pytest.approx(0, abs=1e-5)
