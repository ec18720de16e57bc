"""Reading by index: views, kinds, limits, the kept index, and messages for what is missing."""

import dataclasses
import pathlib
import pickle
import shutil

import numpy as np
import pytest

from data_builders import shards
from jaxhands import schema
from jaxhands.data import records
from jaxhands.data.records import DataSet, Records
from jaxhands.runs import folder as run_files
from tests.data.conftest import build, make_record

NEEDS = {"image", "joints_cam", "hand_present"}


def test_a_record_comes_as_it_was_written(folder):
  opened = Records(DataSet(folder, "train"), "pair", NEEDS)
  assert len(opened) == 13
  for index in (0, 4, 12):
    record, written = opened[index], make_record("train", index)
    assert record.pop("view") == "pair"
    assert set(record) == {
      "record_id",
      "picture",
      "joints_cam",
      "hand_present",
      "box_img",
      "joints_img",
      "joints_img_valid",
    }
    for key, value in record.items():
      np.testing.assert_array_equal(value, written[key], err_msg=key)


def test_hand_view_lists_every_hand(folder):
  opened = Records(DataSet(folder, "train"), "hand", NEEDS)
  seen = [(opened[i]["record_id"], opened[i]["view"]) for i in range(len(opened))]
  expected = []
  for row in range(13):
    present = make_record("train", row)["hand_present"]
    expected += [(row, name) for name, there in zip(("right", "left"), present, strict=True) if there]
  assert seen == expected


@pytest.mark.parametrize(("kind", "rows"), [("single", {0, 1}), ("interacting", {2})])
def test_kinds(folder, kind, rows):
  opened = Records(DataSet(folder, "train", kind=kind), "pair", NEEDS)
  assert {opened[i]["record_id"] % 3 for i in range(len(opened))} == rows
  assert len(Records(DataSet(folder, "train", kind=kind, limit=2), "pair", NEEDS)) == 2


def test_a_picture_without_hands_is_of_neither_kind(tmp_path):
  def make(split, index):
    record = make_record(split, index)
    return record | ({"hand_present": np.zeros(2, bool)} if index == 1 else {})

  plan = shards.Plan("tiny", {}, {"train": 6}, make, "With an empty picture.")
  folder = str(shards.build(plan, tmp_path / "data"))
  found = {}
  for kind in ("all", "single", "interacting"):
    opened = Records(DataSet(folder, "train", kind=kind), "pair", NEEDS)
    found[kind] = [int(opened[i]["record_id"]) for i in range(len(opened))]
  assert found == {"all": [0, 1, 2, 3, 4, 5], "single": [0, 3, 4], "interacting": [2, 5]}


def test_splits_of_tfds(folder):
  assert len(Records(DataSet(folder, "train[:4]"), "pair", NEEDS)) == 4
  assert len(Records(DataSet(folder, "val"), "pair", NEEDS)) == 7


def test_index_is_kept_and_the_same(folder):
  fresh = Records(DataSet(folder, "val"), "hand", NEEDS)
  file = pathlib.Path(folder) / "index-val.npz"
  assert file.is_file()
  written = file.stat().st_mtime_ns
  again = Records(DataSet(folder, "val"), "hand", NEEDS)
  assert file.stat().st_mtime_ns == written
  assert [again.name(i) for i in range(len(again))] == [fresh.name(i) for i in range(len(fresh))]
  assert not list(pathlib.Path(folder).glob("*.partial"))


def test_every_split_has_an_index_of_its_own(tmp_path):
  """As many records of both, whose names differ by what is no letter."""
  folder = build(tmp_path / "data", train=13)
  found = {}
  for split in ("train[:5]", "train[-5:]", "train[:38%]", "train[-38%:]"):
    opened = Records(DataSet(folder, split), "hand", NEEDS)
    found[split] = [(int(opened[i]["record_id"]), opened[i]["view"]) for i in range(len(opened))]
  rows = {split: sorted({row for row, _ in seen}) for split, seen in found.items()}
  assert rows["train[:5]"] == rows["train[:38%]"] == list(range(5))
  assert rows["train[-5:]"] == rows["train[-38%:]"] == list(range(8, 13))
  for seen in found.values():
    assert all(make_record("train", row)["hand_present"][("right", "left").index(view)] for row, view in seen)
  assert len(list((tmp_path / "data").glob("index-*.npz"))) == 4


def test_an_index_of_what_was_there_before_is_made_anew(tmp_path):
  """As many records, written over the first ones: as with `cp -r NEW/. OLD/`."""
  old, new = build(tmp_path / "old", train=6), tmp_path / "new"
  arguments = {"first_id": 0, "train": 6, "other": 1}
  plan = shards.Plan("tiny", arguments, {"train": 6}, lambda split, index: make_record(split, index + 1), "Other.", 5)
  shards.build(plan, new)
  assert len(Records(DataSet(old, "train", kind="interacting"), "pair", NEEDS)) == 2
  shutil.copytree(new, old, dirs_exist_ok=True)
  for kind, rows in (("single", [0, 2, 3, 5]), ("interacting", [1, 4])):
    opened = Records(DataSet(old, "train", kind=kind), "pair", NEEDS)
    assert [int(opened[i]["record_id"]) - 1 for i in range(len(opened))] == rows


def test_an_index_of_a_former_version_is_made_anew_in_silence(tmp_path, caplog):
  folder = build(tmp_path / "data", train=6)
  index = tmp_path / "data" / "index-train.npz"
  Records(DataSet(folder, "train"), "pair", NEEDS)
  whole = index.read_bytes()
  with np.load(index) as arrays:
    np.savez(index, **{key: arrays[key] for key in ("hand_present", "annotated", "hand_models")})
  opened = Records(DataSet(folder, "train"), "pair", NEEDS)
  assert index.read_bytes() == whole
  assert {"parts_valid", "joints_cam_valid"} <= opened.labels
  assert not {"mano_valid", "removed_valid"} & opened.labels
  assert not caplog.text


def test_a_split_of_many_parts_is_read_without_a_kept_index(tmp_path):
  folder = build(tmp_path / "data", train=13)
  split = "+".join(f"train[{row}:{row + 1}]" for row in range(13))
  assert len(Records(DataSet(folder, split), "pair", NEEDS)) == 13
  assert not list((tmp_path / "data").glob("*index-*"))


def test_a_folder_that_cannot_be_written_to_is_read_all_the_same(folder, monkeypatch):
  index = pathlib.Path(folder) / "index-train%5B1%3A%5D.npz"
  monkeypatch.setattr(run_files.os, "replace", lambda *a: (_ for _ in ()).throw(PermissionError("read-only")))
  assert len(Records(DataSet(folder, "train[1:]"), "pair", NEEDS)) == 12
  assert not index.exists()
  assert not list(pathlib.Path(folder).glob("*.partial"))


def test_messages_name_what_is_missing(folder, tmp_path):
  with pytest.raises(FileNotFoundError, match="data_builders"):
    Records(DataSet(str(tmp_path), "train"), "pair", NEEDS)
  with pytest.raises(ValueError, match=r"no split 'test'.*train"):
    Records(DataSet(folder, "test"), "pair", NEEDS)
  with pytest.raises(ValueError, match="heat"):
    Records(DataSet(folder, "train"), "pair", {"heat"})
  with pytest.raises(ValueError, match="interacting"):
    Records(DataSet(folder, "train[:1]", kind="interacting"), "pair", NEEDS)


def test_estimated_depths_join_by_example(folder, tmp_path):
  path = tmp_path / "depths.npz"
  depths = np.random.default_rng(0).uniform(300, 500, (7, 2)).astype(np.float32)
  valid = np.arange(14).reshape(7, 2) % 3 > 0
  table = records.RootDepths(4 * np.arange(7)[::-1], hashes("val", 7)[::-1], depths[::-1], valid[::-1])
  table.write(path)
  needs = NEEDS | {"root_depth_estimated", "root_depth_estimated_valid"}
  opened = Records(DataSet(folder, "val", root_depths=str(path)), "pair", needs)
  for row in range(7):
    np.testing.assert_array_equal(opened[row]["root_depth_estimated"], depths[row])
    np.testing.assert_array_equal(opened[row]["root_depth_estimated_valid"], valid[row])
  with pytest.raises(ValueError, match=r"is of another data set: its record 0 is another picture.*train\[0\]"):
    Records(DataSet(folder, "train", root_depths=str(path)), "pair", needs)
  dataclasses.replace(table, record_hash=hashes("train", 7)[::-1]).write(path)
  with pytest.raises(
    ValueError, match=r"depths.npz has no row for record 7; write it anew, of this data set: .*train\[7\]"
  ):
    Records(DataSet(folder, "train", root_depths=str(path)), "pair", needs)[7]
  # Training on the set beside, which needs no estimate, is not stopped by a table of the evaluated one.
  assert "root_depth_estimated" not in Records(DataSet(folder, "train", root_depths=str(path)), "pair", NEEDS)[7]


def test_a_table_of_several_sets_keeps_them_apart(folder, tmp_path):
  """Ids are the same in both splits here; each reads its own rows."""
  ids = np.tile(4 * np.arange(5), 2)
  depths = np.arange(20, dtype=np.float32).reshape(10, 2)
  table = records.RootDepths(
    ids, np.concatenate([hashes("train", 5), hashes("val", 5)]), depths, np.ones((10, 2), bool)
  )
  table.write(tmp_path / "both.npz")
  for number, split in enumerate(("train", "val")):
    data_set = DataSet(folder, f"{split}[:5]", root_depths=str(tmp_path / "both.npz"))
    opened = Records(data_set, "pair", {"root_depth_estimated"})
    found = [opened[row]["root_depth_estimated"] for row in range(5)]
    np.testing.assert_array_equal(found, depths[5 * number : 5 * number + 5])


def test_hands_seen_one_by_one_make_a_row_of_the_pair():
  views = ["right", "left", "right", "left", "pair"]
  ids = np.array([schema.example_id(record, view) for record, view in zip([3, 3, 5, 6, 7], views, strict=True)])
  depth = np.array([[300, 0], [310, 0], [500, 0], [600, 0], [700, 710]], np.float32)
  valid = np.array([[True, False]] * 4 + [[False, True]])
  made = records.RootDepths.of_views(ids, np.array([1, 1, 2, 2, 2], np.int32) - 2, depth, valid)
  np.testing.assert_array_equal(made.example_id, 4 * np.array([3, 5, 6, 7]))
  np.testing.assert_array_equal(made.record_hash, [-1, 0, 0, 0])
  np.testing.assert_array_equal(made.depth_mm, [[300, 310], [500, 0], [0, 600], [0, 710]])
  np.testing.assert_array_equal(made.valid, [[True, True], [True, False], [False, True], [False, True]])


def test_a_file_of_something_else_is_no_table(tmp_path):
  np.savez(tmp_path / "old.npz", example_id=np.arange(3), depth_mm=np.ones((3, 2)), valid=np.ones((3, 2), bool))
  with pytest.raises(ValueError, match=r"old.npz is .*lacks 'record_hash'.*; write this table"):
    records.RootDepths.read(tmp_path / "old.npz")


def hashes(split: str, count: int) -> np.ndarray:
  made = [make_record(split, row) for row in range(count)]
  return np.array([schema.record_hash(record["source"], record["box_img"]) for record in made])


def test_records_can_be_sent_to_a_process(folder):
  opened = Records(DataSet(folder, "val"), "pair", NEEDS)
  sent = pickle.loads(pickle.dumps(opened))
  np.testing.assert_array_equal(sent[3]["joints_cam"], opened[3]["joints_cam"])


def test_kept_elements_are_made_once_and_only_while_there_is_room():
  made = []

  def prepare(element, index):
    made.append(index)
    return {"value": np.full(10, element, np.uint8), "name": "x"}

  kept = records.Cached([1, 2, 3], prepare, limit_bytes=25)
  for _ in range(3):
    assert [kept[i]["value"][0] for i in range(3)] == [1, 2, 3]
  assert made.count(0) == made.count(1) == 1
  assert made.count(2) == 3
  kept[0]["value"] = None
  assert kept[0]["value"] is not None, "the dictionary itself is the caller's"
  assert pickle.loads(pickle.dumps(records.Cached([1], np.add, 3)))._limit == 3
