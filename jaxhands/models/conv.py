"""A convolution with batch norm and ReLU, the brick of HRNet and UNet."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.norm import BatchNorm


class ConvNorm(nn.Module):
  """Convolution, batch norm and, unless told, ReLU; padded as PyTorch does, kernel // 2 on every side.

  Attributes:
    features: output channels.
    kernel, stride: of the convolution.
    use_bias: the convolution has a bias, as some references have though the norm takes it out again.
    relu: whether it ends in ReLU.
    kernel_init: of the convolution.
    bn_groups: see `BatchNorm.groups`.
  """

  features: int
  kernel: int = 3
  stride: int = 1
  use_bias: bool = False
  relu: bool = True
  kernel_init: Any = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b p q d"]:
    x = nn.Conv(
      self.features, (self.kernel, self.kernel), (self.stride, self.stride), padding=self.kernel // 2,
      use_bias=self.use_bias, dtype=self.dtype, kernel_init=self.kernel_init, name="conv",
    )(x)  # fmt: skip
    x = BatchNorm(groups=self.bn_groups, dtype=self.dtype, name="bn")(x, train)
    return nn.relu(x) if self.relu else x
