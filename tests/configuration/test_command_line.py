"""Flags of a run with stages: one for all of what they share, else one for each."""

import pytest

from jaxhands.commands import train
from jaxhands.configuration import command_line

# ml_collections reads configs with it.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def _read(*flags):
  return command_line.read("launch.py", "CONFIG", "", ["--config=configs/hdr.py:tiny", *flags], train.define_flags)


def test_a_flag_of_the_run_reaches_all_stages_and_one_of_a_stage_that_stage():
  flags = ("--config.seed=1", "--config.data.dir=here", "--config.data.synthetic.train=40")
  stages = _read(*flags, "--config.stages.hasm.batch_size=4")["config"].stages
  assert {(stage.seed, stage.data.dir, stage.data.synthetic.train) for stage in stages.values()} == {(1, "here", 40)}
  assert [name for name, stage in stages.items() if stage.batch_size == 4] == ["hasm"]


def test_a_field_that_each_stage_has_is_refused_with_the_flag_for_it():
  with pytest.raises(SystemExit) as refused:
    _read("--config.batch_size=4")
  assert str(refused.value).endswith("no field 'batch_size'; where a run has stages, each has its own: "
                                     "--config.stages.NAME.batch_size")  # fmt: skip
  with pytest.raises(SystemExit, match='Did you mean "stages" instead of "stage"'):
    _read("--config.stage.hasm.batch_size=4")
