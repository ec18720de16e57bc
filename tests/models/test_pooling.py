"""Max pooling against Flax's own, forward and backward."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.models.pooling import max_pool


@pytest.mark.parametrize(("window", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (3, 1, 1), (3, 3, 0)])
@pytest.mark.parametrize("values", ["distinct", "tied", "negative"])
def test_equals_flax(window, stride, padding, values):
  x = jax.random.permutation(jax.random.key(0), jnp.arange(2 * 9 * 7 * 3, dtype=jnp.float32)).reshape(2, 9, 7, 3)
  x = {"distinct": x, "tied": x // 50, "negative": -x}[values]

  def theirs(x):
    return nn.max_pool(x, (window, window), (stride, stride), ((padding, padding),) * 2)

  expected, pull_theirs = jax.vjp(theirs, x)
  found, pull_ours = jax.vjp(lambda x: max_pool(x, window, stride, padding), x)
  np.testing.assert_array_equal(found, expected)
  cotangent = jax.random.normal(jax.random.key(1), expected.shape)
  np.testing.assert_allclose(pull_ours(cotangent)[0], pull_theirs(cotangent)[0], atol=1e-6)
