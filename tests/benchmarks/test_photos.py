"""Numbers of real pictures, by hand; the table and its page; pictures that are read as they are described."""

import json
import types

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import photo_scores, photo_sets, photos
from benchmarks.photo_scores import Counts
from benchmarks.photo_sets import Sample
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.hands.skeleton import JOINT_NAMES
from jaxhands.prediction import predictor
from jaxhands.prediction.look import Look
from tests.evaluation.metrics import scenes


def hand(left, top, side, seed=0):
  """21 joints that fill a square box exactly."""
  joints = np.random.default_rng(seed).uniform(0, side, (21, 2)) + [left, top]
  joints[0], joints[1] = (left, top), (left + side, top + side)
  return joints.astype(np.float32)


def sample(*hands, sides=(0, 1), valid=None):
  joints = np.stack(hands)
  valid = np.ones(joints.shape[:2], bool) if valid is None else valid
  return Sample("some", np.zeros((300, 400, 3), np.uint8), joints, valid, tuple(sides[: len(hands)]))


def test_correct_joints_are_counted_by_the_hands_own_size():
  one, other = hand(20, 30, 100), hand(200, 40, 50, seed=1)
  moved = one.copy()
  moved[:5] += [9.9, 0]  # within 0.1 of 100 px
  moved[5:9] += [0, 19]
  moved[9:12] += [29, 0]
  moved[12:] += [50, 0]
  truth = sample(one, other)
  valid = truth.valid.copy()
  valid[0, 20] = False
  found = photo_scores.count(np.stack([other + 6, moved]), (0, 1), truth.joints_img, valid, (0, 1))
  # Of the second hand, each joint is 6 * sqrt(2) = 8.5 px away: 0.17 of 50.
  assert found.joints == 41
  assert found.correct == (5, 9 + 21, 12 + 21)
  assert found.pck == pytest.approx((5 / 41, 30 / 41, 33 / 41))
  assert (found.hands, found.found, found.same_side, found.extra) == (2, 1, 0, 1)  # mean error 0.3 of the first's size


def test_joints_of_a_missed_hand_are_wrong_and_hands_that_are_none_are_extra():
  truth = sample(hand(20, 30, 100), hand(200, 40, 50, seed=1))
  alone = photo_scores.count(truth.joints_img[1:], (1,), truth.joints_img, truth.valid, (0, 1))
  assert alone == Counts(hands=2, joints=42, correct=(21, 21, 21), found=1, same_side=1, extra=0)
  nothing = photo_scores.count(np.zeros((0, 21, 2)), (), truth.joints_img, truth.valid, (0, 1))
  assert nothing == Counts(hands=2, joints=42)
  one = sample(truth.joints_img[0])
  doubled = photo_scores.count(truth.joints_img[[0, 0]] + [[[1.0]], [[0.0]]], (0, 1), one.joints_img, one.valid, (0,))
  assert (doubled.found, doubled.same_side, doubled.extra) == (1, 0, 1)  # the nearer one is called a left hand
  assert alone + nothing == Counts(hands=4, joints=84, correct=(21, 21, 21), found=1, same_side=1)
  assert np.isnan(Counts().pck).all()


@given(st.lists(st.lists(st.floats(0, 9), min_size=2, max_size=2), min_size=1, max_size=2))
def test_hands_are_given_away_at_the_least_cost(rows):
  cost = np.array(rows)
  found = photo_scores.assign(cost)
  if len(rows) == 1:
    assert found == [int(cost[0].argmin())]
  else:
    straight, crossed = cost[0, 0] + cost[1, 1], cost[0, 1] + cost[1, 0]
    assert found == ([0, 1] if straight <= crossed else [1, 0])
  turned = photo_scores.assign(cost.T)  # fewer predictions than hands, perhaps
  assert sorted(value for value in turned if value >= 0) == list(range(len(rows)))
  assert photo_scores.assign(np.zeros((2, 0))) == [-1, -1]


def test_boxes_are_found_false_or_neither():
  truth = np.array([[0, 0, 10, 10], [100, 0, 10, 10]], np.float32)
  found = np.array([[0, 0, 10, 20], [104, 0, 10, 10], [50, 50, 5, 5], [0, 0, 10, 15]], np.float32)
  assert photo_scores.count_boxes(found, truth) == (1, 1)  # of two on one hand one counts, and none is false
  assert photo_scores.count_boxes(found, np.zeros((0, 4))) == (0, 4)
  assert photo_scores.count_boxes(np.zeros((0, 4)), truth) == (0, 0)


class Told:
  """A model that puts the truth, moved by 3 and 4 px, where it is told to look."""

  def __init__(self, *samples):
    self.asked = []
    self._hands = [(box, joints) for each in samples for box, joints in zip(each.boxes, each.joints_img, strict=True)]

  def maps(self, pictures, boxes, cameras):
    self.asked = np.asarray(boxes)
    found = np.full((len(pictures), 2, 21, 2), -999.0, np.float32)
    for row, side in zip(*np.nonzero(self.asked.any(-1)), strict=True):
      found[row, side] = next(j for box, j in self._hands if np.array_equal(box, self.asked[row, side])) + [3, 4]
    return {"joints_img": found, "row": np.arange(len(pictures))}, None


def test_hands_are_looked_for_where_they_are():
  pair = sample(hand(20, 30, 60), hand(60, 40, 60, seed=1))
  twice = sample(hand(10, 10, 60, seed=2), hand(200, 40, 60, seed=3), sides=(1, 1))
  single = sample(hand(30, 30, 60, seed=4), sides=(0,))
  model = Told(pair, twice, single)
  joints, raw = photos.told(model, [pair, twice, single])
  assert model.asked.any(-1).tolist() == [[True, True], [False, True], [False, True], [True, False]]
  assert raw["row"].tolist() == [0, 1, 3]
  for found, each in zip(joints, (pair, twice, single), strict=True):
    np.testing.assert_allclose(found, each.joints_img + [3, 4])
  assert photos.epe(joints, [pair, twice, single]) == pytest.approx(5.0, rel=1e-5)
  assert photos.pck(joints, [pair, twice, single]) == [1, 1, 1]  # 5 px of 60
  assert photos.pck([found * 0 + 1e4 for found in joints], [pair, twice, single]) == [0, 0, 0]


def test_mpjpe_is_that_of_the_runs_protocol():
  truth = scenes.truth(count=4)
  prediction = scenes.prediction(truth)
  keys = [key for key in photo_sets._INTERHAND_KEYS if key in truth]
  samples = [
    Sample("", np.zeros((2, 2, 3), np.uint8), truth["joints_img"][i], truth["joints_img_valid"][i], (0, 1),
           {key: truth[key][i : i + 1] for key in keys})
    for i in range(4)
  ]  # fmt: skip
  found = photos.mpjpe(prediction, samples, Protocol(depth="predicted", average="pooled"))
  relative, true = (x["joints_cam"] - x["joints_cam"][:, :, 20:] for x in (prediction, truth))
  error = np.linalg.norm(relative - true, axis=-1)[truth["joints_cam_valid"]]
  assert found == pytest.approx(error.mean(), rel=1e-4)
  assert np.isnan(photos.mpjpe({"masks": 0}, samples, Protocol()))


def test_pictures_are_looked_at_as_predict_does(monkeypatch):
  joints = np.stack([hand(20, 30, 50), hand(100, 40, 50)])
  present = iter([[True, False], [False, False], [True, True]])

  def hands(self, ready):
    there = [np.array([next(present)]) for _ in ready]
    return [types.SimpleNamespace(present=each, joints_img=joints[None]) for each in there]

  monkeypatch.setattr(Look, "hands", hands)
  grey = np.zeros((200, 300, 3), np.uint8)
  seen = photos.look_at(Look(object.__new__(predictor.Model)), [("a", grey), ("b", grey), ("c", grey)])
  assert [each.sides for each in seen] == [(0,), (), (0, 1)]
  np.testing.assert_allclose(seen[0].boxes, [[20 - 5, 30 - 5, 60, 60]], rtol=1e-5)
  truth = [sample(joints[0]), sample(joints[0]), sample(joints[1], sides=(1,))]
  assert photos.boxes(seen, truth) == {"pictures": 3, "hands": 3, "found": 2, "false": 1}
  total = photos.count(seen, truth)
  assert (total.hands, total.found, total.same_side, total.extra) == (3, 2, 2, 1)
  assert total.pck == pytest.approx([2 / 3] * 3)


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_points_are_put_in_our_order(tmp_path):
  """MediaPipe's wrist and fingertips, and the rows of Tzionas' hands, by the names of their joints."""
  (tmp_path / "photos").mkdir()
  points = [[[number, 100 * which + number] for number in range(21)] for which in range(2)]
  (tmp_path / "photos" / "tfjs_hands_keypoints.json").write_text(json.dumps({"image": "a.png", "hands": points}))
  cv2.imwrite(str(tmp_path / "photos" / "a.png"), np.zeros((30, 40, 3), np.uint8))
  (found,) = photo_sets.photo(tmp_path)
  by_name = dict(zip(JOINT_NAMES, found.joints_img[1, :, 0], strict=True))
  expected = {"wrist": 0, "thumb1": 1, "thumb4": 4, "index1": 5, "index4": 8, "middle2": 10, "ring4": 16, "little1": 17}
  assert {name: by_name[name] for name in expected} == expected
  assert found.sides == (1, 1)

  (tmp_path / "hdr").mkdir()
  cv2.imwrite(str(tmp_path / "hdr" / "Tzionas_dataset-02-1-rgb-100.png"), np.zeros((30, 40, 3), np.uint8))
  rows = [f"{row}\t{row + 1}\t{row + 2}" if row not in (2, 15) else f"{row}\t0\t0" for row in range(28)]
  (tmp_path / "hdr" / "Tzionas_dataset-02-1-joints_2D_GT-100.txt").write_text("\n".join(rows))
  (found,) = photo_sets.tzionas(tmp_path)
  assert found.valid.sum(1).tolist() == [13, 13]
  for which, first in enumerate((0, 14)):
    by_name = {
      name: point - 1 - first
      for name, point, known in zip(JOINT_NAMES, found.joints_img[which, :, 0], found.valid[which], strict=True)
      if known
    }
    expected = {
      "little1": 0,
      "ring1": 3,
      "ring3": 5,
      "middle1": 6,
      "index1": 9,
      "index3": 11,
      "thumb2": 12,
      "thumb3": 13,
    }
    assert {name: by_name[name] for name in expected} == expected
    assert not {"wrist", "thumb4", "index4", "thumb1"} & by_name.keys()


def test_where_the_pictures_should_be_is_said(tmp_path, monkeypatch):
  monkeypatch.setenv("JAXHANDS_SHARED", str(tmp_path / "nowhere"))
  with pytest.raises(FileNotFoundError, match=r"nowhere.samples: set JAXHANDS_SHARED"):
    photo_sets.folder()
  (tmp_path / "nowhere" / "samples").mkdir(parents=True)
  assert photo_sets.folder() == tmp_path / "nowhere" / "samples"


def test_boxes_of_samples_have_the_margin_of_box_img():
  found = sample(hand(20, 30, 100), hand(200, 40, 50))
  np.testing.assert_allclose(found.boxes, [[10, 20, 120, 120], [195, 35, 60, 60]], rtol=1e-5)
  np.testing.assert_allclose(found.box, [10, 20, 245, 120], rtol=1e-5)


# ---- the table ------------------------------------------------------------------------------------------------------


def row(**changes):
  return {
    "date": "2026-11-29", "commit": "0123456789abcdef", "modified": False, "weights": "some|thing", "finder": "",
    "system": "internet", "note": "first", "video_frames": 13,
    "told": {"photo_pck": [0.1, 0.25, 0.5], "video_pck": [0.0, 1 / 3, 1.0], "tzionas_epe_px": 12.345678,
             "interhand_mpjpe_mm": float("nan"), "protocol": "depth=gt"},
    "predict": {"pck": [0.1, 0.2, 0.3], "pictures": 19, "hands": 23, "found": 5, "same_side": 4, "extra": 11},
    "boxes": {"scenes": {"pictures": 24, "hands": 30, "found": 9, "false": 2},
              "samples": {"pictures": 19, "hands": 23, "found": 3, "false": 1}},
    "without_hands": {"pictures": 17, "alarms": ["black", "coffee"]},
  } | changes  # fmt: skip


def test_rows_are_added_and_the_page_follows(tmp_path):
  table = tmp_path / "docs" / "photos.json"
  photos.add(table, row())
  photos.add(table, row(note="second", without_hands=None, modified=True))
  rows = photos.read(table)
  assert [each["note"] for each in rows] == ["first", "second"]
  assert rows[0]["told"]["video_pck"] == [0.0, 0.3333, 1.0]
  assert rows[0]["told"]["interhand_mpjpe_mm"] is None
  text = (tmp_path / "docs" / "photos.md").read_text()
  assert text == photos.page(rows)
  first, second = text.splitlines()[-2:]
  for cell in (
    "0123456789", "some/thing", "0.10 / 0.25 / 0.50", "0.00 / 0.33 / 1.00", "12.3", "5 of 23", "4 of 5", "11",
    "9 of 30", "2 in 24", "2 of 17", "first",
  ):  # fmt: skip
    assert f"| {cell} |" in first, cell
  assert "0123456789 with changes" in second
  assert first.count("|") == second.count("|") == len(photos._HEAD) + 1


def test_the_committed_page_is_made_of_the_committed_table():
  rows = photos.read(photos.TABLE)
  assert rows
  assert photos.TABLE.with_suffix(".md").read_text() == photos.page(rows)


def test_all_kept_weights_are_measured_by_default():
  assert "hdr-small-seed0" in [path.name for path in photos.kept()]
