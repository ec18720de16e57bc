"""Transformer blocks against formulas in NumPy and the library's own layers."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.models.attention import Block, DepthwiseConv, MixFFN, SpatialReductionAttention

RNG = np.random.default_rng(0)


def _filled(module, x, *args):
  """Variables with every parameter drawn: fresh biases are zero and would hide mistakes."""
  shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.asarray(x), *args))
  return jax.tree.map(lambda leaf: jnp.asarray(RNG.normal(0, 0.5, leaf.shape), jnp.float32), shapes)


def _apply(module, variables, *args, **options) -> Any:
  return module.apply(variables, *(jnp.asarray(arg) if isinstance(arg, np.ndarray) else arg for arg in args), **options)


def _dense(x, params):
  return x @ np.asarray(params["kernel"], np.float64) + np.asarray(params["bias"], np.float64)


def _normed(x, params, epsilon):
  x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
  return x * np.asarray(params["scale"], np.float64) + np.asarray(params["bias"], np.float64)


def _reduced(x, params, reduction, epsilon):
  """Whole squares of the map, each through the convolution, then normed."""
  rows, columns = x.shape[1] // reduction, x.shape[2] // reduction
  kernel = np.asarray(params["reduction"]["kernel"], np.float64)
  out = np.zeros((len(x), rows, columns, kernel.shape[-1]))
  for row in range(rows):
    for column in range(columns):
      window = x[:, row * reduction : (row + 1) * reduction, column * reduction : (column + 1) * reduction]
      out[:, row, column] = np.einsum("bhwi,hwio->bo", window, kernel) + np.asarray(params["reduction"]["bias"])
  return _normed(out, params["reduction_norm"], epsilon)


@pytest.mark.parametrize(("reduction", "epsilon"), [(1, 1e-6), (2, 1e-6), (2, 0.1)])
def test_attention(reduction, epsilon):
  x = RNG.normal(size=(2, 4, 5, 6)).astype(np.float32)  # five columns: the last one is in no square of two
  layer = SpatialReductionAttention(heads=3, reduction=reduction, reduction_epsilon=epsilon)
  variables = _filled(layer, x)
  params = variables["params"]
  source = x.astype(np.float64) if reduction == 1 else _reduced(x.astype(np.float64), params, reduction, epsilon)
  query, key, value = (
    _dense(tokens, params[name]).reshape(2, -1, 3, 2)
    for name, tokens in (("query", x.astype(np.float64)), ("key", source), ("value", source))
  )
  scores = np.exp(np.einsum("bqnd,bknd->bnqk", query, key) / np.sqrt(2))
  mixed = np.einsum("bnqk,bknd->bqnd", scores / scores.sum(-1, keepdims=True), value)
  expected = _dense(mixed.reshape(2, 4, 5, 6), params["out"])
  np.testing.assert_allclose(_apply(layer, variables, x), expected, rtol=1e-4, atol=1e-4)


def test_attention_refuses_what_does_not_divide():
  x = jnp.zeros((1, 4, 4, 6))
  with pytest.raises(ValueError, match="6 channels do not divide among 4 heads"):
    SpatialReductionAttention(4).init(jax.random.key(0), x)
  with pytest.raises(ValueError, match="4 x 4 holds no square of 8 x 8"):
    SpatialReductionAttention(2, 8).init(jax.random.key(0), x)


def test_depthwise_equals_the_grouped_convolution_forward_and_backward():
  x = jnp.asarray(RNG.normal(size=(2, 5, 7, 4)), jnp.float32)
  ours, theirs = DepthwiseConv(), nn.Conv(4, (3, 3), padding=1, feature_group_count=4)
  variables = _filled(ours, x)
  pull = jnp.asarray(RNG.normal(size=x.shape), jnp.float32)

  def results(layer, params, x):
    return jax.value_and_grad(lambda p, x: jnp.vdot(pull, _apply(layer, {"params": p}, x)), argnums=(0, 1))(params, x)

  params = variables["params"]
  found = results(ours, params, x)
  expected = results(theirs, params | {"kernel": params["kernel"][:, :, None]}, x)
  expected[1][0]["kernel"] = expected[1][0]["kernel"][:, :, 0]
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected)


def test_depthwise_sums_in_float32():
  x = jnp.full((1, 3, 3, 1), 1.0, jnp.bfloat16)
  layer = DepthwiseConv(jnp.bfloat16)
  params = {"kernel": jnp.full((3, 3, 1), 2.0**-10).at[1, 1].set(1.0), "bias": jnp.zeros(1)}
  found = _apply(layer, {"params": params}, x)
  assert found.dtype == jnp.bfloat16
  assert found[0, 1, 1, 0] == jnp.bfloat16(1 + 8 * 2.0**-10)  # term by term in bfloat16 it would stay 1


def test_feed_forward():
  x = RNG.normal(size=(1, 3, 4, 2)).astype(np.float32)
  layer = MixFFN(ratio=3)
  variables = _filled(layer, x)
  params = variables["params"]
  inner = _dense(x.astype(np.float64), params["expand"])
  inner = np.asarray(_apply(DepthwiseConv(), {"params": params["depthwise"]}, jnp.asarray(inner, jnp.float32)))
  gelu = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / np.sqrt(2)))
  np.testing.assert_allclose(_apply(layer, variables, x), _dense(gelu, params["contract"]), rtol=1e-4, atol=1e-4)


def test_a_dropped_path_leaves_the_example_as_it_was_and_a_kept_one_is_scaled():
  x = jnp.asarray(RNG.normal(size=(64, 2, 2, 4)), jnp.float32)
  block = Block(heads=2, ratio=2, drop_path=0.25)
  variables = _filled(block, x, False)
  params = variables["params"]
  found = _apply(block, variables, x, True, rngs={"dropout": jax.random.key(1)})
  norm = nn.LayerNorm(epsilon=1e-6)
  once = _apply(
    SpatialReductionAttention(2), {"params": params["attention"]}, _apply(norm, {"params": params["norm1"]}, x)
  )
  kinds = np.zeros((2, 2), int)
  for i in range(len(x)):
    for attends in (0, 1):
      y = x[i : i + 1] + attends * once[i : i + 1] / 0.75
      ffn = _apply(MixFFN(2), {"params": params["ffn"]}, _apply(norm, {"params": params["norm2"]}, y))
      for feeds in (0, 1):
        kinds[attends, feeds] += np.allclose(found[i : i + 1], y + feeds * ffn / 0.75, atol=1e-4)
  assert kinds.sum() == len(x)  # every example is one of the four kinds
  assert (kinds > 0).all()
  assert kinds[1, 1] > kinds[0, 0]


def test_evaluation_drops_nothing():
  x = jnp.asarray(RNG.normal(size=(2, 2, 2, 4)), jnp.float32)
  variables = _filled(Block(2), x, False)
  np.testing.assert_array_equal(
    _apply(Block(2, drop_path=0.9), variables, x, False), _apply(Block(2), variables, x, False)
  )
