"""A trace of a few steps, and what its text says."""

import re
import types

import jax
import pytest

from jaxhands import run
from jaxhands.train import checkpoint, distributed, loop, profile
from tests.train import toys


def _train(workdir, wanted, **changes):
  config = toys.config(**changes)
  checkpoint.write_config(workdir, config)
  stream = toys.Stream(distributed.make_mesh(1), 8)
  return loop.train(toys.Regressor(), config, workdir, stream, toys.EXAMPLES, stream.mesh, profile_steps=wanted)


def test_traced_steps_are_listed_and_change_nothing(tmp_path, capsys):
  _train(tmp_path / "plain", 0)
  assert not (tmp_path / "plain" / profile.FOLDER).exists()
  capsys.readouterr()
  _train(tmp_path / "traced", 3, checkpoint_every="0 steps")
  toys.assert_bit_equal(tmp_path / "traced", tmp_path / "plain")
  shown = capsys.readouterr().out
  folder = tmp_path / "traced" / profile.FOLDER
  assert len(list(folder.rglob("*.xplane.pb"))) == 1
  head, _, total, columns, *rows = (folder / profile.TEXT).read_text().splitlines()
  assert head.startswith("steps 3 to 5 on ")  # not the first two of a start
  assert f"profile of steps 3 to 5: {folder / profile.TEXT}\n{total}\n{columns}\n{rows[0]}\n" in shown
  times = [float(row.split()[0]) for row in rows]
  assert times[0] > 0
  assert times[:-1] == sorted(times[:-1], reverse=True)
  assert sum(times) == pytest.approx(float(total.split()[0]), rel=0.05, abs=0.02)
  assert sum(float(row.split()[1].rstrip("%")) for row in rows) == pytest.approx(100, abs=3)
  assert any(re.search(r"dot.*\(jit_train_step\)", row) for row in rows)


def test_a_trace_ends_where_the_loop_pauses_and_says_if_nothing_is_left(tmp_path, capsys):
  _train(tmp_path, 6)  # checkpoints come every 3 steps
  text = (tmp_path / profile.FOLDER / profile.TEXT).read_text()
  assert text.startswith("steps 3 to 3 on ")
  _train(tmp_path, 6)
  assert "no step was left to profile" in capsys.readouterr().out
  assert (tmp_path / profile.FOLDER / profile.TEXT).read_text() == text


def test_an_error_within_a_trace_ends_it(tmp_path):
  def spoil(step, batch):
    if step == 4:
      raise RuntimeError("no more data")
    return batch

  config = toys.config(checkpoint_every="0 steps")
  checkpoint.write_config(tmp_path, config)
  stream = toys.Stream(distributed.make_mesh(1), 8, spoil)
  with pytest.raises(RuntimeError, match="no more data"):
    loop.train(toys.Regressor(), config, tmp_path, stream, toys.EXAMPLES, stream.mesh, profile_steps=4)
  with jax.profiler.trace(str(tmp_path / "another")):  # refused while one goes on
    pass


def test_an_evaluation_has_no_steps_to_profile(tmp_path):
  with pytest.raises(ValueError, match="3 steps of training cannot be profiled in mode 'eval'"):
    run.run(toys.config(), tmp_path / "run", "eval", profile_steps=3)
  assert not (tmp_path / "run").exists()


def test_time_of_operations_within_others_counts_once():
  """A loop of 100 with 30 and 20 within, the latter with 5 of its own; then one alone."""
  events = [(10.0, 30.0), (0.0, 100.0), (60.0, 20.0), (61.0, 5.0), (100.0, 7.0)]
  assert profile.own_times(events) == [30, 50, 15, 5, 7]


def _event(name, start, duration, **stats):
  return types.SimpleNamespace(name=name, start_ns=start, duration_ns=duration, stats=stats.items())


def test_operations_of_all_devices_are_added_and_all_else_is_left_out():
  lines = [
    types.SimpleNamespace(
      name="thread",
      events=[
        _event("python", 0, 1000),
        _event("loop", 0, 4e6, hlo_op="while.1", hlo_module="jit_train_step"),
        _event("dot", 1e6, 2e6, hlo_op="dot.2", hlo_module="jit_train_step"),
      ],
    ),
    types.SimpleNamespace(name="XLA Ops", events=[_event("fusion.3", 0, 1e6), _event("fusion.3", 2e6, 1e6)]),
  ]
  trace = types.SimpleNamespace(planes=[types.SimpleNamespace(lines=lines[:1]), types.SimpleNamespace(lines=lines)])
  found = profile.operations(trace)
  assert found == [
    ("while.1", "jit_train_step", 2, 4e6),
    ("dot.2", "jit_train_step", 2, 4e6),
    ("fusion.3", "", 2, 2e6),
  ]
  assert profile.table(found, steps=2, devices=1) == [
    "5.00 ms of operations in a step, on each device",
    "        ms  share    runs  operation",
    "     2.000  40.0%     1.0  while.1  (jit_train_step)",
    "     2.000  40.0%     1.0  dot.2  (jit_train_step)",
    "     1.000  20.0%     1.0  fusion.3",
  ]
