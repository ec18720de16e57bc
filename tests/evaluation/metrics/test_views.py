"""View selection: choices and regrets by hand, errors and deviations by NumPy."""

import numpy as np
import pytest

from jaxhands.evaluation.metrics import views


def test_choices_and_regrets():
  found = views.Views(np.array([[10.0, 30, 20], [5, 7, 9]]), np.array([[1.0, 3, 2], [3, 2, 1]]))
  chosen = views.choices(found)
  assert tuple(chosen) == views.CHOICES
  expected = {
    "lowest deviation": ([10, 9], [0, 4]), "highest deviation": ([30, 5], [20, 0]), "any view": ([20, 7], [10, 2]),
  }  # fmt: skip
  for name, both in expected.items():
    np.testing.assert_allclose(chosen[name], both, err_msg=name)
  assert views.correlation(found) == pytest.approx(0), "one scene in order, one in reverse"
  assert views.correlation(views.Views(found.error_mm, found.error_mm)) == pytest.approx(1)
  assert np.isnan(views.correlation(views.Views(np.ones((2, 1)), np.ones((2, 1)))))


@pytest.mark.parametrize(("alignment", "joints"), [("global", 42), ("rrr", 41), ("rr", 40)])
def test_errors_and_deviations_are_those_of_the_joints_that_can_differ(alignment, joints):
  rng = np.random.default_rng(0)
  truth = rng.normal([0, 0, 600], 60, (3, 2, 21, 3))
  pose, samples = truth + rng.normal(0, 9, truth.shape), truth[:, None] + rng.normal(0, 7, (3, 6, 2, 21, 3))
  error, deviation = views.of_pose(pose, samples, truth, alignment)

  def moved(x):
    wrists = {"global": 0 * x[..., 20:, :], "rrr": x[..., :1, 20:, :], "rr": x[..., 20:, :]}[alignment]
    return (x - wrists).reshape(*x.shape[:-3], 42, 3)

  np.testing.assert_allclose(error, np.linalg.norm(moved(pose) - moved(truth), axis=-1).sum(-1) / joints)
  spread = np.sqrt(moved(samples).var(1).sum(-1))
  np.testing.assert_allclose(deviation, spread.sum(-1) / joints)


def test_the_interval_is_around_the_mean_and_of_one_value_that_value():
  low, high = views.interval(np.random.default_rng(1).normal(5, 1, 200))
  assert 4.7 < low < 5.0 < high < 5.3
  assert views.interval(np.full(4, 2.0)) == (2.0, 2.0)
