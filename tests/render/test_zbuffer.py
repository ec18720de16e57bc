"""The z-buffer: both twins agree bit for bit, and both are right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxhands.render import zbuffer

CAMERA = np.array([[300.0, 2.0, 40.0], [0.0, 280.0, 30.0], [0.0, 0.0, 1.0]], np.float32)


def _both(points, faces, size, centre=0.0, first=0, cull=False):
  results = []
  for fill in (zbuffer._fill, zbuffer.fill_numpy):
    face_map, nearness = zbuffer.buffers(*size)
    fill(points, faces, face_map, nearness, first, centre, cull)
    results.append((face_map, nearness))
  return results


def _assert_twins(points, faces, size, centre=0.0, cull=False):
  (compiled_map, compiled_depth), (numpy_map, numpy_depth) = _both(points, faces, size, centre, cull=cull)
  np.testing.assert_array_equal(compiled_map, numpy_map)
  np.testing.assert_array_equal(compiled_depth, numpy_depth)
  return compiled_map, compiled_depth


@given(
  st.integers(0, 2**32 - 1),
  st.integers(3, 40),
  st.integers(1, 60),
  st.sampled_from([1.0, 30.0, 400.0, 5000.0]),
  st.sampled_from(["free", "flat", "lattice", "behind"]),
  st.sampled_from([0.0, 0.5]),
  st.booleans(),
)
def test_twins_agree(seed, num_points, num_faces, spread_mm, kind, centre, cull):
  """Random triangles: huge, tiny, off the picture, needles, with one vertex twice, before and behind the camera."""
  rng = np.random.default_rng(seed)
  points = rng.normal(0, 1, (num_points, 3)) * (spread_mm, spread_mm, spread_mm) + (0, 0, 300.0)
  if kind == "flat":  # all on one line, up to rounding
    points = points[:1] + rng.normal(size=(num_points, 1)) * (points[1] - points[0])
    points[::3] += rng.normal(0, 1e-7, points[::3].shape)
  if kind == "behind":
    points[:, 2] -= 300.0
  projected = zbuffer.project(points, CAMERA)
  if kind == "lattice":  # edges through pixel centres, equal depths
    projected = np.stack([rng.integers(-5, 90, num_points), rng.integers(-5, 70, num_points), np.ones(num_points)], 1)
  faces = rng.integers(0, num_points, (num_faces, 3)).astype(np.int32)
  _assert_twins(np.ascontiguousarray(projected, np.float64), faces, (60, 80), centre, cull)


def test_twins_agree_in_chunks(monkeypatch):
  monkeypatch.setattr(zbuffer, "_PAIRS_AT_ONCE", 500)
  rng = np.random.default_rng(0)
  points = zbuffer.project(rng.normal(0, 60, (50, 3)) + (0, 0, 300), CAMERA)
  face_map, _ = _assert_twins(points, rng.integers(0, 50, (80, 3)).astype(np.int32), (60, 80))
  assert len(np.unique(face_map)) > 20


def test_depth_is_that_of_the_plane():
  """Perspective-correct: a tilted plane z = 500 + x/2 + y/4 along each pixel's ray."""
  corners = np.array([[-400.0, -400], [400, -400], [400, 400], [-400, 400]])
  points = np.concatenate([corners, (500 + corners @ (0.5, 0.25))[:, None]], axis=1)
  face_map, nearness = zbuffer.buffers(60, 80)
  zbuffer.rasterize(zbuffer.project(points, CAMERA), np.array([[0, 1, 2], [0, 2, 3]]), face_map, nearness)
  y, x = np.mgrid[:60, :80]
  rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.linalg.inv(CAMERA.astype(np.float64)).T
  expected = 500 / (1 - rays[..., 0] * 0.5 - rays[..., 1] * 0.25)
  assert (face_map >= 0).all()
  np.testing.assert_allclose(zbuffer.depth_mm(nearness), expected, rtol=1e-6)


def test_sphere():
  """The near side of a sphere is seen, at the right depth."""
  u, v = np.meshgrid(np.linspace(0, np.pi, 60), np.linspace(0, 2 * np.pi, 120, endpoint=False), indexing="ij")
  ball = np.stack([np.sin(u) * np.cos(v), np.sin(u) * np.sin(v), np.cos(u)], axis=-1).reshape(-1, 3) * 25
  i, j = np.meshgrid(np.arange(59), np.arange(120), indexing="ij")
  a, b, c, d = i * 120 + j, i * 120 + (j + 1) % 120, (i + 1) * 120 + (j + 1) % 120, (i + 1) * 120 + j
  faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
  camera = np.array([[300.0, 0, 40], [0, 300.0, 30], [0, 0, 1]])
  face_map, nearness = zbuffer.buffers(61, 81)
  zbuffer.rasterize(zbuffer.project(ball + (0, 0, 300), camera), faces, face_map, nearness)
  assert zbuffer.depth_mm(nearness)[30, 40] == pytest.approx(275, abs=0.1)
  radius_px = 300 * 25 / np.sqrt(300**2 - 25**2)
  assert (face_map >= 0).sum() == pytest.approx(np.pi * radius_px**2, rel=0.02)
  assert face_map[0, 0] == zbuffer.NOTHING
  # Of a closed surface, the triangles seen from behind change nothing.
  points, outwards = zbuffer.project(ball + (0, 0, 300), camera), faces[:, ::-1]
  for towards, expected in ((outwards, zbuffer.depth_mm(nearness)[30, 40]), (faces, 325)):
    face_map, culled = zbuffer.buffers(61, 81)
    zbuffer.rasterize(points, towards, face_map, culled, cull=True)
    assert zbuffer.depth_mm(culled)[30, 40] == pytest.approx(expected, abs=0.1)
    if towards is outwards:
      np.testing.assert_allclose(culled, nearness, rtol=1e-5)


def test_edges_through_pixel_centres_leave_no_gap():
  grid = np.stack(np.meshgrid(np.arange(0, 25, 4), np.arange(0, 25, 4), indexing="ij"), -1).reshape(-1, 2)
  points = np.concatenate([grid, np.ones((len(grid), 1))], axis=1).astype(np.float64)
  a = (np.arange(6)[:, None] * 7 + np.arange(6)).ravel()
  faces = np.concatenate([np.stack([a, a + 1, a + 8], 1), np.stack([a, a + 8, a + 7], 1)])
  for face_map, _ in _both(points, faces, (25, 25)):
    assert (face_map >= 0).all()


def test_lower_face_wins_a_tie_and_nearer_wins_in_any_order():
  points = np.array([[0.0, 0, 1], [9, 0, 1], [0, 9, 1], [0, 0, 2], [9, 0, 2], [0, 9, 2]])
  for face_map, _ in _both(points, np.array([[0, 1, 2], [2, 1, 0]]), (4, 4)):
    assert face_map[1, 1] == 0
  for faces in ([[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]]):
    for face_map, nearness in _both(points, np.array(faces), (4, 4), first=7):
      assert face_map[1, 1] == 7 + faces.index([3, 4, 5])
      assert nearness[1, 1] == 2


def test_pixel_centre_option_shifts_the_samples():
  rng = np.random.default_rng(3)
  points = zbuffer.project(rng.normal(0, 60, (30, 3)) + (0, 0, 300), CAMERA)
  faces = rng.integers(0, 30, (20, 3))
  shifted = np.ascontiguousarray(points - (0.5, 0.5, 0.0))
  (with_option, _), _ = _both(points, faces, (60, 80), centre=0.5)
  (by_hand, _), _ = _both(shifted, faces, (60, 80))
  np.testing.assert_array_equal(with_option, by_hand)


def test_triangles_that_reach_behind_the_camera_are_left_out():
  points = np.array([[-50.0, 0, 300], [50, 0, 300], [0, 50, -10], [0, 50, 300]])
  face_map, nearness = zbuffer.buffers(60, 80)
  zbuffer.rasterize(zbuffer.project(points, CAMERA), np.array([[0, 1, 2], [0, 1, 3]]), face_map, nearness)
  assert set(np.unique(face_map)) == {zbuffer.NOTHING, 1}


def test_face_names_a_missing_vertex():
  with pytest.raises(IndexError, match=r"0\.\.3, but there are 3"):
    zbuffer.rasterize(np.ones((3, 3)), np.array([[0, 1, 3]]), *zbuffer.buffers(4, 4))
