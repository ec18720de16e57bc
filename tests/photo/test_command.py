"""The command on files of all kinds: what is written, what is said, and the status."""

import json
import re

import cv2
import numpy as np
import pytest

from jaxhands import cli
from jaxhands.hands import skeleton
from jaxhands.photo import video
from tests.photo import spots


@pytest.fixture
def run(tmp_path):
  return spots.write_run(tmp_path / "run")


def _save(path, pixels):
  assert cv2.imwrite(str(path), pixels[..., ::-1])
  return path


def _predict(*arguments):
  return cli.main(["predict", *map(str, arguments)])


def _strict(text):
  def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")

  return json.loads(text, parse_constant=refuse)


def test_a_folder_with_a_broken_file(run, tmp_path, capsys):
  """It is named and counted, and the others are done."""
  folder, out = tmp_path / "in", tmp_path / "out"
  folder.mkdir()
  places = [(60 + 20 * index, 50 + 10 * index) for index in range(6)]
  for index, place in enumerate(places):
    _save(folder / f"{index}.png", spots.picture(200, 300, right=place))
  _save(folder / "none.png", spots.picture(200, 300))
  (folder / "3b.jpg").write_text("not a picture")
  assert _predict(folder, "--run", run, "--out", out, "--fx", 400) == 1
  shown = capsys.readouterr()
  assert "3b.jpg: it is a text, not a picture" in shown.err
  assert "6 hands in 7 pictures and frames; 1 files could not be used" in shown.out
  found = _strict((out / "predictions.json").read_text())
  assert (found["format"], found["version"]) == ("jaxhands-predictions", 1)
  assert found["joint_names"] == list(skeleton.JOINT_NAMES)
  assert found["failed"] == [{"file": str(folder / "3b.jpg"), "reason": "it is a text, not a picture"}]
  for place, entry in zip(places, found["pictures"], strict=False):
    (hand,) = entry["hands"]
    assert hand["hand"] == "right"
    np.testing.assert_allclose(hand["joints_img"][skeleton.WRIST], place, atol=3)
    assert entry["camera"] == {"source": "given", "fx": 400, "fy": 400, "cx": 149.5, "cy": 99.5, "skew": 0}
    assert entry["scale"] == "assumed"
    assert np.shape(hand["joints_cam_mm"]) == (21, 3)
    assert max(hand["reprojection_px"]) < 0.1
  assert found["pictures"][6]["hands"] == []
  with np.load(out / "predictions.npz") as arrays:
    assert arrays["joints_img"].shape == (7, 2, 21, 2)
    assert arrays["files"][0] == str(folder / "0.png")
    assert all(np.isfinite(arrays[key]).all() for key in arrays if arrays[key].dtype.kind == "f")
  assert sorted(path.name for path in (out / "overlays").iterdir()) == [*(f"{i}.jpg" for i in range(6)), "none.jpg"]
  drawn = cv2.imread(str(out / "overlays" / "0.jpg"))[..., ::-1]
  x, y = (round(at) for at in found["pictures"][0]["hands"][0]["joints_img"][4])
  assert drawn[y, x].max() > 120  # a joint is drawn over black


def test_the_page_works_without_a_network(run, tmp_path):
  _save(tmp_path / "a.png", spots.picture(200, 300, right=(100, 80), left=(200, 120)))
  assert _predict(tmp_path / "a.png", "--run", run, "--out", tmp_path / "out") == 0
  page = (tmp_path / "out" / "index.html").read_text()
  assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//|@import|fetch\(|XMLHttpRequest", page)
  (text,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
  (entry,) = _strict(text)["pictures"]
  assert entry["image"].startswith("data:image/jpeg;base64,")
  assert entry["scale"] == "unknown"
  assert np.shape(entry["joints"]) == (2, 21, 3)


def test_finder_and_depths(run, tmp_path):
  finder = spots.write_run(tmp_path / "finder", finds=True)
  pixels = spots.picture(480, 640, right=(500, 300))
  pixels[270:331, 470:531] = spots.COLOURS["right"]
  _save(tmp_path / "a.png", pixels)
  assert _predict(tmp_path / "a.png", "--run", run, "--out", tmp_path / "out", "--finder", finder) == 0
  found = _strict((tmp_path / "out" / "predictions.json").read_text())
  (hand,) = found["pictures"][0]["hands"]
  np.testing.assert_allclose(hand["joints_img"][skeleton.WRIST], (500, 300), atol=1)
  assert 50 < max(hand["box_img"][2:]) < 75
  assert _predict(tmp_path / "a.png", "--run", run, "--out", tmp_path / "out", "--fx", 500, "--rootnet", finder) == 1


def test_a_video_keeps_its_hands(run, tmp_path):
  path = tmp_path / "clip.mp4"
  with video.Writer(path, 20.0, (320, 240)) as writer:
    for t in range(10):
      names = ("left", "right") if t in (4, 5) else ("right", "left")  # colours exchanged for a moment
      places = ((60 + 4 * t, 60), (250 - 4 * t, 160))
      writer.add(spots.picture(240, 320, **dict(zip(names, places, strict=True))), t / 20)
  assert _predict(path, "--run", run, "--out", tmp_path / "out", "--smooth") == 0
  found = _strict((tmp_path / "out" / "predictions.json").read_text())["pictures"]
  assert [entry["frame"] for entry in found] == list(range(10))
  assert [entry["frame"] for entry in found if entry["exchanged"]] == [4, 5]
  wrists = np.array([[hand["joints_img"][skeleton.WRIST] for hand in entry["hands"]] for entry in found])
  assert np.abs(np.diff(wrists, axis=0)).max() < 12
  drawn = video.Reader(tmp_path / "out" / "overlays" / "clip.mp4")
  assert (drawn.size, sum(1 for _ in drawn)) == ((320, 240), 10)
  page = (tmp_path / "out" / "index.html").read_text()
  assert '"video": true, "fps": 20' in page


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("nothing.jpg",), "there is no picture, folder or video"),
    (("empty_folder",), "a folder without pictures"),
    (("text.mp4",), "no video that can be decoded"),
    (("good.png", "--box", "900,900,50,50"), "shows nothing of 300 x 200 pixels"),
    (("good.png", "--fx", "2"), "which no lens has"),
    (("good.png", "--fy", "500"), "need --fx"),
    (("good.png", "--fx", "500", "--intrinsics", "text.mp4"), "exclude each other"),
    (("good.png", "--intrinsics", "text.mp4"), "it is no JSON"),
    (("good.png", "--batch-size", "0"), "at least 1"),
    (("good.png", "--run", "nowhere"), "there is no run or file"),
  ],
)
def test_every_kind_of_bad_input_gets_one_line(arguments, message, run, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  _save(tmp_path / "good.png", spots.picture(200, 300, right=(100, 80)))
  (tmp_path / "text.mp4").write_text("{ no video")
  (tmp_path / "empty_folder").mkdir()
  assert cli.main(["predict", "--run", str(run), "--out", "out", *arguments]) == 1
  lines = [line for line in capsys.readouterr().err.splitlines() if message in line]
  assert len(lines) == 1


@pytest.mark.parametrize("box", ["1,2,3", "a,b,c,d", "1,2,0,5"])
def test_a_box_that_is_none(box, run, capsys):
  with pytest.raises(SystemExit) as end:
    cli.main(["predict", "x.jpg", "--run", str(run), "--out", "out", "--box", box])
  assert end.value.code == 2
  assert repr(box) in capsys.readouterr().err
