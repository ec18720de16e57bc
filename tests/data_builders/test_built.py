"""Finished data sets as sources of other ones: what is damaged is named, with what to do."""

import numpy as np
import pytest

from data_builders.built import Built
from data_builders.shards import BuildError, build
from tests.data_builders.fake_builder import make_record, plan


def test_records_are_read_as_they_were_written(tmp_path):
  built = Built(str(build(plan(train=4, val=2), tmp_path)))
  assert built.splits() == {"train": 4, "val": 2}
  record = built.read("val", 1, ("source", "box_img", "picture"))
  expected = make_record("val", 1)
  assert (record["source"], record["picture"]) == (expected["source"], expected["picture"])
  np.testing.assert_array_equal(record["box_img"], expected["box_img"])


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
@pytest.mark.parametrize("kept", [0, 20])
def test_damaged_metadata_are_named(tmp_path, name, kept):
  build(plan(train=1), tmp_path)
  path = tmp_path / name
  whole = path.read_bytes()
  path.write_bytes(whole[:kept])
  built = Built(str(tmp_path))
  for read in (built.splits, lambda: built.read("train", 0, ("source",))):
    with pytest.raises(BuildError, match=rf"{name} is damaged, or something else .*; delete it and build") as caught:
      read()
    assert "\n" not in str(caught.value)
  path.write_bytes(whole)
  assert built.splits() == {"train": 1}
