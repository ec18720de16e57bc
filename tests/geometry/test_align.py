"""Procrustes against scipy and its own invariances, the weak-perspective fit against least squares."""

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from jaxhands.geometry import align

seeds = st.integers(0, 2**16)


def clouds(seed, count=9):
  rng = np.random.default_rng(seed)
  return rng.normal(size=(3, count, 3)), rng.normal(size=(3, count, 3)), rng.uniform(0.1, 1, size=(3, count))


@given(seeds)
def test_procrustes_undoes_a_similarity(seed):
  points, _, _ = clouds(seed)
  rng = np.random.default_rng(seed)
  target = rng.uniform(0.1, 9) * points @ Rotation.random(rng=rng).as_matrix().T + rng.normal(size=3)
  np.testing.assert_allclose(align.procrustes(points, target), target, atol=1e-9)
  np.testing.assert_allclose(align.reconstruction_error(points, target), 0, atol=1e-9)


@given(seeds)
def test_a_rigid_motion_is_undone_and_a_mirror_is_none(seed):
  points, other, weight = clouds(seed)
  rng = np.random.default_rng(seed)
  turn, shift = Rotation.random(rng=rng).as_matrix(), rng.normal(size=3)
  found, moved = align.rigid(points, points @ turn.T + shift, weight)
  np.testing.assert_allclose(found, np.broadcast_to(turn, found.shape), atol=1e-9)
  np.testing.assert_allclose(moved, np.broadcast_to(shift, moved.shape), atol=1e-9)
  np.testing.assert_allclose(np.linalg.det(align.rigid(points, other * [-1, 1, 1], weight)[0]), 1, atol=1e-9)


@given(seeds)
def test_no_other_similarity_is_nearer(seed):
  points, target, weight = clouds(seed)
  best = align.procrustes(points, target, weight)
  rng = np.random.default_rng(seed)

  def cost(moved):
    return (weight * ((moved - target) ** 2).sum(-1)).sum(-1)

  for _ in range(5):
    turn = Rotation.from_rotvec(rng.normal(size=3) * 0.1).as_matrix()
    moved = best @ turn.T * rng.uniform(0.9, 1.1) + rng.normal(size=3) * 0.05
    assert (cost(moved) >= cost(best) - 1e-9).all()


@given(seeds)
def test_a_mirror_image_is_not_undone(seed):
  points, _, _ = clouds(seed)
  assert (align.reconstruction_error(points, points * [-1, 1, 1]) > 1e-3).all()


@given(seeds)
def test_points_without_weight_do_not_count(seed):
  points, target, _ = clouds(seed)
  weight = np.ones(points.shape[:-1])
  weight[:, 5:] = 0
  weighted = align.reconstruction_error(points, target, weight)
  np.testing.assert_allclose(weighted, align.reconstruction_error(points[:, :5], target[:, :5]), atol=1e-9)


def test_nothing_to_align_gives_zeros():
  points, target, _ = clouds(0)
  nothing = np.zeros(points.shape[:-1])
  np.testing.assert_array_equal(align.procrustes(points, target, nothing), 0)
  np.testing.assert_array_equal(align.reconstruction_error(points, target, nothing), 0)
  np.testing.assert_array_equal(align.weak_perspective(points, target[..., :2], nothing), 0)


@given(seeds)
def test_weak_perspective_is_the_least_squares_solution(seed):
  points, target, confidence = clouds(seed)
  found = align.weak_perspective(points, target[..., :2], confidence)
  for p, t, c, fit in zip(points, target, confidence, found, strict=True):
    rows = np.concatenate([np.stack([c * p[:, i], c * (i == 0), c * (i == 1)], axis=1) for i in range(2)])
    expected = np.linalg.lstsq(rows, np.concatenate([c * t[:, 0], c * t[:, 1]]), rcond=None)[0]
    np.testing.assert_allclose(fit, expected, atol=1e-9)


def test_one_confident_joint_fixes_the_place_only():
  points, target, confidence = (value.astype(np.float32) for value in clouds(3))
  confidence[:, 1:] = 0
  fit = align.weak_perspective(points, target[..., :2], confidence)
  np.testing.assert_allclose(fit, np.concatenate([np.zeros((3, 1)), target[:, 0, :2]], axis=1), atol=1e-6)


@given(hnp.arrays(np.float32, (2, 9), elements=st.floats(0, 1, width=32)))
def test_numpy_and_jax_agree(weight):
  points, target, _ = (value[:2].astype(np.float32) for value in clouds(3))
  weight = weight + np.float32(0.1)
  fit = align.weak_perspective(points, target[..., :2], weight)
  np.testing.assert_allclose(jax.jit(align.weak_perspective)(points, target[..., :2], weight), fit, atol=1e-4)
  error = align.reconstruction_error(points, target, weight)
  np.testing.assert_allclose(jax.jit(align.reconstruction_error)(points, target, weight), error, atol=1e-4)
