"""A damaged shard or record is named, with what to do; nothing is read in its place."""

import pathlib
import shutil

import numpy as np
import pytest

from data_builders import schema, shards
from jaxhands.data import host_ops, source
from jaxhands.data.records import DataSet
from tests.data.conftest import build, make_record

NEEDS = {"image", "joints_cam"}
OPS = host_ops.crop_ops((16, 16))


@pytest.fixture
def damaged(tmp_path):
  """A data set and its first shard."""
  folder = pathlib.Path(build(tmp_path / "data", train=7))
  return folder, sorted(folder.glob("*.array_record*"))[0]


def read_all(folder):
  opened = source.open_all([DataSet(str(folder), "train")], "pair", NEEDS)
  return list(source.eval_batches(opened, OPS, NEEDS, 4))


def messages(error):
  return str(error) + "\n".join(getattr(error, "__notes__", ()))


def test_flipped_bytes_are_found_by_the_shard(damaged):
  folder, shard = damaged
  assert len(read_all(folder)) == 2
  content = bytearray(shard.read_bytes())
  used = np.flatnonzero(np.frombuffer(content, np.uint8))  # most of a small shard is padding
  middle = used[len(used) // 2]
  content[middle : middle + 64] = bytes(255 - byte for byte in content[middle : middle + 64])
  shard.write_bytes(content)
  with pytest.raises(Exception) as caught:  # noqa: PT011
    read_all(folder)
  assert f"{folder}:train[" in messages(caught.value)
  assert "build again" in messages(caught.value)


def test_a_missing_shard_is_an_error(damaged):
  folder, shard = damaged
  shard.unlink()
  with pytest.raises(Exception, match=shard.name):
    read_all(folder)


def test_a_folder_without_its_metadata_is_not_read(damaged):
  folder, _ = damaged
  (folder / "features.json").unlink()
  with pytest.raises(FileNotFoundError, match="no finished data set"):
    read_all(folder)


def test_bytes_that_are_no_picture_name_their_record(tmp_path):
  def make(split, index):
    return make_record(split, index) | ({"picture": b"\xff\xd8 no picture"} if index == 5 else {})

  plan = shards.Plan("tiny", {}, {"train": 7}, make, "Damaged.", records_per_shard=7)
  # The builder refuses to write such a record; a record of an older build may be like that all the same.
  original, schema.check_record = schema.check_record, lambda record: None
  shards.check_record = schema.check_record
  try:
    folder = shards.build(plan, tmp_path / "data")
  finally:
    schema.check_record = shards.check_record = original
  with pytest.raises(ValueError, match="cannot be decoded") as caught:
    read_all(folder)
  assert f"{folder}:train[5] (pair)" in messages(caught.value)


def test_an_index_of_another_build_is_not_used(damaged, tmp_path):
  """The kept index of a smaller data set in the same place is noticed."""
  folder, _ = damaged
  read_all(folder)
  index = folder / "index-train.npz"
  kept = index.read_bytes()
  shutil.rmtree(folder)
  build(folder, train=9)
  index.write_bytes(kept)
  ids = np.concatenate([batch["example_id"] for batch in read_all(folder)])
  assert set(ids.tolist()) == {4 * row for row in range(9)}
