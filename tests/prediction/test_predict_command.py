"""The command on files of all kinds: what is written, what is said, and the status."""

import json
import os
import pathlib
import re
import urllib.parse

import cv2
import numpy as np
import pytest
from PIL import Image

from jaxhands import cli, schema
from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel
from jaxhands.prediction import video
from tests.hands import synthetic_mano
from tests.prediction import spots

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens" / "mano"


@pytest.fixture
def run(tmp_path):
  return spots.write_run(tmp_path / "run")


def _save(path, pixels):
  assert cv2.imwrite(str(path), pixels[..., ::-1])
  return path


def _predict(*arguments):
  """Spots are no hands for the package's finder: unless told, it does not look for them."""
  told = {"--finder", "--box", "--whole"} & set(map(str, arguments))
  return cli.main(["predict", *(() if told else ("--whole",)), *map(str, arguments)])


def _strict(text):
  def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")

  return json.loads(text, parse_constant=refuse)


def _page(path):
  """The data of a page."""
  (text,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
  return _strict(text)


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
  (entry,) = _page(tmp_path / "out" / "index.html")["pictures"]
  assert entry["image"].startswith("data:image/jpeg;base64,")
  assert entry["scale"] == "unknown"
  assert np.shape(entry["joints"]) == (2, 21, 3)


def test_finder_and_depths(run, tmp_path, capsys):
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
  assert "--rootnet: system 'spots' estimates no depths" in capsys.readouterr().err
  assert _predict(tmp_path / "a.png", "--run", run, "--out", tmp_path / "out", "--finder", run) == 1
  assert "--finder: system 'spots' predicts no boxes or masks" in capsys.readouterr().err


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
  np.testing.assert_allclose([entry["time_s"] for entry in found], np.arange(10) / 20, atol=1e-3)
  assert {entry["overlay"] for entry in found} == {"overlays/clip.mp4"}
  with video.Reader(tmp_path / "out" / "overlays" / "clip.mp4") as drawn:
    assert (drawn.size, sum(1 for _ in drawn), drawn.missing) == ((320, 240), 10, "")
  page = _page(tmp_path / "out" / "index.html")
  assert (page["video"], page["fps"]) == (True, 20)


def test_meshes_belong_to_the_hands_that_are_written(run, tmp_path):
  """Of a system with joints alone, also where right and left were exchanged: parameters give what the file says."""
  path, out = tmp_path / "clip.mp4", tmp_path / "out"
  with video.Writer(path, 20.0, (320, 240)) as writer:
    for t in range(6):
      names = ("left", "right") if t == 3 else ("right", "left")
      writer.add(spots.picture(240, 320, **dict(zip(names, ((60, 60), (250, 160)), strict=True))), t / 20)
  assert _predict(path, "--run", run, "--out", out, "--mesh") == 0
  found = _strict((out / "predictions.json").read_text())
  assert found["hand_model"] == "embedded-v1"
  assert [entry["frame"] for entry in found["pictures"] if entry["exchanged"]] == [3]
  model = HandModel.default()
  for entry in found["pictures"]:
    assert [hand["hand"] for hand in entry["hands"]] == ["right", "left"]
    for side, hand in enumerate(entry["hands"]):
      keypoints = model.forward_mano(np.float32(hand["mano"]), side).keypoints
      distance = np.linalg.norm(keypoints - np.float32(hand["joints_cam_mm"]), axis=-1).mean()
      assert hand["mano_residual_mm"] == pytest.approx(distance, abs=0.1)
  shapes = np.array([[hand["mano"][schema.MANO_SHAPE] for hand in entry["hands"]] for entry in found["pictures"]])
  # One person: one shape for each hand.
  np.testing.assert_array_equal(shapes, np.broadcast_to(shapes[:1], shapes.shape))
  with video.Reader(out / "overlays" / "clip.mp4") as drawn:
    assert sum(1 for _ in drawn) == 6
  with np.load(out / "predictions.npz") as arrays:
    posed = model.forward_mano(arrays["mano"]).vertices
    np.testing.assert_allclose(arrays["vertices_cam"], posed, atol=0.01)
    assert arrays["mano_residual_mm"].shape == arrays["mano_converged"].shape == (6, 2)


def test_meshes_of_your_own_mano_files(run, tmp_path, capsys):
  mano, out = synthetic_mano.write_pair(GOLDENS, tmp_path), tmp_path / "out"
  picture = _save(tmp_path / "a.png", spots.picture(240, 320, right=(100, 60)))
  command = (picture, "--run", run, "--out", out, "--hand-model", mano)
  assert _predict(*command) == 1
  assert "add --mesh" in capsys.readouterr().err
  assert _predict(*command, "--mesh", "--format", "obj") == 0
  found, model = _strict((out / "predictions.json").read_text()), HandModel.named(str(mano))
  assert found["hand_model"] == model.identity != HandModel.default().identity
  (hand,) = found["pictures"][0]["hands"]
  keypoints = model.forward_mano(np.float32(hand["mano"]), 0).keypoints
  distance = np.linalg.norm(keypoints - np.float32(hand["joints_cam_mm"]), axis=-1).mean()
  assert hand["mano_residual_mm"] == pytest.approx(distance, abs=0.1)
  assert len(list((out / "meshes").glob("*.obj"))) == 1
  own = spots.write_run(tmp_path / "own", meshes=True)
  assert _predict(picture, "--run", own, "--out", out, "--mesh", "--hand-model", mano) == 1
  assert "--hand-model: the run predicts parameters" in capsys.readouterr().err


def test_a_cut_video_is_used_in_part_and_told(run, tmp_path, capsys):
  with video.Writer(tmp_path / "whole.mp4", 20.0, (320, 240)) as writer:
    for t in range(10):
      noise = np.random.default_rng(t).integers(0, 60, (240, 320, 3), np.uint8)
      writer.add(np.maximum(spots.picture(240, 320, right=(60 + 4 * t, 60)), noise), t / 20)
  content = (tmp_path / "whole.mp4").read_bytes()
  (tmp_path / "cut.mp4").write_bytes(content[: len(content) * 8 // 10])
  assert _predict(tmp_path / "cut.mp4", "--run", run, "--out", tmp_path / "out") == 1
  found = _strict((tmp_path / "out" / "predictions.json").read_text())
  assert 0 < len(found["pictures"]) < 10
  (failed,) = found["failed"]
  assert failed["used_in_part"]
  assert re.fullmatch(r"\d of its 10 frames are missing or damaged; copy it again", failed["reason"])
  shown = capsys.readouterr()
  assert f"used in part: {tmp_path}/cut.mp4: {failed['reason']}" in shown.err
  assert "1 files were used in part" in shown.out
  assert _page(tmp_path / "out" / "index.html")["failed"] == [[str(tmp_path / "cut.mp4"), failed["reason"], True]]


NASTY = [
  b"caf\xe9.png", b"two\nlines.png", b"</script><script>alert(1)</script>.png".replace(b"/", b"\\"), b"<!--.png",
  b"quote\"'`.png", b"50% #1?.png", "\u202egnp.png".encode(), "\U0001f91a 手.png".encode(), b"-x.png", b"sp ace .png",
  b"n" * 251 + b".png", b"\x1b[31m.png", b"index.png", b"INDEX.png", b"index.PNG", b"a:b,c.png",
]  # fmt: skip


def test_files_of_any_name(run, tmp_path, capsys):
  """Each has an overlay of its own; the names come back out of the JSON; the page's links lead to the overlays."""
  folder, out = tmp_path / "in", tmp_path / "out"
  folder.mkdir()
  content = _save(tmp_path / "x.png", spots.picture(64, 64, right=(30, 30))).read_bytes()
  for name in NASTY:
    (folder / os.fsdecode(name)).write_bytes(content)
  (folder / os.fsdecode(b"br\xf6ken\n.jpg")).write_text("not a picture")
  assert _predict(folder, "--run", run, "--out", out) == 1
  found = _strict((out / "predictions.json").read_bytes().decode("utf-8"))
  files = [os.fsencode(entry["file"]) for entry in found["pictures"]]
  assert sorted(os.path.basename(file) for file in files) == sorted(NASTY)
  assert found["file_names"] == "UTF-8 with surrogateescape (PEP 383)"
  overlays = [entry["overlay"] for entry in found["pictures"]]
  assert len({overlay.casefold() for overlay in overlays}) == len(NASTY)
  assert {f"overlays/{path.name}" for path in (out / "overlays").iterdir()} == set(overlays)
  assert [os.fsencode(entry["file"]) for entry in found["failed"]] == [os.fsencode(folder) + b"/br\xf6ken\n.jpg"]
  assert r"br\xf6ken\n.jpg: it is a text, not a picture" in capsys.readouterr().err
  with np.load(out / "predictions.npz") as arrays:
    assert [os.fsencode(str(file)) for file in arrays["files"]] == files
  text = (out / "index.html").read_bytes().decode("utf-8")
  assert text.count("<script") == text.count("</script>") == 2
  page = _page(out / "index.html")
  assert all(entry["name"].isprintable() for entry in page["pictures"])
  assert [urllib.parse.unquote(entry["overlay"]) for entry in page["pictures"]] == overlays


def test_a_video_called_index_leaves_the_page_of_the_pictures(run, tmp_path):
  folder, out = tmp_path / "in", tmp_path / "out"
  folder.mkdir()
  _save(folder / "a.png", spots.picture(64, 64, right=(30, 30)))
  for name in ("index.mp4", "Index.mov"):
    with video.Writer(folder / name, 20.0, (64, 64)) as writer:
      writer.add(spots.picture(64, 64, right=(30, 30)), 0.0)
  assert _predict(folder, "--run", run, "--out", out) == 0
  pages = {path.name: _page(path) for path in out.glob("*.html")}
  assert {name: page["video"] for name, page in pages.items()} == {
    "index.html": False, "Index-2.html": True, "index-3.html": True,
  }  # fmt: skip
  for name, page in pages.items():
    assert {href for _, href in page["pages"]} == set(pages) - {name}


def test_a_video_whose_camera_does_not_fit_stops_no_other(run, tmp_path, capsys):
  """The index is the first page that shows something."""
  out, broken = tmp_path / "out", tmp_path / "broken.jpg"
  broken.write_text("not a picture")
  (tmp_path / "cameras.json").write_text('{"a": {"fx": 2}, "b": {"fx": 70}}')
  clips = [tmp_path / f"{name}.mp4" for name in "abc"]
  for clip in clips:
    with video.Writer(clip, 20.0, (64, 64)) as writer:
      writer.add(spots.picture(64, 64, right=(30, 30)), 0.0)
  assert _predict(broken, *clips, "--run", run, "--out", out, "--intrinsics", tmp_path / "cameras.json") == 1
  found = _strict((out / "predictions.json").read_text())
  assert [entry["file"] for entry in found["failed"]] == [str(broken), str(clips[0])]
  assert found["failed"][1]["reason"].startswith("the file of intrinsics have focal lengths 2 and 2, which no lens has")
  sources = {entry["file"]: entry["camera"]["source"] for entry in found["pictures"]}
  assert sources == {str(clips[1]): "given", str(clips[2]): "unknown"}
  assert sorted(path.name for path in (out / "overlays").iterdir()) == ["b.mp4", "c.mp4"]
  pages = {path.name: _page(path)["pages"] for path in out.glob("*.html")}
  assert pages == {"index.html": [["c", "c.html"]], "c.html": [["b", "index.html"]]}
  assert f"{out}/index.html\n{out}/c.html\n" in capsys.readouterr().out


def test_an_index_of_an_earlier_call_does_not_stay(run, tmp_path):
  out = tmp_path / "out"
  out.mkdir()
  (out / "index.html").write_text("somebody's page, as nothing was predicted here yet")
  (tmp_path / "broken.jpg").write_text("not a picture")
  for stays in (True, False):
    assert _predict(tmp_path / "broken.jpg", "--run", run, "--out", out) == 1
    assert (out / "index.html").exists() == stays
    assert _strict((out / "predictions.json").read_text())["pictures"] == []


def test_overlays_take_no_input_s_place(run, tmp_path, capsys):
  out, overlays = tmp_path / "out", tmp_path / "out" / "overlays"
  overlays.mkdir(parents=True)
  own = _save(overlays / "a.jpg", spots.picture(64, 64, right=(30, 30)))
  (tmp_path / "link.jpg").symlink_to(own)
  (tmp_path / "elsewhere").symlink_to(overlays)
  content = own.read_bytes()
  for given in (overlays, own, tmp_path / "link.jpg", tmp_path / "elsewhere" / "a.jpg"):
    assert _predict(given, "--run", run, "--out", out) == 1
    assert "lies where the overlays go, which would take its place" in capsys.readouterr().err
  assert own.read_bytes() == content
  assert _predict(overlays, "--run", run, "--out", tmp_path / "other") == 0


def test_what_is_passed_over_is_counted(run, tmp_path, capsys):
  folder = tmp_path / "in"
  (folder / "more").mkdir(parents=True)
  _save(folder / "a.png", spots.picture(64, 64, right=(30, 30)))
  for name in ("notes.txt", "b.TXT", ".hidden.png", "raw"):
    (folder / name).touch()
  assert _predict(folder, "--run", run, "--out", tmp_path / "out") == 0
  counted = "2 .txt, 1 hidden, 1 folder, 1 without suffix"
  assert f"passed over in the folders: {counted}\n" in capsys.readouterr().err
  passed_over = _strict((tmp_path / "out" / "predictions.json").read_text())["passed_over"]
  assert passed_over == [str(folder / name) for name in (".hidden.png", "b.TXT", "more", "notes.txt", "raw")]
  assert _page(tmp_path / "out" / "index.html")["passed_over"] == counted


def test_what_was_remarked_of_a_picture_is_told(run, tmp_path, capsys):
  pixels = spots.picture(64, 64, right=(30, 30))
  Image.fromarray(pixels).save(tmp_path / "a.gif", save_all=True, append_images=[Image.fromarray(255 - pixels)])
  assert _predict(tmp_path / "a.gif", "--run", run, "--out", tmp_path / "out") == 0
  remark = "it holds several pictures: the first one is used"
  assert f"note: {tmp_path}/a.gif: {remark}" in capsys.readouterr().err
  assert _strict((tmp_path / "out" / "predictions.json").read_text())["pictures"][0]["remarks"] == [remark]
  assert _page(tmp_path / "out" / "index.html")["pictures"][0]["remarks"] == [remark]


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
def test_intrinsics_saved_on_windows(mark, run, tmp_path, capsys):
  _save(tmp_path / "a.png", spots.picture(200, 300, right=(100, 80)))
  content = '{\r\n"a": {"fx": 400, "cx": 150, "cy": 90},\r\n"b.png": {"fx": 1}}\r\n'
  (tmp_path / "cameras.json").write_bytes(content.encode(mark))
  flags = ("--run", run, "--out", tmp_path / "out", "--intrinsics", tmp_path / "cameras.json")
  assert _predict(tmp_path / "a.png", *flags) == 0
  camera = _strict((tmp_path / "out" / "predictions.json").read_text())["pictures"][0]["camera"]
  assert (camera["source"], camera["fx"], camera["cy"]) == ("given", 400, 90)
  assert "--intrinsics names what is not among the pictures: b.png" in capsys.readouterr().err


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
    (("good.png", "--intrinsics", "nowhere.json"), "--intrinsics nowhere.json cannot be read"),
    (("good.png", "--batch-size", "99999"), "--batch-size 99999 is over"),
    (("good.png", "--run", "nowhere"), "--run: nowhere is not the folder of a run"),
    (("good.png", "--finder", "nowhere"), "--finder: nowhere is not the folder of a run"),
    (("good.png", "--rootnet", "text.mp4"), "--rootnet: text.mp4 is not the folder of a run"),
    (("good.png", "--out", "text.mp4"), "--out text.mp4 cannot be made a folder"),
    (("good.png", "--out", "text.mp4/out"), "--out text.mp4/out cannot be made a folder"),
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


@pytest.mark.parametrize(
  ("flag", "values"),
  [
    ("--box", ("1,2,3", "a,b,c,d", "1,2,0,5", "nan,0,5,5", "0,0,inf,5", "-1,2,-3,4", "")),
    ("--fx", ("0", "-1", "nan", "inf", "-inf", "wide", "", "1,5")),
    ("--fy", ("-3e2",)),
    ("--cx", ("nan", "-inf", "left")),
    ("--cy", ("inf",)),
    ("--batch-size", ("0", "-1", "1.5", "many", "1e9", "")),
    ("--every", ("0", "-2", "nan")),
    ("--which", ("newest",)),
    ("--run", ("",)),
    ("--intrinsics", ("",)),
  ],
)
def test_a_value_that_is_none_gets_one_line_that_names_the_flag(flag, values, run, tmp_path, capsys):
  for value in values:
    with pytest.raises(SystemExit) as end:
      _predict(tmp_path / "x.jpg", "--run", run, "--out", tmp_path / "out", flag, value)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"argument {flag}: " in line
  assert not (tmp_path / "out").exists()


def test_values_and_files_that_begin_with_a_minus(run, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  _save(tmp_path / "-x.png", spots.picture(200, 300, right=(100, 80)))
  flags = ("--run", run, "--out", "out", "--box", "-20,-10,400,300", "--fx", "400", "--cx", "-5", "--cy", "-.5")
  assert _predict(*flags, "--", "-x.png") == 0
  (entry,) = _strict((tmp_path / "out" / "predictions.json").read_text())["pictures"]
  assert (entry["file"], entry["camera"]["cx"], entry["camera"]["cy"]) == ("-x.png", -5, -0.5)
  assert entry["hands"][0]["box_img"] == [-20, -10, 400, 300]
