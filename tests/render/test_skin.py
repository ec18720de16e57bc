"""Skin and what is fixed to it."""

import numpy as np
import pytest

from jaxhands.hands import skeleton
from jaxhands.render import marks, material, nails, skin, surface
from jaxhands.render.lighting import light_matrix, sample_lighting, shadow_map
from tests.render import posed


def test_tones_span_the_line():
  def brightness(tone):
    tones = [skin.sample_skin(np.random.default_rng(seed), tone).back for seed in range(40)]
    return np.mean([skin.srgb_from_linear(np.array(back)) for back in tones], axis=0)

  np.testing.assert_allclose(brightness(0.0), skin.DARKEST, atol=6)
  np.testing.assert_allclose(brightness(1.0), skin.LIGHTEST, atol=6)
  for seed in range(50):
    drawn = skin.sample_skin(np.random.default_rng(seed))
    assert all(0 < value < 1 for value in (*drawn.back, *drawn.palm, *drawn.nail))
    assert drawn.back[0] > drawn.back[1] > drawn.back[2]
    assert drawn.palm[0] >= drawn.back[0] * 0.99


def test_noise_volume_tiles():
  volume = skin.noise_volume()
  assert volume.mean() == pytest.approx(0, abs=1e-5)
  assert volume.std() == pytest.approx(1, abs=1e-5)
  rng = np.random.default_rng(0)
  points = rng.uniform(-50, 50, (100, 3)).astype(np.float32)
  here = material.volume_at_points(volume, points)
  np.testing.assert_allclose(here, material.volume_at_points(volume, points + np.float32(64)), atol=2e-3)
  corners = rng.integers(0, 64, (20, 3))
  exact = material.volume_at_points(volume, corners.astype(np.float32))
  np.testing.assert_allclose(exact, volume[tuple(corners.T)], atol=1e-6)


def test_skin_coordinates_are_the_same_on_both_hands():
  right, left = posed.surfaces()
  np.testing.assert_allclose(right.skin_mm, left.skin_mm, atol=1e-3)
  np.testing.assert_allclose(right.palm, left.palm, atol=1e-3)
  np.testing.assert_allclose(right.nail, left.nail, atol=1e-3)
  np.testing.assert_allclose(right.flush, left.flush, atol=1e-3)
  assert set(right.rim) == set(left.rim)
  fingers = right.skin_mm[right.weights[:, 4:7].sum(1) > 0.9]
  assert fingers[:, 0].min() > 50
  thumb = right.skin_mm[right.weights[:, 13:].sum(1) > 0.9]
  assert thumb[:, 1].mean() > 30


def test_each_finger_has_a_nail_on_its_back():
  hand = posed.surfaces()[0]
  assert hand.rest_occlusion.min() >= 0
  on_nail = (np.abs(hand.nail) ** 4).sum(1) < 1
  owner = hand.weights.argmax(1)
  for joint in skeleton.MANO_LEVELS[3]:
    assert (on_nail & (owner == joint)).sum() >= 2
  fingers_only = on_nail & (owner != 15)
  assert hand.palm[fingers_only].max() < 0.6
  assert not on_nail[~np.isin(owner, skeleton.MANO_LEVELS[3])].any()


def test_a_model_without_marked_nails_has_none():
  hand = posed.surfaces()[0]
  joints = np.asarray(posed.model().joints_template[0])
  places = nails.nail_places(
    hand.skin_mm,
    surface.vertex_normals(hand.skin_mm, hand.faces),
    hand.faces,
    np.zeros(len(hand.skin_mm)),
    hand.weights,
    surface.finger_tips(hand.skin_mm, surface.skin_coordinates(joints, joints, 0), hand.weights),
    surface.skin_coordinates(joints, joints, 0),
  )
  assert (np.abs(places) == nails.FAR).all()


def test_marks_lie_on_the_hand():
  hand = posed.surfaces()[0]
  drawn: marks.SkinMarks = hand.marks
  assert drawn.strength.min() >= 0
  assert drawn.strength.max() <= 1
  for side, kind in ((0, 0), (0, 1), (1, 0)):
    x, y = np.nonzero(drawn.strength[side, ..., kind] > 0.3)
    assert len(x) > 100
    places = drawn.origin_mm + np.stack([x, y], axis=1) * drawn.texel_mm
    nearest = np.linalg.norm(places[::7, None] - hand.skin_mm[None, :, :2], axis=2).min(1)
    assert nearest.max() < 15


def test_mesh_must_be_open_at_the_wrist_only():
  triangle = np.array([[0, 1, 2], [0, 2, 1]])
  with pytest.raises(ValueError, match="closed"):
    surface.boundary_loop(triangle)
  with pytest.raises(ValueError, match=r"6 vertices.* after 3"):
    surface.boundary_loop(np.array([[0, 1, 2], [3, 4, 5]]))
  with pytest.raises(ValueError, match="not one loop"):  # two triangles that share a corner only
    surface.boundary_loop(np.array([[0, 1, 2], [2, 3, 4]]))
  with pytest.raises(ValueError, match="not one loop"):  # three faces on one edge
    surface.boundary_loop(np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]]))
  np.testing.assert_array_equal(surface.boundary_loop(np.array([[0, 1, 2], [0, 2, 3]])), [0, 1, 2, 3])


def test_normals_and_occlusion():
  corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]], np.float32)
  normals = surface.vertex_normals(corners, np.array([[0, 1, 2]], np.int32))
  np.testing.assert_array_equal(normals, [[0, 0, 1]] * 3 + [[0, 0, 0]])
  points, up = np.zeros((1, 3), np.float32), np.array([[0.0, 0, 1]], np.float32)
  spheres = np.array([[0.0, 0, 10], [0, 0, -10], [0, 10, 10]], np.float32)
  radii = np.array([2.0, 2, 2], np.float32)
  expected = 4 / 100 + np.sqrt(0.5) * 4 / 200
  assert surface.occlusion(points, up, spheres, radii)[0] == pytest.approx(expected, rel=1e-4)


def test_shadow_map_sees_the_nearer_of_two_squares():
  square = np.array([[-20.0, -20, 0], [20, -20, 0], [20, 20, 0], [-20, 20, 0]], np.float32)
  vertices = np.concatenate([square, square * 0.5 + (0, 0, -30)]).astype(np.float32)
  faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
  towards = np.array([0.0, 0, -1])
  matrix = light_matrix(towards, vertices)
  nearness = shadow_map(matrix, vertices, faces)
  for point, expected in (((0, 0, -30), True), ((0, 0, 0), False), ((15, 15, 0), True)):
    column, row, near = matrix[:, :3] @ point + matrix[:, 3]
    hit = nearness[round(float(row)), round(float(column))]
    assert (abs(hit - near) < 1) == expected
  assert nearness[0, 0] == 0


def test_sampled_light_is_sane():
  for seed in range(50):
    for studio in (False, True):
      light = sample_lighting(np.random.default_rng(seed), studio=studio)
      np.testing.assert_allclose(np.linalg.norm(light.towards, axis=1), 1, atol=1e-5)
      assert light.colours.min() >= 0
      assert light.colours.sum(0).max() < 1.6
      brightness = light.colours.mean(1)
      assert brightness[0] > 0.85 * brightness.max()  # the strongest, but for its tint, casts the shadows
