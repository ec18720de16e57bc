"""Tables of runs: what is run, in which order, what goes on, and what is said of rows that have learnt nothing."""

import json

import pytest

from benchmarks import digit_table2, intershape_table, row_runs
from configs import digit, intershape
from jaxhands.runs import stages

TABLES = {"digit": (digit_table2.TABLE, digit), "intershape": (intershape_table.TABLE, intershape)}


def _finish(job, kind, **metrics):
  (job.workdir / "eval").mkdir(parents=True)
  (job.workdir / "report").mkdir()
  (job.workdir / "report" / "index.html").touch()
  content = {"metrics": metrics, "verdicts": {"mpjpe/all": {"kind": kind}}}
  (job.workdir / "eval" / "metrics.json").write_text(json.dumps(content))


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("size", ["tiny", "small"])
def test_every_row_is_a_variant_of_its_own(name, size, tmp_path):
  table, module = TABLES[name]
  todo = row_runs.jobs(table.rows, (0, 1), size, tmp_path)
  assert [job.seed for job in todo] == [0] * len(table.rows) + [1] * len(table.rows)
  assert len({job.workdir for job in todo}) == len(todo)
  configs = [[config for _, config in stages.of(module.get_config(job.variant))] for job in todo]
  assert len({str([stage.system for stage in config]) for config in configs}) == len(table.rows)
  data = [stage.data for config in configs for stage in config]
  assert len({str([one.train, one.eval, one.synthetic]) for one in data}) == 1
  assert f"--config=configs/{name}.py:{todo[0].variant}" in todo[0].command(["--config.batch_size=8"])
  assert todo[0].command(["--config.batch_size=8"])[-1] == "--config.batch_size=8"


def test_runs_go_on_and_what_has_learnt_nothing_is_marked(tmp_path):
  table = intershape_table.TABLE
  todo = row_runs.jobs({row: table.rows[row] for row in ("baseline", "our full model")}, (0, 1), "tiny", tmp_path)
  for job, kind, value in zip(todo[:3], ("no better", "better", "better"), (60.0, 40.0, 50.0), strict=True):
    _finish(job, kind, **{"mpjpe/interacting": value})
  assert [job.finished for job in todo] == [True, True, True, False]
  shown = row_runs.summary(table, todo)
  assert [list(column.cells) for column in shown.columns[:3]] == [
    ["baseline (not learnt)", "our full model"], ["2", "1"], ["55 ± 7.1", "40"],
  ]  # fmt: skip
  assert "says nothing" in str(shown.caption)
  assert row_runs.summary(digit_table2.TABLE, []).caption is None


def test_a_column_may_be_of_another_protocol(tmp_path):
  (job,) = row_runs.jobs({"a": ("intershape", "")}, (0,), "tiny", tmp_path)
  _finish(job, "better", **{"mpjpe/all": 12.5})
  content = json.loads((job.workdir / "eval" / "metrics.json").read_text()) | {"system": "intershape"}
  entry = {"protocol": "root=middle1 scale=predicted", "method": "mean_pose", "metrics": {"mpjpe/all": 90.0}}
  content["also"] = [entry, entry | {"method": "intershape", "metrics": {"mpjpe/all": 13.5}}]
  (job.workdir / "eval" / "metrics.json").write_text(json.dumps(content))
  table = row_runs.Table("t", {"a": ("intershape", "")}, ("mpjpe/all", "mpjpe/all scale=predicted", "mrrpe scale=gt"))
  assert [list(column.cells) for column in row_runs.summary(table, [job]).columns[2:]] == [["12.5"], ["13.5"], [""]]


def test_the_command_does_what_is_left(tmp_path, monkeypatch, capsys):
  """Finished runs are not run again; a word that is no field of the config is refused."""
  table = row_runs.Table("t", {"a": ("intershape", "")}, ("mpjpe/all",))
  _finish(row_runs.jobs(table.rows, (0,), "tiny", tmp_path)[0], "better", **{"mpjpe/all": 12.5})
  monkeypatch.setattr("sys.argv", ["x", "--size", "tiny", "--seeds", "0", "--out", str(tmp_path), "--no-record"])
  row_runs.main(table, "x", "d")
  assert "12.5" in capsys.readouterr().out
  # What was finished and is not recorded yet is recorded, once.
  added = []
  monkeypatch.setattr(row_runs, "ROOT", tmp_path)
  monkeypatch.setattr(row_runs.subprocess, "run", lambda command, **_: added.append(command))
  monkeypatch.setattr("sys.argv", ["x", "--size", "tiny", "--seeds", "0", "--out", str(tmp_path)])
  row_runs.main(table, "x", "d")
  (command,) = added
  assert command[command.index("--name") + 1] == "intershape-tiny-seed0"
  (tmp_path / "results").mkdir()
  (tmp_path / "results" / "intershape-tiny-seed0.json").touch()
  row_runs.main(table, "x", "d")
  assert len(added) == 1
  monkeypatch.setattr("sys.argv", ["x", "--sizes", "tiny"])
  with pytest.raises(SystemExit):
    row_runs.main(table, "x", "d")
  assert "--sizes" in capsys.readouterr().err
