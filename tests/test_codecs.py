"""Codecs: encoding and decoding undo each other, decoding agrees with plain definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxhands import codecs

SIZES = st.integers(1, 9).map(lambda n: 32 * n)
CODECS = st.builds(
  codecs.HeatmapCodec,
  crop_hw=st.tuples(SIZES, SIZES),
  grid_hw=st.tuples(st.integers(8, 72), st.integers(8, 72)),
  depth_bins=st.integers(8, 64),
  depth_range_mm=st.floats(100, 600),
)
SEEDS = st.integers(0, 2**32 - 1)


@given(codec=CODECS, seed=SEEDS)
def test_joints_round_trip(codec, seed):
  rng = np.random.default_rng(seed)
  joints = rng.uniform(-1, 2, (3, 21, 2)) * np.array(codec.crop_hw[::-1])
  depth = rng.uniform(-1.5, 1.5, (3, 21)) * codec.depth_range_mm / 2
  voxels = codec.encode(joints, depth)
  found_joints, found_depth = codec.decode(voxels)
  np.testing.assert_allclose(found_joints, joints, rtol=1e-12, atol=1e-9)
  np.testing.assert_allclose(found_depth, depth, rtol=1e-12, atol=1e-9)
  np.testing.assert_array_equal(codec.inside_range(voxels), np.abs(depth) < codec.depth_range_mm / 2)


def test_known_voxels():
  """The wrist is at bin 32 of 64, a crop pixel is a quarter of a cell, a bin 6.25 mm."""
  codec = codecs.HeatmapCodec()
  voxels = codec.encode(np.array([[0.0, 0.0], [255.0, 128.0]]), np.array([0.0, 6.25]))
  np.testing.assert_allclose(voxels, [[0, 0, 32], [63.75, 32, 33]])


def test_planes_are_gaussians_of_height_one_where_a_joint_is_valid():
  cells = np.array([[[2.0, 1.0, 30.0], [3.5, 0.0, 0.0], [9.0, 9.0, 9.0]]], np.float32)  # with a bin, as voxels have
  valid = np.array([[True, True, False]])
  planes = codecs.gaussian_planes(cells, valid, (4, 6), sigma=1.5)
  rows, columns = np.mgrid[:4, :6]
  for joint, (x, y) in enumerate([(2.0, 1.0), (3.5, 0.0)]):
    expected = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.5**2))
    np.testing.assert_allclose(planes[0, joint], expected, rtol=1e-5)
  assert not planes[0, 2].any()
  np.testing.assert_allclose(
    codecs.gaussian_planes(jnp.asarray(cells), jnp.asarray(valid), (4, 6), 1.5), planes, atol=1e-6
  )


def test_the_range_of_bins_is_half_open():
  codec = codecs.HeatmapCodec()
  z = np.array([-1e-3, 0.0, 63.99, 64.0, np.nan])
  voxels = np.stack([np.zeros(5), np.zeros(5), z], axis=-1)
  np.testing.assert_array_equal(codec.inside_range(voxels), [False, True, True, False, False])


def test_numpy_and_jax_agree():
  codec = codecs.HeatmapCodec(crop_hw=(96, 128), grid_hw=(24, 32))
  joints, depth = np.float32([[[3.5, 90.25]]]), np.float32([[-20.0]])
  on_host, on_device = codec.encode(joints, depth), codec.encode(jnp.asarray(joints), jnp.asarray(depth))
  assert isinstance(on_host, np.ndarray)
  assert isinstance(on_device, jax.Array)
  np.testing.assert_allclose(on_host, on_device, rtol=1e-6)


@given(bins=st.integers(2, 128), range_mm=st.floats(10, 1000), seed=SEEDS)
def test_root_depth_round_trip(bins, range_mm, seed):
  codec = codecs.RootDepthCodec(bins, range_mm)
  depth = np.random.default_rng(seed).uniform(-range_mm, range_mm, 20)
  encoded = codec.encode(depth)
  np.testing.assert_allclose(codec.decode(encoded), depth, rtol=1e-12, atol=1e-9)
  np.testing.assert_array_equal(codec.inside(encoded), np.abs(depth) < range_mm / 2)


def test_handedness_round_trip():
  codec = codecs.HandednessCodec()
  present = np.array([[True, False], [False, True], [True, True]])
  scores = 8 * (2 * codec.encode(present) - 1)
  np.testing.assert_array_equal(codec.decode(scores) > 0.5, present)
  np.testing.assert_allclose(codec.decode(jnp.asarray(scores)), codec.decode(scores), rtol=1e-6)


def test_any_score_has_a_probability():
  scores = np.array([[-1e4, -89], [0, -20], [89, 1e4]], np.float32)
  expected = [[0, 0], [0.5, 1 / (1 + np.exp(20))], [1, 1]]
  for given_scores in (scores, jnp.asarray(scores)):
    found = codecs.HandednessCodec().decode(given_scores)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-37)


@given(seed=SEEDS)
def test_heatmap_round_trip(seed):
  """Render a target, take the argmax: back at the voxel."""
  rng = np.random.default_rng(seed)
  grid = (9, 12, 7)
  voxels = rng.integers(0, (12, 9, 7), (2, 4, 3)).astype(np.float32)
  volume = _render(voxels, grid, sigma=1.5)
  found, peak = codecs.argmax_3d(jnp.asarray(volume))
  np.testing.assert_array_equal(found, voxels)
  np.testing.assert_allclose(peak, 1)


def test_sub_voxel_round_trip():
  """The expectation under a sharp softmax finds voxels between the grid's."""
  voxels = np.array([[[5.3, 4.6, 3.2], [6.5, 3.9, 4.0]]], np.float32)
  volume = jnp.asarray(_render(voxels, (10, 12, 8), sigma=2.5))
  found = codecs.expected_voxel(codecs.softmax_3d(volume, 20.0))
  np.testing.assert_allclose(found, voxels, atol=0.05)


def _render(voxels: np.ndarray, grid: tuple[int, int, int], sigma: float) -> np.ndarray:
  """[B, h, w, J, d] by the definition."""
  rows, columns, bins = np.meshgrid(*(np.arange(n) for n in grid), indexing="ij")
  at = np.stack([columns, rows, bins], axis=-1)[None, :, :, None]
  return np.exp(-((at - voxels[:, None, None, :, None]) ** 2).sum(-1) / (2 * sigma**2)).astype(np.float32)


def test_gaussian_factors_make_the_gaussian():
  voxels = np.array([[[5.3, -2.0, 3.2], [40.0, 3.9, 4.0]]], np.float32)
  rows, columns, bins = codecs.gaussian_factors(voxels, (10, 12, 8), 2.5)
  product = np.einsum("bhj,bwj,bjd->bhwjd", rows, columns, bins)
  np.testing.assert_allclose(product, _render(voxels, (10, 12, 8), 2.5), atol=1e-6)


@given(seed=SEEDS)
def test_ties_go_to_the_lowest_x_then_y_then_z(seed):
  """Against sorting the tied voxels; heatmaps of few distinct values tie often."""
  volume = np.random.default_rng(seed).integers(0, 3, (2, 3, 4, 2, 5)).astype(np.float32)
  found, peak = codecs.argmax_3d(jnp.asarray(volume))
  for b in range(2):
    for j in range(2):
      joint = volume[b, :, :, j]
      tied = [(x, y, z) for y, x, z in np.argwhere(joint == joint.max())]
      assert tuple(np.asarray(found[b, j], int)) == min(tied)
      assert peak[b, j] == joint.max()


def test_expectations_are_weighted_means():
  rng = np.random.default_rng(0)
  scores = rng.normal(size=(2, 5, 6, 3, 4)).astype(np.float32)
  weights = np.exp(2.0 * scores)
  weights /= weights.sum((1, 2, 4), keepdims=True)
  expected = [
    np.einsum("bhwjd,w->bj", weights, np.arange(6)),
    np.einsum("bhwjd,h->bj", weights, np.arange(5)),
    np.einsum("bhwjd,d->bj", weights, np.arange(4)),
  ]
  found = codecs.expected_voxel(codecs.softmax_3d(jnp.asarray(scores), 2.0))
  np.testing.assert_allclose(found, np.stack(expected, axis=-1), rtol=1e-5)
  per_joint = codecs.softmax_3d(jnp.asarray(scores), jnp.full((2, 3), 2.0))
  np.testing.assert_allclose(per_joint, weights, rtol=1e-4)
  np.testing.assert_allclose(codecs.expected_cell(jnp.asarray(weights.sum(-1))), found[..., :2], rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_soft_argmax_1d(dtype):
  scores = jnp.asarray([[0.0, 0.0, 0.0], [0.0, 50.0, 0.0]], dtype)
  found = codecs.soft_argmax_1d(scores)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, [1.0, 1.0], atol=1e-6)
