"""Batch norm against formulas in NumPy, in training and evaluation mode, with and without groups."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.models.norm import BatchNorm

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(3.0, 2.0, (4, 5, 6, 3)), jnp.float32)
VARIABLES = {
  "params": {"scale": np.array([1.0, 2.0, -1.0], np.float32), "bias": np.array([0.0, 1.0, 2.0], np.float32)},
  "batch_stats": {"mean": np.array([3.0, 2.0, 1.0], np.float32), "var": np.array([4.0, 1.0, 9.0], np.float32)},
}


def _normalised(x: np.ndarray, mean: np.ndarray, var: np.ndarray) -> np.ndarray:
  return (x - mean) / np.sqrt(var + 1e-5) * VARIABLES["params"]["scale"] + VARIABLES["params"]["bias"]


def test_evaluation_uses_running_statistics():
  found = BatchNorm().apply(VARIABLES, X, False)
  expected = _normalised(X, VARIABLES["batch_stats"]["mean"], VARIABLES["batch_stats"]["var"])
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_training_uses_the_batch_and_stores_the_unbiased_variance():
  found, state = BatchNorm().apply(VARIABLES, X, True, mutable="batch_stats")
  flat = np.asarray(X, np.float64).reshape(-1, 3)
  np.testing.assert_allclose(found, _normalised(np.asarray(X), flat.mean(0), flat.var(0)), atol=1e-5)
  old = VARIABLES["batch_stats"]
  np.testing.assert_allclose(state["batch_stats"]["mean"], 0.9 * old["mean"] + 0.1 * flat.mean(0), rtol=1e-6)
  np.testing.assert_allclose(state["batch_stats"]["var"], 0.9 * old["var"] + 0.1 * flat.var(0, ddof=1), rtol=1e-5)


def test_groups_are_batches_of_their_own():
  found, state = BatchNorm(groups=2).apply(VARIABLES, X, True, mutable="batch_stats")
  halves = [BatchNorm().apply(VARIABLES, half, True, mutable="batch_stats") for half in (X[:2], X[2:])]
  np.testing.assert_allclose(found, np.concatenate([out for out, _ in halves]), atol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), state, halves[0][1])


def test_a_batch_that_does_not_divide_is_refused():
  with pytest.raises(ValueError, match="batch of 4 does not divide into bn_groups=3"):
    BatchNorm(groups=3).apply(VARIABLES, X, True, mutable="batch_stats")


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_variables_are_made_from_a_batch_of_any_size(batch):
  made = BatchNorm(groups=4).init(jax.random.key(0), X[:batch], True)
  plain = {
    "params": {"scale": np.ones(3), "bias": np.zeros(3)},
    "batch_stats": {"mean": np.zeros(3), "var": np.ones(3)},
  }
  jax.tree.map(np.testing.assert_array_equal, made, plain)


def test_half_precision_keeps_float32_statistics():
  norm = BatchNorm(dtype=jnp.bfloat16)
  found, state = norm.apply(VARIABLES, X.astype(jnp.bfloat16), True, mutable="batch_stats")
  assert found.dtype == jnp.bfloat16
  assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {np.dtype(np.float32)}


def test_gradients_match_differences():
  with jax.enable_x64(True):
    x = jnp.asarray(X[:2, :2, :2], jnp.float64)
    weights = jnp.asarray(RNG.normal(size=x.shape))

    def loss(x):
      # The layer works in float32; so steps of the difference quotient are wide.
      return jnp.sum(weights * BatchNorm().apply(VARIABLES, x.astype(jnp.float32), True, mutable="batch_stats")[0])

    step = jnp.asarray(RNG.normal(size=x.shape))
    slope = jnp.vdot(jax.grad(loss)(x), step)
    quotient = (loss(x + 0.01 * step) - loss(x - 0.01 * step)) / 0.02
  np.testing.assert_allclose(slope, quotient, rtol=2e-3)


@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_are_those_of_differentiating_the_formula(groups):
  weights = jnp.asarray(RNG.normal(size=X.shape), jnp.float32)

  def by_formula(params, x):
    parts = x.reshape(groups, -1, *x.shape[1:])
    mean, var = (of(parts, (1, 2, 3), keepdims=True) for of in (jnp.mean, jnp.var))
    y = (parts - mean) / jnp.sqrt(var + 1e-5) * params["scale"] + params["bias"]
    return jnp.sum(weights * y.reshape(x.shape))

  def by_layer(params, x):
    variables = {"params": params, "batch_stats": VARIABLES["batch_stats"]}
    return jnp.sum(weights * BatchNorm(groups=groups).apply(variables, x, True, mutable="batch_stats")[0])

  params = jax.tree.map(jnp.asarray, VARIABLES["params"])
  found, expected = (jax.grad(loss, argnums=(0, 1))(params, X) for loss in (by_layer, by_formula))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected)


def test_the_gradient_of_a_half_precision_map_is_half_precision():
  def loss(x):
    return jnp.sum(BatchNorm(dtype=jnp.bfloat16).apply(VARIABLES, x, True, mutable="batch_stats")[0][..., 0, :])

  found, expected = jax.grad(loss)(X.astype(jnp.bfloat16)), jax.grad(loss)(X)
  assert found.dtype == jnp.bfloat16
  np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=0.02)
