"""MiT (SegFormer, Xie et al., NeurIPS 2021): four stages of transformer blocks on maps of falling resolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
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
_FEW = 3  # blocks of a stage that are compiled one by one


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
    rates = np.split(np.linspace(0, self.drop_path, sum(blocks)), np.cumsum(blocks)[:-1])
    x, maps = image.astype(self.dtype), []
    for stage, count in enumerate(blocks):
      x = OverlapPatchEmbed(
        width * HEADS[stage], _KERNELS[stage], _STRIDES[stage], self.dtype, name=f"embed{stage + 1}"
      )(x)
      names = [f"stage{stage + 1}_{i}" for i in range(count)]
      kind = {"heads": HEADS[stage], "reduction": REDUCTIONS[stage], "dtype": self.dtype}
      if self.is_initializing() or count <= _FEW:
        for name, rate in zip(names, rates[stage].tolist(), strict=True):
          x = Block(drop_path=rate, name=name, **kind)(x, train)
      else:
        x = self._repeated(Block(parent=None, **kind), names, rates[stage], x, train)
      x = layer_norm(self.dtype, f"norm{stage + 1}")(x)
      maps.append(x)
    return tuple(maps)

  def _repeated(
    self, block: Block, names: Sequence[str], rates: np.ndarray, x: Float[Array, "b h w c"], train: bool
  ) -> Float[Array, "b h w c"]:
    """Blocks of one kind, one after the other, compiled once.

    One by one, XLA:CPU evaluates the gradient of all later blocks' sums anew in every block (a step of MiT-B5 took 3.5
    times PyTorch's), and compiles for minutes.
    """
    params = self.variables["params"]
    stacked = jax.tree.map(lambda *each: jnp.stack(each), *[params[name] for name in names])
    keys = jax.random.split(self.make_rng("dropout"), len(names)) if train else None

    def one(x: jax.Array, own: tuple) -> tuple[jax.Array, None]:
      params, rate, key = own
      streams = {} if key is None else {"dropout": key}
      seen: Any = block.apply({"params": params}, x, train, rate if train else None, rngs=streams)
      return seen, None

    # A loop keeps what its gradient reads of every run side by side: of four arrays of a block's widest part, one. The
    # others, made anew from it, cost less than the memory that they would be written to.
    kept = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    one = jax.checkpoint(one, prevent_cse=False, policy=kept)
    return jax.lax.scan(one, x, (stacked, jnp.asarray(rates, jnp.float32), keys))[0]
