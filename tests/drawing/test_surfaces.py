"""Meshes over a picture: where they are, which is in front, and what is left alone."""

import numpy as np
import pytest

from jaxhands.drawing import surfaces
from jaxhands.geometry import camera
from jaxhands.hands.model import HandModel

MODEL = HandModel.default()
CAMERA = np.array([[300, 0, 159.5], [0, 300, 119.5], [0, 0, 1]], np.float32)
GREY = np.full((240, 320, 3), 128, np.uint8)
ORANGE, BLUE = (lambda c: c[..., 0] > c[..., 2] + 20), (lambda c: c[..., 2] > c[..., 0] + 20)


def _vertices(*translations):
  mano = np.zeros((2, 61), np.float32)
  mano[:, 58:] = translations
  return np.asarray(MODEL.forward_mano(mano).vertices)


def test_hands_cover_the_pixels_of_their_vertices():
  vertices = _vertices((-20, 0, 500), (20, 60, 500))
  shown = surfaces.paint(GREY, vertices, MODEL.faces, np.ones(2, bool), CAMERA)
  assert (GREY == 128).all()
  for hand, coloured in enumerate((ORANGE, BLUE)):
    # The middle of each face lies inside the hand.
    middles = vertices[hand][MODEL.faces[hand]].mean(1)
    columns, rows = np.rint(camera.project(middles, CAMERA)).astype(int).T
    inside = (columns >= 0) & (columns < 320) & (rows >= 0) & (rows < 240)
    assert coloured(shown[rows[inside], columns[inside]].astype(int)).mean() > 0.95
  corners = camera.project(vertices.reshape(-1, 3), CAMERA)
  far = np.ones((240, 320), bool)
  low, high = np.floor(corners.min(0)).astype(int).clip(0), np.ceil(corners.max(0)).astype(int)
  far[low[1] : high[1] + 1, low[0] : high[0] + 1] = False
  assert (shown[far] == 128).all()


def test_the_nearer_hand_is_in_front():
  vertices = _vertices((0, 0, 500), (0, 0, 400))
  vertices[1] = vertices[0] - [0, 0, 100]  # the same form, so that it covers the right one
  faces = np.stack([MODEL.faces[0]] * 2)
  shown = surfaces.paint(GREY, vertices, faces, np.ones(2, bool), CAMERA).astype(int)
  assert BLUE(shown).sum() > 1000
  assert not ORANGE(shown).any()
  alone = surfaces.paint(GREY, vertices, faces, np.array([True, False]), CAMERA).astype(int)
  assert ORANGE(alone).sum() > 500
  assert not BLUE(alone).any()


@pytest.mark.parametrize("place", [(0, 0, -500), (5000, 0, 500)])
def test_what_is_not_in_the_picture_changes_nothing(place):
  vertices = _vertices(place, place)
  np.testing.assert_array_equal(surfaces.paint(GREY, vertices, MODEL.faces, np.ones(2, bool), CAMERA), GREY)
  np.testing.assert_array_equal(
    surfaces.paint(GREY, _vertices((0, 0, 500), (0, 0, 500)), MODEL.faces, np.zeros(2, bool), CAMERA), GREY
  )


def test_an_affine_of_pixels_may_be_part_of_the_camera():
  """As a crop has it, also one that is turned: the same hand, turned."""
  vertices = _vertices((0, 0, 500), (0, 0, 500))
  right = np.array([True, False])
  square = GREY[:, :240]
  centred = CAMERA.copy()
  centred[0, 2] = 119.5
  turn = np.array([[0, -1, 239], [1, 0, 0], [0, 0, 1]], np.float32)  # a quarter, clockwise
  straight = surfaces.paint(square, vertices, MODEL.faces, right, centred)
  turned = surfaces.paint(square, vertices, MODEL.faces, right, turn @ centred)
  np.testing.assert_allclose(np.rot90(straight, -1).astype(int), turned.astype(int), atol=1)
