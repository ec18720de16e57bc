"""Batches of examples: data sets -> grain -> host ops -> NumPy arrays.

The batch of step s depends on (seed, s) alone, whatever the number of threads, worker processes or hosts: examples are
shuffled and augmented by their global position, and each host then takes its rows of every global batch. Going on from
a step is a slice, so that nothing of the data's state is ever saved.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import logging
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal

import grain
import numpy as np
from absl import flags

from jaxhands.data import host_ops, workers
from jaxhands.data.records import Cached, DataSet, Records

Ops = Sequence[Any]  # of `systems.base.HostOp`

_log = logging.getLogger(__name__)
# Without these nothing is learnt of what a system needs them for; without others, as joints in space, the rest is.
_TAUGHT_BY = frozenset(f"{label}_valid" for label in ("joints_img", "mano", "masks", "parts", "removed", "root_depth"))
_TAUGHT_LESS_BY = frozenset(f"{label}_valid" for label in ("camera", "hand_present", "joints_cam"))


@dataclasses.dataclass(frozen=True)
class Reading:
  """How batches are read; none of it changes what is read.

  Attributes:
    threads: that read, decode and crop the examples of a batch.
    processes: worker processes besides the caller's own, each with its threads; 0 = none.
    keep_bytes: memory for decoded examples, shared evenly by the data sets, so that small ones are read and decoded
      once; 0 = none. In training, without worker processes only.
    process_index, process_count: of the run; each process gets its rows of every batch.
  """

  threads: int = 4
  processes: int = 0
  keep_bytes: int = 0
  process_index: int = 0
  process_count: int = 1


def open_all(data_sets: Sequence[DataSet], view: Literal["pair", "hand"], needs: Collection[str]) -> list[Records]:
  """Opens data sets, whose examples are then mixed as if they were one.

  Raises:
    ValueError: there are none, or their parameters belong to different hand models.
  """
  if not data_sets:
    raise ValueError("no data set is given")
  opened = [Records(data_set, view, needs) for data_set in data_sets]
  if {"mano", "annotations_mano"} & set(needs):
    models = {records.data_set.folder: records.hand_model for records in opened if records.hand_model}
    if len(set(models.values())) > 1:
      raise ValueError(f"parameters of different hand models do not mix: {models}")
  return opened


def train_batches(
  records: Sequence[Records],
  ops: Ops,
  needs: Collection[str],
  batch_size: int,
  seed: int,
  start: int = 0,
  reading: Reading | None = None,
) -> Iterator[dict[str, np.ndarray]]:
  """Batches of steps `start`, `start + 1`, ... without end: shuffled anew every epoch, ops with randomness.

  An epoch's last batch is filled up with the next epoch's first examples.

  Args:
    records: of `open_all`.
    ops: of `System.host_ops(train=True)`.
    needs: keys of the `Batch`.
    batch_size: over all processes.
    seed: of order and augmentation.
    start: first step.
    reading: threads, processes, memory.
  Raises:
    ValueError: the batch does not divide among the processes, or a record cannot be made an example (named).
  """
  reading = reading or Reading()
  examples = _examples(records, ops, needs, reading, seed, endless=True)
  rows = _Rows(examples, batch_size, reading)
  return _iterate(rows, start, reading)


def eval_batches(
  records: Sequence[Records],
  ops: Ops,
  needs: Collection[str],
  batch_size: int,
  reading: Reading | None = None,
  positions: Sequence[int] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
  """Every example once, in order. Copies of `weight` 0 fill the last batch, so that all processes have as many rows.

  Other arguments and errors as of `train_batches`.

  Args:
    positions: indices of examples; these alone are read, in the order given.
  """
  reading = dataclasses.replace(reading or Reading(), keep_bytes=0)  # nothing is read a second time
  examples = _examples(records, ops, needs, reading, seed=0, endless=False)
  if positions is not None:
    examples = _At(examples, tuple(int(position) for position in positions))
  return _iterate(_Rows(examples, batch_size, reading), 0, reading)


def check_labels(records: Sequence[Records], needs: Collection[str]) -> None:
  """Whether data sets that are trained on together have what is to be learnt from them; a line about less.

  Raises:
    ValueError: a label is needed that no record of any of them has, so that losses would be 0.
  """
  missing = set(needs) - frozenset().union(*(one.labels for one in records))
  names = ", ".join(f"{one.data_set.folder}:{one.data_set.split}" for one in records)
  # Who learns joints takes the picture itself where there is none without the other hand.
  if refused := sorted(missing & _TAUGHT_BY - ({"removed_valid"} if "joints_img" in needs else set())):
    raise ValueError(
      f"no record of {names} has a valid {refused[0].removesuffix('_valid')!r}, so that nothing is learnt from it; "
      "train on a set that has it (InterHand2.6M: built with --mano DIR, into another folder or after this one is "
      "deleted; 'mano' may also come from config.data.fits)"
    )
  for flag in sorted(missing & _TAUGHT_LESS_BY):
    _tell(f"no record of {names} has a valid {flag.removesuffix('_valid')!r}: losses that need it are 0")


@functools.cache  # batches are asked for more than once
def _tell(text: str) -> None:
  _log.warning("%s", text)


def _examples(
  records: Sequence[Records], ops: Ops, needs: Collection[str], reading: Reading, seed: int, endless: bool
) -> Any:
  """A grain MapDataset of finished examples by global position."""
  fixed = tuple(op for position, op in enumerate(ops) if all(_deterministic(o) for o in ops[: position + 1]))
  keep_bytes = 0 if reading.processes else reading.keep_bytes // len(records)
  sources = [Cached(source, _Prepare(fixed, source), keep_bytes) for source in records]
  # Of one source as it is: each of grain's layers looks through every example.
  dataset: Any = (
    sources[0] if len(sources) == 1 else grain.MapDataset.concatenate(list(map(grain.MapDataset.source, sources)))
  )
  dataset = grain.MapDataset.source(_Shuffled(dataset, seed) if endless else dataset)
  return dataset.seed(seed).random_map(_Finish(tuple(ops[len(fixed) :]), tuple(sorted(needs))))


def _deterministic(op: Any) -> bool:
  return getattr(op, "deterministic", False)


@dataclasses.dataclass(frozen=True)
class _Prepare:
  """The ops without randomness, of one source; an error names the record."""

  ops: tuple[Any, ...]
  source: Records

  def __call__(self, record: dict[str, Any], index: int) -> dict[str, Any]:
    record["record"] = self.source.name(index)
    return _apply(self.ops, record, np.random.default_rng(0))


@dataclasses.dataclass(frozen=True)
class _Finish:
  """The ops from the first one with randomness on, then the selection of keys."""

  ops: tuple[Any, ...]
  needs: tuple[str, ...]

  def __call__(self, example: dict[str, Any], rng: np.random.Generator) -> dict[str, np.ndarray]:
    return host_ops.select(_apply(self.ops, example, rng), self.needs)


def _apply(ops: tuple[Any, ...], example: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
  name = example["record"]
  try:
    for op in ops:
      example = op(example, rng)
  except Exception as error:
    error.add_note(f"while making an example of {name}")
    raise
  return example


@dataclasses.dataclass(frozen=True)
class _At:
  """Some of the examples."""

  examples: Any
  positions: tuple[int, ...]

  def __len__(self) -> int:
    return len(self.positions)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    return self.examples[self.positions[index]]


class _Shuffled:
  """All examples, again and again, in a new order each epoch.

  Orders are whole permutations: grain's own shuffle finds each index by trial, which takes milliseconds where there
  are few examples. One for a million examples takes 8 MB and some 20 ms an epoch.
  """

  def __init__(self, examples: Any, seed: int):
    self._examples, self._seed, self._count = examples, seed, len(examples)
    self._order = functools.lru_cache(maxsize=3)(self._permutation)

  def __len__(self) -> int:
    return sys.maxsize

  def __getitem__(self, index: int) -> dict[str, Any]:
    epoch, position = divmod(index, self._count)
    return self._examples[int(self._order(epoch)[position])]

  def _permutation(self, epoch: int) -> np.ndarray:
    return np.random.default_rng([self._seed, epoch]).permutation(self._count)

  def __reduce__(self) -> tuple[Any, ...]:
    return _Shuffled, (self._examples, self._seed)


class _Rows:
  """This process's rows of every global batch, each batch built by a pool of threads.

  Rows of a process are contiguous, so that the batch on the mesh has the order of a single process.
  """

  def __init__(self, examples: Any, batch_size: int, reading: Reading):
    if batch_size % reading.process_count:
      raise ValueError(f"a batch of {batch_size} does not divide among {reading.process_count} processes")
    self._examples, self._batch_size, self._reading = examples, batch_size, reading
    self._pool: concurrent.futures.ThreadPoolExecutor | None = None

  def __len__(self) -> int:
    examples = len(self._examples)
    # An endless data set's length is sys.maxsize.
    return examples // self._batch_size if examples >= sys.maxsize else -(-examples // self._batch_size)

  def __getitem__(self, index: int) -> dict[str, np.ndarray]:
    rows = self._batch_size // self._reading.process_count
    first = index * self._batch_size + self._reading.process_index * rows
    positions = range(first, first + rows)
    if self._pool is None:
      self._pool = concurrent.futures.ThreadPoolExecutor(max(self._reading.threads, 1), "jaxhands-data")
    share = max(rows // (4 * max(self._reading.threads, 1)), 1)  # several examples a task: a task costs as much
    chunks = [positions[at : at + share] for at in range(0, rows, share)]
    examples = [example for chunk in self._pool.map(self._make, chunks) for example in chunk]
    return {key: np.stack([example[key] for example in examples]) for key in examples[0]}

  def _make(self, positions: range) -> list[dict[str, np.ndarray]]:
    return [self._one(position) for position in positions]

  def _one(self, position: int) -> dict[str, np.ndarray]:
    if position < len(self._examples):
      return self._examples[position]
    return self._examples[position % len(self._examples)] | {"weight": np.zeros((), np.float32)}

  def __getstate__(self) -> dict[str, Any]:
    return self.__dict__ | {"_pool": None}


def _iterate(rows: _Rows, start: int, reading: Reading) -> Iterator[dict[str, np.ndarray]]:
  dataset = grain.MapDataset.source(rows)[start:]
  batches = dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=2))
  if reading.processes:
    if not flags.FLAGS.is_parsed():  # grain reads absl flags of its own; notebooks and tests parse none
      flags.FLAGS.mark_as_parsed()
    # They ignore signals (`feed`), and grain ends them only where this process comes to its end.
    batches = batches.mp_prefetch(
      grain.MultiprocessingOptions(num_workers=reading.processes),
      worker_init_fn=lambda index, count: workers.end_with_parent(),
    )
  return iter(batches)
