"""A distribution over poses behind a ResNet: what a system of HandFlow asks of one, and the three ways to call both.

What a distribution is, is the business of one Linen module (`Distribution`): the conditional GLOW here (`Flow`), or one
of the baselines in `systems.handflow_baselines`. Rows are vectors of both hands (`hands.vector`), [B, S, 218].
"""

from __future__ import annotations

from typing import Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxhands.models.backbones.resnet import ResNet
from jaxhands.models.flow.glow import ConditionalGlow, standard_normal


class Distribution(Protocol):
  """What a system asks of a distribution of rows [B, S, 218]; a Linen module, whose state follows from the features.

  Random streams: "samples", and "dropout" in training.
  """

  def start(self, rows: jax.Array, context: jax.Array, weight: jax.Array) -> Any:
    """Makes all variables; rows [B, A, 218] are the first batch's, those of weight 0 are none."""
    ...

  def condition(self, context: jax.Array, train: bool) -> Any:
    """The state of each picture, from its features [B, C]: what the other methods take."""
    ...

  def fit(self, rows: jax.Array, state: Any, train: bool) -> dict[str, jax.Array]:
    """Losses [B, A] of annotations, by name."""
    ...

  def draw(self, state: Any, count: int, train: bool) -> tuple[jax.Array, jax.Array | None]:
    """Samples [B, S, 218], and their log-density [B, S] where there is one.

    In training each picture has noise of its own; else all have the same, so that none depends on its neighbours.
    """
    ...

  def mode(self, state: Any, train: bool) -> jax.Array:
    """The one vector [B, 1, 218] that stands for the distribution."""
    ...

  def density(self, rows: jax.Array, state: Any) -> jax.Array | None:
    """Log-density [B, A] of rows, where there is one."""
    ...


class Flow(ConditionalGlow):
  """The conditional GLOW as a `Distribution`."""

  def condition(self, context: jax.Array, train: bool = False) -> Any:
    return ConditionalGlow.condition(self, context)

  def fit(self, rows: jax.Array, state: Any, train: bool) -> dict[str, jax.Array]:
    """Negative log-likelihood, and the log-determinant from data to noise, which falls as samples spread."""
    z, log_det = self.to_noise(rows, state, train)
    return {"nll": -(standard_normal(z) + log_det), "determinant": log_det}

  def draw(self, state: Any, count: int, train: bool) -> tuple[jax.Array, jax.Array]:
    return self.from_noise(normal(self, len(state[0]), count, self.features, train), state, train)

  def density(self, rows: jax.Array, state: Any) -> jax.Array:
    return self.log_prob(rows, state)


def normal(module: nn.Module, pictures: int, count: int, size: int, train: bool) -> Float[jax.Array, "b s d"]:
  """Noise of a module's stream "samples": of each picture in training, else the same for all."""
  noise = jax.random.normal(module.make_rng("samples"), (pictures if train else 1, count, size))
  return jnp.broadcast_to(noise, (pictures, count, size))


class Network(nn.Module):
  """Backbone and distribution; `pooled` as of `systems.handflow.PoseDistribution`."""

  distribution: Any
  depth: int
  width: int
  pooled: bool
  dtype: jnp.dtype | type
  bn_groups: int
  frozen: tuple[str, ...]

  def setup(self):
    self.backbone = ResNet(self.depth, self.width, dtype=self.dtype, bn_groups=self.bn_groups)

  def training(self, part: str, train: bool) -> bool:
    return train and part not in self.frozen

  def features(self, image: Float[Array, "b h w 3"], train: bool) -> Float[Array, "b c"]:
    """The last block's mean over the picture, or all of its cells, float32."""
    last = self.backbone(image, self.training("backbone", train))["layer4"].astype(jnp.float32)
    return last.mean((1, 2)) if self.pooled else last.reshape(len(last), -1)


def trained(network: Network, image: jax.Array, rows: jax.Array, count: int) -> dict[str, Any]:
  """What all losses are made of, in training mode.

  Args:
    image: [B, H, W, 3], normalised.
    rows: annotations [B, A, 218].
    count: S, samples of each picture.
  Returns:
    "context" [B, C], features; "fit", losses [B, A] by name; "samples" [B, S, 218]; "mode" [B, 1, 218].
  """
  context = network.features(image, True)
  state, fit = fitted(network, context, rows)
  train = network.training("distribution", True)
  samples, _ = network.distribution.draw(state, count, train)
  return {"context": context, "fit": fit, "samples": samples, "mode": network.distribution.mode(state, train)}


def fitted(network: Network, context: jax.Array, rows: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
  """The state of pictures with features [B, C], and the losses [B, A] of rows [B, A, 218] by name, in training mode."""
  train = network.training("distribution", True)
  state = network.distribution.condition(context, train)
  return state, network.distribution.fit(rows, state, train)


def predicted(network: Network, image: jax.Array, rows: jax.Array, count: int) -> dict[str, Any]:
  """In evaluation: "samples" [B, S, 218], their "log_prob" [B, S] or None, "mode" [B, 1, 218], and "density" [B, A],
  the log-density of rows [B, A, 218], or None; S is `count`."""
  state = network.distribution.condition(network.features(image, False), False)
  samples, log_prob = network.distribution.draw(state, count, False)
  mode, density = network.distribution.mode(state, False), network.distribution.density(rows, state)
  return {"samples": samples, "log_prob": log_prob, "mode": mode, "density": density}
