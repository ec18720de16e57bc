"""Tables of the benchmarks, from figures as their JSON has them."""

import argparse
import json
import subprocess
import time

import pytest

from benchmarks import gpu, run

ROW = {
  "subject": "hdr/shpe", "size": "demo", "batch": 16, "rounds": 3, "load_before": 0.0, "matrix_gflops": 100.0,
  "ours": {
    "train_s": 0.5, "forward_s": 0.1, "one_s": 0.01, "train_gflop": 20.0, "train_gbyte": 1.5, "train_memory_mb": 90.0,
    "train_trace_s": 2.0, "train_compile_s": 8.0, "input_per_core": 800.0, "data_wait": 0.02, "parameters": 5,
  },
  "torch": {"train_s": 0.25, "forward_s": 0.2, "one_s": 0.01, "parameters": 5},
}  # fmt: skip


def _cells(row):
  *_, line = run.table({"rows": [row]}).splitlines()
  return dict(zip(run._COLUMNS, (cell.strip() for cell in line.strip("|").split("|")), strict=True))


def test_speeds_shares_and_ratios():
  cells = _cells(ROW)
  assert (cells["train /s"], cells["forward /s"], cells["one, ms"]) == ("32", "160", "10")
  assert (cells["GFLOP/s"], cells["of product"], cells["compile, s"]) == ("40", "40%", "10.0")
  assert (cells["torch: train"], cells["forward"], cells["one"]) == ("2.00", "0.50", "1.00")
  assert cells["data wait"] == "2.0%"


def test_a_system_that_is_not_trained_shows_its_prediction():
  ours = {name.replace("train", "one"): value for name, value in ROW["ours"].items() if name != "forward_s"}
  cells = _cells({**ROW, "ours": ours | {"one_s": 0.2}, "torch": {"one_s": 0.4}})
  assert (cells["train /s"], cells["forward /s"], cells["GFLOP/s"]) == ("", "", "100")
  assert (cells["torch: train"], cells["forward"], cells["one"]) == ("", "", "0.50")


def test_a_file_of_another_machine_is_not_gone_on_with(tmp_path):
  path = tmp_path / "figures.json"
  assert run.begun(path) == {"machine": run.machine(), "rows": []} == run.begun(None)
  kept = {"machine": run.machine() | {"date": "2000-01-01"}, "rows": [ROW]}
  path.write_text(json.dumps(kept))
  assert run.begun(path) == kept
  kept["machine"]["versions"] = {"jax": "0.1"}
  path.write_text(json.dumps(kept))
  with pytest.raises(ValueError, match=r"figures.json has figures of other versions: \{'jax': '0.1'\}, here"):
    run.begun(path)


def test_a_line_says_where_figures_come_from():
  about = {"processor": "Fast", "cores": 2, "vectors": "avx2", "versions": {"jax": "0.10"}, "date": "2026-12-01"}
  rows = [
    ROW | {"code": {"commit": commit, "modified": changed}} for commit, changed in (("b" * 40, True), ("a" * 40, False))
  ]
  said = "2 cores of Fast (avx2), jax 0.10; 2026-12-01, aaaaaaaaaa, bbbbbbbbbb with changes"
  assert run.where({"machine": about, "rows": rows}) == said


def test_the_longest_operations_are_those_of_the_device():
  events = [
    {"name": "process_name", "pid": 1, "args": {"name": "/device:GPU:0"}},
    {"name": "process_name", "pid": 2, "args": {"name": "/host:CPU"}},
    {"name": "waiting", "ph": "X", "pid": 2, "dur": 9000},
    *({"name": "conv", "ph": "X", "pid": 1, "dur": 1500} for _ in range(2)),
    {"name": "copy", "ph": "X", "pid": 1, "dur": 2000},
  ]
  assert gpu._longest(events) == [("conv", 3.0), ("copy", 2.0)]
  of_cpu = [{"name": "dot", "ph": "X", "pid": 2, "dur": 1000, "args": {"hlo_op": "dot"}}, *events[1:3]]
  assert gpu._longest(of_cpu) == [("dot", 1.0)]


def test_the_table_of_a_gpu_has_the_best_batch_of_each():
  rows = [
    {"batch": 64, "pictures_per_s": 3400.0, "share_of_bound": 0.5, "memory_mb": 9000.0},
    {"batch": 128, "error": "out of memory"},
  ]
  *_, line = gpu.table({"rows": {"internet ours": rows, "internet torch": rows[1:]}}).splitlines()
  assert line == "| internet | train | ours | 64 | 3400 | 50% | 9.0 |"


def test_a_gpu_s_batch_is_doubled_while_that_pays_and_what_was_cut_off_is_tried_again(tmp_path, monkeypatch):
  speeds, asked = {64: 1000.0, 128: 2000.0, 256: 2010.0}, []

  def pretend(command, **options):
    batch = int(command[3].split(",")[-1])
    asked.append(batch)
    if cut_off and batch == 128:
      raise subprocess.TimeoutExpired(command, options["timeout"])
    said = json.dumps({"batch": batch, "pictures_per_s": speeds[batch], "memory_mb": 1.0})
    return subprocess.CompletedProcess(command, 0, stdout=f"a log\n{said}\n", stderr="")

  monkeypatch.setattr(subprocess, "run", pretend)
  found, args = {"rows": {}}, argparse.Namespace(json=tmp_path / "gpu.json", dry=False)
  rows = found["rows"].setdefault("internet ours", [])
  cut_off = True
  gpu.search("internet", "ours", found, time.time() + 100, args)
  assert asked == [64, 128]
  assert rows[0]["share_of_bound"] == 1000 / gpu.BOUNDS["internet"]
  assert 90 < rows[1]["unfinished_s"] <= 100
  assert json.loads(args.json.read_text()) == found
  assert "| 64 | 1000 | 15% |" in gpu.table(found)
  cut_off = False
  gpu.search("internet", "ours", found, time.time() + 100, args)
  assert asked == [64, 128, 128, 256]
  assert [row["pictures_per_s"] for row in rows] == [1000.0, 2000.0, 2010.0]
  gpu.search("internet", "ours", found, time.time() + 100, args)
  assert len(asked) == 4
  assert gpu._ended(rows, dry=False)
  assert not gpu._ended(rows[:2], dry=False)
  assert gpu._ended(rows[:2], dry=True)
  assert gpu._ended([{"batch": 64, "error": "out of memory"}], dry=False)
