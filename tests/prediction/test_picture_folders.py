"""Which files of folders are looked at, and which are passed over."""

import os
import pathlib

import pytest

from jaxhands.prediction import picture_files
from jaxhands.prediction.picture_files import BadPicture


def test_folders_are_looked_into(tmp_path):
  (tmp_path / "empty").mkdir()
  for name in (
    "b.jpg",
    "a.PNG",
    "c.mp4",
    "d.heic",
    "e.gif",
    "f.jfif",
    "g.MTS",
    "h.wmv",
    "i.mpg",
    "j.avif",
    "notes.txt",
  ):
    (tmp_path / name).touch()
  for name in (".DS_Store", "._b.jpg", "without"):
    (tmp_path / name).touch()
  (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
  looked_at = ["a.PNG", "b.jpg", "c.mp4", "d.heic", "e.gif", "f.jfif", "g.MTS", "h.wmv", "i.mpg", "j.avif"]
  given_ = [tmp_path, tmp_path / "b.jpg", tmp_path / "notes.txt"]
  assert [path.name for path in picture_files.find(given_)] == [*looked_at, "notes.txt"]
  rest = [path.name for path in picture_files.passed_over(given_)]
  assert rest == [".DS_Store", "._b.jpg", "empty", "gone.jpg", "notes.txt", "without"]
  assert [picture_files.is_video(tmp_path / name) for name in ("g.MTS", "i.mpg", "e.gif")] == [True, True, False]
  with pytest.raises(BadPicture, match="a folder without pictures"):
    picture_files.find([tmp_path / "empty"])
  with pytest.raises(FileNotFoundError, match=r"no picture, folder or video .*nothing.jpg"):
    picture_files.find([tmp_path / "nothing.jpg"])


def test_a_folder_inside_that_may_not_be_looked_into_is_passed_over(tmp_path, monkeypatch):
  (tmp_path / "in" / "locked.jpg").mkdir(parents=True, mode=0)
  (tmp_path / "in" / "a.jpg").touch()
  monkeypatch.chdir(tmp_path)
  tmp_path.chmod(0o755)  # others may not come from above; they start here
  user = os.geteuid()
  os.seteuid(user or 65534)  # root may look everywhere
  try:
    folder = pathlib.Path("in")
    assert (picture_files.find([folder]), picture_files.passed_over([folder])) == (
      [folder / "a.jpg"],
      [folder / "locked.jpg"],
    )
  finally:
    os.seteuid(user)
  (tmp_path / "in" / "locked.jpg").chmod(0o755)


def test_what_was_written_before_is_not_passed_over(tmp_path):
  for name in ("overlays", "meshes", "hands", "more"):
    (tmp_path / name).mkdir()
  for name in ("a.jpg", "index.html", "predictions.npz", "clip.html", "overlays/clip.mp4", "other.html", ".lock"):
    (tmp_path / name).touch()
  (tmp_path / "hands" / "predictions.json").touch()
  theirs = ["clip.html", "index.html", "meshes", "more", "other.html", "overlays", "predictions.npz"]
  assert [path.name for path in picture_files.passed_over([tmp_path])] == theirs, "nothing was written but the lock"
  (tmp_path / "predictions.json").touch()
  assert [path.name for path in picture_files.passed_over([tmp_path])] == ["more", "other.html"]
