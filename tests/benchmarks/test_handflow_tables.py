"""HandFlow's tables: all rows learn from the same pictures and are compared with the same annotations."""

import pytest

from benchmarks import handflow_tables
from benchmarks.handflow_tables import ROWS, TABLES
from configs import digit, handflow, internet
from jaxhands.configuration import command_line


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections reads configs with it
@pytest.mark.parametrize("size", ["tiny", "small"])
def test_all_rows_have_the_same_pictures_and_annotations(size, tmp_path):
  seen, trained, todo = set(), set(), handflow_tables.jobs(tuple(ROWS), (0, 1), size, tmp_path)
  for job in todo:
    flags = [flag for flag in job.command()[2:] if not flag.startswith("--workdir")]
    config = command_line.read("launch.py", "CONFIG", None, flags, lambda _: None)["config"]
    data = config.data
    seen.add(str([data.train, data.eval, data.kind, data.synthetic.to_dict(), data.multihands.to_dict()]))
    assert config.seed == job.seed
    trained.add(str([config.train_for, config.batch_size, config.ema, data.rough, data.augmentation.to_dict()]))
    trunk = "kept/digit" if config.name == "digit" else handflow.TRUNK
    assert config.init_from.get("backbone", "") == (trunk if size == "small" else "")
    if size == "small" and config.name != "handflow":
      network = {"internet": internet, "digit": digit}[config.name].get_config("kept").system.to_dict()
      assert {**config.system.to_dict(), "elsewhere": 0} == {**network, "elsewhere": 0}
    assert job.record.stem.startswith("multihands-") == (config.name != "handflow")
    assert config.eval.annotations == (0 if config.name == "handflow" else handflow.get_config(size).system.compared)
  assert len(seen) == 1
  assert len(trained) == 1 or size == "tiny"
  assert len({job.workdir for job in todo}) == len(todo)
  assert [job.seed for job in todo] == [0] * len(ROWS) + [1] * len(ROWS)
  assert {name for table in TABLES for name in table.rows} == set(ROWS)
