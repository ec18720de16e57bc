"""HRNet (Sun et al., 2019): parallel branches of several resolutions that exchange their features again and again.

As DIGIT uses it: the finest branch alone is the result, so that the last exchange makes no other.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.backbones.resnet import Block
from jaxhands.models.conv import ConvNorm
from jaxhands.models.resize import enlarge_nearest

Branches = tuple[Float[Array, "b _ _ _"], ...]  # each coarser one has half the rows and columns


class Exchange(nn.Module):
  """One module of a stage: residual blocks along each branch, then every branch becomes a sum over all of them.

  Coarser branches are added after a 1x1 convolution and nearest upsampling, finer ones after as many 3x3 convolutions
  with stride 2 as there are octaves between them.

  Attributes:
    blocks: residual blocks of each branch.
    outputs: how many branches come out, the finest first.
  """

  blocks: int
  outputs: int
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1

  @nn.compact
  def __call__(self, branches: Sequence[Float[Array, "b _ _ _"]], train: bool) -> Branches:
    shared = {"dtype": self.dtype, "bn_groups": self.bn_groups}
    widths = [x.shape[-1] for x in branches]
    grown = []
    for i, x in enumerate(branches):
      for k in range(self.blocks):
        x = Block("basic", widths[i], name=f"branch{i}_{k}", **shared)(x, train)
      grown.append(x)
    fused = []
    for i in range(self.outputs):
      total = None
      for j, x in enumerate(grown):
        if j > i:
          x = ConvNorm(widths[i], kernel=1, relu=False, name=f"fuse{i}_{j}", **shared)(x, train)
          x = enlarge_nearest(x, 2 ** (j - i))
        for k in range(i - j):
          last = k == i - j - 1
          x = ConvNorm(
            widths[i] if last else widths[j], stride=2, relu=not last, name=f"fuse{i}_{j}_{k}", **shared
          )(x, train)  # fmt: skip
        total = x if total is None else total + x
      assert total is not None
      fused.append(nn.relu(total))
    return tuple(fused)


class HRNet(nn.Module):
  """HRNet-W`width` without the classifier.

  Attributes:
    width: channels of the finest branch, at stride 4; each coarser one has twice as many (18, 32, 48 are published).
    modules: exchanges in stages 2, 3 and 4, which have 2, 3 and 4 branches.
    blocks: residual blocks of each branch in an exchange, and of the first stage.
    stem: channels of the stem and inner channels of the first stage (64 in all published networks).
    stride: of the finest branch: 4, or 8, which is not published and, on few pixels, several times as fast: one more
      convolution with stride 2 after the first stage.
    dtype: of convolutions and activations; parameters and statistics stay float32.
    bn_groups: see `BatchNorm.groups`.
  """

  width: int = 32
  modules: tuple[int, ...] = (1, 4, 3)
  blocks: int = 4
  stem: int = 64
  stride: int = 4
  dtype: jnp.dtype | type = jnp.float32
  bn_groups: int = 1

  @nn.compact
  def __call__(self, image: Float[Array, "b h w 3"], train: bool) -> dict[str, jax.Array | Branches]:
    """Maps after ReLU: "stem" and "layer1" (stride 4), and the branches "stage2", "stage3", "stage4", finest first.

    The last one has the finest branch alone, [B, h / stride, w / stride, width].

    Raises:
      ValueError: another stride than 4 or 8.
    """
    if self.stride not in (4, 8):
      raise ValueError(f"stride={self.stride}: HRNet's finest branch has stride 4 or 8")
    shared = {"dtype": self.dtype, "bn_groups": self.bn_groups}
    x = ConvNorm(self.stem, stride=2, name="stem0", **shared)(image.astype(self.dtype), train)
    x = ConvNorm(self.stem, stride=2, name="stem1", **shared)(x, train)
    maps: dict[str, jax.Array | Branches] = {"stem": x}
    for k in range(self.blocks):
      x = Block("bottleneck", self.stem, name=f"layer1_{k}", **shared)(x, train)
    maps["layer1"] = x
    if self.stride == 8:
      x = ConvNorm(4 * self.stem, stride=2, name="reduce", **shared)(x, train)
    branches: list[jax.Array] = []
    for stage, count in enumerate(self.modules, start=2):
      # Stage 2 begins with both of its branches, each later stage with one more, from the coarsest there is.
      if stage == 2:
        branches = [ConvNorm(self.width, name="transition1_0", **shared)(x, train)]
      source = x if stage == 2 else branches[-1]
      new = len(branches)
      grown = ConvNorm(self.width << new, stride=2, name=f"transition{stage - 1}_{new}", **shared)(source, train)
      branches = [*branches, grown]
      for k in range(count):
        last = stage == len(self.modules) + 1 and k == count - 1
        exchange = Exchange(self.blocks, 1 if last else len(branches), name=f"stage{stage}_{k}", **shared)
        branches = list(exchange(branches, train))
      maps[f"stage{stage}"] = tuple(branches)
    return maps
