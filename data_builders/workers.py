"""Shards written by processes of this machine, which end with the one that started them."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from typing import Any

import cv2

from data_builders.shards import Plan, Shard, write_shard
from jaxhands.data.workers import SIGNALS, end_with_parent

# What a worker process shares with the one that started it: finished records, and whether to stop.
_shared: tuple[Any, Any] | None = None


class _Stopped(Exception):
  """The build was given up while a worker wrote a shard."""


def write_shards(plan: Plan, missing: Sequence[Shard], jobs: int, progress: Callable[[int], None]) -> None:
  """Writes the missing shards in `jobs` processes; `progress` hears how many records they have finished."""
  # Spawned, because JAX's threads, which the caller may have started, do not survive a fork.
  context = multiprocessing.get_context("spawn")
  finished, stop = context.Value("q", 0), context.Event()
  executor = concurrent.futures.ProcessPoolExecutor(jobs, context, _start, (finished, stop))
  try:
    # Signals come to every process of a terminal or a job; workers inherit the mask and leave the tidying to this one.
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
      waiting = {executor.submit(_write_shard, plan, shard) for shard in missing}
    finally:
      signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
    while waiting:
      done, waiting = concurrent.futures.wait(waiting, 0.2, concurrent.futures.FIRST_COMPLETED)
      for future in done:
        future.result()
      progress(finished.value)
  finally:
    stop.set()
    executor.shutdown(wait=True, cancel_futures=True)


def _start(finished: Any, stop: Any) -> None:
  global _shared
  _shared = (finished, stop)
  cv2.setNumThreads(1)
  end_with_parent()


def _write_shard(plan: Plan, shard: Shard) -> None:
  assert _shared is not None
  finished, stop = _shared

  def after_record() -> None:
    with finished.get_lock():
      finished.value += 1
    if stop.is_set():
      raise _Stopped

  write_shard(plan, shard, after_record)
