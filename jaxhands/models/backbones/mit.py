"""MiT (SegFormer, Xie et al., NeurIPS 2021): four stages of transformer blocks on maps of falling resolution."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxhands.models.attention import Block, OverlapPatchEmbed, layer_norm

# size -> (channels of a head, blocks of the four stages)
_SIZES: dict[str, tuple[int, tuple[int, int, int, int]]] = {
  "b0": (32, (2, 2, 2, 2)),
  "b1": (64, (2, 2, 2, 2)),
  "b2": (64, (3, 4, 6, 3)),
  "b3": (64, (3, 4, 18, 3)),
  "b4": (64, (3, 8, 27, 3)),
  "b5": (64, (3, 6, 40, 3)),
}
HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
_KERNELS, _STRIDES = (7, 3, 3, 3), (4, 2, 2, 2)


def structure(size: str) -> tuple[int, tuple[int, int, int, int]]:
  """Channels of one head and blocks of the four stages of MiT-`size`.

  Raises:
    ValueError: no such network.
  """
  if size not in _SIZES:
    raise ValueError(f"there is no MiT-{size}; choose one of {sorted(_SIZES)}")
  return _SIZES[size]


class MiT(nn.Module):
  """MiT-B0 to B5.

  Attributes:
    size: "b0" to "b5".
    width: channels of one head, of which the stages have 1, 2, 5, 8; 0 = those of the published network.
    drop_path: of the last block; grows from 0 at the first, by equal steps. Needs the random stream "dropout".
    dtype: of the arithmetic; parameters stay float32.
  """

  size: str = "b5"
  width: int = 0
  drop_path: float = 0.1
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, image: Float[Array, "b h w c"], train: bool) -> tuple[Float[Array, "b p q d"], ...]:
    """The normed outputs of the four stages, at 1/4, 1/8, 1/16 and 1/32 of the size, rounded up."""
    width, blocks = structure(self.size)
    width = self.width or width
    rates = iter(np.linspace(0, self.drop_path, sum(blocks)).tolist())
    x, maps = image.astype(self.dtype), []
    for stage, count in enumerate(blocks):
      x = OverlapPatchEmbed(
        width * HEADS[stage], _KERNELS[stage], _STRIDES[stage], self.dtype, name=f"embed{stage + 1}"
      )(x)
      for i in range(count):
        x = Block(
          HEADS[stage], reduction=REDUCTIONS[stage], drop_path=next(rates), dtype=self.dtype,
          name=f"stage{stage + 1}_{i}",
        )(x, train)  # fmt: skip
      x = layer_norm(self.dtype, f"norm{stage + 1}")(x)
      maps.append(x)
    return tuple(maps)
