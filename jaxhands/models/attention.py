"""Transformer blocks on feature maps whose keys and values come from fewer tokens: SegFormer's MiT and PVTv2.

Tokens stay a map [B, h, w, C], row by row, so that a fully connected layer on the last axis is a 1x1 convolution. There
is no positional embedding: the depthwise convolution between the layers of the feed-forward part, whose zero padding
tells where the border is, takes its place.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.conv import Conv

NORM_EPSILON = 1e-6  # of all layer norms in MiT; in PVTv2 of all but the one after the reduction, which has 1e-5

# Both references truncate at +-2, not at two deviations, which is no truncation.
_linear_init = nn.initializers.normal(0.02)
_conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def layer_norm(dtype: jnp.dtype | type, name: str, epsilon: float = NORM_EPSILON) -> nn.LayerNorm:
  """Layer norm over channels, with the variance computed as PyTorch does."""
  return nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, dtype=dtype, name=name)


class OverlapPatchEmbed(nn.Module):
  """A strided convolution whose windows overlap, then layer norm: a map of tokens.

  Attributes:
    features: channels of a token.
    kernel: side of the window, odd; the picture is padded by half of it with zeros.
    stride: between windows.
  """

  features: int
  kernel: int
  stride: int
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q d"]:
    x = Conv(
      self.features, self.kernel, self.stride, dtype=self.dtype, kernel_init=_conv_init, name="projection"
    )(x)  # fmt: skip
    return layer_norm(self.dtype, "norm")(x)


class SpatialReductionAttention(nn.Module):
  """Multi-head attention of every token to one token of each square of `reduction` x `reduction`.

  That token is a convolution of the square and layer norm; rows and columns beyond the last whole square are left out.

  Attributes:
    heads: that share the channels.
    reduction: side of a square; 1 = attention to all tokens, without convolution and norm.
    reduction_epsilon: of that norm.
  """

  heads: int
  reduction: int = 1
  reduction_epsilon: float = NORM_EPSILON
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """Raises ValueError where channels do not divide among the heads, or the map holds no whole square."""
    batch, height, width, channels = x.shape
    if channels % self.heads:
      raise ValueError(f"{channels} channels do not divide among {self.heads} heads")
    if min(height, width) < self.reduction:
      raise ValueError(f"a map of {height} x {width} holds no square of {self.reduction} x {self.reduction}")

    def dense(name: str) -> nn.Dense:
      return nn.Dense(channels, dtype=self.dtype, kernel_init=_linear_init, name=name)

    def of_heads(tokens: jax.Array) -> jax.Array:
      return tokens.reshape(batch, -1, self.heads, channels // self.heads)

    source = x
    if self.reduction > 1:
      source = Conv(
        channels, self.reduction, self.reduction, padding=0, dtype=self.dtype, kernel_init=_conv_init, name="reduction"
      )(x)  # fmt: skip
      source = layer_norm(self.dtype, "reduction_norm", self.reduction_epsilon)(source)
    query, key, value = dense("query")(x), dense("key")(source), dense("value")(source)
    mixed = jax.nn.dot_product_attention(of_heads(query), of_heads(key), of_heads(value))
    return dense("out")(mixed.reshape(x.shape))


class DepthwiseConv(nn.Module):
  """3x3 convolution of each channel with a kernel of its own, zero padding, bias; see `depthwise`."""

  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    channels = x.shape[-1]
    kernel = self.param("kernel", nn.initializers.normal((2 / 9) ** 0.5), (3, 3, channels))
    bias = self.param("bias", nn.initializers.zeros, (channels,))
    # Weights from a file may be NumPy's.
    return depthwise(x.astype(self.dtype), jnp.asarray(kernel), jnp.asarray(bias)).astype(self.dtype)


@jax.custom_vjp
def depthwise(
  x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c"], bias: Float[Array, " c"]
) -> Float[Array, "b h w c"]:
  """The sum of nine shifted products, in float32: one pass over memory, many times faster than XLA's grouped
  convolution on a CPU, forward and backward (`benchmarks/attention.py`).

  Its gradient is such a sum again. The derivative that JAX makes, a sum of nine padded maps, is fused into whatever
  reads it and evaluated anew there, and makes `MixFFN` several times slower on a CPU. There is no forward mode.
  """
  return _window_sum(x, kernel) + bias


def _window_sum(x: jax.Array, kernel: jax.Array) -> jax.Array:
  padded = _padded(x)
  return sum((_seen_from(padded, i, x.shape) * kernel[i // 3, i % 3] for i in range(9)), jnp.float32(0))


def _padded(x: jax.Array) -> jax.Array:
  return jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _seen_from(padded: jax.Array, place: Any, shape: tuple[int, ...]) -> jax.Array:
  """What one of the nine places of a window sees, row by row."""
  return jax.lax.dynamic_slice(padded, (0, place // 3, place % 3, 0), shape)


def _depthwise_forward(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> tuple[jax.Array, Any]:
  return depthwise(x, kernel, bias), (x, kernel)


def _depthwise_backward(seen: Any, cotangent: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
  x, kernel = seen
  padded = _padded(x)
  # A loop, because what it reads is made once; nine sums side by side would each evaluate GELU's derivative anew. Over
  # the batch, which devices share, the sum comes last and once.
  of_examples = jax.lax.map(lambda place: (_seen_from(padded, place, x.shape) * cotangent).sum((1, 2)), jnp.arange(9))
  of_kernel = of_examples.sum(1)
  of_x = _window_sum(cotangent, kernel[::-1, ::-1]).astype(x.dtype)
  return of_x, of_kernel.reshape(kernel.shape), cotangent.sum((0, 1, 2))


depthwise.defvjp(_depthwise_forward, _depthwise_backward)


class MixFFN(nn.Module):
  """Fully connected, depthwise 3x3 convolution, exact GELU, fully connected.

  Attributes:
    ratio: inner channels over outer ones.
  """

  ratio: int = 4
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    channels = x.shape[-1]
    inner = nn.Dense(self.ratio * channels, dtype=self.dtype, kernel_init=_linear_init, name="expand")(x)
    inner = nn.gelu(DepthwiseConv(self.dtype, name="depthwise")(inner), approximate=False)
    return nn.Dense(channels, dtype=self.dtype, kernel_init=_linear_init, name="contract")(inner)


class Block(nn.Module):
  """x + attention(norm(x)), then x + feed-forward(norm(x)).

  Attributes:
    heads: see `SpatialReductionAttention`.
    ratio: see `MixFFN`.
    reduction: see `SpatialReductionAttention`.
    reduction_epsilon: likewise; 1e-5 in PVTv2.
    drop_path: probability that an example skips a branch in training, drawn for each branch from the random stream
      "dropout"; what is kept is divided by the probability of keeping it.
  """

  heads: int
  ratio: int = 4
  reduction: int = 1
  reduction_epsilon: float = NORM_EPSILON
  drop_path: float = 0.0
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], train: bool, drop_path: Float[Array, ""] | None = None
  ) -> Float[Array, "b h w c"]:
    """`drop_path`, where it is given, takes the place of the attribute."""
    rate = self.drop_path if drop_path is None else drop_path

    def dropped(branch: jax.Array) -> jax.Array:
      if not train or (drop_path is None and rate == 0):
        return branch
      kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - rate, (len(branch), 1, 1, 1))
      return jnp.where(kept, branch / jnp.asarray(1 - rate, branch.dtype), 0)

    attention = SpatialReductionAttention(
      self.heads, self.reduction, self.reduction_epsilon, self.dtype, name="attention"
    )
    x = x + dropped(attention(layer_norm(self.dtype, "norm1")(x)))
    return x + dropped(MixFFN(self.ratio, self.dtype, name="ffn")(layer_norm(self.dtype, "norm2")(x)))
