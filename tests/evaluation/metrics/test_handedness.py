"""Average precision against its definition by thresholds, and the strict accuracy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxhands.evaluation.metrics import handedness

samples = st.lists(
  st.tuples(st.sampled_from([0.1, 0.3, 0.5, 0.9]), st.booleans(), st.sampled_from([0, 1, 2])), max_size=12
)


def by_thresholds(score, positive, weight):
  """Every distinct score is a threshold: precision x gain in recall."""
  total = (weight * positive).sum()
  area, recall = 0.0, 0.0
  for threshold in sorted(set(score), reverse=True):
    found = score >= threshold
    true = (weight * positive)[found].sum()
    if weight[found].sum() == 0:
      continue
    area += true / weight[found].sum() * (true / total - recall)
    recall = true / total
  return area


@given(samples)
def test_average_precision_is_its_definition(rows):
  score, positive, weight = (np.array([row[i] for row in rows], t) for i, t in enumerate((float, bool, float)))
  ours = handedness.stepwise_average_precision(score, positive, weight)
  if not (weight * positive).any():
    assert np.isnan(ours)
  else:
    assert ours == pytest.approx(by_thresholds(score, positive, weight))


@given(samples, st.randoms(use_true_random=False))
def test_order_does_not_matter(rows, random):
  def precision(rows):
    return handedness.stepwise_average_precision(
      *(np.array([row[i] for row in rows], t) for i, t in enumerate((float, bool, float)))
    )

  shuffled = random.sample(rows, len(rows))
  assert precision(shuffled) == pytest.approx(precision(rows), nan_ok=True)


def test_known_values():
  ones = np.ones(4)
  perfect = handedness.stepwise_average_precision(np.array([0.9, 0.8, 0.2, 0.1]), np.array([1, 1, 0, 0], bool), ones)
  assert perfect == 1
  worst = handedness.stepwise_average_precision(np.array([0.9, 0.8, 0.2, 0.1]), np.array([0, 0, 0, 1], bool), ones)
  assert worst == 0.25
  tied = handedness.stepwise_average_precision(np.full(4, 0.5), np.array([1, 0, 0, 0], bool), ones)
  assert tied == 0.25


def test_metric_is_the_mean_over_the_hands_with_known_labels():
  metric = handedness.average_precision()
  prediction = {"hand_prob": np.array([[0.9, 0.1], [0.8, 0.9], [0.1, 0.3], [0.95, 0.95]], np.float32)}
  batch = {
    "hand_present": np.array([[True, False], [True, True], [False, True], [False, False]]),
    "hand_present_valid": np.array([True, True, True, False]),
  }
  value, weight = metric.quantity.fn(prediction, batch)
  assert metric.reduce(np.asarray(value), np.asarray(weight)) == pytest.approx(1)
  value, weight = metric.quantity.fn(prediction, batch | {"hand_present_valid": np.ones(4, bool)})
  right = (1 / 2 + 2 / 3) / 2  # the wrong 0.95 comes first
  left = (1 / 2 + 2 / 3) / 2
  assert metric.reduce(np.asarray(value), np.asarray(weight)) == pytest.approx((right + left) / 2)


def test_accuracy_is_strict_on_both_sides():
  metric = handedness.accuracy()
  present = np.array([[True, False]] * 4)
  prediction = {"hand_prob": np.array([[0.6, 0.4], [0.5, 0.4], [0.6, 0.5], [0.6, 0.6]], np.float32)}
  value, weight = metric.quantity.fn(prediction, {"hand_present": present, "hand_present_valid": np.ones(4, bool)})
  assert np.asarray(value).tolist() == [1, 0, 0, 0]
  assert metric.reduce(np.asarray(value), np.asarray(weight)) == 0.25
