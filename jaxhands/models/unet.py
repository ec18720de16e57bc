"""A small UNet, as DIGIT fuses visual and semantic features with it."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.conv import Conv, ConvNorm
from jaxhands.models.pooling import max_pool
from jaxhands.models.resize import double_bilinear


class DoubleConv(nn.Module):
  """Two 3x3 convolutions with batch norm and ReLU, of `inner` and `features` channels."""

  inner: int
  features: int
  kernel_init: Any = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w {self.features}"]:
    for i, features in enumerate((self.inner, self.features)):
      x = ConvNorm(
        features, use_bias=True, kernel_init=self.kernel_init, dtype=self.dtype, bn_groups=self.bn_groups,
        name=f"layer{i}",
      )(x, train)  # fmt: skip
    return x


class UNet(nn.Module):
  """Down by max pooling, up by bilinear interpolation, with the maps of the way down beside those of the way up.

  Attributes:
    features: channels of each level on the way down, from the input's size on; rows and columns must be multiples of
      2 ** (levels - 1).
    outputs: channels of the result, which is linear.
  """

  features: tuple[int, ...] = (64, 128, 256, 256)
  outputs: int = 544
  kernel_init: Any = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w {self.outputs}"]:
    shared = {"kernel_init": self.kernel_init, "dtype": self.dtype, "bn_groups": self.bn_groups}
    levels = []
    for level, features in enumerate(self.features):
      x = max_pool(x, 2, 2) if level else x
      x = DoubleConv(features, features, name=f"down{level}", **shared)(x, train)
      levels.append(x)
    for level in reversed(range(len(levels) - 1)):
      x = jnp.concatenate([levels[level], double_bilinear(x)], axis=-1)
      features = self.features[level] // 2 if level else self.features[0]
      x = DoubleConv(x.shape[-1] // 2, features, name=f"up{level}", **shared)(x, train)
    return Conv(self.outputs, 1, dtype=self.dtype, kernel_init=self.kernel_init, name="out")(x)
