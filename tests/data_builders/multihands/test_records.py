"""MultiHands of a small data set: annotations keep the picture, and a build goes on where it was."""

import dataclasses
import functools
import hashlib
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders import schema, shards
from data_builders.built import Built
from data_builders.multihands import MultiHandsConfig, build, perturb, report
from data_builders.multihands import records as made
from data_builders.multihands.build import source_of
from jaxhands.geometry import camera, crop
from jaxhands.hands import proxies
from jaxhands.hands.model import HandModel
from tests.contract import records as contract
from tests.hands import synthetic_mano

MODEL = HandModel.default()
GOLDENS = pathlib.Path(__file__).parents[2] / "goldens" / "mano"
COUNTS = {"train": 24, "val": 5}


def _source_record(split, index):
  """Every fourth record lacks a fit; some joints are hidden, whatever the picture says."""
  record = contract.record(index + 100 * (split == "val"))
  record = {key: value for key, value in record.items() if key in schema.RECORD}
  rng = np.random.default_rng(index)
  record["joints_visible"] = rng.random((2, 21)) < 0.6
  if index % 4 == 3:
    record["mano_valid"] = np.array([True, False])
    record["mano"] = record["mano"] * record["mano_valid"][:, None]
  record["annotations_mano"] = record["annotations_mano"][:0]
  return record


@pytest.fixture(scope="module")
def config(tmp_path_factory):
  folder = tmp_path_factory.mktemp("data") / "source"
  plan = shards.Plan("pairs", {"counts": COUNTS}, COUNTS, _source_record, "Pairs.", 10)
  shards.build(plan, folder)
  return MultiHandsConfig(str(folder), annotations=5, population=12, rounds=4, depth_mm=10.0)


@pytest.fixture(scope="module")
def folder(config, tmp_path_factory):
  return build(config, tmp_path_factory.mktemp("multihands") / "out", jobs=1)


@pytest.fixture(scope="module")
def records(folder):
  builder = tfds.builder_from_directory(folder)
  return [record for split in ("train", "val") for record in builder.as_data_source(split)]


def _changed(model, record):
  """Joints of the fit and of the annotations, mm, and how far these are from it in the picture, pixels of a crop."""
  both = (record["mano"], record["annotations_mano"])
  true_joints, joints = (np.asarray(model.forward_mano(mano).keypoints, np.float64) for mano in both)
  box = np.asarray(crop.process_box(record["box_img"], (224, 224)))
  pixels = [np.asarray(camera.project(each, record["camera_img"])) for each in (true_joints, joints)]
  return true_joints, joints, np.linalg.norm(pixels[1] - pixels[0], axis=-1) * 224 / box[2]


def test_records_with_two_fits_keep_all_that_they_had(config, records):
  assert len(records) == 18 + 4
  source = Built(config.source)
  first = source.read("train", 0, ("mano", "picture_hw", "source", "joints_cam", "joints_visible"))
  for key, value in first.items():
    np.testing.assert_array_equal(records[0][key] if key != "source" else records[0][key].decode(), value)
  counts = [len(record["annotations_mano"]) for record in records]
  assert {record["annotations_mano"].shape[1:] for record in records} == {(2, 61)}
  assert max(counts) == 5
  assert min(counts) >= 1
  assert all(record["mano_valid"].all() for record in records)


def test_annotations_keep_the_picture(config, folder, records):
  source, _ = source_of(config, folder)
  likely = made.likely(source.survey)
  moved = 0
  for record in records:
    fit, mano, visible = record["mano"], record["annotations_mano"], record["joints_visible"]
    true_joints, joints, off = _changed(MODEL, record)
    assert (off[:, visible] < config.pixels + 0.01).all()
    np.testing.assert_array_equal(mano[..., 48:58], np.broadcast_to(fit[:, 48:58], (len(mano), 2, 10)))

    deviations = proxies.deviations_mm(MODEL, fit[:, 48:58])
    true_centres, centres = proxies.centres(true_joints), proxies.centres(joints)
    deepest = np.maximum(proxies.overlap_mm(true_centres, deviations), 0)
    assert (proxies.overlap_mm(centres, deviations) < deepest + 0.05).all()
    hidden = proxies.hidden(true_joints.reshape(-1, 3), true_centres, deviations, 12.0) & ~visible.reshape(-1)
    still = proxies.hidden(joints.reshape(len(mano), -1, 3), centres, deviations, 11.9)
    assert still[:, hidden].all()
    assert (off.reshape(len(mano), -1)[:, ~hidden] < config.pixels + 0.01).all(), "neither hidden nor held to its place"

    offsets = mano[..., 3:48] - likely.mean
    distance = np.square(np.einsum("hij,ahj->ahi", likely.inverse_root, offsets)).sum(-1)
    own = np.square(np.einsum("hij,hj->hi", likely.inverse_root, fit[:, 3:48] - likely.mean)).sum(-1)
    assert (distance < np.maximum(own, likely.limit) * 1.001).all()
    assert len(np.unique(mano.reshape(len(mano), -1), axis=0)) == len(mano), "one pose twice"
    moved += (np.abs(joints - true_joints).max((1, 2, 3)) > 0.5).sum()
  assert moved > 0.8 * 5 * len(records), "annotations are copies of the fit"


def test_a_picture_that_no_other_pose_keeps_has_its_fit_alone(config, tmp_path):
  still = dataclasses.replace(config, pixels=1e-6)
  folder = build(still, tmp_path / "still", jobs=1)
  for record in tfds.builder_from_directory(folder).as_data_source("val"):
    assert record["annotations_mano"].shape == (1, 2, 61)
    np.testing.assert_allclose(record["annotations_mano"][0], record["mano"], atol=1e-4)
  source, _ = source_of(still, folder)
  assert report.write(source, folder, "val", 2)["fewer_annotations"] == 1


def _mano_record(identity, split, index):
  return _source_record(split, index) | {"hand_model": identity}


def test_fits_of_your_own_mano_files(tmp_path):
  mano = synthetic_mano.write_pair(GOLDENS, tmp_path)
  model = HandModel.named(str(mano))
  made_by = functools.partial(_mano_record, model.identity)
  shards.build(shards.Plan("pairs", {"counts": COUNTS}, COUNTS, made_by, "Pairs.", 10), tmp_path / "source")
  config = MultiHandsConfig(str(tmp_path / "source"), annotations=5, population=12, rounds=4, train=18, val=2)
  with pytest.raises(shards.BuildError, match="give the MANO files that they belong to"):
    build(config, tmp_path / "embedded", jobs=1)
  folder = build(dataclasses.replace(config, mano=str(mano)), tmp_path / "out", jobs=1)
  moved = 0
  for record in tfds.builder_from_directory(folder).as_data_source("val"):
    assert record["hand_model"].decode() == model.identity
    true_joints, joints, off = _changed(model, record)
    assert (off[:, record["joints_visible"]] < config.pixels + 0.01).all()
    moved += (np.abs(joints - true_joints).max((1, 2, 3)) > 0.5).sum()
  assert moved > 5, "annotations are copies of the fit"


def test_a_build_goes_on_to_the_same_bytes(config, folder, tmp_path):
  def digests():
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.array_record*")}

  before = digests()
  next(folder.glob("*val*.array_record*")).unlink()
  (folder / "dataset_info.json").unlink()
  assert build(config, folder, jobs=1) == folder
  assert digests() == before
  with pytest.raises(shards.BuildError, match=r"pixels 5\.0 there and 6\.0 here"):
    build(MultiHandsConfig(**{**vars(config), "pixels": 6.0}), folder, jobs=1)


def test_a_split_that_the_source_lacks_has_no_rows(config, folder):
  source, _ = source_of(config, folder)
  assert [len(made.rows_of(source.survey, split)) for split in ("train", "val", "test")] == [18, 4, 0]


@pytest.mark.parametrize("name", ["rows-val.npy", "likely.npz"])
def test_a_damaged_table_of_the_survey_is_named(tmp_path, name):
  source = made.Source(MultiHandsConfig("synthetic"), Built("synthetic"), str(tmp_path))
  np.save(tmp_path / "rows-val.npy", np.arange(9))
  np.savez(tmp_path / "likely.npz", **dict.fromkeys(perturb.Likely._fields, np.zeros(9)))
  whole = (tmp_path / name).read_bytes()
  for content in (b"", whole[: len(whole) // 2], None):
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(shards.BuildError, match=rf"{name} is damaged or missing \(.*\); delete {tmp_path}; it is made"):
      source.row("val", 0) if name == "rows-val.npy" else made.likely(source.survey)


def test_report_and_sheet(config, folder):
  source, _ = source_of(config, folder)
  found = report.write(source, folder, "train", 2)
  assert found == json.loads((folder / "report.json").read_text())
  assert found["records"] == 2
  assert found["changes"] == 2 * 4 * 12
  shares = list(found["passed"].values())
  assert all(0 < share <= 1 for share in shares)
  assert shares[-1] <= min(shares[3:5]) <= shares[2] <= min(shares[:2])
  assert shares[-1] >= shares[3] + shares[4] - shares[2] - 1e-3  # both hold of all but those of which one does not
  assert found["deviation_mm"]["global"] > found["deviation_mm"]["rr"] > 0
  assert (folder / "sheet.png").stat().st_size > 10_000


def test_a_full_disk_is_said_of_the_sheet(config, folder, tmp_path):
  if not pathlib.Path("/dev/full").exists():
    pytest.skip("no /dev/full here")
  source, _ = source_of(config, folder)
  (tmp_path / "sheet.png").symlink_to("/dev/full")
  with pytest.raises(shards.BuildError, match=rf"the disk is full under {tmp_path}; make room"):
    report.write(source, tmp_path, "val", 1)


def test_likelihood_is_that_of_the_poses():
  rng = np.random.default_rng(0)
  mix = rng.normal(size=(45, 45)) * 0.1
  poses = np.stack([rng.normal(size=(4000, 45)) @ mix.T + 1, rng.normal(size=(4000, 45)) @ mix.T], axis=1)
  likely = perturb.likely_of(poses)
  distance = np.square(np.einsum("hij,nhj->nhi", likely.inverse_root, poses - likely.mean)).sum(-1)
  assert distance.mean() == pytest.approx(45, rel=0.1)
  assert likely.limit == pytest.approx(80.077, abs=0.1)  # chi-square with 45 degrees of freedom, 99.9 %
  assert 0.995 < (distance < likely.limit).mean() < 1
  np.testing.assert_allclose(likely.root @ likely.inverse_root, np.tile(np.eye(45), (2, 1, 1)), atol=1e-3)


def test_farthest_points_are_chosen_one_after_the_other():
  points = np.random.default_rng(0).normal(size=(15, 3)).astype(np.float32)
  start = np.zeros(3, np.float32)
  rows = np.asarray(jax.jit(functools.partial(perturb.farthest, count=15))(points, start))
  assert sorted(rows) == list(range(15))
  chosen = [start]
  for row in rows:
    distance = [min(np.linalg.norm(point - other) for other in chosen) for point in points]
    assert distance[row] == pytest.approx(max(distance), rel=1e-5)
    chosen.append(points[row])
  alike = np.asarray(perturb.farthest(jnp.zeros((4, 3)), jnp.zeros(3), 3))
  assert len(set(alike)) == 3


def test_a_folder_of_something_else_is_refused_before_the_source_is_read(config, tmp_path):
  (tmp_path / "letters.txt").write_text("mine")

  def say(what, done, total):
    raise AssertionError(what)

  with pytest.raises(shards.BuildError, match=r"holds letters\.txt; give a new or an empty folder"):
    build(config, tmp_path, say=say)
  assert [path.name for path in tmp_path.iterdir()] == ["letters.txt"]


def test_what_does_not_fit_is_one_clear_line(config, tmp_path):
  with pytest.raises(ValueError, match="population is 10, expected at least the 20 annotations"):
    MultiHandsConfig("synthetic", annotations=20, population=10)
  with pytest.raises(ValueError, match="source is empty"):
    MultiHandsConfig("")
  with pytest.raises(shards.BuildError, match="there is no data set"):
    build(MultiHandsConfig("nothing"), root=tmp_path)
  few = MultiHandsConfig(config.source, train=3, val=0)
  with pytest.raises(
    shards.BuildError, match="has 3 records with fits of both hands and a camera; likelihood needs 20"
  ):
    build(few, tmp_path / "few")
