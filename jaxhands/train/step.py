"""One update: gradients of all objectives at the same variables, then all changes at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxhands import schema
from jaxhands.systems import base
from jaxhands.train import state as states

Scalars = dict[str, jax.Array]
TrainStep = Callable[[states.State, states.Tree, schema.Batch, Any], tuple[states.State, Scalars]]


@functools.lru_cache(maxsize=8)  # JAX traces one function once, and the deepest network takes seconds to trace
def make_init(system: base.System, seed: int, accumulation: int = 1) -> Callable[[schema.Batch], base.Variables]:
  """`batch -> variables`, for the run's first batch; a function to be jitted or given to `jax.eval_shape`."""

  def init(batch: schema.Batch) -> base.Variables:
    init_key, ops_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 0))
    first = jax.tree.map(lambda parts: parts[0], _micro_batches(batch, accumulation))
    return system.init(init_key, system.device_ops(first, ops_key, train=True))

  return init


def make_inputs(system: base.System, seed: int, accumulation: int = 1) -> Callable[[schema.Batch, Any], schema.Batch]:
  """`(batch, step) -> batch` as the losses of that step are given it, after `device_ops`; a function to be jitted."""

  def inputs(batch: schema.Batch, step: Any) -> schema.Batch:
    parts, step_key = _micro_batches(batch, accumulation), _step_key(seed, step)
    given = []
    for number in range(accumulation):
      ops_key, *_ = _keys(system, step_key, number)
      given.append(system.device_ops(jax.tree.map(lambda part, i=number: part[i], parts), ops_key, train=True))
    # Micro-batch i has the examples i, i + accumulation, ...
    return jax.tree.map(lambda *rows: jnp.stack(rows, axis=1).reshape(-1, *rows[0].shape[1:]), *given)

  return inputs


def make_train_step(
  system: base.System,
  shares: Mapping[str, states.Share],
  transforms: Mapping[str, optax.GradientTransformation],
  seed: int,
  accumulation: int = 1,
  ema: float = 0.0,
) -> TrainStep:
  """`(state, constants, batch, step) -> (state, scalars)`, a pure function to be jitted.

  All that is random follows from the seed and the step. If a loss or gradient is not finite, or `step` is not the one
  that the state waits for, the state comes back as it was, and `scalars["updated"]` is 0. So steps may be sent ahead:
  after a bad one the following ones change nothing.

  With accumulation the gradient is the mean over micro-batches, which follow each other in the state that an objective
  owns (batch statistics); micro-batch i holds the examples i, i + accumulation, ... of the batch.

  Args:
    system: gives the objectives.
    shares: what each objective changes.
    transforms: the optimizer of each objective.
    seed: of the run.
    accumulation: micro-batches of a batch.
    ema: decay of the running average; 0 = none. It is (1 + step) / (10 + step) while that is less.
  """

  def gradients(state: states.State, constants: states.Tree, batch: schema.Batch, step: jax.Array) -> Any:
    """By objective: the gradient, what it owns afterwards, and scalars."""
    step_key = _step_key(seed, step)
    variables = state.variables | {"constants": constants}

    def add(carried: Any, numbered_micro_batch: tuple[jax.Array, schema.Batch]) -> tuple[Any, Any]:
      number, micro_batch = numbered_micro_batch
      ops_key, *keys = _keys(system, step_key, number)
      micro_batch = system.device_ops(micro_batch, ops_key, train=True)
      after, scalars = {}, {}
      for objective, key in zip(system.objectives, keys, strict=True):
        share = shares[objective.name]
        total, owned = carried[objective.name]

        def loss(trained: states.Tree, objective=objective, owned=owned, share=share, key=key) -> Any:
          out = objective.fn(states.merge(states.merge(variables, trained), owned), micro_batch, key)
          return out.loss, (_owned(objective, share, out, variables), {"loss": out.loss} | out.terms)

        trained = states.keep(state.variables, share.trained)
        (_, (owned, terms)), gradient = jax.value_and_grad(loss, has_aux=True)(trained)
        after[objective.name] = jax.tree.map(jnp.add, total, gradient), owned
        scalars[objective.name] = terms
      return after, scalars

    carried = {
      name: (
        jax.tree.map(jnp.zeros_like, states.keep(state.variables, share.trained)),
        states.keep(state.variables, share.owned),
      )
      for name, share in shares.items()
    }
    if accumulation == 1:
      # Without a loop of one round, in which XLA:CPU keeps gradients of convolutions in a layout 8 times slower.
      carried, scalars = add(carried, (jnp.int32(0), batch))
    else:
      carried, scalars = jax.lax.scan(add, carried, (jnp.arange(accumulation), _micro_batches(batch, accumulation)))
    return {
      name: (jax.tree.map(lambda total: total / accumulation, total), owned, jax.tree.map(jnp.mean, scalars[name]))
      for name, (total, owned) in carried.items()
    }

  def train_step(
    state: states.State, constants: states.Tree, batch: schema.Batch, step: Any
  ) -> tuple[states.State, Scalars]:
    by_objective = gradients(state, constants, batch, state.step)

    variables, opt, scalars = state.variables, {}, {}
    updated = state.step == step
    for name, (gradient, owned, terms) in by_objective.items():
      terms["gradient_norm"] = optax.tree.norm(gradient)
      updated &= jnp.isfinite(terms["loss"]) & jnp.isfinite(terms["gradient_norm"])
      scalars |= {f"{name}/{term}": value for term, value in terms.items()}
      trained = states.keep(state.variables, shares[name].trained)
      updates, opt[name] = transforms[name].update(gradient, state.opt[name], trained)
      trained = jax.tree.map(jnp.add, trained, updates)
      variables = states.merge(states.merge(variables, trained), owned)

    average = state.ema
    if ema:
      decay = jnp.minimum(ema, (1.0 + state.step) / (10.0 + state.step))
      average = jax.tree.map(
        lambda old, new: decay * old + (1 - decay) * new if jnp.issubdtype(new.dtype, jnp.floating) else new,
        average,
        states.keep(variables, states.leaves(average).keys()),
      )

    new = states.State(state.step + 1, variables, opt, average)
    state = jax.tree.map(lambda old, new: jnp.where(updated, new, old), state, new)
    return state, scalars | {"updated": updated}

  return train_step


def make_suspicion(train_step: TrainStep) -> Callable[[states.State, states.Tree, schema.Batch, Any], jax.Array]:
  """`(state, constants, batch, index) -> bad`: is a batch made of example `index` alone what cannot be stepped on?

  The batch keeps its size, so that this compiles once.
  """

  def suspicion(state: states.State, constants: states.Tree, batch: schema.Batch, index: Any) -> jax.Array:
    alone = jax.tree.map(lambda value: jnp.broadcast_to(value[index], value.shape), batch)
    return ~train_step(state, constants, alone, state.step)[1]["updated"]

  return suspicion


def _step_key(seed: int, step: Any) -> jax.Array:
  return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), step)


def _keys(system: base.System, step_key: jax.Array, number: Any) -> jax.Array:
  """Of a micro-batch: for `device_ops`, then for each objective."""
  return jax.random.split(jax.random.fold_in(step_key, number), 1 + len(system.objectives))


def _micro_batches(batch: schema.Batch, count: int) -> schema.Batch:
  """Splits [B, ...] into [count, B / count, ...], with strides, so that examples stay on their devices."""

  def split(value: jax.Array) -> jax.Array:
    return jnp.moveaxis(value.reshape(value.shape[0] // count, count, *value.shape[1:]), 1, 0)

  return jax.tree.map(split, batch)


def _owned(objective: base.Objective, share: states.Share, out: base.LossOut, variables: base.Variables) -> states.Tree:
  """The state that a loss returned, if it is what its objective owns (frozen parts may be there, and are dropped)."""
  returned = states.leaves(out.state)
  claimed = {path for path in states.leaves(variables) if states.under(path, objective.owns)}
  wrong = sorted((set(returned) - claimed) | (share.owned - set(returned)))
  if wrong:
    verb = "returned" if wrong[0] in returned else "did not return"
    raise ValueError(f"objective {objective.name!r} {verb} state {wrong[0]!r}; it owns {objective.owns}")
  return states.keep(out.state, share.owned)
