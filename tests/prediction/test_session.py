"""What a call of `predict` keeps of what it found."""

import pathlib

import numpy as np
import pytest
import rich.progress

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
