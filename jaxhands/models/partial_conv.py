"""Partial convolution (Liu et al., ECCV 2018): only valid inputs are summed, and the result is divided by their number.

A mask says which inputs are valid. In all that is built here it is the same over groups of neighbouring channels, so
a `Mask` holds one plane for each group, and the number of valid inputs of a window is one convolution of one channel
instead of one of all channels to all channels.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.conv_forms import convolve

_he_normal = nn.initializers.variance_scaling(2.0, "fan_in", "normal")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Mask:
  """Which entries of a map [B, h, w, C] are valid.

  Attributes:
    planes: [B, h, w] each, 1 = valid, 0 = not: of each group of neighbouring channels.
    channels: size of each group; they add up to C.
  """

  planes: tuple[Any, ...]
  channels: tuple[int, ...] = dataclasses.field(metadata={"static": True})

  def __add__(self, other: Mask) -> Mask:
    """Of maps that are concatenated along their channels."""
    return Mask((*self.planes, *other.planes), (*self.channels, *other.channels))

  def upsampled(self) -> Mask:
    """Rows and columns doubled, each entry repeated."""
    return Mask(tuple(upsample(plane[..., None])[..., 0] for plane in self.planes), self.channels)

  def applied(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """`x`, and 0 where it is not valid."""
    parts = [
      jnp.broadcast_to(plane[..., None], (*plane.shape, count))
      for plane, count in zip(self.planes, self.channels, strict=True)
    ]
    whole = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)
    return jnp.where(whole > 0, x, 0)


def upsample(x: Float[Array, "b h w c"]) -> Float[Array, "b p q c"]:
  """Rows and columns doubled, each entry repeated (nearest neighbour)."""
  return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def valid_inputs(mask: Mask, kernel: int, stride: int) -> Float[Array, "b p q 1"]:
  """How many inputs of each window, over all channels, are valid; what lies outside the map is not."""
  total = jnp.zeros(mask.planes[0].shape, jnp.float32)
  for plane, count in zip(mask.planes, mask.channels, strict=True):
    total += count * plane
  ones = jnp.ones((kernel, kernel, 1, 1))
  return jax.lax.stop_gradient(convolve(total[..., None], ones, stride, kernel // 2))


class PartialConv(nn.Module):
  """Convolution of the valid inputs, divided by their number; exactly 0, without the bias, where there are none.

  Padding is half of the kernel. No gradient goes through the mask.

  Attributes:
    features: output channels.
    kernel: side of the window, odd.
    stride: between windows.
    use_bias: adds a bias.
    mean: the result is the mean over the valid inputs (HDR's release), else that times the window's number of inputs
      (Liu et al., equation 1), which is an ordinary convolution where everything is valid.
  """

  features: int
  kernel: int
  stride: int = 1
  use_bias: bool = False
  mean: bool = False
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], mask: Mask) -> tuple[Float[Array, "b p q d"], Mask]:
    """The map and where it is valid: where one input or more was."""
    shape = (self.kernel, self.kernel, x.shape[-1], self.features)
    weights = self.param("kernel", _he_normal, shape)
    count = valid_inputs(mask, self.kernel, self.stride)
    inputs = 1 if self.mean else self.kernel**2 * x.shape[-1]
    summed = convolve(mask.applied(x.astype(self.dtype)), weights.astype(self.dtype), self.stride, self.kernel // 2)
    out = summed * (inputs / jnp.maximum(count, 1))
    if self.use_bias:
      out += self.param("bias", nn.initializers.zeros, (self.features,))
    valid = count > 0
    plane = valid[..., 0].astype(jnp.float32)
    # XLA computes windows of nothing but zeros as 0 as well; the bias must not show there.
    return jnp.where(valid, out, 0).astype(self.dtype), Mask((plane,), (self.features,))
