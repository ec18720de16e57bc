"""Fully connected heads on a pooled feature vector."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float


class DenseHead(nn.Module):
  """Two fully connected layers with a ReLU between them (handedness and relative root depth of InterNet, 4.1 and 4.3).

  Attributes:
    outputs: number of scores.
    hidden: units of the first layer.
    kernel_std: of the initial weights (InterNet's paper 0.001, its release 0.01).
  """

  outputs: int
  hidden: int = 512
  kernel_std: float = 0.001
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b c"]) -> Float[Array, "b {self.outputs}"]:
    """Scores, float32, without an activation."""
    init = nn.initializers.normal(self.kernel_std)
    x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, kernel_init=init, name="hidden")(x))
    return nn.Dense(self.outputs, dtype=self.dtype, kernel_init=init, name="scores")(x).astype(jnp.float32)
