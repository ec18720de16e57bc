"""The training loop: one for every system, and for any number of devices and processes."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxhands import schema
from jaxhands.runs import folder as files
from jaxhands.systems import base
from jaxhands.terminal import console
from jaxhands.train import checkpoint, distributed, ending, optim, profile, progress
from jaxhands.train import plan as plans
from jaxhands.train import state as states
from jaxhands.train import step as steps

Batches = Callable[[int], Iterator[schema.Batch]]
Fill = Callable[[states.Tree], states.Tree]
Evaluate = Callable[[base.Variables], Mapping[str, float]]


class NonFiniteError(FloatingPointError):
  """A loss or gradient was not finite; the state before it is saved, and the examples are named."""


@dataclasses.dataclass(frozen=True)
class Result:
  """What training leaves.

  Attributes:
    step: updates made.
    finished: all steps are made; else the same call goes on.
    stopped: a signal came.
    variables: those to evaluate, averaged if the run averages, with "constants".
    metrics: of the last evaluation; {} if there was none.
  """

  step: int
  finished: bool
  stopped: bool
  variables: base.Variables
  metrics: Mapping[str, float]


def train(
  system: base.System,
  config: Any,
  workdir: pathlib.Path,
  batches: Batches,
  examples: int,
  mesh: Mesh,
  fill: Fill | None = None,
  evaluate: Evaluate | None = None,
  profile_steps: int = 0,
) -> Result:
  """Trains a system, or goes on from where `workdir` stands.

  Args:
    system: what to train.
    config: as `configs/base.py` makes it.
    workdir: folder of the run.
    batches: step -> the batches from that step on, as arrays on `mesh`. The batch of a step depends on it alone.
    examples: in one epoch.
    mesh: of `distributed.make_mesh`.
    fill: puts weights from elsewhere into fresh variables (without "constants").
    evaluate: variables -> metrics; first those of the state that `workdir` holds, if they are to choose the best and
      were not measured.
    profile_steps: that are traced, see `profile`; 0 = none.
  Raises:
    ValueError: config, system and checkpoint do not fit each other.
    NonFiniteError: a loss or gradient was not finite.
  """
  # ---- plan: how long, and who changes what ---------------------------------
  distributed.check_batch_size(config.batch_size, config.accumulation, mesh)
  first_batch = next(batches(0))
  prepared = prepare(system, config, first_batch, examples)
  plan, shapes, shares, rates, transforms = prepared
  init = steps.make_init(system, config.seed, config.accumulation)
  everywhere = distributed.replicated(mesh)

  # ---- state: fresh, or restored --------------------------------------------
  make_state = functools.partial(prepared.state, averages=bool(config.ema))
  plain = {name: tree for name, tree in shapes.items() if name != "constants"}
  like = jax.eval_shape(make_state, plain)
  places = distributed.layout(mesh, config.sharding.rules if config.sharding.fsdp > 1 else (), like)
  saved = checkpoint.Checkpoints(workdir, config.keep, config.best_metric, config.best_mode)
  start = saved.latest()
  if start is None:
    start = 0
    variables = jax.jit(init, out_shardings=everywhere)(first_batch)
    constants = variables.pop("constants", {})
    variables = fill(variables) if fill else variables
    state = jax.jit(make_state, out_shardings=places)(jax.device_put(variables, everywhere))
    del variables
  else:
    constants = jax.jit(lambda batch: init(batch).get("constants", {}), out_shardings=everywhere)(first_batch)
    like = jax.tree.map(lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), like, places)
    state = saved.restore(start, like)

  # ---- step -----------------------------------------------------------------
  pure_step = steps.make_train_step(system, shares, transforms, config.seed, config.accumulation, config.ema)
  train_step = jax.jit(pure_step, donate_argnums=0, out_shardings=(places, everywhere))
  is_bad = jax.jit(steps.make_suspicion(pure_step), out_shardings=everywhere)
  log = progress.Report(workdir, start, plan.steps, config.batch_size, speaks=jax.process_index() == 0)
  log.say(f"{workdir}: steps {start} to {plan.steps}, {plan.epoch_steps:.6g} an epoch; {mesh.size} devices")
  if config.sharding.fsdp > 1:
    whole, part = distributed.held_bytes(like, places)
    log.say(f"the state has {whole / 1e6:.0f} MB, of which a device holds {part / 1e6:.0f}")
  if start < plan.steps:
    # Before the loop, in which a signal would wait for it.
    with console.lasting("compiling the step", "20 to 60 s", log.say):
      train_step = train_step.lower(state, constants, first_batch, np.int32(start)).compile()
  del first_batch

  # ---- loop -----------------------------------------------------------------
  stopping = False
  metrics: Mapping[str, float] = {}
  running: collections.deque[tuple[int, schema.Batch, steps.Scalars]] = collections.deque()
  traced = profile.Profile(workdir, profile_steps * (jax.process_index() == 0), start, plan.steps, log)
  with saved, log, distributed.Interruption() as interruption, ending.failing_fast(), traced:
    owed = start > 0 and (start >= plan.steps or plans.due(start, plan.eval_every))
    if evaluate is not None and owed and config.best_metric and config.best_metric not in saved.metrics(start):
      # It failed, or a signal did not wait for it; without, this step could never be the best.
      with log.paused(), interruption.suspended():
        metrics = evaluate(_to_evaluate(state, constants))
      log.evaluated(start, metrics)
      saved.save(start, state, metrics)
      _check_best(config.best_metric, metrics)
    stream = batches(start)
    for step in range(start, plan.steps):
      batch = log.next_of(stream)
      traced.before(step, state)
      with jax.profiler.StepTraceAnnotation("train", step_num=step):
        state, scalars = train_step(state, constants, batch, np.int32(step))
      running.append((step, batch, scalars))

      done = step + 1
      stopping = interruption.wanted(done)
      last = stopping or done == plan.steps
      logs = last or plans.due(done, plan.log_every)
      due = done == plan.steps or plans.due(done, plan.eval_every)
      evaluates = due and evaluate is not None and (not stopping or done == plan.steps)
      saves = last or due or plans.due(done, plan.checkpoint_every)
      traced.after(step, state, pauses=evaluates or saves)

      # One step runs ahead of what is looked at, so that the device never waits for the host.
      while len(running) > (0 if logs or saves else 1):
        done_step, done_batch, scalars = running.popleft()
        values = jax.device_get(scalars)
        if not values.pop("updated"):
          saved.save(done_step, state)
          suspects = [bool(is_bad(state, constants, done_batch, index)) for index in range(config.batch_size)]
          raise NonFiniteError(_blame(workdir, done_step, values, done_batch, suspects))
        log.add(values)

      if logs:
        log.log(done, {f"{name}/learning_rate": float(rate(step)) for name, rate in rates.items()})
      with log.paused():
        # Evaluating takes long and may fail: the state is safe before, unless the choice of the best waits for it.
        if saves and not (evaluates and config.best_metric):
          saved.save(done, state)
        if evaluates and evaluate is not None:
          try:
            with contextlib.nullcontext() if config.best_metric else interruption.suspended():
              metrics = evaluate(_to_evaluate(state, constants))
          except BaseException:
            if jax.process_count() == 1:  # saving waits for the others, in which there may be no error
              saved.save(done, state)
            raise
          log.evaluated(done, metrics)
          saved.save(done, state, metrics)
          _check_best(config.best_metric, metrics)
      if stopping:
        break
    if start < plan.steps and not stopping:
      stopping = interruption.wanted(plan.steps + 1)  # since the last step, as while it was evaluated
    done = int(state.step)
    if stopping:
      log.say(f"stopped and saved after step {done} of {plan.steps}; the same command goes on from there")

  return Result(done, done >= plan.steps, stopping, _to_evaluate(state, constants), metrics)


class Prepared(NamedTuple):
  """What follows from a config and a system without computing anything; `shapes` are those of fresh variables."""

  plan: plans.Plan
  shapes: base.Variables
  shares: dict[str, states.Share]
  rates: dict[str, optim.Rate]
  transforms: dict[str, optax.GradientTransformation]

  def state(self, variables: states.Tree, averages: bool) -> states.State:
    """The state before the first update, of variables without "constants"."""
    changed = states.keep(variables, frozenset().union(*(share.paths for share in self.shares.values())))
    opt = {
      name: transform.init(states.keep(variables, self.shares[name].trained))
      for name, transform in self.transforms.items()
    }
    return states.State(jnp.int32(0), variables, opt, jax.tree.map(jnp.copy, changed) if averages else {})


def prepare(system: base.System, config: Any, batch: schema.Batch, examples: int) -> Prepared:
  """Finds what is wrong with a config before a run begins; arguments and errors as of `train`."""
  if not system.objectives:
    raise ValueError(f"system {config.system.name!r} has no objective: there is nothing to train")
  plan = plans.Plan.of(config, examples)
  shapes = jax.eval_shape(steps.make_init(system, config.seed, config.accumulation), batch)
  shares = states.shares(system.objectives, shapes, config.freeze)
  rates = optim.learning_rates(config, plan, shares)
  return Prepared(plan, shapes, shares, rates, optim.optimizers(config, rates, shares))


def _check_best(name: str, metrics: Mapping[str, float]) -> None:
  """Raises `ValueError` if an evaluation lacks the metric that chooses the best checkpoint; "" = none chooses."""
  if name and name not in metrics:
    raise ValueError(f"best_metric={name!r} is not measured on these data; name one of {sorted(metrics)}")


def _to_evaluate(state: states.State, constants: states.Tree) -> base.Variables:
  """The variables, each replaced by its running average where one is kept."""
  return states.merge(state.variables, state.ema) | {"constants": constants}


def _blame(
  workdir: pathlib.Path, step: int, values: Mapping[str, Any], batch: schema.Batch, suspects: list[bool]
) -> str:
  """Writes `NONFINITE`, and says what it holds."""
  ids = [int(number) for number in multihost_utils.process_allgather(batch["example_id"], tiled=True)]
  offending = [number for number, suspect in zip(ids, suspects, strict=True) if suspect]
  path = workdir / files.NONFINITE
  if jax.process_index() == 0:
    scalars = {name: repr(float(value)) for name, value in values.items()}
    files.write_json(path, {"step": step, "example_ids": offending, "batch_example_ids": ids, "scalars": scalars})
  wrong = sorted(name for name, value in values.items() if not np.isfinite(value))
  who = f"the examples {offending}" if offending else "no example alone, but the batch as a whole,"
  return f"step {step}: {', '.join(wrong)} not finite; {who} did it (see {path}). The state before it is saved."
