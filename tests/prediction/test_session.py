"""What a call of `predict` keeps of what it found."""

import pathlib

import av
import cv2
import numpy as np
import pytest
import rich.progress
from av.error import ExternalError

from jaxhands.prediction import predictions_json, video
from jaxhands.prediction.look import Look
from jaxhands.prediction.session import Session
from tests.prediction import spots


class _WithMaps(spots.Spots):
  def predict(self, variables, batch, rng):
    size = len(batch["image"])
    return {
      **super().predict(variables, batch, rng),
      "masks": batch["masks"].astype("float32"),
      "root_cam": np.zeros((size, 2, 3), np.float32) + batch["image"].mean(),
    }


@pytest.fixture
def model(monkeypatch):
  monkeypatch.setattr(spots, "Spots", _WithMaps)
  return spots.make_model()


def test_maps_of_pictures_and_frames_are_not_kept(model, tmp_path):
  """Of a long video they would fill the memory; what is written of them stays."""
  picture = spots.picture(240, 320, right=(100, 60))
  assert {"masks", "root_cam"} <= set(model.predict([picture]).raw)
  with video.Writer(tmp_path / "clip.mp4", 20.0, (320, 240)) as writer:
    for t in range(3):
      writer.add(picture, t / 20)
  (tmp_path / "a.ppm").write_bytes(b"P6 320 240 255\n" + picture.tobytes())
  session = Session(tmp_path / "out", "run", Look(model))
  with rich.progress.Progress(disable=True) as bar:
    session.run([tmp_path / "a.ppm", tmp_path / "clip.mp4"], bar)
  session.write()
  assert not session.failed
  assert len(session.results) == 4
  assert all(set(each.hands.raw) == {"root_cam"} for each in session.results)
  with np.load(pathlib.Path(tmp_path, "out", "predictions.npz")) as arrays:
    assert set(predictions_json.RAW) & set(arrays) == {"root_cam"}


class _Picky(Look):
  def hands(self, pictures):
    if any(picture.path.name == "b.ppm" for picture in pictures):
      raise ValueError("picture 1: it shows nothing")
    return super().hands(pictures)


def _session(look, out, files):
  session = Session(out, "run", look)
  with rich.progress.Progress(disable=True) as bar:
    session.run(files, bar)
  session.write()
  return session


def _ppm(path, pixels):
  path.write_bytes(b"P6 %d %d 255\n" % pixels.shape[1::-1] + pixels.tobytes())
  return path


def test_a_picture_that_fails_takes_no_other_with_it(tmp_path):
  files = [_ppm(tmp_path / f"{name}.ppm", spots.picture(240, 320, right=(100, 60))) for name in "abc"]
  session = _session(_Picky(spots.make_model()), tmp_path / "out", files)
  assert [each.file for each in session.results] == [str(files[0]), str(files[2])]
  assert [(each.file, each.part) for each in session.failed] == [(str(files[1]), False)]


def test_an_overlay_is_as_large_as_its_format_takes(tmp_path):
  file = _ppm(tmp_path / "a.ppm", np.zeros((8, 65600, 3), np.uint8))
  session = _session(Look(spots.make_model()), tmp_path / "out", [file])
  assert not session.failed
  assert session.results[0].picture_hw == (8, 65600)
  assert cv2.imread(str(tmp_path / "out" / "overlays" / "a.jpg")).shape == (8, 65500, 3)


def test_a_video_that_cannot_be_encoded_leaves_the_others(tmp_path, monkeypatch):
  add = video.Writer.add

  def failing(writer, pixels, time_s):
    add(writer, pixels, time_s)
    if time_s and pixels.shape[1] == 64:
      raise ExternalError(1, "no room")

  files = []
  for name, width in (("a", 64), ("b", 96)):
    files.append(tmp_path / f"{name}.mp4")
    with video.Writer(files[-1], 20.0, (width, 64)) as writer:
      for t in range(3):
        writer.add(spots.picture(64, width, right=(30, 30)), t / 20)
  monkeypatch.setattr(video.Writer, "add", failing)
  session = _session(Look(spots.make_model()), tmp_path / "out", files)
  assert [each.file for each in session.results] == [str(files[1])] * 3
  assert [(each.file, each.part) for each in session.failed] == [(str(files[0]), False)]
  assert [path.name for path in (tmp_path / "out" / "overlays").iterdir()] == ["b.mp4"]


def _of_two_sizes(path):
  """A video of six frames of 320 x 240 and six of 160 x 120."""
  parts = b""
  for width, height in ((320, 240), (160, 120)):
    with av.open(str(path), "w") as container:
      stream = container.add_stream("libx264", rate=20)
      stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
      for _ in range(6):
        pixels = spots.picture(height, width, right=(0.8 * width, 0.6 * height))
        container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
      container.mux(stream.encode(None))
    parts += path.read_bytes()
  path.write_bytes(parts)
  return path


class _Unfitted(Look):
  def meshed(self, hands, clip=False):
    return hands


@pytest.mark.parametrize("mesh", [False, True])
def test_a_video_ends_where_the_box_shows_nothing_of_its_frames(mesh, tmp_path):
  """What was found before stays, with its overlay; also where the video is read twice, for meshes."""
  file = _of_two_sizes(tmp_path / "clip.ts")
  look = _Unfitted(spots.make_model(), box=(200.0, 100.0, 100.0, 100.0), mesh=mesh)
  session = _session(look, tmp_path / "out", [file])
  assert [each.frame for each in session.results] == list(range(6))
  reason = "from frame 6 on: its box x=200 y=100 width=100 height=100 shows nothing of 160 x 120 pixels"
  assert [(each.file, each.reason, each.part) for each in session.failed] == [(str(file), reason, True)]
  with video.Reader(tmp_path / "out" / session.results[0].overlay) as drawn:
    assert sum(1 for _ in drawn) == 6
