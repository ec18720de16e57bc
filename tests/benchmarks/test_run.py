"""Tables of the benchmarks, from figures as their JSON has them."""

import json

import pytest

from benchmarks import run

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
