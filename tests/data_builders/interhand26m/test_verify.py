"""Every kind of damage gives its own line, by name and number, and costs the record or the label that it concerns."""

import hashlib
import io
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders.interhand26m import InterHandConfig, build
from data_builders.interhand26m.problems import KINDS
from data_builders.problems import Problems
from data_builders.shards import BuildError
from tests.data_builders.interhand26m import download as made_up
from tests.data_builders.interhand26m.damaged import DAMAGES, Edited, checked, first_picture


def read(folder):
  return {r["source"].decode(): r for r in tfds.builder_from_directory(folder).as_data_source("test")}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", ["download", "real"])
def test_damage_is_named_and_costs_its_record_only(request, kind, damage, tmp_path):
  folder = request.getfixturevalue(kind)
  whole, lines = checked(folder)
  assert whole == []
  total = int(re.match(r"test: (\d+) records can be built", lines[0])[1])
  name = first_picture(folder)
  expected = damage(folder, name)
  found, lines = checked(folder)
  (line,) = (line for line in found if expected in line)
  assert line.startswith("test: ")
  out, problems = build(InterHandConfig(str(folder)), tmp_path / "out", jobs=1)
  assert problems == found
  records = read(out)
  assert f"test/{name}" not in records
  lost = int(re.search(r"(\d+) x", line)[1])
  assert len(records) == total - lost
  assert lines[0] == f"test: {len(records)} records can be built"
  quarantine = [row.split("\t") for row in (out / "quarantine.tsv").read_text().splitlines()]
  assert quarantine[0] == ["problem", "split", "name", "detail", "consequence"]
  kinds = [row[0] for row in quarantine[1:]]
  for line in found:
    number, kind = re.match(r"test: (\d+) x (.*?) \[", line).groups()
    assert kinds.count(kind) == int(number)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
@pytest.mark.parametrize("kind", ["download", "real"])
def test_a_joint_that_is_not_finite_is_masked(request, kind, value, tmp_path):
  folder = request.getfixturevalue(kind)
  name = first_picture(folder)  # of a left hand in the made-up download
  capture, frame = re.match(r"Capture(\d+)/.*/image(\d+)", name).groups()
  with Edited(folder, "data") as data:
    (valid,) = [a["joint_valid"] for a in data["annotations"][:1]]
  joint = int(np.flatnonzero(np.ravel(valid))[4])
  with Edited(folder, "joint_3d") as joints:
    joints[capture][frame]["world_coord"][joint][1] = value
  found, _ = checked(folder)
  hand = ("right", "left")[joint // 21]
  (line,) = found
  assert " x joint not finite [masked]: " in line
  assert f"{name} ({hand} index4)" in line
  out, _ = build(InterHandConfig(str(folder)), tmp_path / "out", jobs=1)
  record = read(out)[f"test/{name}"]
  at = joint // 21, joint % 21
  for key in ("joints_cam", "joints_img"):
    assert not record[f"{key}_valid"][at]
    assert not record[key][at].any()
    assert record[f"{key}_valid"].sum() == np.sum(valid) - 1


def test_absurd_joints_are_masked_and_an_absurd_wrist_takes_its_hand(download, tmp_path):
  with Edited(download, "joint_3d") as joints:
    joints["0"]["11"]["world_coord"][21 + 3][0] += 400
    joints["1"]["11"]["world_coord"][20][2] += 900
  found, lines = checked(download)
  assert found == [
    "test: 3 x absurd joint [masked]: Capture0/0390_touch/cam410001/image11.jpg (left thumb1), "
    "Capture1/0003_pray/cam410001/image11.jpg (right wrist), Capture0/0390_touch/cam400002/image11.jpg (left thumb1)"
  ]
  assert lines == ["test: 5 records can be built"]
  out, _ = build(InterHandConfig(str(download)), tmp_path / "out", jobs=1)
  records = read(out)
  assert records["test/Capture0/0390_touch/cam410001/image11.jpg"]["joints_cam_valid"].sum() == 20
  hand = records["test/Capture1/0003_pray/cam410001/image11.jpg"]
  assert hand["hand_present"][0]
  assert not hand["joints_cam_valid"].any()


def test_invalid_joints_may_hold_anything(download):
  with Edited(download, "joint_3d") as joints:
    joints["0"]["11"]["world_coord"][3] = [float("nan"), 1e30, -1e30]  # of the right hand, which is not there
  assert checked(download)[0] == []


@pytest.mark.parametrize("role", ["data", "joint_3d", "camera"])
@pytest.mark.parametrize("kind", ["download", "real"])
def test_broken_json_is_named_and_nothing_is_built(request, kind, role, tmp_path):
  folder = request.getfixturevalue(kind)
  path = Edited(folder, role).path
  path.write_text(path.read_text()[:-40])
  found, lines = checked(folder)
  (line,) = found
  assert line.startswith(f"test: 1 x broken annotation file [cannot build]: {path}: broken JSON")
  assert lines == []
  with pytest.raises(BuildError, match=re.escape(f"{path}: broken JSON")):
    build(InterHandConfig(str(folder)), tmp_path / "out", jobs=1)
  assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("role", ["data", "joint_3d", "camera"])
def test_a_missing_annotation_file_is_named(download, role, tmp_path):
  path = Edited(download, role).path
  path.unlink()
  assert checked(download)[0] == [f"test: 1 x missing annotation file [cannot build]: {path}"]
  with pytest.raises(BuildError, match=re.escape(str(path))):
    build(InterHandConfig(str(download)), tmp_path / "out", jobs=1)


def test_fits_that_are_asked_for_must_be_there(download, mano_folder, tmp_path):
  path = Edited(download, "MANO_NeuralAnnot").path
  path.unlink()
  assert checked(download, mano=str(mano_folder)) == ([f"test: 1 x missing annotation file [cannot build]: {path}"], [])
  with pytest.raises(BuildError, match=re.escape(str(path))):
    build(InterHandConfig(str(download), mano=str(mano_folder)), tmp_path / "out", jobs=1)
  assert checked(download)[0] == []


@pytest.mark.parametrize(
  ("entry", "change", "message"),
  [
    ("annotations", {"bbox": [1, None, 3, 4]}, "float() argument must be"),
    ("annotations", {"bbox": "wide"}, "could not convert"),
    ("annotations", {"hand_type": "both"}, "hand_type is 'both', expected one of ['right', 'left', 'interacting']"),
    ("annotations", {"id": 2**70}, "has more than 64 bits"),
    ("annotations", {"joint_valid": 7}, "'int' object is not subscriptable"),
    ("images", {"camera": "left one"}, "invalid literal for int()"),
    ("images", {"frame_idx": -5}, "are not all 0..2147483647"),
    ("images", {"id": None}, "int() argument must be"),
    ("images", {"file_name": "a\0.jpg"}, r"file_name 'a\x00.jpg' holds a null character"),
  ],
)
def test_values_that_cannot_be_are_named_and_cost_their_record(download, entry, change, message):
  with Edited(download, "data") as data:
    data[entry][0] |= change
  found, lines = checked(download)
  assert f"x malformed entry [record left out]: InterHand2.6M_test_data.json {entry}[0] (" in found[0]
  assert message in found[0]
  assert lines == ["test: 4 records can be built"]


@pytest.mark.parametrize("change", [{"camrot": "none"}, {"focal": [1, 2]}])
def test_cameras_of_another_shape_are_named(download, change):
  with Edited(download, "camera") as cameras:
    cameras["0"] |= change
  found, _ = checked(download)
  assert found[0].endswith("_camera.json holds no cameras by capture, field and name")


@pytest.mark.parametrize(
  ("field", "value", "message"),
  [
    ("camrot", [[1, 0, 0], [0, 2, 0], [0, 0, 1]], "its camrot is no rotation"),
    ("campos", [1, 2, float("nan")], "its numbers are not all there and finite"),
    ("focal", [1000], "its numbers are not all there and finite"),
    ("princpt", [10**400, 1], "int too large to convert to float"),
  ],
)
def test_a_camera_that_cannot_be_is_named_and_costs_its_records(download, field, value, message):
  with Edited(download, "camera") as cameras:
    cameras["1"][field]["400002"] = value
  found, lines = checked(download)
  assert f"InterHand2.6M_test_camera.json capture 1 camera 400002 ({message})" in found[0]
  assert found[1].startswith("test: 1 x missing camera [record left out]: Capture1/0007_thumbup/cam400002/")
  assert lines == ["test: 4 records can be built"]


@pytest.mark.parametrize("role", ["camera", "joint_3d", "MANO_NeuralAnnot"])
def test_numbers_that_no_picture_has_are_named_and_cost_nothing_else(download, mano_folder, role):
  with Edited(download, role) as content:
    for inner in content["1"].values() if role == "camera" else (content["1"],):
      inner |= dict.fromkeys(("-1", str(2**31), str(2**70)), next(iter(inner.values())))
    content[str(2**70)] = content["0"]
  (line,), lines = checked(download, mano=str(mano_folder))
  assert f" x malformed entry [record left out]: InterHand2.6M_test_{role}.json " in line
  for numbers in ([1, -1], [1, 2**31], [1, 2**70], [2**70, 400002 if role == "camera" else 11]):
    assert f"(its numbers {numbers} are not all 0..2147483647)" in line
  assert lines == ["test: 5 records can be built"]


@pytest.mark.parametrize("role", ["joint_3d", "MANO_NeuralAnnot"])
def test_values_that_no_float_holds_are_named(download, mano_folder, role):
  with Edited(download, role) as content:
    if role == "joint_3d":
      content["1"]["12"]["world_coord"][0][0] = 10**400
    else:
      content["1"]["12"]["right"]["trans"][0] = 10**400
  found, lines = checked(download, mano=str(mano_folder))
  assert f"InterHand2.6M_test_{role}.json 1.12 (int too large to convert to float)" in found[0]
  assert lines == [f"test: {3 if role == 'joint_3d' else 5} records can be built"]


def test_an_annotation_id_twice_counts_once(download):
  with Edited(download, "data") as data:
    data["annotations"].append(data["annotations"][0])
  found, lines = checked(download)
  assert found == ["test: 1 x annotation id twice [record left out]: InterHand2.6M_test_data.json annotation 33"]
  assert lines == ["test: 5 records can be built"]


def test_a_mano_fit_far_from_the_joints_is_masked(download, mano_folder, tmp_path):
  with Edited(download, "MANO_NeuralAnnot") as fits:
    fits["0"]["11"]["left"]["trans"][0] += 0.0418
    fits["1"]["12"]["right"]["pose"][7] = float("nan")
  found, _ = checked(download, mano=str(mano_folder))
  assert found == [
    "test: 1 x MANO parameters not finite [masked]: InterHand2.6M_test_MANO_NeuralAnnot.json 1.12 (right)",
    "test: 1 x MANO fit far from the joints [masked]: Capture0 frame 11 left hand (41.8 mm)",
  ]
  out, _ = build(InterHandConfig(str(download), mano=str(mano_folder)), tmp_path / "out", jobs=1)
  valid = {name: record["mano_valid"].tolist() for name, record in read(out).items()}
  assert valid == {
    "test/Capture0/0390_touch/cam410001/image11.jpg": [False, False],
    "test/Capture0/0390_touch/cam400002/image11.jpg": [False, False],
    "test/Capture1/0003_pray/cam410001/image11.jpg": [True, False],
    "test/Capture1/0007_thumbup/cam400002/image12.jpg": [False, True],
    "test/Capture1/0007_thumbup/cam410001/image12.jpg": [False, True],
  }


def test_archive_parts_are_compared_with_their_checksums(download):
  archive = download / "archives"
  archive.mkdir()
  lines = []
  for part in ("aa", "ab", "ac"):
    path = archive / f"InterHand2.6M.images.5.fps.v1.0.tar.part{part}"
    path.write_bytes(part.encode() * 1000)
    lines.append(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.name}")
  listing = archive / "InterHand2.6M.images.5.fps.v1.0.tar.CHECKSUM"
  listing.write_text("\n".join(lines) + "\n", encoding="utf-8-sig", newline="\r\n")  # as Windows saves it
  found, said = checked(download)
  assert found == []
  assert said[0] == f"{listing.name}: 3 of 3 parts are as they should be"
  path.write_bytes(b"ac" * 999)
  (archive / "InterHand2.6M.images.5.fps.v1.0.tar.partaa").unlink()
  found, said = checked(download)
  assert found[0] == "1 x missing archive part [noted]: InterHand2.6M.images.5.fps.v1.0.tar.partaa"
  assert found[1].startswith("1 x damaged archive part [noted]: InterHand2.6M.images.5.fps.v1.0.tar.partac (md5 ")
  assert said[0] == f"{listing.name}: 1 of 3 parts are as they should be"
  for part in archive.glob("*.part*"):
    part.unlink()
  found, said = checked(download)
  assert found == []
  assert "none of its 3 parts is beside it" in said[0]


def test_a_partial_download_builds_what_is_there(download, tmp_path):

  shutil.rmtree(download / "images" / "test" / "Capture1")
  found, lines = checked(download)
  assert found[0].startswith("test: 3 x missing picture [record left out]: Capture1/")
  assert lines == ["test: 2 records can be built"]
  out, _ = build(InterHandConfig(str(download)), tmp_path / "out", jobs=1)
  assert len(read(out)) == 2


def test_many_problems_are_counted_and_the_first_are_named():
  problems = Problems(KINDS)
  for number in range(1234):
    problems.add("missing picture", "train", f"{number}.jpg")
  (line,) = problems.lines()
  assert line.startswith("train: 1,234 x missing picture [record left out]: 0.jpg, 1.jpg")
  assert line.endswith("4.jpg, and 1,229 more")


def test_names_with_tabs_and_ends_of_lines_are_a_line_each():
  listing = io.StringIO()
  problems = Problems(KINDS, listing)
  problems.add("missing picture", "train", "a\tb\nc.jpg", "no\rend")
  assert listing.getvalue() == "missing picture\ttrain\ta\\tb\\nc.jpg\tno\\rend\trecord left out\n"
  assert problems.lines() == ["train: 1 x missing picture [record left out]: a\\tb\\nc.jpg (no\\rend)"]


def test_every_kind_of_problem_that_is_reported_is_known():
  sources = pathlib.Path(made_up.__file__).parents[3] / "data_builders"
  files = [*(sources / "interhand26m").glob("*.py"), sources / "pictures.py"]
  text = "\n".join(path.read_text() for path in files if path.name != "problems.py")
  named = set(re.findall(r'\.add\(\s*"([^"]+)"', text))
  assert named <= set(KINDS)
  assert not [kind for kind in KINDS if f'"{kind}"' not in text]


def test_a_joint_far_outside_the_picture_is_masked_and_the_others_stay(download, tmp_path):
  with Edited(download, "joint_3d") as joints:
    joints["1"]["11"]["world_coord"][8][0] += 250  # near the wrist and beside the camera's view
  with Edited(download, "camera") as cameras:
    cameras["1"]["focal"]["410001"] = [2000.0, 2000.0]
  with Edited(download, "data") as data:
    for entry in data["annotations"]:
      entry["bbox"] = [-300, -300, 700, 700]
  found, _ = checked(download)
  name = "Capture1/0003_pray/cam410001/image11.jpg"
  assert any("x joint far outside the picture [masked]: " in line and f"{name} (right" in line for line in found)
  out, _ = build(InterHandConfig(str(download)), tmp_path / "out", jobs=1)
  record = read(out)[f"test/{name}"]
  valid, outside = record["joints_img_valid"][0], np.abs(record["joints_img"][0] - 80).max(-1) > 80 + 160
  assert 10 < valid.sum() < 21
  assert not (valid & outside).any()
