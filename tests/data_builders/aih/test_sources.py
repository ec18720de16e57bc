"""AIH made of other data sets: single hands by path, poses with fits of a user's MANO, and what does not fit."""

import dataclasses
import functools
import sys

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders import shards, synthetic
from data_builders.aih import AihConfig, __main__, build
from data_builders.shards import BuildError
from data_builders.synthetic import SyntheticConfig
from data_builders.synthetic.records import make_record
from jaxhands.hands.model import HandModel
from jaxhands.schema import unpack_masks
from tests.data_builders.aih.conftest import CONFIG
from tests.data_builders.interhand26m.download import write_mano
from tests.render.test_texture import write_layout

PAIRS = SyntheticConfig(train=0, val=0, test=3, hands="pair", pictures="input")


@pytest.fixture(scope="module")
def mano(tmp_path_factory):
  return write_mano(tmp_path_factory.mktemp("mano"))


def _fitted(identity, split, index):
  """Two hands whose fit belongs to another model of the same shape."""
  return make_record(PAIRS, split, index) | {"hand_model": identity}


@pytest.fixture(scope="module")
def fits(mano, tmp_path_factory):
  """A data set with fits of the MANO files."""
  identity = HandModel.from_mano(mano).identity
  plan = shards.Plan("fits", {}, {"test": PAIRS.test}, functools.partial(_fitted, identity), "Fits.")
  return shards.build(plan, tmp_path_factory.mktemp("fits") / "fits")


def read(folder, split="test"):
  return list(tfds.builder_from_directory(folder).as_data_source(split))


def test_poses_of_another_data_set_are_shown_with_its_hand_model(fits, mano, tmp_path):
  config = AihConfig(train=0, val=0, test=5, variant="render", poses=str(fits), mano=str(mano))
  records = read(build(config, jobs=1, root=tmp_path))
  model, poses = HandModel.from_mano(mano), {record["source"]: record["mano"] for record in read(fits)}
  assert len({record["picture"].tobytes() for record in records}) == 5
  assert {record["source"].removeprefix(b"render/") for record in records} == set(poses)
  for record in records:
    assert record["hand_model"].decode() == model.identity
    fingers = poses[record["source"].removeprefix(b"render/")][:, 3:58]
    np.testing.assert_allclose(record["mano"][:, 3:58], fingers, atol=1e-6)
    keypoints = model.forward_mano(record["mano"]).keypoints
    np.testing.assert_allclose(record["joints_cam"], keypoints, atol=0.05)
    assert record["removed_valid"].all()
    amodal, visible = unpack_masks(record["masks"][..., 0]).swapaxes(0, 1)
    assert not (visible & ~amodal).any()
    assert amodal.any((1, 2)).all()


def test_hands_of_manos_mesh_can_have_textures(fits, mano, tmp_path):
  folder, faces = tmp_path / "textures", HandModel.from_mano(mano).faces[0]
  folder.mkdir()
  write_layout(folder / "layout.obj", faces, np.random.default_rng(0).uniform(0.1, 0.9, (778, 2)))
  cv2.imwrite(str(folder / "blue.png"), np.full((32, 32, 3), (250, 40, 40), np.uint8))
  values = {"train": 0, "val": 0, "test": 2, "variant": "render", "poses": str(fits), "mano": str(mano)}
  plain = read(build(AihConfig(**values), jobs=1, root=tmp_path))
  blue = read(build(AihConfig(**values, textures=str(folder)), jobs=1, root=tmp_path))

  def blueness(record):
    red, _, value = record["picture"][unpack_masks(record["masks"][..., 0])[:, 1].any(0) > 0].mean(0)
    return value - red

  assert np.mean([blueness(record) for record in blue]) > 20 + np.mean([blueness(record) for record in plain])
  with pytest.raises(BuildError, match="holds 0 OBJ files and 0 pictures"):
    build(AihConfig(**values, textures=str(mano)), jobs=1, root=tmp_path)


def test_single_hands_may_be_any_data_set_with_masks(folders_of, root, tmp_path):
  (singles,) = root.glob("synthetic-single-*")
  config = dataclasses.replace(CONFIG, variant="syn", singles=str(singles), train=0, val=2, test=0)
  for one, other in zip(
    read(build(config, jobs=1, root=tmp_path), "val"), read(folders_of["syn"], "val"), strict=False
  ):
    np.testing.assert_array_equal(one["picture"], other["picture"])
  named = dataclasses.replace(config, singles="synthetic/single")
  assert build(named, jobs=1, root=root).name.startswith("aih-syn-")


@pytest.mark.parametrize("part", ["render", "syn", "full"])
def test_data_of_an_older_renderer_are_other_data(part, monkeypatch):
  config = dataclasses.replace(CONFIG, variant=part)
  now = config.arguments(None, None)
  monkeypatch.setattr("data_builders.synthetic.config.VERSION", 0)
  assert shards.arguments_hash(config.arguments(None, None)) != shards.arguments_hash(now)


def test_the_identity_holds_what_it_is_made_of(fits, mano, root):
  base = AihConfig(variant="render")
  one, other = {"builder": "fits", "hash": "0"}, {"builder": "fits", "hash": "1"}
  arguments = [base.arguments(None, None), base.arguments(None, one), base.arguments(None, other)]
  assert len({shards.arguments_hash(each) for each in arguments}) == 3


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ({"train": -1}, "train is -1 records"),
    ({"variant": "both"}, "variant is 'both', expected one of full, render, syn"),
    ({"poses": "interhand26m"}, "poses and mano go together"),
    ({"mano": "folder"}, "poses and mano go together"),
    ({"textures": "folder"}, "textures are for MANO's mesh"),
    ({"upright_deg": 0.0}, "upright is 0.0 degrees"),
    ({"background_dir": "/nowhere"}, "background-dir /nowhere is not a folder"),
  ],
)
def test_a_bad_value_is_named(values, message):
  with pytest.raises(ValueError, match=message):
    AihConfig(**values)


def test_data_sets_that_do_not_fit_are_named(fits, mano, tmp_path):
  of_fits = {"train": 0, "val": 0, "test": 2, "variant": "render", "poses": str(fits), "mano": str(mano)}
  wrong = [
    (of_fits | {"poses": "nothing"}, "there is no data set 'nothing'"),
    (of_fits | {"mano": str(tmp_path)}, "holds no MANO_RIGHT"),
    (of_fits | {"val": 1}, "has no split 'val'"),
    (
      {"train": 0, "val": 0, "test": 2, "variant": "syn", "singles": str(fits)},
      "has no picture of one whole right hand",
    ),
  ]
  for number, (values, message) in enumerate(wrong):
    with pytest.raises(BuildError, match=message):
      build(AihConfig(**values), jobs=1, root=tmp_path / str(number))


def test_fits_of_another_model_are_refused(mano, tmp_path):
  embedded = synthetic.build(PAIRS, jobs=1, root=tmp_path)
  config = AihConfig(train=0, val=0, test=2, variant="render", poses=str(embedded), mano=str(mano))
  with pytest.raises(BuildError, match="belong to 'embedded-v1', and --mano holds"):
    build(config, jobs=1, root=tmp_path)


def run(monkeypatch, *arguments):
  monkeypatch.setattr(sys, "argv", ["aih", *(str(argument) for argument in arguments)])
  __main__.main()


def test_the_command_says_where_the_data_are(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv("JAXHANDS_DATA", str(tmp_path))
  counts = ("--train", "2", "--val", "0", "--test", "0", "--jobs", "1")
  run(monkeypatch, *counts, "--variant", "syn", "--show", 1)
  out = capsys.readouterr().out.splitlines()
  (folder,) = tmp_path.glob("aih-syn-*")
  assert out[0].startswith(f"{folder}: 2 records (train 2, val 0, test 0), ")
  assert out[1] == str(folder / "preview" / "sheet_000.png")
  run(monkeypatch, *counts, "--variant", "syn")
  assert capsys.readouterr().out.splitlines()[1] == f"Look at them: python -m data_builders.preview {folder}"
  for wrong, message in (
    (("--jobs", "0"), "jobs is 0"),
    (("--seed", "-1"), "seed is -1"),
    (("--show", "0"), "show is 0"),
  ):
    with pytest.raises(SystemExit, match=message):
      run(monkeypatch, *counts, *wrong)
