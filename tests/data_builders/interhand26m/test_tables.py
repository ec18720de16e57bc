"""Tables of a survey: a damaged one is named, with what to do."""

import numpy as np
import pytest

from data_builders.interhand26m.tables import ROW, Split
from data_builders.shards import BuildError

READ = {
  "rows": lambda split: split.rows,
  "picture_hw": lambda split: split.picture_hw,
  "cameras.npz": lambda split: split.cameras,
  "joints": lambda split: split.joints_world,
  "mano": lambda split: split.mano_world,
  "names": lambda split: split.name(split.rows[0]),
}


@pytest.mark.parametrize("name", READ)
def test_a_damaged_table_is_named(tmp_path, name):
  folder = tmp_path / "test"
  folder.mkdir()
  np.zeros(3, ROW).tofile(folder / "rows")
  # No records are none; of names, which are bytes, the survey's digest tells.
  contents = {"rows": [b"cut"], "names": [b""], "cameras.npz": [b"", b"cut", b"PK\x03\x04 cut off"]}
  for content in contents.get(name, [b"", b"cut", b"\0" * 400]):
    (folder / name).write_bytes(content)
    with pytest.raises(BuildError, match=rf"test/{name} is damaged or missing \(.*\); delete {tmp_path}; it is made"):
      READ[name](Split(folder))
