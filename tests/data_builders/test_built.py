"""Finished data sets as sources of other ones: what is damaged is named, with what to do."""

import numpy as np
import pytest

from data_builders.built import Built
from data_builders.preview import write_sheets
from data_builders.shards import BuildError, build
from tests.damage import OF_FILES
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


@pytest.mark.parametrize("damage", OF_FILES)
def test_a_damaged_shard_is_named(tmp_path, damage):
  build(plan(train=1, val=2), tmp_path)
  (shard,) = tmp_path.glob("*-train.array_record*")
  OF_FILES[damage](shard)
  words = rf"train\[0\] cannot be read .*; if .*{shard.name} is damaged or missing, delete .* and build again"
  for read in (lambda: Built(str(tmp_path)).read("train", 0, ("source",)), lambda: write_sheets(tmp_path, 3)):
    with pytest.raises(BuildError, match=words) as caught:
      read()
    assert "\n" not in str(caught.value)
  assert Built(str(tmp_path)).read("val", 0, ("source",))


def test_a_missing_split_and_another_format_are_named(tmp_path):
  build(plan(train=1), tmp_path)
  with pytest.raises(BuildError, match=r":test cannot be read .* it has the splits \['train'\]"):
    Built(str(tmp_path)).read("test", 0, ("source",))
  path = tmp_path / "dataset_info.json"
  path.write_text(path.read_text().replace("array_record", "tfrecord"))
  with pytest.raises(BuildError, match=r":train cannot be read .*TFRECORD"):
    write_sheets(tmp_path, 1)
