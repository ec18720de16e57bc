"""Of fixed lengths the longest that there is time for."""

import pytest

from jaxhands.train import time_budget

CHOICES = ("100 steps", "200 steps", "400 steps")


@pytest.mark.parametrize(
  ("rate", "expected"), [(1.0, 0), (39.9, 0), (40.0, 0), (80.0, 1), (159.0, 1), (160.0, 2), (1e6, 2)]
)
def test_the_longest_that_fits(rate, expected):
  # 40 pictures a second in evaluation are 10 in training: 100 steps of 16 in 160 s.
  picture_s = time_budget.in_training(1 / rate, 1 / rate, 4.0)
  assert time_budget.chosen(CHOICES, 160.0, picture_s, 16) == CHOICES[expected]


def test_reading_takes_no_longer_in_training():
  assert time_budget.in_training(0.5, 0.1, 4.0) == pytest.approx(0.8)
  assert time_budget.in_training(0.1, 0.4, 0.5) == pytest.approx(0.2)  # read while it is computed


def test_it_is_kept(tmp_path):
  assert time_budget.read(tmp_path) is None
  time_budget.write(tmp_path, {"mpjpe/all": 3.0}, 12.5, "100 steps")
  assert time_budget.read(tmp_path) == {"metrics": {"mpjpe/all": 3.0}, "pictures_per_s": 12.5, "train_for": "100 steps"}
