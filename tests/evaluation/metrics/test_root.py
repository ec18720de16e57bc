"""Errors of the wrists' place against NumPy, masked, by group and by hand."""

import numpy as np
import pytest

from jaxhands.evaluation import metrics
from jaxhands.evaluation.metrics import base, root
from tests.evaluation.metrics import scenes


@pytest.fixture(scope="module")
def truth():
  return scenes.truth(count=12)


@pytest.fixture(scope="module")
def prediction(truth):
  rng = np.random.default_rng(2)
  known = rng.random((12, 2)) < 0.8
  off = truth["joints_cam"][:, :, 20] + rng.normal(0, 30, (12, 2, 3)).astype(np.float32)
  return {"root_cam": np.where(known[..., None], off, np.nan).astype(np.float32), "root_cam_valid": known}


def test_errors_are_those_of_known_and_annotated_wrists(truth, prediction):
  counted = truth["root_depth_valid"] & prediction["root_cam_valid"]
  offset = np.where(counted[..., None], prediction["root_cam"] - truth["joints_cam"][:, :, 20], 0)
  for metric, expected in ((root.root_depth(), np.abs(offset[..., 2])), (root.mrpe(), np.linalg.norm(offset, axis=-1))):
    value, weight = (np.asarray(x) for x in metric.quantity.fn(prediction, truth))
    np.testing.assert_array_equal(weight, counted)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-4)
    assert metric.reduce(value, weight) == pytest.approx(expected.sum() / counted.sum(), rel=1e-5)
    assert list(metric.results()) == [f"{metric.name}/{group}" for group in ("all", "single", "interacting")]


@pytest.mark.parametrize("hand", [0, 1])
def test_one_hand_alone(truth, prediction, hand):
  metric = root.root_depth_of_hand(("right", "left")[hand])
  value, weight = (np.asarray(x) for x in metric.quantity.fn(prediction, truth))
  assert metric.reduce(value, weight) == pytest.approx(value[:, hand].sum() / weight[:, hand].sum(), rel=1e-6)
  assert list(metric.results()) == [f"root_depth/{('right', 'left')[hand]}"]


def test_without_the_flag_every_wrist_counts(truth):
  exact = {"root_cam": truth["joints_cam"][:, :, 20]}
  value, weight = root.depth_error().fn(exact, truth)
  np.testing.assert_array_equal(weight, truth["root_depth_valid"])
  np.testing.assert_array_equal(value, 0)


def test_they_are_standard_and_left_out_without_wrists():
  names = {metric.name for metric in metrics.standard(base.Protocol())}
  assert {"root_depth", "root_depth/right", "root_depth/left", "mrpe"} <= names
  assert all(metric.optional for metric in metrics.roots())
