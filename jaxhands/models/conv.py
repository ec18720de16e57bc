"""Layers of convolutions; `models.conv_forms` has the functions, which choose their form."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.conv_forms import convolve, deconvolve
from jaxhands.models.norm import BatchNorm


class Conv(nn.Module):
  """A square convolution, with PyTorch's padding. Parameters are those of `nn.Conv`, kernel [row, column, in, out].

  Attributes:
    features: output channels.
    kernel: side of the window.
    stride: between windows.
    padding: zeros on every side; None = half of the window, so that, with stride 1, the map keeps its size.
    dilation: pixels from one place of the kernel to the next.
    use_bias: whether it has a bias.
    kernel_init, bias_init: of the parameters.
  """

  features: int
  kernel: int
  stride: int = 1
  padding: int | None = None
  dilation: int = 1
  use_bias: bool = True
  dtype: jnp.dtype | type = jnp.float32
  kernel_init: Any = nn.initializers.lecun_normal()
  bias_init: Any = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q {self.features}"]:
    kernel = self.param("kernel", self.kernel_init, (self.kernel, self.kernel, x.shape[-1], self.features))
    padding = self.dilation * (self.kernel // 2) if self.padding is None else self.padding
    y = convolve(x.astype(self.dtype), jnp.asarray(kernel, self.dtype), self.stride, padding, self.dilation)
    if not self.use_bias:
      return y
    bias = self.param("bias", self.bias_init, (self.features,))
    return y + jnp.asarray(bias, self.dtype)


class Deconv(nn.Module):
  """PyTorch's `ConvTranspose2d` without bias: rows and columns grow to (n - 1) x stride - 2 x padding + kernel.

  Its kernel is [row, column, out, in], as that of `nn.ConvTranspose(transpose_kernel=True)`.

  Attributes:
    features: output channels.
    kernel, stride, padding: of the convolution that this is the transpose of.
    kernel_init: of the parameter.
  """

  features: int
  kernel: int = 4
  stride: int = 2
  padding: int = 1
  dtype: jnp.dtype | type = jnp.float32
  kernel_init: Any = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q f"]:
    kernel = self.param("kernel", self.kernel_init, (self.kernel, self.kernel, self.features, x.shape[-1]))
    return deconvolve(x.astype(self.dtype), jnp.asarray(kernel, self.dtype), self.stride, self.padding)


class ConvNorm(nn.Module):
  """Convolution, batch norm and, unless told, ReLU; padded by half of the kernel.

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
    x = Conv(
      self.features, self.kernel, self.stride, use_bias=self.use_bias, dtype=self.dtype, kernel_init=self.kernel_init,
      name="conv",
    )(x)  # fmt: skip
    x = BatchNorm(groups=self.bn_groups, dtype=self.dtype, name="bn")(x, train)
    return nn.relu(x) if self.relu else x
