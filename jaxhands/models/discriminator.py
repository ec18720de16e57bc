"""PatchGAN discriminator (Isola et al., CVPR 2017) with spectral norm (Miyato et al., ICLR 2018)."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.conv_forms import convolve

_EPSILON = 1e-12
_STRIDES = (2, 2, 2, 1, 1)
STATE = "spectral"  # the collection that holds u and v
_FIRST_ITERATIONS = 15


class SpectralConv(nn.Module):
  """4x4 convolution, padding 1, without bias, whose kernel is divided by its largest singular value.

  That value is u . W v of the kernel W as a matrix [out, in x rows x columns]. In training, u and v come one power
  iteration nearer to the singular vectors each time; PyTorch's `spectral_norm`. No gradient goes through u and v.

  Initial variables have 15 iterations behind them (PyTorch's parametrization of that name; the release, none): random
  vectors give a value near 0, and five such layers scores of many thousands, whose loss is cut off and teaches nothing.
  """

  features: int
  stride: int
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b p q d"]:
    kernel = self.param("kernel", nn.initializers.normal(0.02), (4, 4, x.shape[-1], self.features))
    matrix = kernel.transpose(3, 2, 0, 1).reshape(self.features, -1)  # PyTorch's order, so that its v fits
    u = self.variable(STATE, "u", lambda: _unit(jax.random.normal(self.make_rng("params"), (self.features,))))
    v = self.variable(STATE, "v", lambda: _unit(jax.random.normal(self.make_rng("params"), (matrix.shape[1],))))
    fixed = jax.lax.stop_gradient(matrix)
    for _ in range(_FIRST_ITERATIONS if self.is_initializing() else int(train)):
      v.value = _unit(jnp.dot(u.value, fixed, precision="highest"))
      u.value = _unit(jnp.dot(fixed, v.value, precision="highest"))
    sigma = jnp.dot(u.value, jnp.dot(matrix, v.value, precision="highest"), precision="highest")
    return convolve(x.astype(self.dtype), (kernel / sigma).astype(self.dtype), self.stride, padding=1)


class Discriminator(nn.Module):
  """Scores of overlapping patches of a picture: how real each looks, before the sigmoid.

  Attributes:
    width: channels of the first convolution.
  """

  width: int = 64
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b p q"]:
    """Of an input of 256 x 256, 30 x 30 scores; at least 24 x 24 px are needed for one."""
    widths = (self.width, 2 * self.width, 4 * self.width, 8 * self.width, 1)
    for layer, (features, stride) in enumerate(zip(widths, _STRIDES, strict=True), start=1):
      x = SpectralConv(features, stride, self.dtype, name=f"conv{layer}")(x, train)
      if layer < len(widths):
        x = nn.leaky_relu(x, 0.2)
    return x[..., 0].astype(jnp.float32)


def _unit(x: jax.Array) -> jax.Array:
  return x / jnp.maximum(jnp.linalg.norm(x), _EPSILON)
