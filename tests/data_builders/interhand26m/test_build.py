"""Versions, branches, RootNet's depths, and what becomes of a build that is killed or asked for something else."""

import importlib
import json
import re
import shutil

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders import shards
from data_builders.interhand26m import InterHandConfig, build
from data_builders.shards import BuildError
from jaxhands.data import folders
from jaxhands.data.records import DataSet, Records, RootDepths
from tests.data_builders.interhand26m import download as made_up

build_module = importlib.import_module("data_builders.interhand26m.build")  # the package has a function of this name


def read(folder, split="test"):
  return list(tfds.builder_from_directory(folder).as_data_source(split))


def kinds(folder):
  return {record["source"].decode(): record["annotation_kind"].decode() for record in read(folder)}


def ids_file(folder, *ids, split="test"):
  path = folder / f"aid_human_annot_{split}.txt"
  # As Windows saves a list.
  path.write_text("".join(f"{id_}\n" for id_ in ids), encoding="utf-8-sig", newline="\r\n")
  return str(path)


def record_ids(folder):
  return sorted(int(record["record_id"]) - 2 * 2**27 for record in read(folder))


def test_branches_of_v1_follow_the_list_of_ids(pristine, tmp_path):
  listing = (ids_file(tmp_path, 33, 12),)
  everything, _ = build(InterHandConfig(str(pristine[0]), human_ids=listing), tmp_path / "all", jobs=1)
  found = kinds(everything)
  assert found["test/Capture0/0390_touch/cam410001/image11.jpg"] == "human"
  assert sorted(found.values()) == ["human"] * 2 + ["machine"] * 3
  human, _ = build(InterHandConfig(str(pristine[0]), "H", human_ids=listing), tmp_path / "h", jobs=1)
  machine, _ = build(InterHandConfig(str(pristine[0]), "M", human_ids=listing), tmp_path / "m", jobs=1)
  # Ids do not depend on the branch.
  assert record_ids(human) == [0, 1]
  assert record_ids(machine) == [2, 3, 4]
  assert set(kinds(human).values()) == {"human"}
  assert set(kinds(machine).values()) == {"machine"}


def test_an_id_of_the_list_that_is_not_there_is_named(pristine, tmp_path):
  listing = (ids_file(tmp_path, 33, 1234),)
  _, problems = build(InterHandConfig(str(pristine[0]), human_ids=listing), tmp_path / "out", jobs=1)
  assert problems == ["test: 1 x human id without annotation [noted]: annotation 1234"]


def test_without_the_list_there_is_only_everything(pristine, tmp_path):
  for branch in ("H", "M"):
    with pytest.raises(BuildError, match=rf"branch {branch} of test needs --human-ids aid_human_annot_test\.txt"):
      build(InterHandConfig(str(pristine[0]), branch), tmp_path / "out", jobs=1)


def test_branches_of_v0_are_its_folders(tmp_path):
  source = tmp_path / "v0"
  made_up.write(source, annotations="all")
  # People annotated two of the five pictures; the machine all but one, and there its joints differ.
  human = {"Capture0/0390_touch/cam410001/image11.jpg", "Capture1/0003_pray/cam410001/image11.jpg"}
  for folder, keep in (("human_annot", lambda name: name in human), ("machine_annot", lambda name: "pray" not in name)):
    shutil.copytree(source / "annotations" / "all", source / "annotations" / folder)
    path = source / "annotations" / folder / "InterHand2.6M_test_data.json"
    data = json.loads(path.read_text())
    data["images"] = [image for image in data["images"] if keep(image["file_name"])]
    ids = {image["id"] for image in data["images"]}
    data["annotations"] = [annotation for annotation in data["annotations"] if annotation["image_id"] in ids]
    path.write_text(json.dumps(data))
  found = {branch: kinds(build(InterHandConfig(str(source), branch), tmp_path / branch, 1)[0]) for branch in "HM"}
  assert found["H"] == dict.fromkeys((f"test/{name}" for name in human), "human")
  assert len(found["M"]) == 4
  assert set(found["M"].values()) == {"machine"}
  everything = kinds(build(InterHandConfig(str(source)), tmp_path / "ALL", 1)[0])
  assert {name for name, kind in everything.items() if kind == "human"} == set(found["H"])
  path = source / "annotations" / "human_annot" / "InterHand2.6M_test_data.json"
  path.write_text(path.read_text()[:-30])
  with pytest.raises(BuildError, match=r"human_annot/InterHand2\.6M_test_data\.json: broken JSON"):
    build(InterHandConfig(str(source)), tmp_path / "broken", jobs=1)
  with pytest.raises(BuildError, match=r"V0\.0 has a folder for each branch"):
    build(InterHandConfig(str(source), human_ids=(ids_file(tmp_path, 1),)), tmp_path / "out", jobs=1)


def test_joints_of_the_first_release_are_bare_lists(download, pristine, tmp_path):
  path = download / "annotations" / "test" / "InterHand2.6M_test_joint_3d.json"
  content = json.loads(path.read_text())
  bare = {c: {f: value["world_coord"] for f, value in frames.items()} for c, frames in content.items()}
  path.write_text(json.dumps(bare))
  old, _ = build(InterHandConfig(str(download)), tmp_path / "old", jobs=1)
  new, _ = build(InterHandConfig(str(pristine[0])), tmp_path / "new", jobs=1)
  for one, other in zip(read(old), read(new), strict=True):
    np.testing.assert_array_equal(one["joints_cam"], other["joints_cam"])


def test_splits_have_ids_of_their_own(tmp_path):
  source = tmp_path / "source"
  for split in ("train", "val", "test"):
    made_up.write(source, split)
  out, _ = build(InterHandConfig(str(source)), tmp_path / "out", jobs=1)
  records = [record for split in ("train", "val", "test") for record in read(out, split)]
  assert len({int(record["record_id"]) for record in records}) == 15
  assert len({int(record["scene_id"]) for record in records}) == 9
  assert {record["annotation_kind"] for record in read(out, "val")} == {b"machine"}  # people annotated none
  only, _ = build(InterHandConfig(str(source), splits=("val",)), tmp_path / "val", jobs=1)
  assert set(tfds.builder_from_directory(only).info.splits) == {"val"}


def rootnet(folder, ids, name="rootnet_interhand2.6m_output_test.json"):
  results = [
    {"annot_id": id_, "bbox": [0, 0, 9, 9], "abs_depth": [1000.5 + id_, 900.25], "root_valid": [0.0, 1.0]}
    for id_ in ids
  ]
  (folder / "rootnet_output").mkdir(exist_ok=True)
  (folder / "rootnet_output" / name).write_text(json.dumps(results))


def test_rootnet_depths_become_a_table_that_evaluation_reads(download, tmp_path):
  rootnet(download, [12, 33, 45, 70, 99, 5000])
  rootnet(download, [45], "rootnet_interhand2.6m_output_test_30fps.json")  # of other annotations
  out, problems = build(InterHandConfig(str(download)), tmp_path / "out", jobs=1)
  assert problems == []
  path = out / "root_depths-test.npz"
  depths = RootDepths.read(path)
  first = 2 * 2**27
  found = dict(zip((depths.example_id // 4 - first).tolist(), depths.depth_mm.tolist(), strict=True))
  assert found == {rank: [1000.5 + id_, 900.25] for rank, id_ in enumerate((12, 33, 45, 70, 99))}
  assert depths.valid.all()
  needs = {"joints_cam", "root_depth_estimated", "root_depth_estimated_valid"}
  records = Records(DataSet(str(out), "test", root_depths=str(path)), "pair", needs)
  assert records[0]["root_depth_estimated"].tolist() == [1033.5, 900.25]


def test_records_without_rootnet_depth_are_named_and_not_valid(download, tmp_path):
  rootnet(download, [12, 33])
  out, problems = build(InterHandConfig(str(download)), tmp_path / "out", jobs=1)
  path = out / "root_depths-test.npz"
  opened = Records(DataSet(str(out), "test", root_depths=str(path)), "pair", {"record_id", "root_depth_estimated"})
  known = {}
  for record in (opened[row] for row in range(len(opened))):
    known[int(record["record_id"]) - 2 * 2**27] = record["root_depth_estimated_valid"].tolist()
    assert (record["root_depth_estimated"] > 0).tolist() == record["root_depth_estimated_valid"].tolist()
  assert known == {0: [True, True], 1: [True, True], **{rank: [False, False] for rank in (2, 3, 4)}}
  (line,) = problems
  assert line.startswith("test: 3 x missing RootNet depth [noted]: Capture1/0003_pray/cam410001/image11.jpg (rootnet_")


def test_a_broken_rootnet_file_is_named(download, tmp_path):
  rootnet(download, [12, 33])
  path = download / "rootnet_output" / "rootnet_interhand2.6m_output_test.json"
  path.write_text(path.read_text()[:-20])
  out, problems = build(InterHandConfig(str(download)), tmp_path / "out", jobs=1)
  assert problems[0].startswith(f"test: 1 x broken RootNet file [noted]: {path}: broken JSON")
  assert not (out / "root_depths-test.npz").exists()


@pytest.mark.parametrize("depth", [0.9, -900.0, float("inf"), 1e39, 0.0])
def test_a_rootnet_depth_that_cannot_be_is_named_and_not_valid(download, tmp_path, depth):
  rootnet(download, [12, 33, 45, 70, 99])
  path = download / "rootnet_output" / "rootnet_interhand2.6m_output_test.json"
  results = json.loads(path.read_text())
  results[0]["abs_depth"][1] = depth
  path.write_text(json.dumps(results))
  out, (line,) = build(InterHandConfig(str(download)), tmp_path / "out", jobs=1)
  assert line.startswith("test: 1 x RootNet depth that cannot be [noted]: Capture")
  found = RootDepths.read(out / "root_depths-test.npz")
  assert found.valid.tolist() == [[True, False]] + [[True, True]] * 4
  assert found.depth_mm[0].tolist() == [1012.5, 0.0]


def test_rootnet_files_that_come_after_the_first_build_are_made_tables(download, tmp_path):
  config = InterHandConfig(str(download))
  out, problems = build(config, tmp_path / "out", jobs=1)
  assert problems == []
  rootnet(download, [12, 33, 45, 70])
  for _ in range(2):  # the second finds it done
    _, (line,) = build(config, out, jobs=1)
    assert line.startswith("test: 1 x missing RootNet depth [noted]: Capture1/")
    assert (out / "quarantine.tsv").read_text().count("missing RootNet depth") == 1
  late = RootDepths.read(out / "root_depths-test.npz")
  at_once, _ = build(config, tmp_path / "at_once", jobs=1)
  expected = RootDepths.read(at_once / "root_depths-test.npz")
  for key in ("example_id", "record_hash", "depth_mm", "valid"):
    np.testing.assert_array_equal(getattr(late, key), getattr(expected, key))
  assert (at_once / "quarantine.tsv").read_text() == (out / "quarantine.tsv").read_text()


def test_a_killed_build_goes_on_with_what_it_had_seen(download, tmp_path, monkeypatch):
  whole, _ = build(InterHandConfig(str(download)), tmp_path / "whole", jobs=1)
  monkeypatch.setattr(build_module, "_RECORDS_PER_SHARD", 2)
  uneven, _ = build(InterHandConfig(str(download)), tmp_path / "uneven", jobs=1)
  writes = []

  class Killed(Exception):
    pass

  real = shards.write_shard

  def write(plan, shard, after_record):
    if writes:
      raise Killed
    writes.append(shard)
    real(plan, shard, after_record)

  monkeypatch.setattr(shards, "write_shard", write)
  with pytest.raises(Killed):
    build(InterHandConfig(str(download)), tmp_path / "killed", jobs=1)
  monkeypatch.setattr(shards, "write_shard", real)
  killed, _ = build(InterHandConfig(str(download)), tmp_path / "killed", jobs=2)

  def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

  assert files(killed) == files(uneven)
  assert [r["source"] for r in read(killed)] == [r["source"] for r in read(whole)]
  before = files(killed)
  build(InterHandConfig(str(download)), killed, jobs=1)
  assert files(killed) == before


def test_a_killed_survey_is_made_anew(pristine, tmp_path):
  partial = tmp_path / "out" / ".survey.partial"
  partial.mkdir(parents=True)
  (partial / "names").write_bytes(b"half")
  out, _ = build(InterHandConfig(str(pristine[0])), tmp_path / "out", jobs=1)
  assert len(read(out)) == 5
  assert not partial.exists()


@pytest.mark.parametrize("content", ["", '{"splits": ', "{}", "[]"])
def test_a_damaged_survey_is_made_anew(pristine, tmp_path, content, caplog):
  config = InterHandConfig(str(pristine[0]))
  out, _ = build(config, tmp_path / "out", jobs=1)
  whole = record_ids(out)
  (out / ".survey" / "survey.json").write_text(content)
  build(config, out, jobs=1)
  assert record_ids(out) == whole
  assert "survey.json is damaged" in caplog.text


@pytest.mark.parametrize("name", ["rows", "names", "joints", "cameras.npz"])
@pytest.mark.parametrize("share", [0, 0.5])
def test_damaged_tables_stop_a_build_that_needs_them(pristine, tmp_path, name, share):
  config = InterHandConfig(str(pristine[0]))
  out, _ = build(config, tmp_path / "out", jobs=1)
  whole = record_ids(out)
  table = out / ".survey" / "test" / name
  content = table.read_bytes()
  table.unlink()  # this process has mapped it
  table.write_bytes(content[: int(share * len(content))])
  build(config, out, jobs=1)  # nothing is left to do
  next(out.glob("*.array_record*")).unlink()
  with pytest.raises(BuildError, match=rf"survey/test is damaged .*; delete {out}/\.survey; it is made anew"):
    build(config, out, jobs=1)
  shutil.rmtree(out / ".survey")
  build(config, out, jobs=1)
  assert record_ids(out) == whole


def test_a_picture_that_went_after_the_survey_stops_the_build(download, tmp_path, monkeypatch):
  survey = build_module._make_survey

  def then_lose(config, folder, say):
    survey(config, folder, say)
    (download / "images/test/Capture1/0003_pray/cam410001/image11.jpg").unlink()

  monkeypatch.setattr(build_module, "_make_survey", then_lose)
  with pytest.raises(BuildError, match=r"cannot read .*cam410001/image11\.jpg, which was there before: No such file"):
    build(InterHandConfig(str(download)), tmp_path / "out", jobs=1)


def other_size():
  return cv2.imencode(".jpg", np.zeros((made_up.HEIGHT + 1, made_up.WIDTH, 3), np.uint8))[1].tobytes()


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda raw: raw[:10], r"is a cut picture now \(no end mark after 10 bytes\)"),
    (lambda raw: raw[:-100], r"is a cut picture now \(no end mark after [\d,]+ bytes\)"),
    (lambda raw: b"", r"is a cut picture now \(empty file\)"),
    (lambda raw: other_size(), "is 128 x 161 pixels now, and was 128 x 160"),
  ],
)
def test_a_picture_that_changed_after_the_survey_stops_the_build(download, tmp_path, monkeypatch, change, message):
  survey = build_module._make_survey
  path = download / "images/test/Capture1/0003_pray/cam410001/image11.jpg"

  def then_change(config, folder, say):
    survey(config, folder, say)
    path.write_bytes(change(path.read_bytes()))

  monkeypatch.setattr(build_module, "_make_survey", then_change)
  with pytest.raises(BuildError, match=rf"{path} {message}; put back the picture that was there before, or build into"):
    build(InterHandConfig(str(download)), tmp_path / "out", jobs=1)


def test_a_survey_of_before_sizes_were_kept_is_gone_on_with(download, tmp_path, monkeypatch):
  survey = build_module._make_survey

  def as_before(config, folder, say):
    survey(config, folder, say)
    (folder / "test" / "picture_hw").unlink()

  monkeypatch.setattr(build_module, "_make_survey", as_before)
  out, _ = build(InterHandConfig(str(download)), tmp_path / "out", jobs=1)
  assert len(read(out)) == 5


def test_a_folder_begun_with_other_arguments_is_refused(download, tmp_path):
  build(InterHandConfig(str(download)), tmp_path / "out", jobs=1)
  listing = (ids_file(tmp_path, 33),)
  with pytest.raises(BuildError, match="out was begun with another human_ids; give another folder or delete this one"):
    build(InterHandConfig(str(download), human_ids=listing), tmp_path / "out", jobs=1)
  path = download / "annotations" / "test" / "InterHand2.6M_test_data.json"
  path.write_text(path.read_text() + "  ")
  with pytest.raises(BuildError, match="out was begun with another files"):
    build(InterHandConfig(str(download)), tmp_path / "out", jobs=1)


def test_a_folder_of_something_else_is_left_alone(pristine, tmp_path):
  (tmp_path / "thesis.tex").write_text("precious")
  with pytest.raises(BuildError, match="holds something else"):
    build(InterHandConfig(str(pristine[0])), tmp_path, jobs=1)
  assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(("branch", "name"), [("ALL", "interhand26m"), ("H", "interhand26m-human")])
def test_the_default_folder_is_found_by_its_name(pristine, tmp_path, monkeypatch, branch, name):
  monkeypatch.setenv("JAXHANDS_DATA", str(tmp_path))
  listing = (ids_file(tmp_path, 33),)
  out, _ = build(InterHandConfig(str(pristine[0]), branch, human_ids=listing), jobs=1)
  assert out == tmp_path / name
  stem, _, variant = name.partition("-")
  assert folders.find(stem, variant) == out


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"branch": "h"}, "branch is 'h', expected one of ALL, H, M"),
    ({"splits": ("tset",)}, "splits has 'tset', expected some of train, val, test"),
    ({"splits": ("train",)}, "has no annotations of train (V1.0, branch ALL)"),
    ({"source": "/nowhere"}, "/nowhere is no folder; --source is the folder that holds annotations and images"),
    ({"human_ids": ("/nowhere/ids.txt",)}, "the name of a list of human ids must hold one of train, val, test"),
    ({"human_ids": ("/nowhere/test.txt",)}, "/nowhere/test.txt is no list of annotation ids, one a line"),
    ({"mano": "/nowhere"}, "/nowhere: no such file or folder"),
  ],
)
def test_bad_arguments_are_one_clear_line(pristine, tmp_path, arguments, message):
  with pytest.raises(BuildError, match=re.escape(message)):
    build(InterHandConfig(**{"source": str(pristine[0])} | arguments), tmp_path / "out", jobs=1)
  assert not list((tmp_path / "out").glob("*"))


def test_a_folder_that_is_no_download_is_named(tmp_path):
  with pytest.raises(BuildError, match="has no folder 'annotations'"):
    build(InterHandConfig(str(tmp_path)), tmp_path / "out", jobs=1)
  (tmp_path / "annotations").mkdir()
  with pytest.raises(BuildError, match=r"has no InterHand2\.6M_SPLIT_data\.json"):
    build(InterHandConfig(str(tmp_path)), tmp_path / "out", jobs=1)
