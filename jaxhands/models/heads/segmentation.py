"""Heads around part segmentation: scores of all classes, and features made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.conv import ConvNorm
from jaxhands.models.heads.heatmap import pixel_shuffle
from jaxhands.models.pooling import max_pool
from jaxhands.models.resize import double_bilinear

Kind = Literal["conv", "shuffle"]


class SegmentationHead(nn.Module):
  """Scores of the classes at twice the rows and columns of the features (DIGIT, 3.2).

  Attributes:
    classes: how many.
    features: channels of the convolutions before.
    kind: "conv", DIGIT's: bilinear enlargement, convolutions, of which the last two have as many channels as there are
      classes; or "shuffle": the convolutions before the enlargement, and a 1x1 convolution whose channels are dealt to
      the four new pixels, many times faster on a CPU.
    kernel_init: of all convolutions.
  """

  classes: int
  features: tuple[int, ...] = (16, 64)
  kind: Kind = "conv"
  kernel_init: Any = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"], train: bool) -> Float[Array, "b p q {self.classes}"]:
    """Scores, float32."""
    whole = self.kind == "conv"
    x = double_bilinear(x) if whole else x
    for i, features in enumerate((*self.features, self.classes) if whole else self.features):
      x = ConvNorm(
        features, use_bias=True, kernel_init=self.kernel_init, dtype=self.dtype, bn_groups=self.bn_groups,
        name=f"layer{i}",
      )(x, train)  # fmt: skip
    kernel, outputs = (3, self.classes) if whole else (1, 4 * self.classes)
    x = nn.Conv(outputs, (kernel, kernel), padding=kernel // 2, dtype=self.dtype, kernel_init=self.kernel_init,
                name="scores")(x)  # fmt: skip
    return (x if whole else pixel_shuffle(x)).astype(jnp.float32)


class ConvPool(nn.Module):
  """Groups of 3x3 convolutions with ReLU, no norm, and max pooling by two after each group.

  Attributes:
    features: channels of each convolution, by group.
    pool_first: pooling comes before its group, which is then four times cheaper.
  """

  features: Sequence[Sequence[int]]
  pool_first: bool = False
  kernel_init: Any = nn.initializers.he_normal()
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b p q d"]:
    number = 0
    for group in self.features:
      x = max_pool(x, 2, 2) if self.pool_first else x
      for features in group:
        conv = nn.Conv(
          features, (3, 3), padding=1, dtype=self.dtype, kernel_init=self.kernel_init, name=f"conv{number}"
        )
        x, number = nn.relu(conv(x)), number + 1
      x = x if self.pool_first else max_pool(x, 2, 2)
    return x


def hard_labels(scores: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
  """1 for the class with the largest score, 0 for the others; no gradient."""
  return jax.nn.one_hot(scores.argmax(-1), scores.shape[-1], dtype=scores.dtype)
