"""Heads on a backbone's last map: upsamplers, 3D heatmaps, 2D heatmaps with depth maps.

How maps are read is not here: by maxima and expectations (soft-argmax) of `codecs`, which `systems.internet` calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.conv import Conv, Deconv
from jaxhands.models.norm import BatchNorm

UpsamplerKind = Literal["deconv", "shuffle", "skip"]


class Upsampler(nn.Module):
  """Doubles rows and columns several times; each time an upsampling layer, batch norm and ReLU.

  Attributes:
    kind: "deconv", the references' transposed 4x4 convolution with stride 2 and padding 1; "shuffle", a 1x1
      convolution whose output channels are dealt to the four new pixels, many times faster on a CPU; or "skip", which
      adds a 1x1 convolution of the trunk's own map of that size to the shuffled pixels and then looks at neighbours by
      a 3x3 convolution.
    features: output channels of each layer.
    layers: number of doublings.
    kernel_std: of the initial convolution weights (0: He's).
  """

  kind: UpsamplerKind = "deconv"
  features: int = 256
  layers: int = 3
  kernel_std: float = 0.001
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"], train: bool, finer: Sequence[Float[Array, "b _ _ _"]] = ()
  ) -> Float[Array, "b p q f"]:
    """The map after all doublings.

    Args:
      x: the trunk's last map.
      train: batch statistics.
      finer: for "skip", the trunk's maps of twice, four times, ... as many rows as `x`, one for each doubling.
    """
    init = nn.initializers.normal(self.kernel_std) if self.kernel_std else nn.initializers.he_normal()

    def norm(x: jax.Array, name: str) -> jax.Array:
      return nn.relu(BatchNorm(groups=self.bn_groups, dtype=self.dtype, name=name)(x, train))

    for i in range(self.layers):
      if self.kind == "deconv":
        x = Deconv(self.features, dtype=self.dtype, kernel_init=init, name=f"deconv{i}")(x)
      else:
        x = nn.Dense(4 * self.features, use_bias=False, dtype=self.dtype, kernel_init=init, name=f"expand{i}")(x)
        x = pixel_shuffle(x)
      if self.kind == "skip":
        lateral = nn.Dense(self.features, use_bias=False, dtype=self.dtype, kernel_init=init, name=f"lateral{i}")
        x = norm(x + lateral(finer[i]), f"skip_bn{i}")
        x = Conv(self.features, 3, use_bias=False, dtype=self.dtype, kernel_init=init, name=f"conv{i}")(x)
      x = norm(x, f"bn{i}")
    return x


def pixel_shuffle(x: Float[Array, "b h w c4"]) -> Float[Array, "b p q c"]:
  """Doubles rows and columns: channels (row, column, c) of a pixel become its 2x2 new pixels."""
  b, h, w, c = x.shape
  x = x.reshape(b, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, 2 * h, 2 * w, c // 4)


def pixel_unshuffle(x: Float[Array, "b p q c"]) -> Float[Array, "b h w c4"]:
  """Undoes `pixel_shuffle`: each 2x2 pixels become one."""
  b, p, q, c = x.shape
  x = x.reshape(b, p // 2, 2, q // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
  return x.reshape(b, p // 2, q // 2, 4 * c)


class VolumeHead(nn.Module):
  """3D heatmaps by a 1x1 convolution (InterNet, 4.2); channel = joint x bins + bin.

  Attributes:
    joints: number of heatmaps.
    bins: depth bins of each.
    kernel_std: of the initial weights.
  """

  joints: int = 21
  bins: int = 64
  kernel_std: float = 0.001
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w {self.joints} {self.bins}"]:
    init = nn.initializers.normal(self.kernel_std)
    x = Conv(self.joints * self.bins, 1, dtype=self.dtype, kernel_init=init, name="conv")(x)
    return x.reshape(*x.shape[:-1], self.joints, self.bins)


class PlaneHead(nn.Module):
  """2D heatmap scores and depth maps of all joints by one 1x1 convolution (2.5D soft-argmax: Iqbal et al., 2018).

  Attributes:
    joints: number of joints.
    kernel_std: of the initial weights.
  """

  joints: int = 21
  kernel_std: float = 0.001
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, "b h w c"]
  ) -> tuple[Float[Array, "b h w {self.joints}"], Float[Array, "b h w {self.joints}"]]:
    """Scores of the cells, and the depth that each cell believes in; both float32."""
    init = nn.initializers.normal(self.kernel_std)
    # A 1x1 convolution as a product of matrices: three times faster on a CPU.
    x = nn.Dense(2 * self.joints, dtype=self.dtype, kernel_init=init, name="dense")(x).astype(jnp.float32)
    return x[..., : self.joints], x[..., self.joints :]
