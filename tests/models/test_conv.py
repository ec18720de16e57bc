"""A 1x1 convolution as a product of matrices is the convolution; padding is PyTorch's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.models.conv import ConvNorm, PointwiseConv, conv


@pytest.mark.parametrize("use_bias", [True, False])
def test_pointwise(use_bias):
  x = jax.random.normal(jax.random.key(0), (2, 3, 5, 4))
  init = {"bias_init": nn.initializers.normal()} if use_bias else {}
  ours, theirs = conv(6, 1, use_bias=use_bias, **init), nn.Conv(6, (1, 1), use_bias=use_bias)
  assert isinstance(ours, PointwiseConv)
  variables = ours.init(jax.random.key(1), x)
  with jax.default_matmul_precision("float32"):
    np.testing.assert_allclose(ours.apply(variables, x), theirs.apply(variables, x), atol=1e-6)


def test_strides_start_at_the_first_pixel():
  """A kernel that picks its middle gives every second pixel, as with one pixel of padding on every side."""
  x = jax.random.normal(jax.random.key(0), (1, 6, 4, 1))
  kernel = jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1)
  found = conv(1, 3, 2, use_bias=False).apply({"params": {"kernel": kernel}}, x)
  np.testing.assert_allclose(found, x[:, ::2, ::2], atol=1e-6)


def test_norm_and_relu():
  x = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
  for relu in (True, False):
    out, _ = ConvNorm(5, relu=relu).init_with_output(jax.random.key(1), x, True)
    assert out.shape == (4, 8, 8, 5)
    assert (out.min() >= 0) == relu
    if not relu:
      np.testing.assert_allclose(out.mean((0, 1, 2)), 0, atol=1e-4)
      np.testing.assert_allclose(out.std((0, 1, 2)), 1, atol=1e-2)
