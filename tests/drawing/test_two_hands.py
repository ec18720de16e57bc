"""Skeletons on pictures and in space: where they are, from which side, and as well-formed SVG."""

import base64
import xml.etree.ElementTree as ET

import cv2
import numpy as np
import pytest

from jaxhands.drawing import overlay, two_hands
from jaxhands.drawing.two_hands import Cube


@pytest.fixture
def joints_cam():
  return np.random.default_rng(0).uniform([-80, -60, 500], [80, 60, 640], (2, 21, 3)).astype(np.float32)


@pytest.fixture
def valid():
  return np.ones((2, 21), bool)


def test_skeletons_are_drawn_where_the_joints_are(valid):
  picture = np.zeros((120, 160, 3), np.uint8)
  joints_img = np.random.default_rng(1).uniform(20, 100, (2, 21, 2)).astype(np.float32)
  valid[1] = False
  drawn = two_hands.skeletons(picture, joints_img, valid)
  lit = np.argwhere(drawn.any(-1))[:, ::-1]
  low, high = joints_img[0].min(0), joints_img[0].max(0)
  assert (lit.min(0) >= low - 8).all()
  assert (lit.max(0) <= high + 8).all()
  for x, y in joints_img[0].round().astype(int):
    assert drawn[y, x].any()


def test_the_cube_holds_all_valid_joints(joints_cam, valid):
  joints_cam[1, 3] = 1e6
  valid[1, 3] = False
  cube = Cube.around(joints_cam, valid)
  inside = np.abs(joints_cam[valid] - cube.centre_cam) < cube.side_mm / 2
  assert inside.all()
  assert cube.side_mm < 400
  assert Cube.around(joints_cam, np.zeros((2, 21), bool)).side_mm > 0


def test_views_look_from_the_camera_and_from_above():
  """x stays right in both; up on the page is up in front, and away from the camera from above."""
  joints_cam = np.zeros((2, 21, 3))
  cube = Cube(np.zeros(3), 100.0)
  joints_cam[0, :3] = [[10, 0, 0], [0, 10, 0], [0, 0, 10]]
  front, front_depth = two_hands.seen_from("front", joints_cam, cube, 200)
  above, above_depth = two_hands.seen_from("above", joints_cam, cube, 200)
  np.testing.assert_allclose(front[0, :3], [[120, 100], [100, 120], [100, 100]])
  np.testing.assert_allclose(above[0, :3], [[120, 100], [100, 100], [100, 80]])
  np.testing.assert_allclose(front_depth[0, :3], [0, 0, 10])
  np.testing.assert_allclose(above_depth[0, :3], [0, 10, 0])


def test_both_views_side_by_side(joints_cam, valid):
  drawn = two_hands.in_space(joints_cam, valid, 100)
  assert drawn.shape == (100, 200, 3)
  for half in (drawn[:, :100], drawn[:, 100:]):
    colours = {tuple(colour) for colour in half.reshape(-1, 3)}
    assert colours & set(overlay.FINGER_RGB["right"])
    assert colours & set(overlay.FINGER_RGB["left"])


@pytest.mark.parametrize(("side_mm", "length"), [(60, 20), (100, 20), (160, 50), (700, 200), (5, 10), (1e5, 1000)])
def test_scale_bars_are_round(side_mm, length):
  found, pixels = two_hands.scale_bar(Cube(np.zeros(3), float(side_mm)), 240)
  assert found == length
  assert pixels == pytest.approx(240 * length / side_mm)


def test_svg_has_one_element_a_mark_and_one_a_casing(joints_cam, valid):
  marks = two_hands.view_marks("front", joints_cam, valid, Cube.around(joints_cam, valid), 240)
  root = ET.fromstring(f"<svg>{two_hands.svg(marks)}</svg>")
  kinds = [element.get("class", "").split()[0] for element in root]
  count = 2 * 5 * (1 + 5)
  assert {kind: kinds.count(kind) for kind in set(kinds)} == {"casing": count, "right": count // 2, "left": count // 2}
  for element in root.iter("circle"):
    assert 0 < float(element.get("cx", "")) < 240


def test_rings_and_kinds_become_classes():
  ring = overlay.Mark(np.array([[3.0, 4.0]]), 6.0, 'ghost"', 2, filled=False)
  casing, circle = ET.fromstring(f"<svg>{two_hands.svg([[ring]])}</svg>")
  assert circle.get("class") == 'ghost" f2 ring'
  assert float(circle.get("r", "")) == 3.0
  assert float(casing.get("r", "")) > 3.0


def test_pictures_survive_as_uri():
  picture = np.zeros((16, 24, 3), np.uint8)
  picture[..., 0] = 200
  head, data = two_hands.jpeg_uri(picture).split(",")
  assert head == "data:image/jpeg;base64"
  again = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR_RGB)
  assert again.shape == picture.shape
  assert np.abs(again.astype(int) - picture).max() < 10


def test_parts_have_colours_of_their_hands_and_are_all_different():
  colours = two_hands.part_colours().astype(int)
  assert not colours[0].any()
  assert len({tuple(colour) for colour in colours}) == 33
  red, blue = colours[1:, 0], colours[1:, 2]
  assert (red[:16] > blue[:16]).all()
  assert (red[16:] < blue[16:]).all()


def test_transparency_survives_its_uri():
  rgba = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
  kind, data = two_hands.png_uri(rgba).split(",")
  assert kind == "data:image/png;base64"
  read = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
  np.testing.assert_array_equal(cv2.cvtColor(read, cv2.COLOR_BGRA2RGBA), rgba)
