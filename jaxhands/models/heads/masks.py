"""SegFormer's decoder with a head for each of four masks, as HDR's amodal segmentation has it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.conv import ConvNorm
from jaxhands.models.norm import BatchNorm
from jaxhands.models.resize import resize_bilinear
from jaxhands.schema import HANDS

KINDS = ("amodal", "visible")
MASKS = tuple(f"{hand}_{kind}" for hand, kind in itertools.product(HANDS, KINDS))  # in the order of `Batch["masks"]`

_conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class MaskHead(nn.Module):
  """Fuses maps of different sizes at the first one's size, and scores its pixels.

  The reference enlarges the maps, puts them side by side and convolves (1x1). Enlarging and mixing channels may change
  places, so each map is mixed at its own size: a third of the work, the same result.

  Attributes:
    features: channels of the fused map.
    outputs: scores of a pixel.
    dropout: probability that a channel of the fused map is 0 in training.
  """

  features: int
  outputs: int
  dropout: float = 0.1
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1

  @nn.compact
  def __call__(self, maps: Sequence[Float[Array, "b _ _ c"]], train: bool) -> Float[Array, "b h w k"]:
    channels, (height, width) = maps[0].shape[-1], maps[0].shape[1:3]
    kernel = self.param("fusion", _conv_init, (len(maps) * channels, self.features))
    fused = jnp.zeros((*maps[0].shape[:3], self.features), self.dtype)
    for x, part in zip(maps, jnp.split(kernel.astype(self.dtype), len(maps)), strict=True):
      mixed = x @ part
      fused += mixed if mixed.shape[1:3] == (height, width) else resize_bilinear(mixed, (height, width))
    fused = nn.relu(BatchNorm(groups=self.bn_groups, dtype=self.dtype, name="bn")(fused, train))
    fused = nn.Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=not train, name="drop")(fused)
    return nn.Dense(self.outputs, dtype=self.dtype, kernel_init=nn.initializers.normal(0.01), name="scores")(fused)


class MaskDecoder(nn.Module):
  """Narrows each stage's map, shared by all heads, then scores the four masks.

  Attributes:
    features: channels that each map is narrowed to, and of the heads.
    outputs: scores of a pixel and mask: 1 (foreground) or 2 (background, foreground).
    dropout: see `MaskHead`; needs the random stream "dropout".
  """

  features: int = 256
  outputs: int = 1
  dropout: float = 0.1
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1

  @nn.compact
  def __call__(self, maps: Sequence[Float[Array, "b _ _ _"]], train: bool) -> Float[Array, "b h w 2 2 k"]:
    """Scores by hand (right, left) and kind (amodal, visible), at the size of the first map."""
    shared = {"dtype": self.dtype, "bn_groups": self.bn_groups}
    narrowed = [
      ConvNorm(self.features, kernel=1, name=f"narrow{stage}", **shared)(x, train)
      for stage, x in enumerate(maps, start=1)
    ]
    heads = [
      MaskHead(self.features, self.outputs, self.dropout, name=name, **shared)(narrowed, train) for name in MASKS
    ]
    scores = jnp.stack(heads, axis=3)
    return scores.reshape(*scores.shape[:3], len(HANDS), len(KINDS), self.outputs)
