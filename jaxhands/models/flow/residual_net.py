"""What a coupling asks: a residual network of the kept half and of the picture's features.

The first layer is linear in both, so that the features' part is computed once for a picture (`project`) and added to
every row. A block is x + W2 dropout(relu(norm(W1 relu(norm(x))))); nothing follows the last layer.
"""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.norm import BatchNorm

_SMALL = 1e-3  # largest initial weight of a block's second layer
_SMALL_OUTPUT = 0.01  # of the last layer, over the root of its inputs


def _uniform(largest: float) -> nn.initializers.Initializer:
  def init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype | type = jnp.float32) -> jax.Array:
    return jax.random.uniform(key, shape, dtype, -largest, largest)

  return init


class Block(nn.Module):
  """One residual block."""

  features: int
  dropout: float
  batch_norm: bool
  dtype: jnp.dtype | type

  @nn.compact
  def __call__(self, x: Float[Array, "*b f"], train: bool) -> Float[Array, "*b f"]:
    y = x
    for i, largest in enumerate((1 / math.sqrt(self.features), _SMALL)):
      if self.batch_norm:
        y = BatchNorm(dtype=self.dtype, name=f"bn{i}")(y, train)
      y = nn.relu(y)
      if i == 1:
        y = nn.Dropout(self.dropout)(y, deterministic=not train)
      init = _uniform(largest)
      y = nn.Dense(
        self.features, dtype=self.dtype, precision="highest", kernel_init=init, bias_init=init, name=f"linear{i}"
      )(y)
    return x + y


class ResidualNet(nn.Module):
  """The network; layers start as PyTorch's, but for small ones that end each branch, so that it says next to nothing.

  Attributes:
    inputs, context: sizes of the kept half and of the picture's features.
    outputs: numbers that it gives.
    hidden: units of all layers between.
    blocks: residual blocks.
    dropout: share of units that is dropped within a block, in training.
    batch_norm: blocks normalise over all rows of a call, as the references' do.
    dtype: of its arithmetic.
  """

  inputs: int
  context: int
  outputs: int
  hidden: int
  blocks: int
  dropout: float = 0.5
  batch_norm: bool = True
  dtype: jnp.dtype | type = jnp.float32

  def setup(self):
    shared = {"dtype": self.dtype, "precision": "highest"}
    init = _uniform(1 / math.sqrt(self.inputs + self.context))
    self.from_context = nn.Dense(self.hidden, kernel_init=init, bias_init=init, **shared)
    self.from_kept = nn.Dense(self.hidden, use_bias=False, kernel_init=init, **shared)
    self.block = [Block(self.hidden, self.dropout, self.batch_norm, self.dtype) for _ in range(self.blocks)]
    last = _uniform(_SMALL_OUTPUT / math.sqrt(self.hidden))
    self.last = nn.Dense(self.outputs, kernel_init=last, bias_init=last, **shared)

  def project(self, context: Float[Array, "b {self.context}"]) -> Float[Array, "b 1 {self.hidden}"]:
    """The features' part of the first layer, for all rows of each picture."""
    return self.from_context(context)[:, None]

  def __call__(
    self, kept: Float[Array, "b s {self.inputs}"], projected: Float[Array, "b 1 {self.hidden}"], train: bool
  ) -> Float[Array, "b s {self.outputs}"]:
    x = self.from_kept(kept) + projected
    for block in self.block:
      x = block(x, train)
    return self.last(x)
