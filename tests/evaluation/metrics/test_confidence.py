"""Calibration: against counts by hand, and on joints whose true probability is known."""

import json

import numpy as np
import pytest

from jaxhands.evaluation.metrics import confidence


def test_error_by_hand():
  """Two bins: 0.1 sure and never near, 0.9 sure and near three times of four; a joint without weight."""
  sure = np.array([0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.5])
  near = np.array([0, 0, 1, 1, 1, 0, 1.0])
  weight = np.array([1, 1, 1, 1, 1, 1, 0.0])
  assert confidence.error(sure, near, weight) == pytest.approx((2 * 0.1 + 4 * 0.15) / 6)
  np.testing.assert_allclose(confidence.reliability(sure, near, weight), [[0.1, 0, 2], [0.9, 0.75, 4]])
  assert np.isnan(confidence.error(sure, near, np.zeros(7)))


def test_the_quantity_compares_with_the_hands_size():
  """A hand of 100 px: 9 px off is near, 11 px is not; the other hand is not annotated."""
  truth = np.zeros((1, 2, 21, 2), np.float32)
  truth[0, 0, 1] = (100, 30)
  found = truth.copy()
  found[0, 0, 2], found[0, 0, 3] = (9, 0), (0, 11)
  valid = np.array([[[True] * 21, [False] * 21]])
  prediction = {"joints_img": found, "confidence": np.full((1, 2, 21), 0.25, np.float32)}
  value, weight = confidence.calibration_error().quantity.fn(
    prediction, {"joints_img": truth, "joints_img_valid": valid}
  )
  assert np.asarray(value)[0, 0, :, 1].tolist() == [1, 1, 1, 0] + [1] * 17
  assert (np.asarray(value)[..., 0] == 0.25).all()
  assert np.asarray(weight).sum(-1).tolist() == [[21, 0]]


def test_a_confidence_that_lies_is_mended():
  """The true probability is the square of what is said; measured on scenes that were left out."""
  rng = np.random.default_rng(0)
  sure = rng.uniform(size=(500, 2, 21))
  near = (rng.uniform(size=sure.shape) < sure**2).astype(np.float64)
  value = np.stack([sure, near], -1)
  found = confidence.calibrate(value, np.ones(sure.shape), np.arange(500) // 2)
  assert found["error_before"] == pytest.approx(1 / 2 - 1 / 3, abs=0.01)
  assert found["error_after"] < 0.02
  assert found["joints"] == 21_000
  assert (np.diff(found["confidence"]) > 0).all()
  assert (np.diff(found["probability"]) >= 0).all()
  made = confidence.Calibration(np.array(found["confidence"]), np.array(found["probability"]))
  at = np.linspace(0.1, 0.9, 9)
  np.testing.assert_allclose(made(at), at**2, atol=0.05)


def test_it_is_read_from_a_run(tmp_path):
  assert confidence.Calibration.read(tmp_path) is None
  (tmp_path / "eval").mkdir()
  (tmp_path / "eval" / "calibration.json").write_text(json.dumps({"confidence": [0.0, 1.0], "probability": [0.2, 0.4]}))
  np.testing.assert_allclose(confidence.Calibration.read(tmp_path)(np.array([0.5, 2.0])), [0.3, 0.4])


def test_too_few_or_equal_joints():
  value = np.zeros((4, 2, 21, 2))
  assert confidence.calibrate(value, np.ones((4, 2, 21)), np.arange(4)) is None
  value = np.stack([np.ones((40, 2, 21)), np.arange(40 * 42).reshape(40, 2, 21) % 2], -1)  # always sure, half right
  found = confidence.calibrate(value, np.ones((40, 2, 21)), np.arange(40))
  assert found["probability"] == [pytest.approx(0.5, abs=0.02)]
  assert found["error_after"] < 0.03


def test_a_knot_is_the_mean_of_all_that_are_as_sure():
  """Three of four joints have one confidence, right 7 times of 10, the wrong ones first: these fill whole groups."""
  sure = np.concatenate([np.linspace(0, 0.2, 1000), np.full(3000, 0.3)])
  near = np.concatenate([np.zeros(1000), np.arange(3000) >= 900])
  made = confidence.Calibration.fit(sure, near.astype(float), np.ones(4000))
  assert (np.diff(made.confidence) > 0).all()
  assert made.confidence[-1] == 0.3
  np.testing.assert_allclose(made(np.array([0.1, 0.3])), [0, 0.7], atol=1e-6)


def test_pools_of_violators():
  y = np.array([0.1, 0.5, 0.3, 0.2, 0.9])
  np.testing.assert_allclose(confidence._rising(y, np.ones(5)), [0.1, 1 / 3, 1 / 3, 1 / 3, 0.9])
