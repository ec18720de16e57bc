"""Records as functions of seed, split and index, and what the parts and splits have in common."""

import dataclasses
import functools
import itertools

import numpy as np
import pytest

from data_builders import schema, shards
from data_builders.aih import AihConfig, build
from data_builders.aih.records import Source, make_record
from data_builders.aih.survey import Surveyed
from data_builders.built import Built
from data_builders.synthetic.moment import SUBJECTS
from jaxhands.data import host_ops
from jaxhands.data import source as source_module
from jaxhands.data.records import DataSet
from tests.data_builders.aih.conftest import CONFIG


@pytest.fixture(scope="module")
def source(root, folders_of):
  """What the records of both parts are made of."""
  (singles,) = root.glob("synthetic-single-*")
  (surveyed,) = folders_of["syn"].glob(".survey-*")
  return Source(CONFIG, Built(str(singles)), Surveyed(str(surveyed)), None)


def assert_same(one, other, but=()):
  for key in set(schema.RECORD) - set(but):
    np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def test_a_record_depends_on_nothing_that_came_before(source):
  straight = [make_record(source, "train", index) for index in range(6)]
  for index in (5, 0, 3, 1):
    assert_same(make_record(source, "train", index), straight[index])


def test_seed_split_and_index_all_matter(source):
  base = make_record(source, "train", 1)
  other_seed = dataclasses.replace(source, config=dataclasses.replace(CONFIG, seed=4))
  for other in (make_record(source, "test", 1), make_record(source, "train", 2), make_record(other_seed, "train", 1)):
    assert base["picture"] != other["picture"]


def test_the_whole_set_consists_of_its_parts(source):
  assert [CONFIG.part_of(index) for index in range(6)] == [
    ("render", 0), ("syn", 0), ("syn", 1), ("syn", 2), ("render", 1), ("syn", 3),
  ]  # fmt: skip
  alone = {
    part: functools.partial(make_record, dataclasses.replace(source, config=dataclasses.replace(CONFIG, variant=part)))
    for part in ("render", "syn")
  }
  for index in range(6):
    part, number = CONFIG.part_of(index)
    assert_same(make_record(source, "train", index), alone[part]("train", number), but=("record_id",))


def test_identities_and_scenes_are_apart(source, records):
  for part in ("render", "syn"):
    ids = [int(record["record_id"]) for split in records[part].values() for record in split]
    assert len(set(ids)) == len(ids)
  of_part = {"render": set(), "syn": set()}
  for index in range(12):
    record = make_record(source, "train", index)
    of_part[CONFIG.part_of(index)[0]].add(int(record["scene_id"]))
  assert not of_part["render"] & of_part["syn"]


def test_people_of_the_splits_are_disjoint(records):
  for part in ("render", "syn"):
    people = {split: {int(r["subject_id"]) for r in rows} for split, rows in records[part].items()}
    for one, other in itertools.combinations(people.values(), 2):
      assert not one & other
  assert all(count < 1000 for count in SUBJECTS.values())


def test_each_single_hand_is_as_often_the_one_below(source):
  count = len(source.surveyed.singles("val"))
  syn = dataclasses.replace(source, config=dataclasses.replace(CONFIG, variant="syn"))
  below = [make_record(syn, "val", index)["source"].split("+")[0] for index in range(2 * count)]
  assert len(set(below)) == count
  assert sorted(below[:count]) == sorted(below[count:])


def test_pasted_hands_have_skin_like_the_one_below(source):
  table = source.surveyed.singles("train")
  row_of = {f"train/{row}": place for place, row in enumerate(table["row"])}
  syn = dataclasses.replace(source, config=dataclasses.replace(CONFIG, variant="syn"))
  pairs = []
  for index in range(20):
    one, other = make_record(syn, "train", index)["source"].removeprefix("syn/").split("+")
    pairs.append([row_of[name.rsplit("/", 1)[0]] for name in (one, other)])
  one, other = np.array(pairs).T
  assert (table["hand"][one] != table["hand"][other]).all()
  alike = np.linalg.norm(table["colour"][one] - table["colour"][other], axis=1).mean()
  anyhow = np.linalg.norm(table["colour"][:, None] - table["colour"][None], axis=2).mean()
  assert alike < 0.5 * anyhow


def test_a_complete_data_set_needs_nothing_that_it_was_made_of(tmp_path):
  config = AihConfig(train=2, val=0, test=0, variant="syn")
  folder = build(config, jobs=1, root=tmp_path)
  (singles,) = tmp_path.glob("synthetic-single-*")
  for path in singles.iterdir():
    path.unlink()
  assert build(config, jobs=1, root=tmp_path) == folder
  assert shards.default_folder("aih-syn", config.arguments(None, None), tmp_path) == folder


def digests(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_build_that_was_stopped_goes_on(tmp_path, root):
  config = AihConfig(train=4, val=3, test=0, variant="syn", singles="synthetic/single")
  straight = build(config, tmp_path / "straight", jobs=1, root=root)

  def stop(finished, total):
    if finished > 5:
      raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    build(config, tmp_path / "stopped", jobs=1, progress=stop, root=root)
  there = {path.name for path in (tmp_path / "stopped").iterdir() if not path.name.startswith(".survey-")}
  assert there == {"build.json", "aih-train.array_record-00000-of-00001"}
  assert digests(build(config, tmp_path / "stopped", jobs=1, root=root)) == digests(straight)


def test_aih_and_other_data_mix_in_one_batch(folders_of, root):
  (singles,) = root.glob("synthetic-single-*")
  needs = (
    "image", "joints_cam", "joints_cam_valid", "mano", "mano_valid", "masks", "masks_valid", "deoccluded",
    "deoccluded_valid", "removed", "removed_valid", "hand_present", "subject_id", "scene_id",
  )  # fmt: skip
  sets = [DataSet(str(folder), "train") for folder in (*folders_of.values(), singles)]
  records = source_module.open_all(sets, "hand", needs)
  # Of AIH_Render both hands are examples, of the others the target or the only hand.
  assert [len(each) for each in records] == [2 * CONFIG.train, CONFIG.train, 24]
  count = sum(map(len, records))
  (batch,) = itertools.islice(
    source_module.train_batches(records, host_ops.crop_ops((64, 64), (32, 32)), needs, count, seed=0), 1
  )
  assert set(batch) == {*needs, "example_id", "weight"}
  assert batch["mano_valid"][:, 0].all()
  assert batch["joints_cam_valid"][:, 0].all()
  assert batch["removed_valid"][:, 0].sum() == 3 * CONFIG.train
  assert batch["masks"][:, 0, 0].any((1, 2)).all()
  recovered = batch["removed"][:, 0][batch["removed_valid"][:, 0]]
  assert recovered.any((1, 2, 3)).all()
