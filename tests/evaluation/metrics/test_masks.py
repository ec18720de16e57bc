"""Metrics of masks against counts of pixels, baselines against OpenCV, all through the evaluator."""

import cv2
import jax
import numpy as np
import pytest

from jaxhands.evaluation.evaluator import Evaluator
from jaxhands.evaluation.metrics import masks
from jaxhands.evaluation.metrics.base import Protocol
from tests import replay
from tests.evaluation.metrics import scenes

COUNT, SIDE = 9, 24
AMODAL, VISIBLE = 0, 1


def _discs(seed):
  """Two hands as discs, the left one in front; single hands in half of the pictures, as in `scenes.truth`."""
  rng = np.random.default_rng(seed)
  present = scenes.truth(count=COUNT)["hand_present"]
  found = np.zeros((COUNT, 2, 2, SIDE, SIDE), np.uint8)
  for example, hand in zip(*np.nonzero(present), strict=True):
    centre = rng.integers(8, 16, 2).tolist()
    cv2.circle(found[example, hand, AMODAL], centre, int(rng.integers(3, 7)), 1, -1)
  found[:, :, VISIBLE] = found[:, :, AMODAL]
  found[:, 0, VISIBLE] &= 1 - found[:, 1, AMODAL]
  return found


@pytest.fixture(scope="module")
def truth():
  valid = np.ones((COUNT, 2, 2), bool)
  valid[0, 1, VISIBLE] = False
  valid[5] = False
  return scenes.truth(count=COUNT) | {"masks": _discs(0), "masks_valid": valid}


@pytest.fixture(scope="module")
def prediction():
  rng = np.random.default_rng(1)
  return {"masks": np.clip(_discs(2) * 0.8 + rng.uniform(0, 0.15, (COUNT, 2, 2, SIDE, SIDE)), 0, 1).astype(np.float32)}


@pytest.fixture(scope="module")
def evaluated(truth):
  """Compiled once for all predictions."""
  mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
  evaluator = Evaluator(replay.Replay(), mesh, protocol=Protocol())
  return lambda prediction: evaluator(
    replay.variables(prediction), replay.batches(truth, 4), ("discs", "here", "test"), resamples=20
  )


@pytest.fixture(scope="module")
def result(evaluated, prediction):
  return evaluated(prediction)


def _split(found, kind):
  whole, visible = found[:, :, AMODAL] > 0.5, found[:, :, VISIBLE] > 0.5
  return {"amodal": whole, "visible": visible, "invisible": whole & ~visible}[kind]


def _iou(predicted, truth, kind, keep):
  """Pixels in both over pixels in either, of the hands [N, 2] that are kept."""
  ours, theirs = (_split(found, kind)[keep] for found in (predicted, truth["masks"]))
  return (ours & theirs).sum() / (ours | theirs).sum()


def _valid(truth, kind):
  valid = truth["masks_valid"]
  return valid.all(-1) if kind == "invisible" else valid[:, :, masks.KINDS.index(kind)]


@pytest.mark.parametrize("kind", masks.KINDS)
def test_iou_of_both_hands_and_of_each(result, truth, prediction, kind):
  valid = _valid(truth, kind)
  np.testing.assert_allclose(result.metrics[f"iou/{kind}"], _iou(prediction["masks"], truth, kind, valid), rtol=1e-5)
  right = valid & np.array([True, False])
  expected = _iou(prediction["masks"], truth, kind, right)
  np.testing.assert_allclose(result.metrics[f"iou/{kind}/right"], expected, rtol=1e-5)


@pytest.mark.parametrize("kind", masks.KINDS)
def test_iou_by_how_much_is_hidden(result, truth, prediction, kind):
  areas = truth["masks"].sum((3, 4))
  whole, visible = areas[..., AMODAL], areas[..., VISIBLE]
  hidden = np.where(whole > 0, 1 - visible / np.maximum(whole, 1), np.nan)
  seen = []
  for name, (above, up_to) in masks.OCCLUSION.items():
    keep = _valid(truth, kind) & (hidden > above) & (hidden <= up_to)
    key = f"iou/{kind}/hidden_{name}"
    if keep.any() and not (kind == "invisible" and name == "0"):
      np.testing.assert_allclose(result.metrics[key], _iou(prediction["masks"], truth, kind, keep), rtol=1e-5)
      seen.append(name)
    else:
      assert key not in result.metrics
  assert len(seen) >= 2


def test_a_perfect_prediction(truth, evaluated):
  found = evaluated({"masks": truth["masks"].astype(np.float32)})
  assert all(found.metrics[f"iou/{kind}"] == 1 for kind in masks.KINDS)
  assert found.metrics["box_iou/all"] == 1
  assert found.metrics["mask_error/all"] == 0
  beside = found.beside()
  # Of the true visible mask, both ways: what is hidden is never found by taking the visible as the whole.
  for of in ("predicted", "true"):
    assert beside[f"visible as amodal, {of}"]["iou/invisible"] == 0
    assert 0 < beside[f"visible as amodal, {of}"]["iou/amodal"] < 1
    assert beside[f"convex hull, {of}"]["iou/invisible"] > 0


def test_boxes(result, truth, prediction):
  ious = []
  for example in range(COUNT):
    for hand in range(2):
      boxes = []
      for found in (prediction["masks"], truth["masks"]):
        rows, columns = np.nonzero(found[example, hand, AMODAL] > 0.5)
        if len(rows):
          boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
      if not truth["masks_valid"][example, hand, AMODAL] or not boxes:
        continue
      if len(boxes) < 2:
        ious.append(0.0)
        continue
      (a, b, c, d), (e, f, g, h) = boxes
      shared = max(min(c, g) - max(a, e), 0) * max(min(d, h) - max(b, f), 0)
      ious.append(shared / ((c - a) * (d - b) + (g - e) * (h - f) - shared))
  np.testing.assert_allclose(result.metrics["box_iou/all"], np.mean(ious), rtol=1e-5)


def test_what_is_found_where_no_hand_is_counts(truth, evaluated):
  predicted = {"masks": truth["masks"].astype(np.float32)}
  absent = np.flatnonzero(~truth["hand_present"].all(1) & truth["masks_valid"].all((1, 2)))[0]
  hand = int(np.argmin(truth["hand_present"][absent]))
  predicted["masks"][absent, hand, AMODAL, :4, :4] = 1
  found = evaluated(predicted)
  assert found.metrics["iou/amodal"] < 1
  assert found.metrics["iou/amodal/hidden_0"] == 1
  assert found.metrics["box_iou/single"] < found.metrics["box_iou/interacting"] == 1


def test_errors_of_examples_are_one_less_iou(result, truth, prediction):
  ours, theirs = prediction["masks"] > 0.5, truth["masks"] > 0
  either = (ours | theirs).sum((3, 4))
  iou = (ours & theirs).sum((3, 4)) / np.maximum(either, 1)
  counted = truth["masks_valid"] & (either > 0)
  np.testing.assert_allclose(result.metrics["mask_error/all"], (1 - iou)[counted].mean(), rtol=1e-5)


def test_baselines_stand_beside(result, truth, prediction):
  for of, source in (("predicted", prediction["masks"]), ("true", truth["masks"])):
    visible = source[:, :, VISIBLE] > 0.5
    taken = np.stack([visible, visible], axis=2)
    expected = _iou(taken, truth, "amodal", _valid(truth, "amodal"))
    beside = result.beside()[f"visible as amodal, {of}"]
    np.testing.assert_allclose(beside["iou/amodal"], expected, rtol=1e-5)
  table = result.table()
  assert [column.header for column in table.columns][3:-2] == [
    "visible as amodal, predicted", "visible as amodal, true", "convex hull, predicted", "convex hull, true",
  ]  # fmt: skip


def test_convex_hulls():
  rng = np.random.default_rng(3)
  given = np.zeros((6, 32, 32), np.uint8)
  for number in range(5):  # the last one is empty
    for _ in range(3):
      cv2.circle(given[number], rng.integers(6, 26, 2).tolist(), int(rng.integers(1, 5)), 1, -1)
  found = np.asarray(masks.convex_hulls(given > 0))
  assert not found[5].any()
  for number in range(5):
    hull = cv2.convexHull(np.argwhere(given[number])[:, ::-1].astype(np.int32))
    inside = [[cv2.pointPolygonTest(hull, (column, row), False) >= 0 for column in range(32)] for row in range(32)]
    expected = np.array(inside)
    assert found[number][expected].all()
    assert (found[number] & ~expected).sum() <= 0.03 * expected.sum()


def test_systems_without_masks_have_none(truth, evaluated):
  found = evaluated(scenes.prediction(truth))
  assert not [key for key in found.metrics if "iou" in key or "mask" in key]
  assert {entry["method"] for entry in found.also} == {"commonest hands", "mean wrists"}
