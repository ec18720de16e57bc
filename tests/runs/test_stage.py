"""One training of a run: how fast this machine is, for a length that fits the time; and what is assembled."""

import shutil
import types

import numpy as np
import pytest

from jaxhands.runs import stage as stage_module
from jaxhands.runs.stage import Stage
from jaxhands.train import checkpoint, distributed

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


@pytest.mark.parametrize("linked", [False, True])
def test_what_is_assembled_again_takes_the_place_of_what_was(linked, tmp_path, monkeypatch):
  if linked:
    (tmp_path / "disk").mkdir()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "disk")
  stage = object.__new__(Stage)
  stage.config = types.SimpleNamespace(init_from={"all": "other"}, system=types.SimpleNamespace(name="toy"))
  stage.workdir, stage.mesh = tmp_path, distributed.make_mesh(1)
  fresh = {"params": {"w": np.zeros(3, np.float32)}}
  monkeypatch.setattr(Stage, "_shapes_and_constants", lambda self: (fresh, {}))
  for value in (1.0, 2.0):
    monkeypatch.setattr(Stage, "_filled", lambda self, shapes, value=value: {"params": {"w": np.full(3, value, "f4")}})
    stage._assembled()
    np.testing.assert_array_equal(checkpoint.read_variables(tmp_path, fresh)["params"]["w"], np.full(3, value))
  monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)  # of a disk that cannot be written
  with pytest.raises(OSError, match="checkpoints/0 is of before and cannot be deleted; delete it yourself"):
    stage._assembled()


def test_a_calibration_of_a_former_evaluation_does_not_stay(tmp_path):
  stage, rng = object.__new__(Stage), np.random.default_rng(0)
  stage.workdir = tmp_path
  confidence = rng.random((50, 2, 21))
  values = {
    "confidence_near": np.stack([confidence, rng.random(confidence.shape) < confidence], -1),
    "confidence_near_weight": np.ones(confidence.shape, np.float32), "scene_id": np.arange(50) % 10,
  }  # fmt: skip
  for lacking in (values | {"scene_id": np.zeros(50, int)}, {}):  # too few scenes; a system without confidence
    stage._write_calibration(values)
    assert (tmp_path / "eval" / "calibration.json").is_file()
    stage._write_calibration(lacking)
    assert not (tmp_path / "eval" / "calibration.json").exists()
