"""The distributions that HandFlow is compared with: Gaussian, conditional VAE, MC dropout, on the same features.

The paper leaves their making to a supplement that nobody can get; here each is a network of two hidden layers, in the
units that make the first batch's annotations of mean 0 and deviation 1 (`models.flow.actnorm`), and has the flow's
losses on mode and samples besides its own.

* gaussian: a mean and a deviation of each number (Kendall & Gal 2017, aleatoric uncertainty), by their likelihood.
* vae: a decoder of features and a code z ~ N(0, 1); in training an encoder tells z of an annotation (Kingma & Welling
  2014). Its mode is what z = 0 becomes; it has no density in closed form.
* mcdropout: one vector; samples are what remains when units are dropped (Gal & Ghahramani 2016).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.hands import vector
from jaxhands.models.distribution import normal
from jaxhands.models.flow.actnorm import ActNormLayer
from jaxhands.models.flow.glow import standard_normal
from jaxhands.systems import construct
from jaxhands.systems.handflow import PoseDistribution

Kind = Literal["gaussian", "vae", "mcdropout"]
_LOG_DEVIATIONS = (-6.0, 3.0)  # of a Gaussian, in units of the first batch's deviations


class Layers(nn.Module):
  """Two hidden layers with ReLU and dropout, and a linear one.

  Attributes:
    hidden, outputs: units.
    dropout: share of hidden units that is dropped.
  """

  hidden: int
  outputs: int
  dropout: float

  @nn.compact
  def __call__(self, x: Float[Array, "b s c"], drops: bool, shared: bool = False) -> Float[Array, "b s d"]:
    """`drops`: whether units are dropped; `shared`: the same ones in row s of all pictures, so that a picture's sample
    does not depend on its neighbours."""
    for i in range(2):
      x = nn.relu(nn.Dense(self.hidden, precision="highest", name=f"hidden{i}")(x))
      x = nn.Dropout(self.dropout, broadcast_dims=(0,) if shared else ())(x, deterministic=not drops)
    return nn.Dense(self.outputs, precision="highest", name="last")(x)


class Baseline(nn.Module):
  """What the three share: annotations in units of the first batch's.

  Attributes:
    hidden, dropout: of the layers.
    code: length of the VAE's code.
  """

  hidden: int
  dropout: float
  code: int = 64

  def start(self, rows: jax.Array, context: jax.Array, weight: jax.Array) -> None:
    """See `models.distribution.Distribution`."""
    self.units(rows, weight)
    state = self.condition(context, False)
    self.fit(rows, state, False)
    self.mode(state, False)

  def condition(self, context: jax.Array, train: bool) -> Any:
    return context[:, None]

  def density(self, rows: jax.Array, state: Any) -> jax.Array | None:
    return None

  def _to_units(self, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    return self.units().forward_and_log_det(rows)

  def _from_units(self, rows: jax.Array) -> jax.Array:
    return self.units().inverse(rows)


class Gaussian(Baseline):
  """A diagonal Gaussian."""

  def setup(self):
    self.units = ActNormLayer(vector.SIZE)
    self.layers = Layers(self.hidden, 2 * vector.SIZE, self.dropout)

  def condition(self, context: jax.Array, train: bool) -> tuple[jax.Array, jax.Array]:
    """Mean and logarithm of the deviation, [B, 1, 218]."""
    mean, log_deviation = jnp.split(self.layers(context[:, None], train), 2, axis=-1)
    return mean, jnp.clip(log_deviation, *_LOG_DEVIATIONS)

  def fit(self, rows: jax.Array, state: Any, train: bool) -> dict[str, jax.Array]:
    return {"nll": -self.density(rows, state)}

  def draw(self, state: Any, count: int, train: bool) -> tuple[jax.Array, jax.Array]:
    mean, log_deviation = state
    rows = self._from_units(mean + jnp.exp(log_deviation) * normal(self, len(mean), count, vector.SIZE, train))
    return rows, self.density(rows, state)

  def mode(self, state: Any, train: bool) -> jax.Array:
    return self._from_units(state[0])

  def density(self, rows: jax.Array, state: Any) -> jax.Array:
    mean, log_deviation = state
    inside, log_det = self._to_units(rows)
    return standard_normal((inside - mean) * jnp.exp(-log_deviation)) - log_deviation.sum(-1) + log_det


class Vae(Baseline):
  """A conditional variational autoencoder."""

  def setup(self):
    self.units = ActNormLayer(vector.SIZE)
    self.encoder = Layers(self.hidden, 2 * self.code, self.dropout)
    self.decoder = Layers(self.hidden, vector.SIZE, self.dropout)

  def fit(self, rows: jax.Array, state: Any, train: bool) -> dict[str, jax.Array]:
    """Half the squared error of what is decoded, and the divergence of the code's distribution from N(0, 1)."""
    inside, _ = self._to_units(rows)
    seen = jnp.concatenate([inside, _to_rows(state, rows.shape[1])], axis=-1)
    mean, log_deviation = jnp.split(self.encoder(seen, train), 2, axis=-1)
    log_deviation = jnp.clip(log_deviation, *_LOG_DEVIATIONS)
    noise = jax.random.normal(self.make_rng("samples"), mean.shape) if self.has_rng("samples") else 0.0
    decoded = self._decoded(mean + jnp.exp(log_deviation) * noise, state, train)
    divergence = 0.5 * (jnp.square(mean) + jnp.exp(2 * log_deviation) - 1) - log_deviation
    return {"reconstruction": 0.5 * jnp.square(decoded - inside).sum(-1), "divergence": divergence.sum(-1)}

  def draw(self, state: Any, count: int, train: bool) -> tuple[jax.Array, None]:
    return self._from_units(self._decoded(normal(self, len(state), count, self.code, train), state, train)), None

  def mode(self, state: Any, train: bool) -> jax.Array:
    return self._from_units(self._decoded(jnp.zeros((len(state), 1, self.code)), state, train))

  def _decoded(self, code: jax.Array, state: jax.Array, train: bool) -> jax.Array:
    return self.decoder(jnp.concatenate([code, _to_rows(state, code.shape[1])], axis=-1), train)


class Dropout(Baseline):
  """One vector, of which dropped units make many."""

  def setup(self):
    self.units = ActNormLayer(vector.SIZE)
    self.layers = Layers(self.hidden, vector.SIZE, self.dropout)

  def fit(self, rows: jax.Array, state: Any, train: bool) -> dict[str, jax.Array]:
    return {}

  def draw(self, state: Any, count: int, train: bool) -> tuple[jax.Array, None]:
    return self._from_units(self.layers(_to_rows(state, count), True, shared=not train)), None

  def mode(self, state: Any, train: bool) -> jax.Array:
    return self._from_units(self.layers(state, train))


def _to_rows(state: Float[Array, "b 1 c"], count: int) -> Float[Array, "b s c"]:
  return jnp.broadcast_to(state, (state.shape[0], count, state.shape[2]))


_MODULES = {"gaussian": Gaussian, "vae": Vae, "mcdropout": Dropout}


@dataclasses.dataclass(frozen=True)
class HandFlowBaseline(PoseDistribution):
  """One of the three.

  Attributes:
    kind: which.
    nll_weight: of the Gaussian's negative log-likelihood.
    reconstruction_weight, divergence_weight: of the VAE's losses.
    code_size: length of its code.
  """

  kind: Kind = "gaussian"
  nll_weight: float = 1e-3
  reconstruction_weight: float = 1e-3
  divergence_weight: float = 1e-6
  code_size: int = 64

  @property
  def distribution(self) -> Baseline:
    return _MODULES[self.kind](self.hidden, self.dropout, self.code_size)

  @property
  def fit_weights(self) -> dict[str, float]:
    if self.kind == "vae":
      return {"reconstruction": self.reconstruction_weight, "divergence": self.divergence_weight}
    return {"nll": self.nll_weight} if self.kind == "gaussian" else {}


def build(config: Any) -> HandFlowBaseline:
  """The system that `config.system` describes; see `construct.from_fields`."""
  return construct.from_fields(HandFlowBaseline, config, hand_model=config.hand_model)
