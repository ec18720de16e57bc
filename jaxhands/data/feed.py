"""From NumPy batches of this process to arrays on the mesh, some steps ahead of the device."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxhands.data import workers

_END = object()


def put(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
  """The global batch, its first axis divided among all devices, of which this process gives its rows.

  Raises:
    ValueError: the rows do not divide among this process's devices.
  """
  sharding = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
  local = mesh.local_mesh.size
  rows = len(next(iter(batch.values())))
  if rows % local:
    raise ValueError(f"{rows} examples of this process do not divide among its {local} devices")
  return {key: jax.make_array_from_process_local_data(sharding, value) for key, value in batch.items()}


def ahead(items: Callable[[], Iterator[Any]], steps: int = 2) -> Iterator[Any]:
  """The items, made by a thread that stays `steps` ahead.

  An error in the thread is raised where its item is asked for. The thread ends when the iterator is closed or dropped.

  Args:
    items: makes the iterator that the thread drains.
    steps: items that wait at most.
  """
  waiting: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(steps)
  stop = threading.Event()
  thread = threading.Thread(target=_drain, args=(items, waiting, stop), name="jaxhands-feed", daemon=True)
  thread.start()
  try:
    while True:
      item, error = waiting.get()
      if error is not None:
        raise error
      if item is _END:
        return
      yield item
  finally:
    stop.set()
    thread.join()


def to_mesh(batches: Callable[[], Iterator[Mapping[str, np.ndarray]]], mesh: Mesh) -> Iterator[dict[str, jax.Array]]:
  """Batches of this process as arrays on the mesh, transferred while the device works on earlier ones."""
  return ahead(lambda: (put(batch, mesh) for batch in batches()))


def _drain(items: Callable[[], Iterator[Any]], waiting: queue.Queue[Any], stop: threading.Event) -> None:
  def offer(item: Any, error: BaseException | None) -> bool:
    while not stop.is_set():
      try:
        waiting.put((item, error), timeout=0.1)
        return True
      except queue.Full:
        continue
    return False

  # Processes that read for this thread are not to end at a signal to all: the step that it asks for needs their batch.
  signal.pthread_sigmask(signal.SIG_BLOCK, workers.SIGNALS)
  try:
    for item in items():
      if not offer(item, None):
        return
  except BaseException as error:
    offer(None, error)
  else:
    offer(_END, None)
