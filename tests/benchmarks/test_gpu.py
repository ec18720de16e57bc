"""The plan, the processes and the file of the measurements on one GPU; nothing here needs one."""

import json
import os
import pathlib
import subprocess
import sys
import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

from benchmarks import counts, gpu, ours

FIRST = 64
MEASURED = {"pictures_per_s": 1000.0, "memory_mb": 1.0}


def measured(*speeds, wall_s=60.0):
  """Rows of batches that double."""
  return [{"batch": FIRST << i, "pictures_per_s": speed, "wall_s": wall_s} for i, speed in enumerate(speeds)]


def without(batch, state, wall_s=60.0):
  return {"batch": batch, state: True, "wall_s": wall_s}


# ---- the plan ---------------------------------------------------------------------


@pytest.mark.parametrize(
  ("rows", "batch"),
  [
    ([], FIRST),
    (measured(1000), 2 * FIRST),
    (measured(1000, 1900), 4 * FIRST),
    (measured(1000, 1010), None),
    ([*measured(1000), without(2 * FIRST, "out_of_memory")], None),
    ([without(FIRST, "out_of_memory")], FIRST // 2),
    ([without(FIRST, "out_of_memory"), without(FIRST // 2, "out_of_memory")], FIRST // 4),
    ([without(FIRST, "out_of_memory"), {"batch": FIRST // 2, "pictures_per_s": 500.0}], None),
    ([without(1, "out_of_memory")], None),
    ([without(FIRST, "error")], FIRST),
    ([*measured(1000), without(2 * FIRST, "unfinished")], 2 * FIRST),
  ],
)
def test_a_batch_is_doubled_while_that_pays_and_halved_until_it_fits(rows, batch):
  assert gpu.following(rows, FIRST) == batch


def test_two_batches_are_enough_to_test_the_script():
  assert gpu.following(measured(1000), FIRST, dry=True) == 2 * FIRST
  assert gpu.following(measured(1000, 1900), FIRST, dry=True) is None


def test_one_batch_of_each_comes_before_the_second_of_any():
  rows, order = {}, []
  while len(order) < 2 * len(gpu.JOBS):
    name, kind, batch = gpu.plan(rows, 1000.0)
    order.append((name, kind))
    before = rows.setdefault(f"{name} {kind}", [])
    before.append({"batch": batch, "pictures_per_s": 1000.0 * (1 + len(before)), "wall_s": 60.0})
  assert order == 2 * list(gpu.JOBS)


def test_nothing_is_begun_that_the_time_is_not_enough_for():
  slow, quick, *others = (f"{name} {kind}" for name, kind in gpu.JOBS)
  ended = dict.fromkeys(others, measured(1000, 1010))
  rows = ended | {slow: measured(1000, wall_s=100.0), quick: measured(1000, wall_s=50.0)}
  assert gpu.plan(rows, 131.0) == (*slow.split(), 2 * FIRST)
  assert gpu.plan(rows, 129.0) == (*quick.split(), 2 * FIRST)
  assert gpu.plan(rows, 64.0) is None
  assert gpu.plan({}, 10.0) is None
  assert gpu.plan(dict.fromkeys([slow, quick, *others], measured(1000, 1010)), 1000.0) is None


@pytest.mark.parametrize("state", ["error", "unfinished"])
def test_what_did_not_come_to_an_end_is_tried_again_after_the_others(state):
  jobs = [f"{name} {kind}" for name, kind in gpu.JOBS]
  rows = {jobs[0]: [without(FIRST, state, wall_s=400.0)]}
  assert " ".join(gpu.plan(rows, 1000.0)[:2]) == jobs[1]
  rows |= dict.fromkeys(jobs[1:], measured(1000))
  assert " ".join(gpu.plan(rows, 1000.0)[:2]) == jobs[0]
  assert " ".join(gpu.plan(rows, 1000.0, failed={jobs[0]})[:2]) == jobs[1]
  assert " ".join(gpu.plan(rows, 300.0)[:2]) == jobs[1]  # it had more than that


# ---- the processes ----------------------------------------------------------------


def said(*found):
  return "a log\n" + "".join(f"{gpu._MARK}{json.dumps(one)}\n" for one in found)


def test_a_rate_counts_whatever_becomes_of_the_profile():
  assert gpu.outcome(said(MEASURED, {"top": [["conv", 1.0]]}), "", 0) == MEASURED | {"top": [["conv", 1.0]]}
  assert gpu.outcome(said(MEASURED), "segmentation fault", -11) == MEASURED
  assert gpu.outcome(said(MEASURED) + f'{gpu._MARK}{{"top": [["co', "", None) == MEASURED


def test_what_ended_without_a_rate_is_told_apart():
  assert gpu.outcome("a log\n", "", None) == {"unfinished": True}
  assert gpu.outcome(said({"out_of_memory": True}), "a traceback", 0) == {"out_of_memory": True}
  found = gpu.outcome("", "".join(f"line {i}\n" for i in range(99)), 1)
  assert found["error"].splitlines() == [*(f"line {i}" for i in range(84, 99)), "exit status 1"]


def test_lack_of_memory_is_what_either_framework_calls_so():
  class OutOfMemoryError(RuntimeError):
    """As `torch.OutOfMemoryError`."""

  assert gpu.out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 5 bytes."))
  assert gpu.out_of_memory(OutOfMemoryError("CUDA out of memory."))
  assert not gpu.out_of_memory(TypeError("'NoneType' object is not subscriptable"))


def test_a_process_says_that_memory_is_not_enough_and_fails_of_all_else(monkeypatch, capsys):
  def broken(*arguments):
    yield MEASURED
    raise error

  monkeypatch.setattr(gpu, "measure", broken)
  error = RuntimeError("RESOURCE_EXHAUSTED: Out of memory")
  gpu._serve("internet", "ours", FIRST, False)
  assert capsys.readouterr().out == said(MEASURED, {"out_of_memory": True}).removeprefix("a log\n")
  error = TypeError("no")
  with pytest.raises(TypeError, match="no"):
    gpu._serve("internet", "ours", FIRST, False)


class Pretended:
  """Processes whose end is known beforehand, in place of `subprocess.run`; `asked` are their jobs and batches."""

  def __init__(self, ends):
    self.ends, self.asked = ends, []

  def __call__(self, command, **options):
    name, kind, batch = command[3].removeprefix("--one=").split(",")
    self.asked.append((f"{name} {kind}", int(batch)))
    end = self.ends.get(self.asked[-1], {"error": "no such batch"})
    if "unfinished" in end:
      time.sleep(options["timeout"])
      raise subprocess.TimeoutExpired(command, options["timeout"])
    if "error" in end:
      return subprocess.CompletedProcess(command, 1, stdout=b"", stderr=end["error"].encode())
    return subprocess.CompletedProcess(command, 0, stdout=said(end).encode(), stderr=b"")


@pytest.fixture
def one_job(monkeypatch):
  monkeypatch.setattr(gpu, "JOBS", (("internet", "ours"),))
  monkeypatch.setattr(gpu, "_BATCHES", {"internet": FIRST})
  pretended = Pretended({})
  monkeypatch.setattr(subprocess, "run", pretended)
  return pretended


def test_an_error_is_shown_and_tried_again_by_the_next_call(one_job, tmp_path, capsys):
  job, path, found = "internet ours", tmp_path / "gpu.json", {"rows": {}}
  one_job.ends = {(job, FIRST): MEASURED, (job, 2 * FIRST): {"error": "Traceback\nTypeError: no"}}
  assert not gpu.run_all(path, found, time.time() + 100, False)
  assert one_job.asked == [(job, FIRST), (job, 2 * FIRST)]
  assert json.loads(path.read_text()) == found
  assert found["rows"][job][0]["share_of_bound"] == 1000 / gpu.BOUNDS["internet"]
  shown = capsys.readouterr()
  assert shown.err == "Traceback\nTypeError: no\nexit status 1\n"
  assert shown.out.splitlines() == [f"{job}, batch 64: 1000 pictures/s, 0 s", f"{job}, batch 128: error, 0 s"]
  one_job.ends[job, 2 * FIRST] = MEASURED | {"pictures_per_s": 1010.0}
  assert gpu.run_all(path, found, time.time() + 100, False)
  assert one_job.asked[2:] == [(job, 2 * FIRST)]
  assert [row["pictures_per_s"] for row in found["rows"][job]] == [1000.0, 1010.0]
  assert gpu.run_all(path, found, time.time() + 100, False)
  assert len(one_job.asked) == 3


def test_a_lack_of_memory_ends_the_doubling_and_is_no_failure(one_job, tmp_path):
  job, found = "internet ours", {"rows": {}}
  one_job.ends = {(job, FIRST): {"out_of_memory": True}, (job, FIRST // 2): MEASURED}
  assert gpu.run_all(tmp_path / "gpu.json", found, time.time() + 100, False)
  assert one_job.asked == [(job, FIRST), (job, FIRST // 2)]
  assert "| 32 | 1000 | 15% |" in gpu.table(found)


def test_what_was_cut_off_is_no_failure_and_begun_anew(one_job, tmp_path, monkeypatch):
  monkeypatch.setattr(gpu, "_LEAST_S", 0.1)
  job, found, path = "internet ours", {"rows": {}}, tmp_path / "gpu.json"
  one_job.ends = {(job, FIRST): {"unfinished": True}}
  assert gpu.run_all(path, found, time.time() + 0.3, False)
  (row,) = found["rows"][job]
  assert row == {"batch": FIRST, "unfinished": True, "wall_s": row["wall_s"]}
  assert 0 < row["wall_s"] < 10
  one_job.ends = {(job, FIRST): MEASURED, (job, 2 * FIRST): MEASURED}
  assert gpu.run_all(path, found, time.time() + 100, False)
  assert [row["batch"] for row in found["rows"][job]] == [FIRST, 2 * FIRST]


# ---- the file, the tables and the shell's part ------------------------------------


def test_real_figures_are_never_put_beside_those_of_a_test(tmp_path):
  assert gpu.default_path(dry=True) != gpu.default_path(dry=False)
  dry, real = gpu.here(True), gpu.here(True) | {"dry": False, "gpu": "NVIDIA H200, 580.159.04"}
  path = tmp_path / "gpu.json"
  assert gpu.begun(path, real) == {"machine": real, "rows": {}}
  kept = {"machine": real | {"date": "2000-01-01"}, "rows": {"internet ours": measured(1000)}}
  path.write_text(json.dumps(kept))
  assert gpu.begun(path, real) == kept
  with pytest.raises(ValueError, match=r"gpu.json has figures of other dry: False, here True; give --json"):
    gpu.begun(path, dry)
  others = {"gpu": "NVIDIA H100, 580.159.04", "code": real["code"] | {"commit": "a" * 40}, "versions": {"jax": "0.1"}}
  for name, value in others.items():
    with pytest.raises(ValueError, match=f"figures of other {name}: "):
      gpu.begun(path, real | {name: value})


def test_a_line_says_where_figures_come_from():
  code = {"version": "0.1.0", "commit": "a" * 40, "modified": True}
  about = {"gpu": "NVIDIA H200, 580.1", "versions": {"jax": "0.11"}, "date": "2026-12-01", "code": code}
  assert gpu.where({"machine": about}) == "NVIDIA H200, 580.1, jax 0.11; 2026-12-01, aaaaaaaaaa with changes"


def test_the_table_has_the_best_batch_of_each():
  rows = [
    {"batch": 64, "pictures_per_s": 3400.0, "share_of_bound": 0.5, "memory_mb": 9000.0},
    {"batch": 128, "out_of_memory": True},
  ]
  *_, line = gpu.table({"rows": {"internet ours": rows, "internet torch": rows[1:]}}).splitlines()
  assert line == "| internet | train | ours | 64 | 3400 | 50% | 9.0 |"


def test_the_longest_operations_are_those_of_the_device():
  events = [
    {"name": "process_name", "pid": 1, "args": {"name": "/device:GPU:0"}},
    {"name": "process_name", "pid": 2, "args": {"name": "/host:CPU"}},
    {"name": "thread_name", "pid": 1, "tid": 7, "args": {"name": "Stream #7(Compute)"}},
    {"name": "thread_name", "pid": 1, "tid": 8, "args": {"name": "XLA Modules"}},
    {"name": "waiting", "ph": "X", "pid": 2, "tid": 1, "dur": 9000},
    {"name": "jit_step", "ph": "X", "pid": 1, "tid": 8, "dur": 5000},
    *({"name": "conv", "ph": "X", "pid": 1, "tid": 7, "dur": 1500} for _ in range(2)),
    {"name": "copy", "ph": "X", "pid": 1, "tid": 7, "dur": 2000},
    {},  # with which XLA ends a trace
  ]
  assert gpu._longest(events) == [("conv", 3.0), ("copy", 2.0)]
  of_cpu = [{"name": "dot", "ph": "X", "pid": 2, "tid": 1, "dur": 1000, "args": {"hlo_op": "dot"}}, *events[1:5]]
  assert gpu._longest(of_cpu) == [("dot", 1.0)]


def test_a_kernel_of_pytorch_counts_once():
  def row(key, device, ms, annotation=False):
    return SimpleNamespace(
      key=key, device_type=SimpleNamespace(name=device), is_user_annotation=annotation,
      self_device_time_total=1e3 * ms, self_cpu_time_total=1.0,
    )  # fmt: skip

  averages = [
    row("aten::conv2d", "CPU", 3.0), row("conv_kernel", "CUDA", 3.0), row("add_kernel", "CUDA", 4.0),
    row("## compiled ##", "CUDA", 7.0, annotation=True),
  ]  # fmt: skip
  assert gpu._longest_of_torch(averages, "CUDA") == [("add_kernel", 4.0), ("conv_kernel", 3.0)]


@pytest.mark.parametrize("arguments", [[], ["--dry"]])
def test_the_shell_names_what_is_missing_and_begins_nothing(tmp_path, arguments):
  python, asked = tmp_path / "python", tmp_path / "asked"
  python.write_text(
    f'#!/bin/sh\n[ "$1" != -m ] || {{ echo "$* $PIP_RETRIES" >> {asked}; exit 1; }}\nexec {sys.executable} -S "$@"\n'
  )
  python.chmod(0o755)
  script = pathlib.Path(gpu.__file__).with_suffix(".sh")
  environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHON": str(python)}
  done = subprocess.run(["sh", str(script), *arguments], capture_output=True, text=True, env=environment, timeout=60)
  assert done.returncode == 1
  assert done.stderr.splitlines()[-1].startswith("gpu.sh: No module named 'jax'; missing are: jax, torch, ")
  tried = asked.read_text() if asked.is_file() else ""
  assert tried == ("" if arguments else "-m pip install --quiet -e .[cuda,bench] 0\n")


# ---- what is timed ----------------------------------------------------------------


def test_facts_lack_what_a_device_does_not_count(monkeypatch):
  runner = ours.Ours.__new__(ours.Ours)
  runner.facts = {}
  runner._compiled("train", jnp.square, (jnp.ones(3),))
  assert {"train_gflop", "train_gbyte"} <= runner.facts.keys()
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  monkeypatch.setattr(jax.stages.Lowered, "cost_analysis", lambda self: None)
  monkeypatch.setattr(jax.stages.Compiled, "cost_analysis", lambda self: None)
  runner.facts = {}
  call = runner._compiled("train", jnp.square, (jnp.ones(3),))
  assert {"train_trace_s", "train_compile_s"} <= runner.facts.keys()
  assert not {"train_gflop", "train_gbyte"} & runner.facts.keys()
  assert call(2 * jnp.ones(3)).tolist() == [4.0] * 3
  with pytest.raises(NotImplementedError, match="nothing is counted on 'gpu'"):
    counts.cost(jax.jit(jnp.square).trace(jnp.ones(3)))


def test_each_of_several_steps_must_change_something():
  runner = ours.Ours.__new__(ours.Ours)
  runner._subject = SimpleNamespace(name="internet")
  steps = iter([True, True, True, False, True])
  runner._calls = {"train": lambda: {"updated": jnp.asarray(next(steps))}, "forward": lambda: {"masks": jnp.ones(2)}}
  assert runner.run("train", calls=2) > 0
  assert runner.run("forward", calls=3) > 0
  with pytest.raises(FloatingPointError, match="internet: a training step was not finite"):
    runner.run("train", calls=3)
