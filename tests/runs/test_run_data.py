"""What a run reads."""

import contextlib
import pathlib

import pytest

from jaxhands.runs import run_data
from tests.data.test_source import without
from tests.train import toys


@pytest.mark.parametrize(("wanted", "refused"), [({"image", "parts", "parts_valid"}, True), ({"image"}, False)])
def test_training_sets_have_what_the_system_learns_from(tmp_path, wanted, refused):
  """Refused where they are opened, which is before any stage is trained."""

  class Learns(toys.Regressor):
    needs = frozenset(wanted)

  config = toys.config()
  config.data.train = (f"{without('parts', tmp_path / 'less')}:train",)
  run = run_data.RunData(config, Learns(), tmp_path, lambda name, variant, _: pathlib.Path(name))
  refusal = pytest.raises(ValueError, match=r"less:train has a valid 'parts'.*built with --mano DIR")
  with refusal if refused else contextlib.nullcontext():
    assert len(run.training) == 1
