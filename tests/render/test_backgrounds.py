"""Backgrounds: deterministic, varied, and no family in two splits."""

import os
import struct

import cv2
import numpy as np
import pytest

from jaxhands.render import backgrounds


@pytest.fixture
def photo_folder(tmp_path):
  for k in range(40):
    picture = np.random.default_rng(k).integers(0, 255, (50 + k, 70, 3), np.uint8)
    folder = tmp_path / ("a" if k % 2 else "b")
    folder.mkdir(exist_ok=True)
    assert cv2.imwrite(str(folder / f"{k}.png"), picture)
  (tmp_path / "notes.txt").write_text("no photo")
  return tmp_path


def test_no_family_is_in_two_splits():
  assert tuple(backgrounds.FAMILIES) == backgrounds.SPLITS
  drawers = [(split, name) for split, families in backgrounds.FAMILIES.items() for name in families]
  names = [name for _, name in drawers]
  assert len(names) == len(set(names))


@pytest.mark.parametrize("split", backgrounds.SPLITS)
@pytest.mark.parametrize("size", [(320, 320), (65, 90)])
def test_backgrounds_of_a_split(split, size):
  seen, pictures = set(), []
  for seed in range(30):
    picture, family = backgrounds.sample_background(np.random.default_rng(seed), *size, split)
    again, _ = backgrounds.sample_background(np.random.default_rng(seed), *size, split)
    np.testing.assert_array_equal(picture, again)
    assert picture.shape == (*size, 3)
    assert picture.dtype == np.uint8
    seen.add(family)
    pictures.append(picture)
  assert seen == set(backgrounds.FAMILIES[split])
  assert np.std([picture.mean() for picture in pictures]) > 10


def test_photos_are_split_by_their_bytes(photo_folder):
  splits = {split: backgrounds.photos_of_split(photo_folder, split) for split in backgrounds.SPLITS}
  paths = [path for group in splits.values() for path in group]
  assert len(paths) == 40
  assert len(set(paths)) == 40
  assert len(splits["train"]) > 20
  moved = splits["train"][0].rename(photo_folder / "renamed.png")
  assert moved in backgrounds.photos_of_split(photo_folder, "train")


def test_photo_backgrounds(photo_folder):
  photos = backgrounds.photos_of_split(photo_folder, "train")
  kinds = [
    backgrounds.sample_background(np.random.default_rng(seed), 64, 48, "train", photos, photo_share=0.5)[1]
    for seed in range(60)
  ]
  assert 15 < kinds.count("photo") < 45
  picture, family = backgrounds.sample_background(np.random.default_rng(0), 64, 48, "train", photos, photo_share=1.0)
  assert family == "photo"
  assert picture.shape == (64, 48, 3)


def test_a_photo_may_have_a_name_that_is_not_utf8(photo_folder):
  photo = next((photo_folder / "a").iterdir())
  expected = backgrounds.sample_background(np.random.default_rng(0), 64, 48, photos=(photo,), photo_share=1.0)
  renamed = photo.rename(photo_folder / os.fsdecode(b"caf\xe9.png"))
  found = backgrounds.sample_background(np.random.default_rng(0), 64, 48, photos=(renamed,), photo_share=1.0)
  assert found[1] == expected[1] == "photo"
  np.testing.assert_array_equal(found[0], expected[0])


def test_photos_are_files(photo_folder):
  before = {split: backgrounds.photos_of_split(photo_folder, split) for split in backgrounds.SPLITS}
  (photo_folder / "trip.jpg").mkdir()
  (photo_folder / "gone.png").symlink_to(photo_folder / "nowhere")
  assert {split: backgrounds.photos_of_split(photo_folder, split) for split in backgrounds.SPLITS} == before
  assert sorted(path for paths in before.values() for path in paths) == backgrounds.photos_in(photo_folder)


def test_a_photo_that_is_too_large_is_not_decoded(tmp_path):
  photo = tmp_path / "a.png"
  content = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
  photo.write_bytes(content[:16] + struct.pack(">II", 20_000, 20_000) + content[24:])
  with pytest.raises(ValueError, match=rf"{photo} has over 100 megapixels; make it smaller"):
    backgrounds.sample_background(np.random.default_rng(0), 8, 8, "train", (photo,), photo_share=1.0)


def test_what_is_wrong_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="no photo"):
    backgrounds.photos_of_split(tmp_path, "train")
  with pytest.raises(KeyError, match="validation"):
    backgrounds.photos_of_split(tmp_path, "validation")
  broken = tmp_path / "broken.jpg"
  broken.write_bytes(b"not a picture")
  for spoil in (lambda: None, lambda: broken.write_bytes(b""), broken.unlink):
    spoil()
    with pytest.raises(ValueError, match=r"broken\.jpg"):
      backgrounds.sample_background(np.random.default_rng(0), 8, 8, "train", (broken,), photo_share=1.0)
