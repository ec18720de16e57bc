"""Durations and intervals."""

import pytest

from jaxhands.train import plan
from tests.train import toys


@pytest.mark.parametrize(
  ("text", "steps"),
  [("0 steps", 0), ("1 step", 1), ("5e5 steps", 500_000), ("2 epochs", 25), ("0.1 epochs", 1), ("1.5 epoch", 19)],
)
def test_durations_are_steps(text, steps):
  assert plan.steps_of(text, 12.5) == steps


@pytest.mark.parametrize("text", ["20", "20epochs", "-1 steps", "1.5 steps", "many steps", ""])
def test_what_is_no_duration_is_refused_with_its_text(text):
  with pytest.raises(ValueError, match=repr(text) if text else "''"):
    plan.steps_of(text, 12.5)


def test_a_plan_counts_in_batches():
  config = toys.config(train_for="3 epochs", eval_every="1 epoch", checkpoint_every="0.01 epochs", log_every="0 steps")
  found = plan.Plan.of(config, 20)
  assert (found.steps, found.epoch_steps) == (8, 2.5)
  assert (found.eval_every, found.checkpoint_every, found.log_every) == (2, 1, 0)
  assert [step for step in range(1, 9) if plan.due(step, found.eval_every)] == [2, 4, 6, 8]
  assert not plan.due(5, found.log_every)


def test_a_plan_without_examples_or_steps_is_refused():
  with pytest.raises(ValueError, match="have 0 examples"):
    plan.Plan.of(toys.config(), 0)
  with pytest.raises(ValueError, match="'0 steps', which is no step"):
    plan.Plan.of(toys.config(train_for="0 steps"), 20)
