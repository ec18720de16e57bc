"""ResNet (He et al., 2016) as torchvision builds it: the stride of a bottleneck sits in its 3x3 convolution."""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.conv import Conv
from jaxhands.models.norm import BatchNorm
from jaxhands.models.pooling import max_pool

# depth -> (blocks of the four stages, kind of block)
_DEPTHS: dict[int, tuple[tuple[int, int, int, int], Literal["basic", "bottleneck"]]] = {
  10: ((1, 1, 1, 1), "basic"),  # not among the published ones
  18: ((2, 2, 2, 2), "basic"),
  34: ((3, 4, 6, 3), "basic"),
  50: ((3, 4, 6, 3), "bottleneck"),
  101: ((3, 4, 23, 3), "bottleneck"),
  152: ((3, 8, 36, 3), "bottleneck"),
}
_EXPANSION = {"basic": 1, "bottleneck": 4}
Norm = Literal["all", "shortcuts", "none"]
_he_normal = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def structure(depth: int) -> tuple[tuple[int, int, int, int], Literal["basic", "bottleneck"]]:
  """Blocks in the four stages of ResNet-`depth`, and their kind.

  Raises:
    ValueError: no such network.
  """
  if depth not in _DEPTHS:
    raise ValueError(f"there is no ResNet-{depth}; choose one of {sorted(_DEPTHS)}")
  return _DEPTHS[depth]


class Block(nn.Module):
  """One residual block: two 3x3 convolutions ("basic"), or 1x1, 3x3, 1x1 with four times the output ("bottleneck").

  Attributes:
    kind: "basic" or "bottleneck".
    features: inner channels.
    stride: of the first 3x3 convolution (basic) or of the only one (bottleneck), and of the shortcut.
    norm: what has batch norm: "all" convolutions, those of "shortcuts", or "none".
  """

  kind: Literal["basic", "bottleneck"]
  features: int
  stride: int = 1
  norm: Norm = "all"
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b p q d"]:
    def conv(features: int, kernel: int, stride: int, name: str) -> nn.Module:
      return Conv(features, kernel, stride, use_bias=False, dtype=self.dtype, kernel_init=_he_normal, name=name)

    def norm(x: jax.Array, name: str) -> jax.Array:
      if self.norm == "all" or (self.norm == "shortcuts" and name == "downsample_bn"):
        return BatchNorm(groups=self.bn_groups, dtype=self.dtype, name=name)(x, train)
      return x

    width_out = self.features * _EXPANSION[self.kind]
    if self.kind == "basic":
      layers = ((self.features, 3, self.stride), (self.features, 3, 1))
    else:
      layers = ((self.features, 1, 1), (self.features, 3, self.stride), (width_out, 1, 1))
    y = x
    for i, (features, kernel, stride) in enumerate(layers, start=1):
      y = norm(conv(features, kernel, stride, f"conv{i}")(y), f"bn{i}")
      if i < len(layers):
        y = nn.relu(y)
    if self.stride != 1 or x.shape[-1] != width_out:
      x = norm(conv(width_out, 1, self.stride, "downsample_conv")(x), "downsample_bn")
    return nn.relu(x + y)


class ResNet(nn.Module):
  """ResNet-10, 18, 34, 50, 101 or 152 without pooling and classifier.

  Attributes:
    depth: of the network.
    width: channels of the stem and inner channels of the first stage (64 in all published networks).
    norm: what has batch norm: "all" convolutions, the stem and "shortcuts" (Intershape's second release), or "none"
      (its first).
    dtype: of convolutions and activations; parameters and statistics stay float32.
    bn_groups: see `BatchNorm.groups`.
  """

  depth: int = 50
  width: int = 64
  norm: Norm = "all"
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1

  @nn.compact
  def __call__(
    self, image: Float[Array, "b h w c"], train: bool, more: Float[Array, "b m n k"] | None = None
  ) -> dict[str, Float[Array, "b p q d"]]:
    """Feature maps "stem" and "layer1" (stride 4), "layer2" (8), "layer3" (16), "layer4" (32), all after ReLU.

    Args:
      image: normalised as the weights want it.
      train: batch statistics.
      more: maps of stride 8 that layer3 sees after the channels of layer2.
    """
    blocks, kind = structure(self.depth)
    x = Conv(self.width, 7, 2, use_bias=False, dtype=self.dtype, kernel_init=_he_normal, name="conv1")(image)
    if self.norm != "none":
      x = BatchNorm(groups=self.bn_groups, dtype=self.dtype, name="bn1")(x, train)
    x = max_pool(nn.relu(x), 3, 2, 1)
    maps = {"stem": x}
    for stage, count in enumerate(blocks, start=1):
      if stage == 3 and more is not None:
        x = jnp.concatenate([x, more.astype(x.dtype)], axis=-1)
      for i in range(count):
        x = Block(
          kind, self.width * 2 ** (stage - 1), stride=2 if stage > 1 and i == 0 else 1, norm=self.norm,
          dtype=self.dtype, bn_groups=self.bn_groups, name=f"layer{stage}_{i}",
        )(x, train)  # fmt: skip
      maps[f"layer{stage}"] = x
    return maps
