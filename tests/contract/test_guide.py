"""The system of ADDING_A_SYSTEM.md is what the guide says: complete, trainable, and nothing else is needed."""

import pathlib
import re
import sys
import types

import pytest

from jaxhands import run
from tests.contract import test_systems
from tests.data.conftest import build

GUIDE = pathlib.Path(__file__).resolve().parents[2] / "ADDING_A_SYSTEM.md"
MODULES = {"jaxhands/systems/mini.py": "jaxhands.systems.mini", "configs/mini.py": "configs.mini"}


@pytest.fixture(autouse=True)
def mini(monkeypatch):
  """Makes modules of the guide's code."""
  text = GUIDE.read_text()
  for path, name in MODULES.items():
    (code,) = re.findall(rf"^## `{path}`\n.*?^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(code, path, "exec"), module.__dict__)


def test_it_keeps_the_contract(tmp_path):
  test_systems.test_a_config_is_plain_and_survives_its_file("mini", "tiny", tmp_path / "config")
  test_systems.test_shapes_fit_for_every_variant("mini", "tiny", "")
  test_systems.test_steps_lower_the_loss_and_move_every_parameter("mini", "tiny", "", tmp_path)
  test_systems.test_predictions_fit_the_schema_and_depend_on_nothing_else("mini", "tiny", "")
  test_systems.test_foreign_weights_are_refused_by_name("mini", "tiny", "")


def test_it_runs(tmp_path):
  folder = build(tmp_path / "data", train=13, val=7)
  config = sys.modules["configs.mini"].get_config("tiny")
  config.data.train, config.data.eval = (f"{folder}:train",), (f"{folder}:val",)
  assert run.run(config, tmp_path / "run")
  assert (tmp_path / "run" / "eval" / "metrics.json").is_file()
