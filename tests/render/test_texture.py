"""Skin from a picture: where it comes to lie, and what of a folder of textures is refused."""

import dataclasses
import os
import struct

import cv2
import numpy as np
import pytest

from jaxhands.render import material
from jaxhands.render import scene as scenes
from jaxhands.render import texture as textures
from jaxhands.render.skin import srgb_from_linear
from tests.render import posed

SIDE = 64


def write_layout(path, faces, places):
  """An OBJ file with one texture coordinate (0..1, v upwards) a vertex; faces are turned and out of order."""
  lines = [f"vt {x} {1 - y}" for x, y in places] + [f"v {x} {y} 0" for x, y in places]
  lines += ["f " + " ".join(f"{v + 1}/{v + 1}" for v in (c, b, a)) for a, b, c in faces[::-1]]
  path.write_text("\n".join(lines) + "\n# a comment\n\n", encoding="utf-8-sig", newline="\r\n")  # as Windows saves it


@pytest.fixture
def folder(tmp_path):
  """Red grows from left to right and green from top to bottom; skin coordinates are the layout."""
  surface = posed.surfaces()[0]
  places = surface.skin_mm[:, :2]
  places = (places - places.min(0)) / np.ptp(places, axis=0)
  write_layout(tmp_path / "layout.obj", surface.faces, places)
  ramp = np.linspace(0, 255, SIDE)
  picture = np.stack([*np.meshgrid(ramp, ramp), np.full((SIDE, SIDE), 30.0)], axis=-1).astype(np.uint8)
  cv2.imwrite(str(tmp_path / "skin.png"), picture[..., ::-1])
  return tmp_path


@pytest.fixture
def texture(folder):
  path, pictures = textures.texture_files(folder)
  return textures.read_texture(pictures[0], textures.read_layout(path, posed.surfaces()[0].faces))


def test_corners_are_where_the_layout_has_them(texture):
  surface = posed.surfaces()[0]
  places = surface.skin_mm[:, :2]
  places = (places - places.min(0)) / np.ptp(places, axis=0) * SIDE - 0.5
  np.testing.assert_allclose(texture.corners, places[surface.faces], atol=1e-3)


def test_both_hands_of_a_mirrored_model_can_have_one_layout(folder):
  path, _ = textures.texture_files(folder)
  right, left = (textures.read_layout(path, posed.model().faces[hand]) for hand in (0, 1))
  assert right.shape == left.shape
  np.testing.assert_allclose(np.sort(right.reshape(-1, 2), axis=0), np.sort(left.reshape(-1, 2), axis=0), atol=1e-6)


def test_points_on_a_face_get_the_pictures_colours_there(texture):
  triangles = np.array([[0, 1, 2]], np.int32)
  points = np.array([[0, 0, 1 / 500], [20, 0, 1 / 800], [0, 20, 1 / 500]], np.float64)  # the second one is farther
  corners = np.array([[[10, 10], [50, 10], [10, 50]]], np.float32)
  places = np.array([[0, 0], [20, 0], [0, 20], [10, 0]], np.float32)
  materials = np.full((4, 6), -1, np.float32)
  material.paint(points, triangles, np.zeros(4, np.int32), places, 1, corners, texture.picture, materials)
  srgb = srgb_from_linear(materials[:, :3].astype(np.float64))
  at = np.array([[10, 10], [50, 10], [10, 50], [10 + 40 * (1 / 800) / (1 / 500 + 1 / 800), 10]]) * 255 / (SIDE - 1)
  np.testing.assert_allclose(srgb[:, :2], at, atol=2)
  assert (materials[:, 3:] == -1).all()
  untouched = np.full((4, 6), -1, np.float32)
  material.paint(points, triangles, np.full(4, 3, np.int32), places, 3, corners, texture.picture, untouched)
  assert (untouched == -1).all()


def test_a_textured_hand_has_the_textures_colours(texture):
  blue = dataclasses.replace(texture, picture=np.zeros_like(texture.picture) + np.float32([0.02, 0.02, 0.6]))
  hand = dataclasses.replace(posed.hand(0), texture=blue, skin=textures.skin_of(blue, posed.person()))
  made = scenes.render(scenes.Scene((hand, None), posed.LIGHT), posed.view(), posed.backdrop(), posed.CLEAN)
  plain = scenes.render(scenes.Scene((posed.hand(0), None), posed.LIGHT), posed.view(), posed.backdrop(), posed.CLEAN)
  inner = cv2.erode(made.masks[0, 1], np.ones((3, 3), np.uint8)) > 0
  red, _, blueness = made.picture[inner].mean(0)
  assert blueness > 2 * red
  assert plain.picture[inner].mean(0)[0] > plain.picture[inner].mean(0)[2]
  np.testing.assert_array_equal(made.masks, plain.masks)
  np.testing.assert_allclose(hand.skin.back, (0.02, 0.02, 0.6), atol=1e-6)


def test_a_texture_may_have_a_name_that_is_not_utf8(folder, texture):
  (folder / "skin.png").rename(folder / os.fsdecode(b"caf\xe9.png"))
  path, (picture,) = textures.texture_files(folder)
  again = textures.read_texture(picture, textures.read_layout(path, posed.surfaces()[0].faces))
  np.testing.assert_array_equal(again.picture, texture.picture)


def test_pictures_of_textures_are_files_that_are_not_too_large(folder):
  expected = textures.texture_files(folder)
  (folder / "more.png").mkdir()
  (folder / "gone.jpg").symlink_to(folder / "nowhere")
  assert textures.texture_files(folder) == expected
  content = (folder / "skin.png").read_bytes()
  (folder / "large.png").write_bytes(content[:16] + struct.pack(">II", 20_000, 20_000) + content[24:])
  with pytest.raises(ValueError, match=r"large\.png has over 100 megapixels; make it smaller"):
    textures.texture_files(folder)


def test_what_is_no_folder_of_textures_is_refused(folder, tmp_path_factory):
  empty = tmp_path_factory.mktemp("empty")
  with pytest.raises(ValueError, match="is not a folder"):
    textures.texture_files(empty / "nothing")
  with pytest.raises(ValueError, match="holds 0 OBJ files and 0 pictures"):
    textures.texture_files(empty)
  faces = posed.surfaces()[0].faces
  with pytest.raises(ValueError, match=r"has no face of vertices \[1, 2, 778\]; its mesh is not the hand model's"):
    textures.read_layout(folder / "layout.obj", np.array([[0, 1, 777]]))
  (folder / "layout.obj").write_text("f 1 2 3\n")
  with pytest.raises(ValueError, match="cannot be read as an OBJ file with texture coordinates"):
    textures.read_layout(folder / "layout.obj", faces)
  (folder / "skin.png").write_text("no picture")
  with pytest.raises(ValueError, match="cannot read the texture"):
    textures.read_texture(folder / "skin.png", np.zeros((1, 3, 2), np.float32))
