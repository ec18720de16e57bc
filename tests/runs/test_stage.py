"""One training of a run: how fast this machine is, for a length that fits the time."""

import time
import types

import numpy as np
import pytest

from jaxhands.runs.stage import Stage

READING_S, STARTING_S, COMPUTING_S = 0.02, 0.5, 0.01


@pytest.mark.parametrize(("examples", "timed"), [(40, 4), (12, 2), (3, 1)])
def test_a_picture_is_timed_with_reading_it_but_without_what_starts_first(examples, timed, monkeypatch):
  measured = []

  def batches(self):
    time.sleep(STARTING_S if examples > 4 else 0)
    for _ in range(-(-examples // 4)):
      time.sleep(READING_S)
      yield {"weight": np.ones(4)}

  def measure(variables, batches):
    measured.append(sum(1 for _ in batches if time.sleep(COMPUTING_S) is None))

  stage = object.__new__(Stage)
  stage.config = types.SimpleNamespace(eval=types.SimpleNamespace(batch_size=4))
  stage.mesh, stage.evaluator = types.SimpleNamespace(size=1), types.SimpleNamespace(measure=measure)
  monkeypatch.setattr(Stage, "eval_batches", batches)
  monkeypatch.setattr(Stage, "_eval_records", [range(examples)])
  whole, computing = stage._seconds_a_picture({})
  assert measured == [timed, timed]
  assert COMPUTING_S / 4 <= computing < whole
  assert (COMPUTING_S + READING_S) / 4 <= whole < STARTING_S / 4
