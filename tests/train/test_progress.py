"""What a run tells."""

import json
import time

import pytest
from tensorboardX.proto import event_pb2

from jaxhands.train import progress


def _lines(folder):
  return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _run(folder, first, last, batch_size=8, **arguments):
  with progress.Report(folder, first, last, batch_size, **arguments) as log:
    for step in range(first + 1, last + 1):
      log.add({"pose/loss": 1.0 * step, "pose/l1": 2.0})
      if step % 2 == 0:
        log.log(step, {"pose/learning_rate": 1e-4})
  return log


def test_scalars_are_means_between_logs(tmp_path, capsys):
  _run(tmp_path, 0, 4)
  lines = _lines(tmp_path)
  assert [line["step"] for line in lines] == [2, 4]
  assert [line["train/pose/loss"] for line in lines] == [1.5, 3.5]
  assert [line["train/pose/l1"] for line in lines] == [2, 2]
  assert lines[0]["train/pose/learning_rate"] == 1e-4
  assert "step 4/4  pose/loss 3.5" in capsys.readouterr().out


def test_speed_and_waiting_leave_the_first_step_and_pauses_out(tmp_path):
  def batches():
    while True:
      time.sleep(0.02)
      yield None

  stream = batches()
  with progress.Report(tmp_path, 0, 10, 8) as log:
    time.sleep(0.5)  # compiling
    log.add({})
    for _ in range(5):
      log.next_of(stream)
      time.sleep(0.02)
      log.add({})
    with log.paused():
      time.sleep(0.5)
    log.log(6, {})
  (line,) = _lines(tmp_path)
  # 5 steps of 8 images in 0.2 s and what sleeping takes longer.
  assert 50 < line["train/images_per_s"] <= 200
  assert 0.3 < line["train/data_wait"] < 0.7
  assert 0.7 <= line["train/seconds"] < 0.7 + 0.6  # with the first step and without the pause


def test_a_resumed_run_drops_what_came_after(tmp_path):
  _run(tmp_path, 0, 8)
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 8, "train/po')  # killed in the middle of a line
  _run(tmp_path, 4, 6)
  assert [line["step"] for line in _lines(tmp_path)] == [2, 4, 6]


@pytest.mark.parametrize("first", [0, 4])
def test_curves_of_what_came_after_are_dropped(first, tmp_path):
  """Also of a run that was killed before it saved anything."""
  _run(tmp_path, 0, 8)
  assert [event.step for event in _events(tmp_path) if event.HasField("session_log")] == []
  before = set((tmp_path / "tensorboard").iterdir())
  time.sleep(1.1)  # the files are named by the second
  _run(tmp_path, first, 8)
  new = [event for event in _events(tmp_path, before) if event.HasField("session_log")]
  assert [(event.step, event.session_log.status) for event in new] == [(first + 1, event_pb2.SessionLog.START)]


def _events(folder, without=()):
  found = []
  for path in sorted(set((folder / "tensorboard").iterdir()) - set(without)):
    data, at = path.read_bytes(), 0
    while at < len(data):
      size = int.from_bytes(data[at : at + 8], "little")
      found.append(event_pb2.Event.FromString(data[at + 12 : at + 12 + size]))
      at += 12 + size + 4
  return found


def test_evaluations_have_lines_of_their_own(tmp_path, capsys):
  with progress.Report(tmp_path, 0, 4, 8) as log:
    log.evaluated(3, {"mpjpe/all": 12.5})
  assert _lines(tmp_path)[0]["eval/mpjpe/all"] == 12.5
  assert "evaluation at step 3  mpjpe/all 12.5" in capsys.readouterr().out


def test_tensorboard_files_hold_the_same(tmp_path):
  import sys

  with progress.Report(tmp_path, 0, 4, 8) as log:
    log.evaluated(3, {"mpjpe/all": 12.5})
  found = {value.tag: (event.step, value.simple_value) for event in _events(tmp_path) for value in event.summary.value}
  assert found == {"eval/mpjpe/all": (3, 12.5)}
  assert "tensorflow" not in sys.modules


def test_other_processes_are_silent(tmp_path, capsys):
  _run(tmp_path, 0, 4, speaks=False)
  assert list(tmp_path.iterdir()) == []
  assert capsys.readouterr().out == ""


def test_the_end_of_the_data_is_an_error(tmp_path):
  with progress.Report(tmp_path, 0, 4, 8) as log, pytest.raises(StopIteration):
    log.next_of(iter(()))
