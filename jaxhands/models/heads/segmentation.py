"""Heads around part segmentation: scores of all classes, and features made of them."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.conv import Conv, ConvNorm
from jaxhands.models.heads.heatmap import pixel_shuffle, pixel_unshuffle
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
    x = Conv(outputs, kernel, dtype=self.dtype, kernel_init=self.kernel_init, name="scores")(x)
    return (x if whole else pixel_shuffle(x)).astype(jnp.float32)


class SemanticFeatures(nn.Module):
  """Features of the classes' scores, at half their rows and columns (DIGIT, 3.2): convolutions with ReLU, no norm.

  Attributes:
    features: channels of each convolution.
    kind: of `SegmentationHead`. "conv": 3x3 convolutions, then max pooling; "shuffle": each 2x2 pixels become one with
      the scores of all, which a 1x1 convolution reads first.
    kernel_init: of all convolutions.
  """

  features: tuple[int, ...] = (64, 512)
  kind: Kind = "conv"
  kernel_init: Any = nn.initializers.he_normal()
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, scores: Float[Array, "b h w c"]) -> Float[Array, "b p q d"]:
    whole = self.kind == "conv"
    x = scores if whole else pixel_unshuffle(scores)
    for i, features in enumerate(self.features):
      kernel = 3 if whole or i else 1
      x = nn.relu(Conv(features, kernel, dtype=self.dtype, kernel_init=self.kernel_init, name=f"conv{i}")(x))
    return max_pool(x, 2, 2) if whole else x


class PooledFeatures(nn.Module):
  """A vector for the whole map: 3x3 convolutions with ReLU, no norm, halved after every second one; then the mean.

  Attributes:
    features: channels of each convolution; an even number of them.
    kernel_init: of all convolutions.
  """

  features: tuple[int, ...] = (64, 128, 256, 512, 512, 512)
  kernel_init: Any = nn.initializers.he_normal()
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b d"]:
    """The vector, float32."""
    for i, features in enumerate(self.features):
      x = nn.relu(Conv(features, 3, dtype=self.dtype, kernel_init=self.kernel_init, name=f"conv{i}")(x))
      x = max_pool(x, 2, 2) if i % 2 else x
    return jnp.mean(x.astype(jnp.float32), axis=(1, 2))


def hard_labels(scores: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
  """1 for the class with the largest score, 0 for the others; no gradient."""
  return jax.nn.one_hot(scores.argmax(-1), scores.shape[-1], dtype=scores.dtype)
