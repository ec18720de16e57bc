"""HandFlow's tables: which runs there are, on which data, and what is said of those that have learnt nothing."""

import json

import pytest

from benchmarks import handflow_tables
from benchmarks.handflow_tables import ROWS, TABLES
from configs import handflow
from jaxhands import config_flags


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections reads configs with it
@pytest.mark.parametrize("size", ["tiny", "small"])
def test_all_rows_have_the_same_pictures_and_annotations(size, tmp_path):
  seen = set()
  for job in handflow_tables.jobs(tuple(ROWS), (0,), size, tmp_path):
    flags = [flag for flag in job.command()[2:] if not flag.startswith("--workdir")]
    config = config_flags.read("launch.py", "CONFIG", None, flags, lambda _: None)["config"]
    data = config.data
    seen.add(str([data.train, data.eval, data.kind, data.synthetic.to_dict(), data.multihands.to_dict()]))
    assert config.seed == 0
    assert config.eval.annotations == (handflow.get_config(size).system.compared if ROWS[job.name].one_pose else 0)
  assert len(seen) == 1
  assert {name for rows, _ in TABLES.values() for name in rows} == set(ROWS)


def test_runs_go_on_and_what_has_learnt_nothing_is_marked(tmp_path):
  todo = handflow_tables.jobs(("HandFlowNet", "Gaussian"), (0, 1), "tiny", tmp_path)
  assert [(job.name, job.seed) for job in todo] == [
    ("HandFlowNet", 0), ("Gaussian", 0), ("HandFlowNet", 1), ("Gaussian", 1),
  ]  # fmt: skip
  assert len({job.workdir for job in todo}) == 4
  for job, mmd, kind in zip(todo[:3], (0.4, 0.7, 0.6), ("better", "no better", "better"), strict=True):
    (job.workdir / "eval").mkdir(parents=True)
    (job.workdir / "report").mkdir()
    (job.workdir / "report" / "index.html").touch()
    result = {"metrics": {"mmd/global": mmd}, "verdicts": {"mpjpe/all": {"kind": kind}}}
    (job.workdir / "eval" / "metrics.json").write_text(json.dumps(result))
  assert [job.finished for job in todo] == [True, True, True, False]
  cells = [list(column.cells) for column in handflow_tables.summary(todo)[1].columns[:3]]
  assert cells == [["HandFlowNet", "Gaussian (not learnt)"], ["2", "1"], ["0.5 ± 0.14", "0.7"]]
