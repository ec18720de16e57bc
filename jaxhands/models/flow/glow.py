"""Conditional GLOW (Kingma & Dhariwal 2018; conditioned as in ProHMR, Kolotouros et al. 2021): p(y | picture).

Layers of ActNorm, LULinear and a coupling carry data y to noise z ~ N(0, 1), and back. With f the way back,

    log p(y | v) = log N(f^-1(y)) + log |det df^-1/dy|

Rows are [B, S, D]: S vectors of each of B pictures, whose features v [B, C] are projected once (`condition`) and serve
every row and every call. In training the couplings' nets normalise over the rows of a call and drop units, so that two
calls are two functions: only in evaluation mode are `to_noise` and `from_noise` each other's inverse.
"""

from __future__ import annotations

from typing import Any, Literal

import distrax
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.flow.actnorm import ActNormLayer
from jaxhands.models.flow.additive_coupling import AdditiveCoupling
from jaxhands.models.flow.affine_coupling import SMALLEST_SCALE, AffineCoupling
from jaxhands.models.flow.halves import Halves
from jaxhands.models.flow.lu_linear import LULinearLayer
from jaxhands.models.flow.residual_net import ResidualNet

Projected = tuple[Float[Array, "b 1 h"], ...]  # of a picture's features, for the net of each layer


class ConditionalGlow(nn.Module):
  """The flow. Defaults are ProHMR's but for the coupling, which is additive there.

  Attributes:
    features: D, length of a row.
    context: C, length of a picture's features.
    hidden, blocks, dropout, batch_norm: of `ResidualNet`.
    layers: of three bijections each.
    coupling: "additive", or "affine".
    smallest_scale: of an affine coupling.
    dtype: of the arithmetic; float32 in training, float64 to prove it.
  """

  features: int
  context: int
  hidden: int = 1024
  layers: int = 4
  blocks: int = 2
  coupling: Literal["additive", "affine"] = "affine"
  dropout: float = 0.5
  batch_norm: bool = True
  smallest_scale: float = SMALLEST_SCALE
  dtype: jnp.dtype | type = jnp.float32

  def setup(self):
    self.halves = [Halves(self.features, keeps_odd=i % 2 == 1) for i in range(self.layers)]
    self.actnorm = [ActNormLayer(self.features) for _ in self.halves]
    self.lu = [LULinearLayer(self.features) for _ in self.halves]
    each = 2 if self.coupling == "affine" else 1
    self.net = [
      ResidualNet(
        len(halves.kept), self.context, each * len(halves.moved), self.hidden, self.blocks, self.dropout,
        self.batch_norm, self.dtype,
      )
      for halves in self.halves
    ]  # fmt: skip

  def condition(self, context: Float[Array, "b {self.context}"]) -> Projected:
    """What the other methods take of the pictures."""
    return tuple(net.project(context.astype(self.dtype)) for net in self.net)

  def bijectors(self, projected: Projected, train: bool) -> list[distrax.Bijector]:
    """All bijections on the way from data to noise, in order."""
    found: list[distrax.Bijector] = []
    for layer in range(self.layers):
      found += [self.actnorm[layer](), self.lu[layer](), self._coupling(layer, projected[layer], train)]
    return found

  def bijector(self, projected: Projected, train: bool) -> distrax.Bijector:
    """f: noise to data, as distrax has it."""
    return distrax.Inverse(distrax.Chain(self.bijectors(projected, train)[::-1]))

  def _coupling(self, layer: int, projected: Float[Array, "b 1 h"], train: bool) -> distrax.Bijector:
    def conditioner(kept: jax.Array) -> jax.Array:
      return self.net[layer](kept, projected, train)

    if self.coupling == "additive":
      return AdditiveCoupling(self.halves[layer], conditioner)
    return AffineCoupling(self.halves[layer], conditioner, self.smallest_scale)

  def start(
    self,
    rows: Float[Array, "b s {self.features}"],
    context: Float[Array, "b {self.context}"],
    weight: Float[Array, "b s"] | None = None,
    train: bool = False,
  ) -> tuple[Float[jax.Array, "b s {self.features}"], Float[jax.Array, "b s"]]:
    """Starts every ActNorm with the rows as they reach it, and gives what `to_noise` then gives.

    Needs mutable "params": this is the method to make variables with, from the first batch of a run.

    Args:
      rows: data, of which those of weight 0 do not count.
      context: features of the pictures.
      weight: None = all rows count.
      train: norm and dropout as in training.
    """
    projected = self.condition(context)
    total = jnp.zeros(rows.shape[:-1], rows.dtype)
    moved: Any = rows
    for layer in range(self.layers):
      # One after the other: what starts an ActNorm has gone through everything before it.
      moved, log_det = self.actnorm[layer](moved, weight).forward_and_log_det(moved)
      total = total + log_det
      for bijector in (self.lu[layer](), self._coupling(layer, projected[layer], train)):
        moved, log_det = bijector.forward_and_log_det(moved)
        total = total + log_det
    return moved, total

  def to_noise(
    self, y: Float[Array, "b s {self.features}"], projected: Projected, train: bool = False
  ) -> tuple[Float[jax.Array, "b s {self.features}"], Float[jax.Array, "b s"]]:
    """Noise of data, and log |det dz/dy|."""
    z: Any
    log_det: Any
    z, log_det = self.bijector(projected, train).inverse_and_log_det(y)
    return z, log_det

  def from_noise(
    self, z: Float[Array, "b s {self.features}"], projected: Projected, train: bool = False
  ) -> tuple[Float[jax.Array, "b s {self.features}"], Float[jax.Array, "b s"]]:
    """Data of noise, and their log-density log p(y | v), nat."""
    y: Any
    y, log_det = self.bijector(projected, train).forward_and_log_det(z)
    return y, standard_normal(z) - log_det

  def log_prob(
    self, y: Float[Array, "b s {self.features}"], projected: Projected, train: bool = False
  ) -> Float[jax.Array, "b s"]:
    """log p(y | v), nat."""
    z, log_det = self.to_noise(y, projected, train)
    return standard_normal(z) + log_det

  def mode(self, projected: Projected, train: bool = False) -> Float[jax.Array, "b 1 {self.features}"]:
    """What noise 0 becomes: the mode with additive couplings, and what is trained to be it with affine ones."""
    z = jnp.zeros((len(projected[0]), 1, self.features), self.dtype)
    return self.from_noise(z, projected, train)[0]


def standard_normal(z: Float[Array, "*b d"]) -> Float[jax.Array, "*b"]:
  """log N(z; 0, 1), nat."""
  base: Any = distrax.MultivariateNormalDiag(jnp.zeros_like(z), jnp.ones_like(z))
  return base.log_prob(z)
