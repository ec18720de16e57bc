"""What a system is: the one interface that trainer, evaluator and predictor know.

A system is a frozen dataclass without arrays, optimizer or IO. `jaxhands/systems/NAME.py` exports
`build(config) -> System`; `systems.construct` finds it by `config.system.name = "NAME"` (in a folder, "FOLDER.NAME").
Arrays travel in `variables`:

    {"params": {...}, "batch_stats": {...}, "constants": {...}}

`constants` holds what is given at load (a hand model, a loss network) and is never trained nor checkpointed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from jaxhands import former_names, losses, schema
from jaxhands.data import host_ops

Variables = dict[str, Any]
HostOp = Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class LossOut:
  """What one objective gives.

  Attributes:
    loss: scalar that is minimised: the sum of all terms times their weights.
    terms: scalars to log.
    state: shaped like `variables`, but holds only what the objective owns, e.g. `{"batch_stats": {...}}`.
    weights: of terms, where it is not 1; 0 = logged only.
  """

  loss: jax.Array
  terms: dict[str, jax.Array]
  state: dict[str, Any]
  weights: Mapping[str, float] = dataclasses.field(default_factory=dict)

  @classmethod
  def weighted(cls, terms: dict[str, jax.Array], state: dict[str, Any], weights: Mapping[str, float]) -> LossOut:
    """The loss of terms of which each has a weight."""
    total = sum((weights[name] * term for name, term in terms.items()), jnp.float32(0))
    return cls(total, terms, state, weights)


@dataclasses.dataclass(frozen=True)
class Objective:
  """One loss with the parts it updates.

  Attributes:
    name: of the objective; prefixes its terms in the logs.
    trains: top-level keys of `variables["params"]` that get this objective's gradient.
    owns: `collection/subtree` paths of non-parameter state that `LossOut.state` replaces ("batch_stats" = all of it,
      what a system with one objective has). No two objectives may own the same path.
    fn: `(variables, batch, rng) -> LossOut`, with `batch` as `device_ops` left it.
    starts_small: terms whose gradient may be below 1 % of the whole loss's when training begins, and why that is well
      (`benchmarks.terms`).
  """

  name: str
  trains: tuple[str, ...]
  owns: tuple[str, ...] = ("batch_stats",)
  fn: Callable[[Variables, schema.Batch, jax.Array], LossOut] = dataclasses.field(kw_only=True)
  starts_small: Mapping[str, str] = dataclasses.field(default_factory=dict)


@runtime_checkable
class System(Protocol):
  """A paper's method. All objectives take gradients at the variables of the step's start."""

  @property
  def view(self) -> Literal["pair", "hand"]:
    """What an example is: both hands in one crop, or one hand (left ones mirrored)."""
    ...

  @property
  def needs(self) -> frozenset[str]:
    """Batch keys that the data pipeline must build for training and prediction."""
    ...

  @property
  def objectives(self) -> tuple[Objective, ...]:
    """Empty for a system that is only assembled from trained ones."""
    ...

  def init(self, rng: jax.Array, batch: schema.Batch) -> Variables:
    """Fresh variables; must also work under `jax.eval_shape`. `batch` is the run's first, after `device_ops`."""
    ...

  def predict(self, variables: Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    """A `Prediction` for a batch as `device_ops(train=False)` left it; evaluation-mode norm and dropout."""
    ...

  def host_ops(self, train: bool) -> tuple[HostOp, ...]:
    """NumPy functions `(example, rng) -> example` that make one example of this system from one record."""
    ...

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    """On the device: normalisation, colour changes, targets. Adds keys, may replace `image` by a float one."""
    ...

  def import_weights(self, state_dict: Mapping[str, np.ndarray]) -> Variables:
    """Variables from the authors' release; raises, naming it, on any key unused or used twice."""
    ...


class Defaults:
  """What a system inherits and need not write itself.

  For a dataclass that has a `network`, a module called with `image` and `train`; where it does not write `loss`,
  with `loss_values`; and where it does not write `host_ops`, with `crop_hw` and `augmentation`.
  """

  def init(self: Any, rng: jax.Array, batch: schema.Batch) -> Variables:
    """Fresh variables of the network, as its layers begin."""
    return dict(self.network.init(rng, batch["image"], True))

  def loss(self: Any, variables: Variables, batch: schema.Batch, rng: jax.Array) -> LossOut:
    """Applies the network to a batch with targets and adds up the batch means of `loss_values`."""
    out, state = self.network.apply(variables, batch["image"], True, mutable=["batch_stats"])
    values = self.loss_values(out, batch)
    terms = {name: losses.weighted_mean(value, batch["weight"]) for name, value in values.items()}
    return LossOut(sum(terms.values(), jnp.float32(0)), terms, dict(state))

  def host_ops(self: Any, train: bool) -> tuple[HostOp, ...]:
    """One crop of the view, augmented in training."""
    return host_ops.crop_ops(self.crop_hw, augmentation=self.augmentation if train else None)

  def import_weights(self, state_dict: Mapping[str, np.ndarray]) -> Variables:
    """Of a system that nobody else has weights of.

    Raises:
      ValueError: always.
    """
    raise ValueError(f"nobody else has weights of {type(self).__name__}; {sorted(state_dict)[:3]} cannot be read")


def check_frozen(system: Any, parts: Collection[str]) -> None:
  """Raises `ValueError` if `system.frozen` names what is none of its parts."""
  if unknown := sorted(set(system.frozen) - set(parts)):
    raise ValueError(f"freeze={unknown}: {type(system).__name__} freezes whole parts, {tuple(parts)}")


def training(system: Any, train: bool) -> Callable[[str], bool]:
  """Which parts run in training mode: all but the frozen ones, or none."""
  return lambda part: train and part not in system.frozen


@runtime_checkable
class TimedSystem(Protocol):
  """A system that predicts in steps, each of which a report times on its own."""

  @property
  def prediction_steps(self) -> tuple[tuple[str, Callable[[Variables, dict[str, Any]], dict[str, Any]]], ...]:
    """(name, `(variables, values) -> further values`) in order; the first one's values are the batch."""
    ...


@runtime_checkable
class PartlyPredictingSystem(Protocol):
  """A system with parts that only its training uses, so that weights without them are enough to predict."""

  @property
  def predicts_with(self) -> tuple[str, ...]:
    """Parts that predictions need: keys below each collection of the variables."""
    ...


@runtime_checkable
class WidenedSystem(Protocol):
  """A system with layers that see more channels than those of a network it may start from."""

  @property
  def widened(self) -> tuple[str, ...]:
    """Paths of their kernels [..., in, out], as "params/encoder/conv1/kernel"; what is seen besides comes last."""
    ...


@runtime_checkable
class DrawnSystem(Protocol):
  """A system whose targets can be drawn over its crops (`jaxhands show`)."""

  def drawn_targets(self, batch: schema.Batch) -> dict[str, Any]:
    """What the losses compare with, of a batch as `device_ops(train=True)` left it.

    Returns:
      "joints_crop" [B, 2, 21, 2] in px of the crop, and "joints_crop_valid" [B, 2, 21]; and, if heatmaps are compared,
      "heatmaps" [B, 2, 21, u, v], 0..1, whose cell 0 lies at pixel 0 of the crop.
    """
    ...


if not TYPE_CHECKING:

  def __getattr__(name):  # until 0.2
    return former_names.moved(__name__, name)
