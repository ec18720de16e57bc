"""DetNet (Zhou et al., CVPR 2020; the SHPE of HDR): heat, delta and location maps of one hand's joints.

A ResNet-like trunk with dilated convolutions keeps a quarter of the input's resolution. Each head sees what the heads
before it said. Joints are in the order of SNAP: wrist, then thumb to little finger, base to tip (`hands.skeleton`).
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.conv import Conv
from jaxhands.models.norm import BatchNorm
from jaxhands.models.pooling import max_pool

JOINTS = 21
_EXPANSION = 4


def _init(std: float) -> nn.initializers.Initializer:
  return nn.initializers.normal(std) if std else nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class Bottleneck(nn.Module):
  """1x1, 3x3, 1x1 convolutions and a shortcut: the input, a convolution of it, or its 2x2 maxima (`pools`)."""

  features: int
  dilation: int = 1
  projects: bool = False
  pools: bool = False
  kernel_std: float = 0.001
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b p q d"]:
    def conv(x: jax.Array, features: int, kernel: int, name: str, stride: int = 1, dilation: int = 1) -> jax.Array:
      layer = Conv(
        features, kernel, stride, dilation=dilation, use_bias=False, dtype=self.dtype,
        kernel_init=_init(self.kernel_std), name=f"{name}conv",
      )  # fmt: skip
      return BatchNorm(dtype=self.dtype, name=f"{name}bn")(layer(x), train)

    y = nn.relu(conv(x, self.features, 1, "in_"))
    y = nn.relu(conv(y, self.features, 3, "mid_", stride=2 if self.pools else 1, dilation=self.dilation))
    y = conv(y, self.features * _EXPANSION, 1, "out_")
    if self.projects:
      x = conv(x, self.features * _EXPANSION, 1, "shortcut_")
    return nn.relu(y + (max_pool(x, 2, 2) if self.pools else x))


class MapHead(nn.Module):
  """3x3 convolution, norm, ReLU, 1x1 convolution to `outputs` maps."""

  outputs: int
  features: int
  kernel_std: float = 0.001
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b h w d"]:
    init = _init(self.kernel_std)
    x = Conv(self.features, 3, use_bias=False, dtype=self.dtype, kernel_init=init, name="conv")(x)
    x = nn.relu(BatchNorm(dtype=self.dtype, name="bn")(x, train))
    return Conv(self.outputs, 1, dtype=self.dtype, kernel_init=init, name="maps")(x)


class DetNet(nn.Module):
  """The network.

  Attributes:
    width: channels of the stem; block 1, 2 and 3 have 4, 8 and 16 times as many.
    blocks: bottlenecks in block 1, 2 and 3.
    head_features: of the squeezing convolution and of the heads.
    kernel_std: of the initial convolutions (0: He's).
  """

  width: int = 64
  blocks: tuple[int, int, int] = (2, 4, 6)
  head_features: int = 256
  kernel_std: float = 0.001
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, image: Float[Array, "b h w 3"], train: bool) -> dict[str, Float[Array, "b p q ..."]]:
    """Maps at a quarter of the input's size, float32.

    Returns:
      "heat" [B, h, w, 21]: scores before the sigmoid; "delta" [B, h, w, 21, 3]: unit vector from the parent;
      "location" [B, h, w, 21, 3]: joint from the wrist, in lengths of the bone from the wrist to the middle finger.
    """
    shared = {"use_bias": False, "dtype": self.dtype, "kernel_init": _init(self.kernel_std)}
    x = Conv(self.width, 7, 2, name="stem_conv", **shared)(image)
    x = nn.relu(BatchNorm(dtype=self.dtype, name="stem_bn")(x, train))

    def block(x: jax.Array, features: int, name: str, **options: bool | int) -> jax.Array:
      bottleneck = Bottleneck(features, kernel_std=self.kernel_std, dtype=self.dtype, name=name, **options)  # pyright: ignore[reportArgumentType]
      return bottleneck(x, train)

    for stage, count in enumerate(self.blocks):
      for i in range(count):
        dilation = (1, 2, 4)[stage]
        x = block(x, self.width << stage, f"block{stage + 1}_{i}", dilation=dilation, projects=i == 0)
      if stage == 0:
        x = block(x, self.width, "pool", pools=True)
    x = Conv(self.head_features, 3, name="squeeze_conv", **shared)(x)
    x = nn.relu(BatchNorm(dtype=self.dtype, name="squeeze_bn")(x, train))

    def head(x: jax.Array, outputs: int, name: str) -> jax.Array:
      return MapHead(outputs, self.head_features, self.kernel_std, self.dtype, name=name)(x, train)

    batch, height, width, _ = x.shape
    columns = jnp.broadcast_to(jnp.linspace(-1, 1, width)[:, None], (batch, height, width, 1))
    rows = jnp.broadcast_to(jnp.linspace(-1, 1, height)[:, None, None], (batch, height, width, 1))
    x = jnp.concatenate([x, columns.astype(x.dtype), rows.astype(x.dtype)], axis=-1)
    scores = head(x, JOINTS, "heat")
    x = jnp.concatenate([x, nn.sigmoid(scores)], axis=-1)
    delta = head(x, 3 * JOINTS, "delta")
    location = head(jnp.concatenate([x, delta], axis=-1), 3 * JOINTS, "location")
    vectors = (batch, height, width, JOINTS, 3)
    return {
      "heat": scores.astype(jnp.float32),
      "delta": delta.astype(jnp.float32).reshape(vectors),
      "location": location.astype(jnp.float32).reshape(vectors),
    }
