"""Which joints are seen, and whose part each pixel is."""

import numpy as np
import pytest

from jaxhands.hands import parts
from jaxhands.render import labels, zbuffer
from tests.render import posed

CAMERA = np.array([[100.0, 0, 10], [0, 100.0, 5], [0, 0, 1]])


@pytest.mark.parametrize(
  ("depth", "z", "seen"),
  [
    (500.0, 512.0, True),
    (500.0, 512.1, False),
    (500.0, 400.0, True),
    (np.inf, 700.0, True),
    (0.0, 700.0, True),
    (500.0, -500.0, False),
    (500.0, 0.0, False),
  ],
)
def test_a_joint_is_seen_within_twelve_millimetres(depth, z, seen):
  joint = np.array([[0.0, 0.0, z]])
  assert labels.joints_visible(np.full((11, 21), depth), joint, CAMERA) == [seen]


def test_the_nearest_pixel_decides_and_outside_nothing_is_seen():
  depth = np.full((11, 21), 100.0)
  depth[5, 12] = 500.0
  columns = np.array([12.4, 11.6, 11.4, 20.4, 20.6, -0.4, -0.6])
  joints = np.stack([(columns - 10) * 5, np.zeros(7), np.full(7, 500.0)], axis=1)
  assert labels.joints_visible(depth, joints, CAMERA).tolist() == [True, True] + [False] * 5
  rows = np.array([-0.6, 10.6])
  joints = np.stack([np.zeros(2), (rows - 5) * 5, np.full(2, 500.0)], axis=1)
  assert not labels.joints_visible(np.full((11, 21), 500.0), joints, CAMERA).any()


def test_joints_of_any_leading_axes():
  joints = np.random.default_rng(0).normal(0, 20, (2, 21, 3)) + (0, 0, 500)
  depth = np.full((11, 21), 495.0)
  seen = labels.joints_visible(depth, joints, CAMERA)
  assert seen.shape == (2, 21)
  np.testing.assert_array_equal(seen[1], labels.joints_visible(depth, joints[1], CAMERA))


@pytest.mark.parametrize("side", [0, 1])
def test_twins_of_part_labels_agree_and_follow_the_largest_weight(side):
  surface, view = posed.surfaces()[side], posed.view()
  points = zbuffer.project(view.to_cam(posed.posed(side, seed=4)), view.camera_img)
  face_map, nearness = zbuffer.buffers(view.height, view.width)
  zbuffer.rasterize(points, surface.faces, face_map, nearness)
  seen = face_map >= 0
  seen[: view.height // 2 - 5] = False
  results = []
  for fill in (labels._fill_parts, labels.fill_parts_numpy):
    drawn = np.zeros(seen.shape, np.uint8)
    fill(face_map, seen, points, surface.faces, surface.weights, parts.CLASS_FROM_JOINT[side], drawn)
    results.append(drawn)
  np.testing.assert_array_equal(*results)
  np.testing.assert_array_equal(results[0] > 0, seen)
  # Where all three corners belong to one part, so does the pixel.
  corners = parts.vertex_parts(surface.weights, side)[surface.faces[face_map]]
  agree = seen & (corners == corners[..., :1]).all(-1)
  assert agree.sum() > 100
  np.testing.assert_array_equal(results[0][agree], corners[agree][:, 0])
  assert len(np.unique(results[0])) > 6


def test_labels_of_meshes_alone():
  """As a data set's builder draws them: two open meshes, no arms, either hand missing."""
  view, model = posed.view(), posed.model()
  vertices = np.stack([posed.posed(0, seed=1), posed.posed(1, seed=2, at_mm=(20.0, 10.0, 60.0))])
  vertices_cam = view.to_cam(vertices)
  arguments = (np.asarray(model.faces), np.asarray(model.weights), view.camera_img, view.height, view.width)
  both = labels.label_hands(vertices_cam, np.array([True, True]), *arguments)
  alone = [labels.label_hands(vertices_cam, np.arange(2) == side, *arguments) for side in (0, 1)]
  for side in (0, 1):
    np.testing.assert_array_equal(both.masks[side, 0], alone[side].masks[side, 1])
    assert not alone[side].masks[1 - side].any()
    nearer = alone[side].depth_mm < alone[1 - side].depth_mm
    np.testing.assert_array_equal(both.masks[side, 1] > 0, nearer)
    np.testing.assert_array_equal(both.parts[nearer], alone[side].parts[nearer])
    np.testing.assert_array_equal(both.face_map[nearer], alone[side].face_map[nearer])
  np.testing.assert_array_equal(both.depth_mm, np.minimum(alone[0].depth_mm, alone[1].depth_mm))
  nothing = labels.label_hands(vertices_cam, np.array([False, False]), *arguments)
  assert not nothing.masks.any()
  assert np.isinf(nothing.depth_mm).all()
