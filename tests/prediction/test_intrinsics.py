"""Where intrinsics come from, and which cannot be."""

import json
import pathlib

import numpy as np
import pytest

from jaxhands.prediction import intrinsics
from jaxhands.prediction.intrinsics import Cameras
from jaxhands.prediction.picture import Picture

PICTURE = Picture(pathlib.Path("folder/a.jpg"), np.zeros((480, 640, 3), np.uint8), None)


def test_flags():
  assert intrinsics.from_flags(None, None, None, None) is None
  found, source = Cameras(intrinsics.from_flags(500.0, None, None, None)).find(PICTURE)
  assert source == "given"
  np.testing.assert_allclose(found, [[500, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
  found, _ = Cameras(intrinsics.from_flags(500.0, 510.0, 300.0, 200.0)).find(PICTURE)
  np.testing.assert_allclose(found, [[500, 0, 300], [0, 510, 200], [0, 0, 1]])


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ((None, 500.0, None, None), "need --fx"),
    ((500.0, None, 3.0, None), "together"),
    ((-5.0, None, None, None), "positive"),
    ((np.inf, None, None, None), "positive"),
    ((500.0, None, np.nan, 3.0), "--cx nan --cy 3: a principal point is a place"),
    ((1e39, None, None, None), r"--fx 1e\+39 --fy 1e\+39: focal lengths are positive and at most 1e\+09"),
    ((500.0, None, 3.0, -1e39), r"--cx 3 --cy -1e\+39: a principal point is a place, at most 1e\+09 pixels away"),
  ],
)
def test_flags_that_say_too_little(flags, message):
  with pytest.raises(ValueError, match=message):
    intrinsics.from_flags(*flags)


def test_json_of_one_or_of_many(tmp_path):
  path = tmp_path / "cameras.json"
  matrix = [[500, 1, 300], [0, 510, 200], [0, 0, 1]]
  for content in ({"fx": 500, "fy": 510, "cx": 300, "cy": 200}, matrix, {"K": matrix}):
    path.write_text(json.dumps(content))
    found, _ = intrinsics.from_json(path).find(PICTURE)
    np.testing.assert_allclose(np.diag(found), (500, 510, 1))
    path.write_text(json.dumps({"a.jpg": content, "b": {"fx": 900}}))
    cameras = intrinsics.from_json(path)
    np.testing.assert_allclose(cameras.find(PICTURE)[0], found)
    assert cameras.find(Picture(pathlib.Path("b.png"), PICTURE.pixels, None))[0][0, 0] == 900
    assert cameras.find(Picture(pathlib.Path("c.png"), PICTURE.pixels, None)) == (None, "unknown")


def test_a_camera_of_our_predictions_is_read_as_it_is(tmp_path):
  camera = {"source": "EXIF", "fx": 500, "fy": 510, "cx": 300, "cy": 200, "skew": 7}
  (tmp_path / "camera.json").write_text(json.dumps(camera))
  found, source = intrinsics.from_json(tmp_path / "camera.json").find(PICTURE)
  np.testing.assert_array_equal(found, [[500, 7, 300], [0, 510, 200], [0, 0, 1]])
  assert source == "given"


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("{", "it is no JSON"),
    ("3", "cameras.json"),
    ("{}", "names no picture"),
    ('{"a.jpg": {"fy": 3}}', "need --fx"),
    ('{"a.jpg": {"focal": 3}}', "'a.jpg': focal cannot be used in a camera of fx, fy, cx, cy, skew"),
    ('{"a.jpg": {"skew": 3}}', "there is no fx"),
    ('{"fx": 500, "Cx": 100, "fov": 3}', "Cx, fov cannot be used in a camera of fx"),
    ('{"fx": 500, "K": [[500, 0, 300], [0, 500, 200], [0, 0, 1]]}', "fx cannot be used in a camera of K"),
    ('{"fx": 500, "skew": 1e39}', r"skew is 1e\+39, expected at most 1e\+09"),
    ('{"a": {"fx": 500, "fy": 500, "cx": 3, "cy": 3, "source": "unknown"}}', "'a': its source is 'unknown'"),
    ("[[1, 2], [3, 4]]", "expected a finite"),
    ('{"fx": "wide"}', "could not convert"),
    ('{"fx": 500, "cx": NaN, "cy": 3}', "a principal point is a place"),
    ("[" * 100_000, "it is no JSON"),
    (f'{{"fx": {"9" * 5000}}}', "cameras.json: it is no JSON: Exceeds the limit"),
    (f'{{"fx": {10**400}}}', "cameras.json: fx is 10000*: int too large"),
    (f'{{"a.jpg": {{"fx": 500, "cx": {10**400}, "cy": 3}}}}', "cameras.json: 'a.jpg': cx is 10000*: int too large"),
    ('{"a.jpg": {"fx": 1e39}}', r"'a.jpg': --fx 1e\+39"),
    (
      f"[[{10**400}, 0, 300], [0, 500, 200], [0, 0, 1]]",
      r"its intrinsics are \[\[10000*, 0, 300\], .*expected a finite",
    ),
    ('{"K": [[500, 0, 1e39], [0, 500, 200], [0, 0, 1]]}', r"its intrinsics \[\[500.0, 0.0, 1e\+39\].*over 1e\+09 px"),
    ("[[500, 0, 300], [0, 500, 200], [0, 0, 2]]", "expected \\[\\[fx"),
  ],
)
def test_json_that_says_nothing(content, message, tmp_path):
  (tmp_path / "cameras.json").write_text(content)
  with pytest.raises(ValueError, match=message):
    intrinsics.from_json(tmp_path / "cameras.json")


def test_exif_is_used_where_nothing_else_is_given():
  phone = Picture(PICTURE.path, PICTURE.pixels, 600.0)
  found, source = Cameras().find(phone)
  assert source == "EXIF"
  np.testing.assert_allclose(found, [[600, 0, 319.5], [0, 600, 239.5], [0, 0, 1]])
  assert Cameras(use_exif=False).find(phone) == (None, "unknown")
  assert Cameras(intrinsics.from_flags(500.0, None, None, None)).find(phone)[1] == "given"
  assert Cameras().find(Picture(PICTURE.path, PICTURE.pixels, 3.0)) == (None, "unknown")  # no such lens


@pytest.mark.parametrize(
  ("flags", "message"),
  [
    ((500.0, 500.0, 5000.0, 200.0), "principal point"),
    ((3.0, 3.0, 300.0, 200.0), "focal lengths 3 and 3"),
    ((500.0, 90000.0, 300.0, 200.0), "which no lens has"),
  ],
)
def test_intrinsics_of_another_picture(flags, message):
  with pytest.raises(ValueError, match=rf"folder/a.jpg: .*{message}"):
    Cameras(intrinsics.from_flags(*flags)).find(PICTURE)
