"""What the table of view selection says of errors and deviations that are known."""

import numpy as np
import pytest

from benchmarks import view_selection
from jaxhands.evaluation.metrics import views


def test_a_deviation_that_knows_the_error_has_no_regret():
  error = np.random.default_rng(0).uniform(20, 90, (12, 5))
  content = view_selection.tabulated({"rrr": views.Views(error, 2 * error), "rr": views.Views(error, -error)})
  best, worst = content["rrr"]["choices"]["lowest deviation"], content["rrr"]["choices"]["highest deviation"]
  assert best["regret_mm"] == {"mean": 0.0, "interval": (0.0, 0.0)}
  assert best["error_mm"]["mean"] == pytest.approx(error.min(1).mean())
  assert worst["error_mm"]["mean"] == pytest.approx(error.max(1).mean())
  low, high = worst["regret_mm"]["interval"]
  assert low < worst["regret_mm"]["mean"] < high
  assert content["rrr"]["correlation"] == pytest.approx(1)
  assert content["rr"]["correlation"] == pytest.approx(-1)
  assert content["rr"]["choices"]["lowest deviation"] == worst
