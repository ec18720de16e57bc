"""Losses against NumPy; masked garbage leaks neither into values nor into gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands import losses

RNG = np.random.default_rng(0)
GRID = (9, 8, 10)
JUNK = np.float32([np.nan, np.inf, -np.inf, 1e30])


def _normal(*shape: int) -> jax.Array:
  return jnp.asarray(RNG.normal(size=shape), jnp.float32)


MASK = jnp.asarray([[True, False, True, False, True], [False, True, True, True, False]])
PREDICTED, TARGET = _normal(2, 5), _normal(2, 5)
TARGET_WITH_JUNK = jnp.where(MASK, TARGET, jnp.asarray(np.resize(JUNK, (2, 5))))


@pytest.mark.parametrize(
  ("loss", "oracle"),
  [
    (losses.absolute_error, lambda p, t: np.abs(p - t)),
    (losses.squared_error, lambda p, t: (p - t) ** 2),
    (
      losses.binary_cross_entropy,
      lambda p, t: -(t * np.log(1 / (1 + np.exp(-p))) + (1 - t) * np.log(1 - 1 / (1 + np.exp(-p)))),
    ),
  ],
)
def test_elementwise(loss, oracle):
  target = jnp.where(jnp.isfinite(TARGET_WITH_JUNK), jax.nn.sigmoid(TARGET), TARGET_WITH_JUNK)
  expected = oracle(np.asarray(PREDICTED, np.float64), np.asarray(jax.nn.sigmoid(TARGET), np.float64))
  np.testing.assert_allclose(loss(PREDICTED, target, MASK), np.where(MASK, expected, 0), rtol=1e-5)
  grad = jax.grad(lambda p: loss(p, target, MASK).sum())(PREDICTED)
  assert np.isfinite(grad).all()
  assert (np.asarray(grad)[~np.asarray(MASK)] == 0).all()
  assert (np.asarray(grad)[np.asarray(MASK)] != 0).all()


def test_binary_cross_entropy_is_bounded_like_pytorchs():
  scores, sure = jnp.asarray([500.0, -500.0]), jnp.ones(2, bool)
  np.testing.assert_allclose(losses.binary_cross_entropy(scores, jnp.asarray([0.0, 1.0]), sure), 100)
  np.testing.assert_allclose(losses.binary_cross_entropy(scores, jnp.asarray([1.0, 0.0]), sure), 0, atol=1e-6)


def test_weighted_mean_ignores_padding():
  values, weight = jnp.asarray([1.0, 3.0, jnp.nan]), jnp.asarray([1.0, 1.0, 0.0])
  assert losses.weighted_mean(values, weight) == 2
  assert losses.weighted_mean(values, jnp.zeros(3)) == 0
  assert np.isfinite(jax.grad(losses.weighted_mean)(values, weight)).all()


# ---- Gaussian heatmaps ---------------------------------------------------------


def _gaussians(voxels: np.ndarray, grid: tuple[int, int, int], sigma: float) -> np.ndarray:
  rows, columns, bins = np.meshgrid(*(np.arange(n) for n in grid), indexing="ij")
  at = np.stack([columns, rows, bins], axis=-1)[None, :, :, None]
  return np.exp(-((at - voxels[:, None, None, :, None].astype(np.float64)) ** 2).sum(-1) / (2 * sigma**2))


@pytest.fixture
def heatmap_case():
  """Heatmaps [2, h, w, 5, d], voxels with junk where masked, mask."""
  voxels = jnp.asarray(RNG.uniform(-1, 10, (2, 5, 3)), jnp.float32)
  junk = jnp.asarray(np.resize(JUNK, (2, 5, 3)))
  return 3 * _normal(2, GRID[0], GRID[1], 5, GRID[2]), jnp.where(MASK[..., None], voxels, junk), MASK


def test_gaussian_heatmap_is_the_naive_loss(heatmap_case):
  heatmaps, voxels, mask = heatmap_case
  target = 255 * _gaussians(np.asarray(jnp.where(mask[..., None], voxels, 0)), GRID, 1.7)
  difference = np.where(np.asarray(mask)[:, None, None, :, None], np.asarray(heatmaps, np.float64) - target, 0)
  pull = RNG.normal(size=(2, 5))
  found, pullback = jax.vjp(lambda h: losses.gaussian_heatmap(h, voxels, mask, 1.7, 255.0), heatmaps)
  np.testing.assert_allclose(found, (difference**2).mean((1, 2, 4)), rtol=1e-5)
  gradient = 2 * difference / np.prod(GRID) * pull[:, None, None, :, None]
  np.testing.assert_allclose(pullback(jnp.asarray(pull, jnp.float32))[0], gradient, rtol=1e-4, atol=1e-5)


def test_gaussian_heatmap_lets_nothing_leak(heatmap_case):
  """Neither masked voxels, nor a masked heatmap that is not finite, reach loss and gradient."""
  heatmaps, voxels, mask = heatmap_case
  heatmaps = jnp.where(mask[:, None, None, :, None], heatmaps, jnp.nan)
  value, grads = jax.value_and_grad(lambda h, v: losses.gaussian_heatmap(h, v, mask, 1.7, 255.0).sum(), (0, 1))(
    heatmaps, voxels
  )
  assert np.isfinite(value)
  assert np.isfinite(grads[0]).all()
  assert not np.any(np.moveaxis(np.asarray(grads[0]), 3, 1)[~np.asarray(mask)])
  assert not np.any(grads[1])


def test_gaussian_heatmap_in_half_precision(heatmap_case):
  heatmaps, voxels, mask = heatmap_case
  rounded = heatmaps.astype(jnp.bfloat16)
  loss = lambda h: losses.gaussian_heatmap(h, voxels, mask, 1.7, 255.0).mean()  # noqa: E731
  value, gradient = jax.value_and_grad(loss)(rounded)
  assert (value.dtype, gradient.dtype) == (jnp.float32, jnp.bfloat16)
  np.testing.assert_allclose(value, loss(rounded.astype(jnp.float32)), rtol=1e-5)


def test_gaussian_heatmap_holds_no_target():
  """At InterNet's size, loss and gradient together need less than a hundredth of a heatmap besides the gradient."""
  shape = jax.ShapeDtypeStruct((2, 64, 64, 21, 64), jnp.float32)
  voxels, mask = jax.ShapeDtypeStruct((2, 21, 3), jnp.float32), jax.ShapeDtypeStruct((2, 21), jnp.bool_)
  step = jax.jit(jax.value_and_grad(lambda h, v, m: losses.gaussian_heatmap(h, v, m, 2.5, 255.0).mean()))
  memory = step.lower(shape, voxels, mask).compile().memory_analysis()
  heatmap_bytes = 4 * np.prod(shape.shape)
  assert memory.temp_size_in_bytes < heatmap_bytes / 100
  assert memory.output_size_in_bytes < 1.01 * heatmap_bytes


# ---- cross-entropy of 2D heatmaps ----------------------------------------------


def test_heatmap_cross_entropy(heatmap_case):
  scores, voxels, mask = heatmap_case[0][..., 0], heatmap_case[1], heatmap_case[2]
  cells = voxels[..., :2]
  clean = np.asarray(jnp.where(mask[..., None], cells, 0))
  target = _gaussians(np.concatenate([clean, np.zeros((2, 5, 1))], -1), (*GRID[:2], 1), 1.7)[..., 0]
  target /= target.sum((1, 2), keepdims=True)
  log_prob = np.asarray(scores, np.float64)
  log_prob = log_prob - np.log(np.exp(log_prob).sum((1, 2), keepdims=True))
  expected = np.where(mask, -(target * log_prob).sum((1, 2)), 0)
  np.testing.assert_allclose(losses.heatmap_cross_entropy(scores, cells, mask, 1.7), expected, rtol=1e-5)
  gradient = jax.grad(lambda s: losses.heatmap_cross_entropy(s, cells, mask, 1.7).sum())(scores)
  weights = np.where(np.asarray(mask)[:, None, None], np.exp(log_prob) - target, 0)
  np.testing.assert_allclose(gradient, weights, atol=1e-5)


def test_joints_relative_to_the_right_wrist():
  rng = np.random.default_rng(0)
  found, truth = rng.normal(0, 80, (2, 3, 2, 21, 3)).astype(np.float32)
  valid = rng.random((3, 2, 21)) < 0.7
  valid[:, 0, 20] = [True, True, False]
  result = jax.jit(losses.right_relative_error, static_argnums=3)(found, truth, valid, 100.0)
  for b in range(2):
    own, true = (joints[b].astype(np.float64) - joints[b, 0, 20] for joints in (found, truth))
    assert result[b] == pytest.approx(np.square((own - true) / 100).sum(-1)[valid[b]].mean(), rel=1e-4)
  assert result[2] == 0
