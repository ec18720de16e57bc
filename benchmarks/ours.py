"""One subject in JAX, compiled and ready to be timed: the training step, the prediction, one picture, the input."""

from __future__ import annotations

import contextlib
import functools
import resource
import time
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import counts
from benchmarks.subjects import Subject, parameters
from jaxhands.data import feed, source
from jaxhands.train import distributed, loop, step

NAMES = ("train", "forward", "one")
_READ_BATCHES = 4
_WAIT_STEPS = 10


class Ours:
  """Functions by name (`run`), and what XLA says of them (`facts`), as far as it says it on this device.

  "train" is the trainer's step, "forward" the evaluator's prediction, of `size` examples; "one" the prediction of one
  picture. Each takes arrays that are on the device already. Of these, those in `wanted` that the subject has.
  """

  def __init__(self, subject: Subject, size: int, wanted: Collection[str] = NAMES):
    self._subject, self._size = subject, size
    self._mesh = distributed.make_mesh(1)
    self.facts: dict[str, float] = {}
    self._calls: dict[str, Callable[[], Any]] = {}
    system, config = subject.system, subject.config
    trains = bool(system.objectives) and "train" in wanted
    seen = feed.put(subject.batch(size, train=trains), self._mesh)
    variables = _fresh(step.make_init(system, config.seed), seen)
    self.facts["parameters"] = parameters(variables)
    if trains:
      self._prepare_training(variables, seen)
    for name, count in ((name, count) for name, count in (("forward", size), ("one", 1)) if name in wanted):
      batch = feed.put(subject.batch(count, train=False), self._mesh)
      call = self._compiled(name, functools.partial(_predict, system), (variables, batch))
      self._calls[name] = functools.partial(call, variables, batch)

  def _prepare_training(self, variables: Any, batch: Any) -> None:
    system, config = self._subject.system, self._subject.config
    prepared = loop.prepare(system, config, batch, examples=10_000)
    pure = step.make_train_step(system, prepared.shares, prepared.transforms, config.seed, 1, config.ema)
    constants = variables.get("constants", {})
    trained = {name: tree for name, tree in variables.items() if name != "constants"}
    # Copies, for the step gives its state's memory to the next one.
    now = jax.tree.map(jnp.copy, prepared.state(trained, bool(config.ema)))
    call = self._compiled("train", pure, (now, constants, batch, np.int32(0)), donate_argnums=0)
    self._state, self._step = now, 0

    def train() -> Any:
      self._state, scalars = call(self._state, constants, batch, np.int32(self._step))
      self._step += 1
      return scalars

    self._calls["train"] = train

  def _compiled(self, name: str, fn: Any, arguments: tuple[Any, ...], **options: Any) -> Any:
    begun = time.perf_counter()
    traced = jax.jit(fn, **options).trace(*arguments)
    lowered, made = traced.lower(), time.perf_counter()
    call = lowered.compile()
    self.facts[f"{name}_trace_s"] = made - begun
    self.facts[f"{name}_compile_s"] = time.perf_counter() - made
    if jax.default_backend() == "cpu":  # elsewhere nothing is counted before compiling
      self.facts[f"{name}_gflop"] = counts.cost(traced).operations / 1e9
    cost: Any = call.cost_analysis() or {}
    if (moved := cost.get("bytes accessed")) is not None:
      self.facts[f"{name}_gbyte"] = moved / 1e9
    memory: Any = call.memory_analysis()
    if memory is not None:
      held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
      self.facts[f"{name}_memory_mb"] = (held + memory.temp_size_in_bytes) / 1e6
    return call

  @property
  def names(self) -> list[str]:
    return list(self._calls)

  def run(self, name: str, calls: int = 1) -> float:
    """Seconds of one call, of so many back to back; a training step that changes nothing is an error."""
    out: Any = None
    updated = []
    begun = time.perf_counter()
    for _ in range(calls):
      out = self._calls[name]()
      updated.append(out.get("updated", True))
    jax.block_until_ready(out)
    seconds = (time.perf_counter() - begun) / calls
    if not all(updated):
      raise FloatingPointError(f"{self._subject.name}: a training step was not finite: {jax.device_get(out)}")
    return seconds

  def input_per_core(self) -> float:
    """Training examples that the data pipeline makes of records on the disk, a second of one core's time."""
    batches = self._subject.batches(32, True, source.Reading(threads=1, keep_bytes=0))
    for _ in range(3):  # the pipeline works some batches ahead
      next(batches)
    begun = time.process_time()
    for _ in range(_READ_BATCHES):
      next(batches)
    return 32 * _READ_BATCHES / (time.process_time() - begun)

  def data_wait(self) -> float:
    """Share of some steps' time in which the trainer waits for data, read as its config says."""
    data = self._subject.config.data
    reading = source.Reading(threads=data.threads, keep_bytes=data.keep_mb * 10**6)
    waited = 0.0
    stream: Any = feed.to_mesh(lambda: self._subject.batches(self._size, True, reading), self._mesh)
    with contextlib.closing(stream):
      for _ in range(_WAIT_STEPS // 2):  # fills what is kept in memory
        next(stream)
      begun = time.perf_counter()
      for _ in range(_WAIT_STEPS):
        asked = time.perf_counter()
        next(stream)
        waited += time.perf_counter() - asked
        self.run("train")
      return waited / (time.perf_counter() - begun)

  def close(self) -> dict[str, float]:
    """The facts, with what is measured once and the most memory that the process ever had."""
    self.facts["input_per_core"] = self.input_per_core()
    self.facts["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    if "train" in self._calls and self._subject.size != "paper":  # a large step always waits longer than the input
      self.facts["data_wait"] = self.data_wait()
    return self.facts


def _fresh(init: Any, batch: Any) -> Any:
  """Random variables of the right shapes; compiling the true ones takes longer than what is measured."""
  shapes = jax.eval_shape(init, batch)
  rng = np.random.default_rng(0)

  def leaf(path: Any, shape: Any) -> Any:
    name = getattr(path[-1], "key", "")  # arrays of a hand model are fields, without a key
    if not jnp.issubdtype(shape.dtype, jnp.floating):
      return jnp.zeros(shape.shape, shape.dtype)
    if name in ("scale", "var"):
      return jnp.ones(shape.shape, shape.dtype)
    if shape.ndim < 2 and path[0].key != "spectral":
      return jnp.zeros(shape.shape, shape.dtype)
    fan_in = max(int(np.prod(shape.shape[:-1])), 1)
    # A flow's couplings begin small: of large ones a step overflows.
    small = 0.01 if len(path) > 1 and getattr(path[-2], "key", "") == "last" else 1.0
    return jnp.asarray(rng.normal(0, small * fan_in**-0.5, shape.shape), shape.dtype)

  return jax.tree_util.tree_map_with_path(leaf, shapes)


def _predict(system: Any, variables: Any, batch: Any) -> Any:
  key = jax.random.key(0)
  return dict(system.predict(variables, system.device_ops(batch, key, train=False), key))
