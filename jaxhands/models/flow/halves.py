"""The two halves of a coupling's dimensions: every second one, in turns."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class Halves:
  """Dimensions that a coupling keeps, and those that it moves.

  Attributes:
    features: D, also odd.
    keeps_odd: it keeps 1, 3, 5 ... and moves 0, 2, 4 ...; else the other way round.
  """

  features: int
  keeps_odd: bool

  @property
  def kept(self) -> Int[np.ndarray, " k"]:
    """Indices of A."""
    return np.arange(int(self.keeps_odd), self.features, 2)

  @property
  def moved(self) -> Int[np.ndarray, " m"]:
    """Indices of B."""
    return np.arange(int(not self.keeps_odd), self.features, 2)

  def split(self, rows: Float[Array, "*b d"]) -> tuple[Float[Array, "*b k"], Float[Array, "*b m"]]:
    """A and B of rows."""
    odd, even = rows[..., 1::2], rows[..., 0::2]
    return (odd, even) if self.keeps_odd else (even, odd)

  def join(self, kept: Float[Array, "*b k"], moved: Float[Array, "*b m"]) -> Float[Array, "*b d"]:
    """Undoes `split`."""
    order = np.argsort(np.concatenate([self.kept, self.moved]))
    return jnp.concatenate([kept, moved], axis=-1)[..., order]
