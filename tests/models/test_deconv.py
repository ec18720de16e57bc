"""Transposed convolution: numbers, shapes and gradients of Flax's own layer."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.models.deconv import Deconv


@pytest.mark.parametrize(
  ("kernel", "stride", "padding", "size"), [(4, 2, 1, 10), (2, 2, 0, 10), (3, 1, 1, 5), (3, 3, 0, 15)]
)
def test_equals_flax_forward_and_backward(kernel, stride, padding, size):
  x = jax.random.normal(jax.random.key(0), (2, 5, 5, 3))
  ours = Deconv(4, kernel, stride, padding)
  edge = kernel - 1 - padding
  theirs = nn.ConvTranspose(
    4, (kernel, kernel), (stride, stride), padding=((edge, edge), (edge, edge)), use_bias=False, transpose_kernel=True
  )
  variables = ours.init(jax.random.key(1), x)
  pull = jax.random.normal(jax.random.key(2), (2, size, size, 4))

  def results(layer):
    return jax.value_and_grad(lambda v, x: jnp.vdot(pull, layer.apply(v, x)), argnums=(0, 1))(variables, x)

  np.testing.assert_allclose(ours.apply(variables, x), theirs.apply(variables, x), atol=1e-5)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), results(ours), results(theirs))


def test_half_precision():
  x = jnp.ones((1, 4, 4, 2))
  layer = Deconv(3, dtype=jnp.bfloat16)
  variables = layer.init(jax.random.key(0), x)
  assert variables["params"]["kernel"].dtype == jnp.float32
  assert layer.apply(variables, x).dtype == jnp.bfloat16
