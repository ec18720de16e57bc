"""What a system is: the one interface that trainer, evaluator and predictor know.

A system is a frozen dataclass without arrays, optimizer or IO. `jaxhands/systems/NAME.py` exports
`build(config) -> System`; `config.system.name = "NAME"` finds it. Arrays travel in `variables`:

    {"params": {...}, "batch_stats": {...}, "constants": {...}}

`constants` holds what is given at load (a hand model, a loss network) and is never trained nor checkpointed.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import jax
import numpy as np

from jaxhands import schema

Variables = dict[str, Any]
HostOp = Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class LossOut:
  """What one objective gives: `loss` (scalar, minimised), `terms` (scalars to log), `state` (updated collections).

  `state` is shaped like `variables`, but holds only what the objective owns, e.g. `{"batch_stats": {...}}`.
  """

  loss: jax.Array
  terms: dict[str, jax.Array]
  state: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Objective:
  """One loss with the parts it updates.

  Attributes:
    name: of the objective; prefixes its terms in the logs.
    trains: top-level keys of `variables["params"]` that get this objective's gradient.
    owns: `collection/subtree` paths of non-parameter state that `LossOut.state` replaces ("batch_stats" = all of it).
      No two objectives may own the same path.
    fn: `(variables, batch, rng) -> LossOut`, with `batch` as `device_ops` left it.
  """

  name: str
  trains: tuple[str, ...]
  owns: tuple[str, ...]
  fn: Callable[[Variables, schema.Batch, jax.Array], LossOut]


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


def load(config: Any) -> System:
  """Builds the system that `config.system.name` names.

  Raises:
    ValueError: no module `jaxhands.systems.NAME`.
  """
  name = config.system.name
  try:
    module = importlib.import_module(f"jaxhands.systems.{name}")
  except ModuleNotFoundError as error:
    if error.name != f"jaxhands.systems.{name}":
      raise
    raise ValueError(f"config.system.name is {name!r}, but there is no jaxhands/systems/{name}.py") from error
  return module.build(config)
