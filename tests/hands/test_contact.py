"""Signed distance against brute force and spheres; penetration against what is known of two spheres and of a hand."""

import functools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from jaxhands import schema
from jaxhands.geometry import rotations
from jaxhands.hands import anatomy, closed_mesh, contact, settle
from jaxhands.hands.model import HandModel


@functools.cache
def _rig() -> settle.Rig:
  return settle.make_rig(HandModel.default())


def _posed(**flexion: tuple[float, float, float]) -> np.ndarray:
  """A right hand whose named joints have anatomical angles; the rest is as in the template."""
  angles = np.tile(anatomy.angles_from_pose(_rig().anatomy, np.zeros(45)), (2, 1, 1))
  for name, value in flexion.items():
    finger, joint = name.split("_")
    angles[:, anatomy.BASE[finger] + int(joint)] = value
  placed = settle.Placed(angles, np.tile(np.eye(3), (2, 1, 1)), np.zeros((2, 3)))
  return settle.vertices_of(_rig(), placed)[schema.RIGHT]


def _sphere(radius: float, rings: int = 24) -> tuple[np.ndarray, np.ndarray]:
  """Vertices and outward faces of a closed sphere."""
  latitude = np.linspace(0, np.pi, rings + 1)[1:-1]
  longitude = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
  la, lo = (grid.ravel() for grid in np.meshgrid(latitude, longitude, indexing="ij"))
  ring = np.stack([np.sin(la) * np.cos(lo), np.sin(la) * np.sin(lo), np.cos(la)], axis=1)
  vertices = np.concatenate([ring, [[0, 0, 1], [0, 0, -1]]]) * radius
  n, north, south = 2 * rings, len(ring), len(ring) + 1
  faces = [[north, j, (j + 1) % n] for j in range(n)]
  for i in range(rings - 2):
    for j in range(n):
      a, b, c, d = i * n + j, i * n + (j + 1) % n, (i + 1) * n + j, (i + 1) * n + (j + 1) % n
      faces += [[a, c, d], [a, d, b]]
  last = (rings - 2) * n
  faces += [[south, last + (j + 1) % n, last + j] for j in range(n)]
  return vertices, np.array(faces)


def _brute_distance(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
  """Distance to the nearest of all triangles: to its plane where the foot is inside, else to its edges."""
  best = np.full(len(points), np.inf)
  for a, b, c in corners:
    normal = np.cross(b - a, c - a)
    normal = normal / np.linalg.norm(normal)
    height = (points - a) @ normal
    foot = points - height[:, None] * normal
    sides = [np.cross(q - p, foot - p) @ normal for p, q in ((a, b), (b, c), (c, a))]
    inside = np.all(np.array(sides) >= 0, axis=0)
    to_edges = np.full(len(points), np.inf)
    for p, q in ((a, b), (b, c), (c, a)):
      along = np.clip((points - p) @ (q - p) / ((q - p) @ (q - p)), 0, 1)
      to_edges = np.minimum(to_edges, np.linalg.norm(points - p - along[:, None] * (q - p), axis=1))
    best = np.minimum(best, np.where(inside, np.abs(height), to_edges))
  return best


def _winding_number(point: np.ndarray, corners: np.ndarray) -> float:
  """Sum of the triangles' signed solid angles over 4 pi (Van Oosterom & Strackee, 1983)."""
  a, b, c = (corners[:, i] - point for i in range(3))
  la, lb, lc = (np.linalg.norm(q, axis=1) for q in (a, b, c))
  below = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
  return float(np.arctan2((a * np.cross(b, c)).sum(1), below).sum() / (2 * np.pi))


def test_signed_distance_is_that_of_all_triangles():
  vertices, solid = _posed(index_0=(80, 0, 0), index_1=(95, 0, 0), index_2=(60, 0, 0)), _rig().solids.whole
  rng = np.random.default_rng(1)
  points = vertices[rng.integers(len(vertices), size=250)] + rng.normal(scale=5.0, size=(250, 3))
  nearest = closed_mesh.signed_distance(solid, vertices, points, 60.0)
  corners = vertices[solid.faces]
  np.testing.assert_allclose(np.abs(nearest.distance_mm), _brute_distance(points, corners), atol=1e-9)
  winding = np.array([_winding_number(point, corners) for point in points])
  np.testing.assert_array_equal(nearest.distance_mm < 0, winding > 0.5)
  assert 20 < (nearest.distance_mm < 0).sum() < 230
  foot = np.einsum("nk,nkc->nc", nearest.weights, corners[nearest.face])
  np.testing.assert_allclose(np.linalg.norm(points - foot, axis=1), np.abs(nearest.distance_mm), atol=1e-9)


def test_a_mirrored_hand_has_the_same_inside():
  vertices, solid = _posed(), _rig().solids.whole
  points = vertices + np.random.default_rng(2).normal(scale=4.0, size=vertices.shape)
  mirror = np.array([-1.0, 1.0, 1.0])
  one = closed_mesh.signed_distance(solid, vertices, points)
  other = closed_mesh.signed_distance(solid, vertices * mirror, points * mirror)
  np.testing.assert_allclose(one.distance_mm, other.distance_mm, atol=1e-9)


@hypothesis.given(st.integers(0, 1000), st.floats(-300, 300))
def test_signed_distance_moves_with_the_hand(seed, shift):
  rng = np.random.default_rng(seed)
  vertices, solid = _posed(), _rig().solids.whole
  points = vertices[:40] + rng.normal(scale=4.0, size=(40, 3))
  turn = rotations.matrix_from_axis_angle(rng.normal(size=3))
  before = closed_mesh.signed_distance(solid, vertices, points).distance_mm
  after = closed_mesh.signed_distance(solid, vertices @ turn.T + shift, points @ turn.T + shift).distance_mm
  np.testing.assert_allclose(before, after, atol=1e-6)


def test_beyond_the_cutoff_all_points_are_outside():
  vertices, faces = _sphere(30.0)
  solid = closed_mesh.make_solid(faces, vertices)
  distance = closed_mesh.signed_distance(
    solid, vertices, np.array([[0.0, 0, 0], [0, 0, 26.0], [0, 0, 70.0]]), 20.0
  ).distance_mm
  assert distance[0] == 20 == distance[2]
  assert distance[1] == pytest.approx(-4, abs=0.3)


def test_openings_are_closed():
  vertices, faces = _sphere(10.0, 12)
  bowl = faces[vertices[faces].mean(axis=1)[:, 2] < 4]
  assert len(closed_mesh.boundary_loops(bowl)) == 1
  closed = closed_mesh.close(bowl, vertices)
  assert closed_mesh.boundary_loops(closed) == []
  np.testing.assert_array_equal(closed[: len(bowl)], bowl)
  a, b, c = (vertices[closed[:, i]] for i in range(3))
  height = 10 - vertices[np.unique(bowl)][:, 2].max()
  of_cap = np.pi * height**2 * (30 - height) / 3
  assert (a * np.cross(b, c)).sum() / 6 == pytest.approx(4 / 3 * np.pi * 1000 - of_cap, rel=0.03)


def test_openings_that_meet_are_refused():
  with pytest.raises(ValueError, match="vertex 0"):
    closed_mesh.boundary_loops(np.array([[0, 1, 2], [0, 3, 4]]))


@pytest.mark.parametrize(("distance", "depth", "gap"), [(34.0, 6.0, 0.0), (43.0, 0.0, 3.0)])
def test_penetration_of_two_spheres(distance, depth, gap):
  vertices, faces = _sphere(20.0)
  solid = closed_mesh.make_solid(faces, vertices)
  one = contact.HandSolids(solid, contact.make_probes(np.arange(len(vertices)), solid.skin_faces), (), ())
  found = contact.penetration(one, vertices, vertices + [distance, 0, 0])
  assert found == (pytest.approx(depth, abs=0.2), pytest.approx(gap, abs=0.2))
  assert contact.penetration(one, vertices + [distance, 0, 0], vertices) == pytest.approx(found)


def test_a_hand_at_rest_does_not_penetrate_itself():
  rest = np.asarray(HandModel.default().v_template[schema.RIGHT], float)
  assert contact.self_penetration(_rig().solids, rest) == 0


@pytest.mark.parametrize(
  ("pose", "least"),
  [
    ({"index_0": (0, -22, 0)}, 3.0),  # across the middle finger
    ({"middle_0": (92, 0, 0), "middle_1": (108, 0, 0), "middle_2": (50, 0, 0)}, 2.0),  # into the palm
    ({"thumb_0": (15, 0, 0), "thumb_1": (60, 0, 0)}, 4.0),
  ],
)
def test_fingers_in_fingers_and_palm_are_found(pose, least):
  assert contact.self_penetration(_rig().solids, _posed(**pose)) > least


@pytest.mark.parametrize("pose", [{"index_0": (90, 0, 0)}, {"ring_1": (100, 0, 0)}, {"index_0": (0, 15, 0)}])
def test_skin_of_a_bent_joint_is_not_penetration(pose):
  assert contact.self_penetration(_rig().solids, _posed(**pose)) < 0.5


def test_parts_are_closed_and_hold_the_whole_skin():
  solids = _rig().solids
  for solid in (solids.whole, *solids.parts):
    assert closed_mesh.boundary_loops(solid.faces) == []
  assert sum(part.is_skin.sum() for part in solids.parts) == solids.whole.is_skin.sum()
