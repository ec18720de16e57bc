"""Partial convolution against plain loops and against an ordinary convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxhands.models.partial_conv import Mask, PartialConv, valid_inputs

CHANNELS = (2, 3)


def _case(seed, share_of_holes, size=7):
  rng = np.random.default_rng(seed)
  x = jnp.asarray(rng.normal(size=(1, size, size, sum(CHANNELS))), jnp.float32)
  planes = [(rng.random((1, size, size)) >= share_of_holes).astype(np.float32) for _ in CHANNELS]
  return x, planes, Mask(tuple(map(jnp.asarray, planes)), CHANNELS)


@settings(max_examples=8)
@given(st.integers(0, 999), st.sampled_from([0.2, 0.9, 1.0]), st.sampled_from([(3, 1), (5, 2)]), st.booleans())
def test_against_loops(seed, share_of_holes, kernel_stride, mean):
  kernel, stride = kernel_stride
  x, planes, mask = _case(seed, share_of_holes)
  layer = PartialConv(2, kernel, stride, use_bias=True, mean=mean)
  weights = np.random.default_rng(seed).normal(size=(kernel, kernel, x.shape[-1], 2)).astype(np.float32)
  bias = np.array([3.0, -2.0], np.float32)
  found, after = layer.apply({"params": {"kernel": jnp.asarray(weights), "bias": jnp.asarray(bias)}}, x, mask)

  edge, dense = kernel // 2, np.repeat(np.stack(planes, -1), CHANNELS, -1)
  padded, padded_mask = (np.pad(v, ((0, 0), (edge, edge), (edge, edge), (0, 0)))[0] for v in (x, dense))
  for row in range(found.shape[1]):
    for column in range(found.shape[2]):
      window = slice(stride * row, stride * row + kernel), slice(stride * column, stride * column + kernel)
      valid = padded_mask[window]
      expected = np.zeros(2)
      if valid.sum():
        summed = np.einsum("hwc,hwcd->d", padded[window] * valid, weights)
        expected = summed * (1 if mean else valid.size) / valid.sum() + bias
      np.testing.assert_allclose(found[0, row, column], expected, rtol=1e-4, atol=1e-4)
      assert after.planes[0][0, row, column] == float(valid.sum() > 0)


def test_one_channel_counts_as_all_of_them_do():
  _, planes, mask = _case(0, 0.4)
  dense = np.repeat(np.stack(planes, -1), CHANNELS, -1)
  ones = np.ones((3, 3, sum(CHANNELS), 1), np.float32)
  expected = jax.lax.conv_general_dilated(
    dense, ones, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
  )
  np.testing.assert_array_equal(valid_inputs(mask, 3, 2), expected)


def test_what_is_not_valid_does_not_matter_and_has_no_gradient():
  x, planes, mask = _case(3, 0.5)
  layer = PartialConv(2, 3)
  params = layer.init(jax.random.key(0), x, mask)
  dense = np.repeat(np.stack(planes, -1), CHANNELS, -1)
  garbage = jnp.where(dense > 0, x, jnp.nan)
  np.testing.assert_array_equal(layer.apply(params, garbage, mask)[0], layer.apply(params, x, mask)[0])
  gradient = jax.grad(lambda x: layer.apply(params, x, mask)[0].sum())(x)
  np.testing.assert_array_equal(np.asarray(gradient)[dense == 0], 0)
  assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("mean", [False, True])
def test_with_everything_valid_it_is_an_ordinary_convolution(mean):
  x, _, mask = _case(1, 0.0)
  layer = PartialConv(2, 3, mean=mean)
  params = layer.init(jax.random.key(0), x, mask)
  found = layer.apply(params, x, mask)[0][:, 1:-1, 1:-1]
  plain = jax.lax.conv_general_dilated(
    x, params["params"]["kernel"], (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
  )
  np.testing.assert_allclose(found, plain / (9 * x.shape[-1]) if mean else plain, rtol=1e-4, atol=1e-5)
