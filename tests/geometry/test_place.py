"""Closed forms against known scenes and against numerical least squares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from jaxhands.geometry import camera, place
from jaxhands.hands import skeleton

K = np.array([[520, 0, 170], [0, 480, 250], [0, 0, 1]], np.float32)
MIRRORED = K * np.float32([-1, 1, 1])


def hand(seed, count=21):
  rng = np.random.default_rng(seed)
  joints = rng.uniform(-70, 70, (count, 3))
  joints -= joints[-1]
  root = np.array([*rng.uniform(-200, 200, 2), rng.uniform(300, 1500)])
  return joints.astype(np.float32), root.astype(np.float32)


@pytest.mark.parametrize("intrinsics", [K, MIRRORED], ids=["plain", "mirrored"])
@given(seed=st.integers(0, 500))
def test_place_finds_the_root_of_exact_pixels(intrinsics, seed):
  joints, root = hand(seed)
  pixels = camera.project(joints + root, intrinsics)
  found, valid = place.place(joints, pixels, intrinsics, np.ones(21, np.float32))
  assert valid
  np.testing.assert_allclose(found, root, rtol=2e-4, atol=0.05)


@given(seed=st.integers(0, 500))
def test_place_is_the_weighted_least_squares_solution(seed):
  rng = np.random.default_rng(seed)
  joints, root = hand(seed)
  pixels = camera.project(joints + root, K) + rng.normal(0, 3, (21, 2)).astype(np.float32)
  weight = rng.uniform(0, 1, 21).astype(np.float32)
  weight[rng.integers(0, 21, 5)] = 0
  found, valid = place.place(joints, pixels, K, weight)

  rays = (pixels - K[:2, 2]) / K[[0, 1], [0, 1]]

  def residuals(t):
    moved = joints + t
    return (np.sqrt(weight)[:, None] * (moved[:, :2] - rays * moved[:, 2:])).ravel()

  reference = scipy.optimize.least_squares(residuals, root).x
  assert valid
  np.testing.assert_allclose(found, reference, rtol=1e-3, atol=0.1)


def test_joints_without_weight_do_not_matter():
  joints, root = hand(3)
  pixels = camera.project(joints + root, K)
  weight = np.ones(21, np.float32)
  weight[4] = 0
  spoilt = pixels.copy()
  spoilt[4] = 1e4
  np.testing.assert_allclose(place.place(joints, spoilt, K, weight)[0], place.place(joints, pixels, K, weight)[0])


def test_what_is_undetermined_is_invalid_and_zero():
  joints, root = hand(4)
  pixels = camera.project(joints + root, K)
  one_pixel = np.repeat(pixels[:1], 21, 0)
  turned = (2 * pixels.mean(0) - pixels).astype(np.float32)  # upside down: the hand would lie behind the camera
  ones = np.ones(21, np.float32)
  for points, weight in ((pixels, 0 * ones), (one_pixel, ones), (turned, ones)):
    found, valid = place.place(joints, points, K, weight)
    assert not valid
    np.testing.assert_array_equal(found, 0)


@given(seed=st.integers(0, 500))
def test_bones_give_the_depth_of_exact_pixels(seed):
  joints, root = hand(seed)
  pixels = camera.project(joints + root, K)
  lengths = np.linalg.norm(joints[skeleton.BONES[:, 0]] - joints[skeleton.BONES[:, 1]], axis=-1)
  depth, valid = place.root_depth_from_bones(pixels, joints[:, 2], K, skeleton.BONES, lengths, np.ones(21, np.float32))
  assert valid
  assert depth == pytest.approx(root[2], rel=1e-3)


def test_twice_the_size_is_twice_the_distance():
  joints, root = hand(7)
  flat = joints * np.float32([1, 1, 0])
  pixels = camera.project(flat + root, K)
  lengths = np.linalg.norm(flat[skeleton.BONES[:, 0]] - flat[skeleton.BONES[:, 1]], axis=-1)
  near, far = (
    place.root_depth_from_bones(pixels, flat[:, 2], K, skeleton.BONES, scale * lengths, np.ones(21, np.float32))[0]
    for scale in (1, 2)
  )
  assert far == pytest.approx(2 * near, rel=1e-4)


def test_bones_that_cannot_fit_are_invalid():
  joints, root = hand(8)
  pixels = camera.project(joints + root, K)
  too_short = np.full(20, 1e-3, np.float32)  # the relative depths alone are longer
  ones = np.ones(21, np.float32)
  depth, valid = place.root_depth_from_bones(pixels, joints[:, 2], K, skeleton.BONES, too_short, ones)
  assert not valid
  assert depth == 0
  assert not place.root_depth_from_bones(pixels, joints[:, 2], K, skeleton.BONES, 50 * ones[:20], 0 * ones)[1]


def test_batched_jax_agrees_and_has_finite_gradients():
  joints, roots = (np.stack(values) for values in zip(*(hand(seed) for seed in range(4)), strict=True))
  pixels = camera.project(joints + roots[:, None], K[None])
  weight = np.ones((4, 21), np.float32)
  weight[3] = 0
  host = place.place(joints, pixels, K[None], weight)
  device = jax.jit(place.place)(joints, pixels, K[None], weight)
  np.testing.assert_allclose(device[0], host[0], rtol=1e-3, atol=0.1)
  np.testing.assert_array_equal(device[1], host[1])
  gradient = jax.grad(lambda p: place.place(jnp.asarray(joints), p, K[None], weight)[0].sum())(jnp.asarray(pixels))
  assert np.isfinite(gradient).all()
  assert not gradient[3].any()


def test_two_wrists_come_to_one_depth_on_their_rays():
  wrists = np.array([[[10.0, -20, 500], [300, 40, 2000]], [[10, -20, 500], [30, 40, -100]]], np.float32)
  moved = np.asarray(place.at_one_depth(wrists))
  np.testing.assert_allclose(moved[0, :, 2], 1000, rtol=1e-5)
  np.testing.assert_allclose(moved[0] / moved[0, :, 2:], wrists[0] / wrists[0, :, 2:], rtol=1e-5)
  np.testing.assert_array_equal(moved[1], wrists[1])
