"""Tables of surveys, of what is made and of what the authors released: a damaged one is named, with what to do."""

import numpy as np
import pytest

from data_builders.aih.released.survey import RENDER_ROW, Tables
from data_builders.aih.survey import SINGLE, Surveyed
from data_builders.shards import BuildError

READ = {
  "singles-train.npy": (SINGLE, lambda folder: Surveyed(folder).singles("train")),
  "poses-val.npy": (np.int32, lambda folder: Surveyed(folder).poses("val")),
  "render-test.npy": (RENDER_ROW, lambda folder: Tables(folder).render("test")),
  "syn-test.npy": (np.int32, lambda folder: Tables(folder).syn("test")),
}


@pytest.mark.parametrize("name", READ)
def test_a_damaged_table_is_named(tmp_path, name):
  dtype, read = READ[name]
  np.save(tmp_path / name, np.zeros(99, dtype))
  whole = (tmp_path / name).read_bytes()
  for content in (b"", whole[:20], whole[:-1], b"a text that is no table", None):
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(BuildError, match=rf"{name} is damaged or missing \(.*\); delete {tmp_path}; it is") as caught:
      read(str(tmp_path))
    assert "\n" not in str(caught.value)
  (tmp_path / name).write_bytes(whole)
  assert len(read(str(tmp_path))) == 99
