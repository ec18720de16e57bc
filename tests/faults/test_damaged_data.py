"""A damaged shard or record is named, with what to do; nothing is read in its place."""

import pathlib
import shutil

import numpy as np
import pytest

from data_builders import schema, shards
from jaxhands import cli
from jaxhands.data import host_ops, source
from jaxhands.data.records import DataSet
from tests.damage import OF_FILES
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


DAMAGE = OF_FILES | {
  "cut at its end": lambda path: path.write_bytes(path.read_bytes()[:-1000]),
  "of fewer records": lambda path: shutil.copy(path.with_name(path.name.replace("00000-of", "00001-of")), path),
}


@pytest.mark.parametrize("has_index", [True, False])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_shard_is_named_with_what_to_do(damaged, damage, has_index):
  folder, shard = damaged
  if has_index:
    assert len(read_all(folder)) == 2
  DAMAGE[damage](shard)
  with pytest.raises(ValueError, match=rf"cannot be read .*; if .*{shard.name} is damaged .* build again") as caught:
    read_all(folder)
  assert f"{folder}:train[" in str(caught.value)
  shard.unlink(missing_ok=True)
  build(folder, train=7)
  assert len(read_all(folder)) == 2


def test_a_damaged_shard_is_named_by_a_process_that_reads(damaged):
  folder, shard = damaged
  read_all(folder)
  DAMAGE["cut"](shard)
  opened = source.open_all([DataSet(str(folder), "train")], "pair", NEEDS)
  with pytest.raises(ValueError, match=rf"cannot be read .*{shard.name}"):
    list(source.eval_batches(opened, OPS, NEEDS, 4, source.Reading(processes=1)))


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_commands_say_it_in_a_line(damaged, damage, tmp_path, capsys):
  folder, shard = damaged
  read_all(folder)
  DAMAGE[damage](shard)
  assert cli.main(["fit", f"{folder}:train", "--out", str(tmp_path / "out")]) == 1
  line = capsys.readouterr().err
  assert line.count("\n") == 1
  assert f"{folder}:train[0] (pair) cannot be read" in line


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
