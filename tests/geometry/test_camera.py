"""Projection and frames: inverses of one another, and the conventions of pixels and of InterHand2.6M's cameras."""

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from jaxhands.geometry import camera

seeds = st.integers(0, 2**16)


def scene(seed):
  rng = np.random.default_rng(seed)
  points = rng.uniform([-300, -300, 400], [300, 300, 900], size=(2, 21, 3))
  cameras = camera.intrinsics(rng.uniform(300, 900, size=(2, 2)), rng.uniform(0, 400, size=(2, 2)))
  cameras[:, 0, 1] = rng.normal(size=2)  # skew, as crops that turn bring it
  cam_from_world = camera.cam_from_world(Rotation.random(2, rng=rng).as_matrix(), rng.normal(size=(2, 3)) * 500)
  return points, cameras, cam_from_world


@given(seeds)
def test_project_is_the_homogeneous_product(seed):
  points, cameras, _ = scene(seed)
  homogeneous = np.einsum("bij,bnj->bni", cameras, points)
  np.testing.assert_allclose(camera.project(points, cameras), homogeneous[..., :2] / homogeneous[..., 2:], atol=1e-9)


@given(seeds)
def test_back_projection_is_the_inverse(seed):
  points, cameras, _ = scene(seed)
  back = camera.back_project(camera.project(points, cameras), points[..., 2], cameras)
  np.testing.assert_allclose(back, points, atol=1e-8)


@given(seeds)
def test_world_is_the_inverse_of_camera(seed):
  points, _, cam_from_world = scene(seed)
  np.testing.assert_allclose(
    camera.to_world(camera.to_camera(points, cam_from_world), cam_from_world), points, atol=1e-8
  )


def test_a_camera_sees_its_own_place_at_the_origin():
  rotation, position = Rotation.from_rotvec([0.3, -1, 2]).as_matrix(), np.array([100.0, -20.0, 3.0])
  moved = camera.to_camera(position[None], camera.cam_from_world(rotation, position))
  np.testing.assert_allclose(moved, 0, atol=1e-12)


def test_an_absent_hand_stays_finite():
  matrix = camera.intrinsics(np.float32([500, 500]), np.float32([128, 100]))
  absent = np.zeros((21, 3), np.float32)
  np.testing.assert_array_equal(camera.project(absent, matrix), np.tile([128, 100], (21, 1)))
  assert np.isfinite(jax.grad(lambda p: camera.project(p, matrix).sum())(jax.numpy.asarray(absent))).all()


def test_numpy_and_jax_agree():
  points, cameras, cam_from_world = (value.astype(np.float32) for value in scene(0))
  np.testing.assert_allclose(jax.jit(camera.project)(points, cameras), camera.project(points, cameras), rtol=1e-5)
  moved = camera.to_camera(points, cam_from_world)
  np.testing.assert_allclose(jax.jit(camera.to_camera)(points, cam_from_world), moved, atol=1e-3)
