"""The configuration: bad values are refused at once, and its arguments name exactly what decides the records."""

import dataclasses
import os
import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest

from data_builders.synthetic.config import SyntheticConfig, background_files
from jaxhands.render import backgrounds as backdrops


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ({"train": -1}, "train is -1 records"),
    ({"val": -5}, "val is -5 records"),
    ({"train": 0, "val": 0, "test": 0}, "train, val and test are all 0"),
    ({"seed": -1}, "seed is -1"),
    ({"variant": "big"}, "variant is 'big', expected one of full, demo, other, studio, phone, wide"),
    ({"pictures": "none"}, "pictures is 'none', expected one of all, input"),
    ({"upright_deg": 0.0}, "upright is 0.0 degrees"),
    ({"upright_deg": float("nan")}, "upright is nan degrees"),
    ({"cameras": 0}, "cameras is 0"),
    ({"cameras": 3, "variant": "demo"}, "cameras is 3, which stand all around the hands"),
    ({"cameras": 3, "variant": "wide"}, "variant wide has one camera a scene"),
    ({"hands": "three"}, "hands is 'three', expected one of all, single, pair"),
    ({"background_dir": "/nowhere"}, "background-dir /nowhere is not a folder"),
  ],
)
def test_a_bad_value_is_named(values, message):
  with pytest.raises(ValueError, match=message):
    SyntheticConfig(**values)


def test_variants_choose_pictures_and_tilt():
  assert SyntheticConfig().all_pictures
  assert SyntheticConfig().max_tilt_deg == 180
  demo = SyntheticConfig(variant="demo")
  assert not demo.all_pictures
  assert demo.max_tilt_deg == 60
  assert SyntheticConfig(variant="demo", pictures="all", upright_deg=20).all_pictures
  assert SyntheticConfig(variant="demo", upright_deg=20).max_tilt_deg == 20


@pytest.fixture
def backgrounds(tmp_path):
  (tmp_path / "more").mkdir()
  for i, name in enumerate(["b.png", "a.jpg", "more/c.JPG"]):
    cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), 40 * i, np.uint8))
  (tmp_path / "notes.txt").write_text("no picture")
  return tmp_path


def test_background_pictures_are_found_in_order(backgrounds):
  assert [path.name for path in background_files(str(backgrounds))] == ["a.jpg", "b.png", "c.JPG"]


def test_pictures_may_have_names_that_are_not_utf8(backgrounds):
  for old, new in (("b.png", b"caf\xe9.png"), ("notes.txt", b"\xff.jpg")):
    (backgrounds / old).rename(backgrounds / os.fsdecode(new))
  assert [os.fsencode(path.name) for path in background_files(str(backgrounds))] == [b"a.jpg", b"caf\xe9.png", b"c.JPG"]


def test_the_pictures_that_count_are_those_that_are_drawn(backgrounds):
  """Not folders, links to nothing, and kinds that no record shows."""
  (backgrounds / "trip.jpg").mkdir()
  (backgrounds / "gone.jpg").symlink_to(backgrounds / "nowhere")
  cv2.imwrite(str(backgrounds / "d.bmp"), np.zeros((8, 8, 3), np.uint8))
  drawn = [path for split in backdrops.SPLITS for path in backdrops.photos_of_split(backgrounds, split)]
  assert background_files(str(backgrounds)) == sorted(drawn)
  assert len(drawn) == 3


def test_a_picture_that_is_too_large_is_refused_at_once(backgrounds):
  content = (backgrounds / "b.png").read_bytes()
  (backgrounds / "b.png").write_bytes(content[:16] + struct.pack(">II", 20_000, 20_000) + content[24:])
  with pytest.raises(ValueError, match=r"b\.png has over 100 megapixels; make it smaller"):
    SyntheticConfig(background_dir=str(backgrounds))


def test_a_folder_without_pictures_is_refused(tmp_path):
  (tmp_path / "notes.txt").write_text("no picture")
  (tmp_path / "broken.jpg").write_text("no picture either")
  with pytest.raises(ValueError, match=r"holds no readable picture"):
    SyntheticConfig(background_dir=str(tmp_path))


def test_every_argument_changes_the_identity(backgrounds):
  base = SyntheticConfig()
  changed = {"train": 1, "val": 1, "test": 1, "seed": 1, "variant": "other", "pictures": "input"}
  changed |= {"upright_deg": 60.0, "cameras": 2, "background_dir": str(backgrounds), "hands": "pair"}
  assert set(changed) == {field.name for field in dataclasses.fields(base)}
  for name, value in changed.items():
    assert dataclasses.replace(base, **{name: value}).arguments() != base.arguments()


def test_folders_from_before_there_were_hands_are_the_same_data():
  assert "hands" not in SyntheticConfig().arguments()
  assert SyntheticConfig().folder_name == "synthetic"
  assert SyntheticConfig(variant="demo", hands="single").folder_name == "synthetic-demo-single"


def test_a_background_folder_counts_by_its_content(backgrounds, tmp_path_factory):
  before = SyntheticConfig(background_dir=str(backgrounds)).arguments()
  moved = backgrounds.rename(tmp_path_factory.mktemp("elsewhere") / "moved")
  assert SyntheticConfig(background_dir=str(moved)).arguments() == before
  picture = (moved / "b.png").read_bytes()
  (moved / "b.png").write_bytes(picture[:-1] + b"x")  # another picture of the same name and size
  assert SyntheticConfig(background_dir=str(moved)).arguments() != before
  (moved / "b.png").write_bytes(picture)
  assert SyntheticConfig(background_dir=str(moved)).arguments() == before
  (moved / "a.jpg").unlink()
  assert SyntheticConfig(background_dir=str(moved)).arguments() != before


def test_a_configuration_costs_nothing():
  heavy = ("jax", "numba", "tensorflow_datasets", "cv2")
  code = f"import sys, data_builders.synthetic; print([name for name in {heavy} if name in sys.modules])"
  out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert out.stdout.strip() == "[]"
