"""Learning-rate schedules and optimizers, built from a config.

Every objective has its own optimizer; they share one schedule, which is a factor of each one's learning rate.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxhands.train import plan as plans
from jaxhands.train import state as states

SCHEDULES = ("constant", "drops", "cosine", "poly")
OPTIMIZERS = ("adam", "adamw", "sgd")
Rate = Callable[[jax.typing.ArrayLike], jax.Array]


def schedule(config: Any, plan: plans.Plan) -> Rate:
  """Step -> factor of the learning rate.

  The warm-up multiplies the schedule, which runs from step 0 on: warm-up does not delay it.

  Args:
    config: section `schedule` of a config.
    plan: gives the steps of an epoch and of the run.
  Raises:
    ValueError: an unknown schedule, drops that are not in order or not used.
  """
  if config.name not in SCHEDULES:
    raise ValueError(f"schedule.name is {config.name!r}; there are {SCHEDULES}")
  if bool(config.drops) != (config.name == "drops"):
    raise ValueError(f"schedule.name is {config.name!r}, but schedule.drops is {config.drops}")
  drops = [(plans.steps_of(when, plan.epoch_steps), factor) for when, factor in config.drops]
  if any(later[0] <= earlier[0] for earlier, later in itertools.pairwise(drops)):
    raise ValueError(f"schedule.drops are not in order: steps {[step for step, _ in drops]}")
  warmup = plans.steps_of(config.warmup, plan.epoch_steps)

  def factor(step: jax.typing.ArrayLike) -> jax.Array:
    step = jnp.asarray(step, jnp.float32)
    left = jnp.clip(1 - step / plan.steps, 0, 1)
    value = jnp.float32(1)
    if config.name == "drops":
      for first, drop in drops:
        value *= jnp.where(step >= first, drop, 1)
    elif config.name == "cosine":
      value = config.end + (1 - config.end) * (1 + jnp.cos(jnp.pi * (1 - left))) / 2
    elif config.name == "poly":
      value = config.end + (1 - config.end) * left**config.power
    if warmup:
      value *= config.warmup_start + (1 - config.warmup_start) * jnp.minimum(step / warmup, 1)
    return value

  return factor


def optimizer(
  section: Mapping[str, Any], rate: Rate, clip_norm: float, paths: Sequence[str]
) -> optax.GradientTransformation:
  """One objective's optimizer.

  Args:
    section: section `optimizer` of a config, with the objective's changes.
    rate: learning rate by step.
    clip_norm: largest norm of the gradient; 0 = no clipping.
    paths: of the parameters that it will see, for checking `no_decay` and `faster`.
  Raises:
    ValueError: an unknown optimizer, or a text of `no_decay` or `faster` that no path contains.
  """
  name, decay = section["name"], section["weight_decay"]
  if name not in OPTIMIZERS:
    raise ValueError(f"optimizer.name is {name!r}; there are {OPTIMIZERS}")
  for text in [*section["no_decay"], *(text for text, _ in section["faster"])]:
    if not any(text in path for path in paths):
      raise ValueError(f"optimizer: no parameter's path contains {text!r}")

  def decays(params: Any) -> Any:
    return _by_path(lambda path, _: not any(text in path for text in section["no_decay"]), params)

  def speed(updates: Any, params: Any) -> Any:
    del params
    factors = section["faster"]
    return _by_path(lambda path, u: u * next((by for text, by in factors if text in path), 1.0), updates)

  add_decay = [optax.add_decayed_weights(decay, mask=decays)] if decay else []
  if name == "sgd":
    rule = [*add_decay, optax.trace(decay=section["b1"])]
  else:
    adam = optax.scale_by_adam(b1=section["b1"], b2=section["b2"], eps=section["eps"])
    rule = [*add_decay, adam] if name == "adam" else [adam, *add_decay]
  return optax.chain(
    *([_clipped(clip_norm)] if clip_norm else []),
    *rule,
    *([optax.stateless(speed)] if section["faster"] else []),
    optax.scale_by_learning_rate(rate),
  )


def _clipped(largest: float) -> optax.GradientTransformation:
  """Gradients whose norm over all arrays is at most `largest`.

  `optax.clip_by_global_norm` divides each array, and XLA:CPU compiles a function of its own for each division.
  """

  def clip(updates: Any, params: Any) -> Any:
    del params
    factor = largest / jnp.maximum(optax.tree.norm(updates), largest)
    return jax.tree.map(lambda update: update * factor.astype(update.dtype), updates)

  return optax.stateless(clip)


def learning_rates(config: Any, plan: plans.Plan, objectives: Iterable[str]) -> dict[str, Rate]:
  """Step -> learning rate, of every objective; raises as `schedule` does."""
  factor = schedule(config.schedule, plan)
  peaks = {name: section(config, name)["learning_rate"] for name in objectives}
  return {name: lambda step, peak=peak: peak * factor(step) for name, peak in peaks.items()}


def optimizers(
  config: Any, rates: Mapping[str, Rate], shares: Mapping[str, states.Share]
) -> dict[str, optax.GradientTransformation]:
  """The optimizer of every objective, by its name.

  Args:
    config: reads `optimizer`, `optimizers` and `clip_norm`.
    rates: of `learning_rates`.
    shares: what each objective trains.
  Raises:
    ValueError: see `optimizer`; or `config.optimizers` names no objective.
  """
  unknown = sorted(set(config.optimizers) - set(shares))
  if unknown:
    raise ValueError(f"optimizers: there is no objective {unknown[0]!r}; there are {sorted(shares)}")
  return {
    name: optimizer(section(config, name), rates[name], config.clip_norm, sorted(share.trained))
    for name, share in shares.items()
  }


def section(config: Any, objective: str) -> dict[str, Any]:
  """Section `optimizer` of a config with what `optimizers` changes for an objective.

  Raises:
    ValueError: a change of a key that is not there.
  """
  changes = config.optimizers.get(objective, {})
  unknown = sorted(set(changes) - set(config.optimizer))
  if unknown:
    raise ValueError(f"optimizers.{objective}: unknown key {unknown[0]!r}; there are {sorted(config.optimizer)}")
  return dict(config.optimizer) | dict(changes)


def _by_path(fn: Callable[[str, Any], Any], tree: Any) -> Any:
  """Maps `fn(path, leaf)`, with paths as in `state.leaves`."""
  return jax.tree_util.tree_map_with_path(
    lambda keys, leaf: fn("/".join(str(key.key) for key in keys), leaf),
    tree,
  )
