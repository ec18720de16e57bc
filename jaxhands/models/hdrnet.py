"""HDRNet: the partial-convolution U-Net with transformer blocks that fills occluded parts and removes the other hand.

Meng et al., ECCV 2022, after Liu et al., ECCV 2018. All channels of HDRNet's inputs are valid wherever one of its two
pictures is, and the two holes never overlap; so the mask is all ones from the first layer's output on, and only the
first layer and the last one, which sees the input again, meet holes.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models import attention
from jaxhands.models.norm import BatchNorm
from jaxhands.models.partial_conv import Mask, PartialConv, upsample

_KERNELS = (7, 5, 5)  # of the first encoder units; all others have 3
_WIDEST = 8  # times the first unit's width
_PVT_REDUCTION_EPSILON = 1e-5
# Unit -> heads, ratio of the feed-forward part, reduction.
_TRANSFORMERS = {"enc3": (2, 8, 4), "enc5": (8, 4, 1), "dec5": (8, 4, 1), "dec3": (2, 8, 4)}


class Transformer(nn.Module):
  """One block of PVTv2 on a map's pixels as tokens, then layer norm."""

  heads: int
  ratio: int
  reduction: int
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w c"]:
    block = attention.Block(
      self.heads, self.ratio, self.reduction, _PVT_REDUCTION_EPSILON, dtype=self.dtype, name="block"
    )
    return attention.layer_norm(self.dtype, "norm")(block(x, train))


class HDRNet(nn.Module):
  """The generator.

  Attributes:
    width: channels of the first unit; they double up to eight times that.
    levels: encoder units, each of which halves rows and columns; so the input's sides are multiples of 2 ** levels.
    transformers: with the four transformer blocks (paper, Table 5, #5, without); there is none where `levels` has no
      such unit, and where the map is so small that all tokens would look at a single one.
    mean: see `PartialConv`; it matters where no batch norm follows: in the first and the last layer.
  """

  width: int = 64
  levels: int = 8
  transformers: bool = True
  mean: bool = False
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], mask: Mask, train: bool) -> Float[Array, "b h w 3"]:
    """The recovered picture, float32, in the range of the input's pictures, unbounded.

    Args:
      x: picture erased where this hand is hidden, mask of its visible part, picture erased where the other hand is,
        mask of the background.
      mask: where these are valid.
      train: batch statistics in the norms.
    Raises:
      ValueError: a side of the input is not a multiple of 2 ** levels.
    """
    if x.shape[1] % 2**self.levels or x.shape[2] % 2**self.levels:
      raise ValueError(f"an input of {x.shape[1]} x {x.shape[2]} cannot be halved levels={self.levels} times")
    widths = [self.width * min(2**level, _WIDEST) for level in range(self.levels)]

    def transformed(x: Float[Array, "b h w c"], unit: str) -> Float[Array, "b h w c"]:
      if not self.transformers or unit not in _TRANSFORMERS:
        return x
      heads, ratio, reduction = _TRANSFORMERS[unit]
      if min(x.shape[1:3]) < 2 * reduction:
        return x
      return Transformer(heads, ratio, reduction, self.dtype, name=f"{unit}_transformer")(x, train)

    def conv(features: int, kernel: int, stride: int, name: str, use_bias: bool = False) -> PartialConv:
      return PartialConv(features, kernel, stride, use_bias, self.mean, self.dtype, name=name)

    def norm(name: str) -> BatchNorm:
      return BatchNorm(dtype=self.dtype, name=name)

    skips = [(x.astype(self.dtype), mask)]
    for level, features in enumerate(widths, start=1):
      kernel = _KERNELS[level - 1] if level <= len(_KERNELS) else 3
      x, mask = conv(features, kernel, 2, f"enc{level}_conv")(*skips[-1])
      x = nn.relu(norm(f"enc{level}_bn")(x, train) if level > 1 else x)
      skips.append((transformed(x, f"enc{level}"), mask))

    x, mask = skips.pop()
    for level in range(self.levels, 0, -1):
      skip, skip_mask = skips.pop()
      x = jnp.concatenate([upsample(x), skip], axis=-1)
      mask = mask.upsampled() + skip_mask
      if level == 1:
        x, _ = conv(3, 3, 1, "dec1_conv", use_bias=True)(x, mask)
        break
      x, mask = conv(widths[level - 2], 3, 1, f"dec{level}_conv")(x, mask)
      x = nn.leaky_relu(norm(f"dec{level}_bn")(x, train), 0.2)
      x = transformed(x, f"dec{level}")
    return x.astype(jnp.float32)
