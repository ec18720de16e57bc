"""The mesh operations of the build, on bodies whose answers are known."""

import itertools

import numpy as np
import pytest
import scipy.spatial

from jaxhands.hands import closed_mesh
from jaxhands.hands.assets import mesh, rig
from jaxhands.hands.assets.simplify import simplify


def sphere(count):
  """Points spread over the unit sphere and their triangles, outward."""
  k = np.arange(count) + 0.5
  up, around = 1 - 2 * k / count, k * np.pi * (1 + 5**0.5)
  points = np.stack([np.sqrt(1 - up**2) * np.cos(around), np.sqrt(1 - up**2) * np.sin(around), up], 1)
  faces = scipy.spatial.ConvexHull(points).simplices.astype(int)
  outward = (mesh.face_normals(points, faces) * points[faces].mean(1)).sum(1) > 0
  return points, np.where(outward[:, None], faces, faces[:, ::-1])


def volume(vertices, faces):
  a, b, c = vertices[faces.T]
  return (np.cross(a, b) * c).sum() / 6


def open_edges(faces):
  edges = {(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)}
  return [edge for edge in edges if edge[::-1] not in edges]


def test_depths_to_the_skin_of_a_sphere():
  vertices, faces = sphere(2000)
  behind, ahead = mesh.depths_along(vertices, faces, np.array([0.5, 0.0, 0.0]), np.array([0.0, 0.6, 0.8]))
  np.testing.assert_allclose([behind, ahead], [-(0.75**0.5), 0.75**0.5], atol=5e-3)
  with pytest.raises(ValueError, match="not inside"):
    mesh.depths_along(vertices, faces, np.array([2.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0]))


def test_cutting_a_sphere_leaves_a_cap_with_a_flat_edge():
  vertices, faces = sphere(3000)
  cut, cut_faces, take = mesh.cut_behind(vertices, faces, 0.4)
  assert cut[:, 0].max() == pytest.approx(0.4)
  rim = np.unique(open_edges(cut_faces))
  np.testing.assert_allclose(cut[rim, 0], 0.4)
  closed = closed_mesh.close(cut_faces, cut)
  assert not open_edges(closed)
  height = 1.4
  np.testing.assert_allclose(volume(cut, closed), np.pi * height**2 * (3 - height) / 3, rtol=5e-3)
  np.testing.assert_allclose(take.sum(axis=1), 1)
  # What is moved to the plane moves by less than the snapping distance.
  np.testing.assert_allclose(take @ vertices, cut, atol=2e-3)


def test_nearest_points_are_no_farther_than_any_other():
  vertices, faces = sphere(60)
  rng = np.random.default_rng(0)
  points = rng.normal(size=(40, 3))
  take = mesh.barycentric_on(points, vertices, faces)
  assert take.toarray().min() >= -1e-12
  np.testing.assert_allclose(take.sum(axis=1), 1)
  found = np.linalg.norm(take @ vertices - points, axis=1)
  share = rng.dirichlet(np.ones(3), 400)
  dense = np.einsum("sk,fkd->sfd", share, vertices[faces]).reshape(-1, 3)
  sampled = scipy.spatial.KDTree(dense).query(points)[0]
  assert (found <= sampled + 1e-12).all()
  assert (found > sampled - 0.05).all()


def test_laplacian_measures_the_energy_of_a_linear_function():
  x, y = np.meshgrid(np.linspace(0, 2, 9), np.linspace(0, 1, 7), indexing="ij")
  vertices = np.stack([x.ravel(), y.ravel(), np.zeros(63)], 1)
  corner = np.arange(63).reshape(9, 7)
  a, b, c, d = (part.ravel() for part in (corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]))
  faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
  stiffness, area = mesh.cotangent_laplacian(vertices, faces)
  assert area.sum() == pytest.approx(2)
  np.testing.assert_allclose(stiffness @ np.ones(63), 0, atol=1e-12)
  height = 3 * vertices[:, 0]
  # Right angles have no cotangent; the floor that keeps the matrix definite adds a little.
  assert height @ (stiffness @ height) == pytest.approx(9 * 2, rel=0.12)


def test_relaxation_moves_only_what_it_is_told_to():
  vertices, faces = sphere(200)
  amount = np.where(vertices[:, 2] > 0.5, 0.5, 0.0)
  moved = mesh.relaxation(faces, amount, 4) @ vertices
  np.testing.assert_allclose(mesh.relaxation(faces, amount, 4) @ np.ones(200), 1)
  np.testing.assert_array_equal(moved[amount == 0], vertices[amount == 0])
  assert (np.linalg.norm(moved[amount > 0], axis=1) < 1).all()


@pytest.mark.parametrize("count", [300, 77])
def test_simplified_sphere_is_closed_and_round(count):
  vertices, faces = sphere(600)
  fewer, fewer_faces = simplify(vertices, faces, np.ones(len(faces)), count)
  assert len(fewer) == count
  assert len(fewer_faces) == 2 * count - 4
  assert not open_edges(fewer_faces)
  assert volume(fewer, fewer_faces) == pytest.approx(volume(vertices, faces), rel=0.05)
  sides = np.linalg.norm(fewer[fewer_faces] - fewer[np.roll(fewer_faces, 1, axis=1)], axis=2)
  assert sides.max() / sides.min() < 4, "triangles are even"


def test_simplifying_keeps_the_open_edge_and_what_is_important():
  vertices, faces = sphere(1200)
  cut, cut_faces, _ = mesh.cut_behind(vertices, faces, 0.5)
  important = cut[cut_faces].mean(1)[:, 2] > 0
  fewer, fewer_faces = simplify(cut, cut_faces, np.where(important, 30.0, 1.0), 300)
  rim = np.unique(open_edges(fewer_faces))
  np.testing.assert_allclose(fewer[rim, 0], 0.5, atol=2e-3)
  np.testing.assert_allclose(np.linalg.norm(fewer[rim], axis=1), 1, atol=0.03)
  assert (fewer[:, 2] > 0).sum() > 1.5 * (fewer[:, 2] < 0).sum()


def test_a_tetrahedron_cannot_be_simplified():
  vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
  faces = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])
  with pytest.raises(ValueError, match="asked for 3"):
    simplify(vertices, faces, np.ones(4), 3)


def test_joints_follow_the_vertices_round_them():
  vertices, _ = sphere(400)
  joints = np.array([[0.2, 0.1, -0.3], [0.0, 0.0, 0.7]])
  regressor = rig.regressor(vertices, joints)
  np.testing.assert_allclose(regressor.sum(1), 1)
  bend = np.array([[1.2, 0.1, 0.0], [0.0, 0.9, 0.3], [0.2, 0.0, 1.1]])
  np.testing.assert_allclose(regressor @ (vertices @ bend + 5), joints @ bend + 5, atol=1e-9)


def test_tidy_weights_are_few_and_sum_to_one():
  weights = np.array([[0.5, 0.3, 0.1, 0.06, 0.03, 0.01], [0.985, 0.015, 0, 0, 0, 0]])
  weights = np.concatenate([weights, np.zeros((2, 10))], axis=1)
  tidy = rig.tidy(weights)
  np.testing.assert_allclose(tidy.sum(1), 1)
  np.testing.assert_allclose(tidy[0, :5], np.array([0.5, 0.3, 0.1, 0.06, 0]) / 0.96)
  np.testing.assert_array_equal(tidy[1], np.eye(16)[0])


def test_webs_are_where_two_fingers_pull():
  weights = np.zeros((4, 16))
  weights[[0, 0], [1, 4]] = 0.5  # index and middle
  weights[1, 1] = 1  # index alone
  weights[2, 0] = 1  # the palm
  weights[[3, 3], [1, 2]] = 0.5  # two bones of one finger
  np.testing.assert_array_equal(rig.webs(weights), [1, 0, 0, 0])


def test_flat_directions_are_unit_and_spread_like_a_hand():
  directions = rig.flat_directions()
  np.testing.assert_allclose(np.linalg.norm(directions[1:], axis=1), 1)
  across = [directions[bone, 2] for bone in (13, 1, 4, 10, 7)]
  assert all(first > second for first, second in itertools.pairwise(across)), "thumb to little finger, from +z to -z"
