"""One training of a run: how fast this machine is, for a length that fits the time."""

import types

import numpy as np
import pytest

from jaxhands.runs import stage as stage_module
from jaxhands.runs.stage import Stage

READING_S, STARTING_S, COMPUTING_S = 2.0, 50.0, 1.0


@pytest.mark.parametrize(("examples", "timed"), [(40, 4), (12, 2), (3, 1)])
def test_a_picture_is_timed_with_reading_it_but_without_what_starts_first(examples, timed, monkeypatch):
  measured, now = [], 0.0
  monkeypatch.setattr(stage_module, "time", types.SimpleNamespace(perf_counter=lambda: now))

  def spend(seconds):
    nonlocal now
    now += seconds

  def batches(self):
    spend(STARTING_S if examples > 4 else 0)
    for _ in range(-(-examples // 4)):
      spend(READING_S)
      yield {"weight": np.ones(4)}

  def measure(variables, batches):
    measured.append(sum(1 for _ in batches if spend(COMPUTING_S) is None))

  stage = object.__new__(Stage)
  stage.config = types.SimpleNamespace(eval=types.SimpleNamespace(batch_size=4))
  stage.mesh, stage.evaluator = types.SimpleNamespace(size=1), types.SimpleNamespace(measure=measure)
  monkeypatch.setattr(Stage, "eval_batches", batches)
  monkeypatch.setattr(Stage, "_eval_records", [range(examples)])
  whole, computing = stage._seconds_a_picture({})
  assert measured == [timed] * 3
  assert computing == COMPUTING_S / 4
  assert whole == (COMPUTING_S + READING_S) / 4
