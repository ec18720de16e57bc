"""Devices and processes: one mesh axis for the batch, everything else the same on every device."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pathlib
import platform
import signal
import socket
import threading
from types import FrameType, TracebackType
from typing import Any

import jax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"


def initialize(how: str = "auto") -> None:
  """Joins the processes of a run; to be called before anything touches a device.

  Args:
    how: "auto" joins what Slurm, Open MPI or a TPU pod started; "off" is one process; "local" is one process that
      still has the coordinator, whose preemption notices it then obeys; "HOST:PORT,N,I" is process I of N.
  Raises:
    ValueError: none of these.
  """
  if how == "off":
    return
  if how == "auto":
    if _tasks() > 1 or "JAX_COORDINATOR_ADDRESS" in os.environ:
      jax.distributed.initialize()
    elif _has_tpu():
      # A slice may have several machines; a single one that no cluster manages is refused, and needs nothing.
      with contextlib.suppress(ValueError):
        jax.distributed.initialize()
  elif how == "local":
    with socket.socket() as free:
      free.bind(("localhost", 0))
      address = f"localhost:{free.getsockname()[1]}"
    jax.distributed.initialize(address, 1, 0)
  else:
    address, *numbers = how.split(",")
    if ":" not in address or len(numbers) != 2 or not all(number.strip().isdigit() for number in numbers):
      raise ValueError(f"--distributed={how}: write auto, off, local or HOST:PORT,NUMBER_OF_PROCESSES,INDEX")
    jax.distributed.initialize(address, int(numbers[0]), int(numbers[1]))


def _tasks() -> int:
  """Tasks that Slurm or Open MPI started together."""
  return max(int(os.environ.get(name, "1")) for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))


def _has_tpu() -> bool:
  """Whether this machine has TPUs, found without touching them."""
  devices = (*pathlib.Path("/dev").glob("accel*"), *pathlib.Path("/dev/vfio").glob("[0-9]*"))
  return importlib.util.find_spec("libtpu") is not None and bool(devices)


def use_compilation_cache() -> None:
  """Keeps compiled functions in the user's cache, one folder for each kind of device and processor.

  `$JAX_COMPILATION_CACHE_DIR` goes first. To be called after `initialize`.
  """
  if jax.config.values["jax_compilation_cache_dir"]:
    return
  device = jax.devices()[0]
  kind = "".join(letter if letter.isalnum() else "_" for letter in f"{device.platform}-{device.device_kind}")
  cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
  jax.config.update("jax_compilation_cache_dir", str(cache / "jaxhands" / "compiled" / f"{kind}-{_processor()}"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _processor() -> str:
  """Names this processor with its features: code compiled for one may crash on another."""
  info = pathlib.Path("/proc/cpuinfo")
  lines = info.read_text().splitlines() if info.is_file() else []
  features = sorted({line for line in lines if line.startswith(("flags", "Features"))})
  return hashlib.sha256("".join([platform.machine(), platform.processor(), *features]).encode()).hexdigest()[:8]


def make_mesh(devices: int = 0) -> Mesh:
  """All devices of all processes, or the first few, on one axis that the compiler shards along by itself."""
  chosen = jax.devices()[: devices or None]
  return jax.make_mesh((len(chosen),), (AXIS,), axis_types=(AxisType.Auto,), devices=chosen)


def sharded(mesh: Mesh) -> NamedSharding:
  """Of a batch: its first axis divided among the devices."""
  return NamedSharding(mesh, PartitionSpec(AXIS))


def replicated(mesh: Mesh) -> NamedSharding:
  """Of the state: the same on every device."""
  return NamedSharding(mesh, PartitionSpec())


def check_batch_size(batch_size: int, accumulation: int, mesh: Mesh) -> None:
  """Raises `ValueError` if a batch cannot be divided among the devices and micro-batches."""
  parts = mesh.size * accumulation
  if accumulation < 1 or batch_size < 1 or batch_size % parts:
    near = max(round(batch_size / parts), 1) * parts if accumulation > 0 else mesh.size
    raise ValueError(
      f"batch_size={batch_size} cannot be divided among {mesh.size} devices and accumulation={accumulation} "
      f"micro-batches; try batch_size={near}"
    )


class Interruption:
  """Within this context SIGTERM and the first Ctrl-C ask for a stop after the current step, on all processes.

  With the coordinator running, its preemption service decides on the step, so that all processes stop at the same one.
  A second Ctrl-C interrupts at once.
  """

  def __init__(self) -> None:
    self._wanted = False
    self._coordinated = jax.distributed.is_initialized()
    self._previous: dict[int, Any] = {}

  def __enter__(self) -> Interruption:
    # Only the main thread may set handlers; elsewhere (a server, some notebooks) signals keep their meaning.
    if threading.current_thread() is threading.main_thread():
      # The coordinator's service has its own handler of SIGTERM.
      for number in (signal.SIGINT,) if self._coordinated else (signal.SIGINT, signal.SIGTERM):
        self._previous[number] = signal.signal(number, self._handle)
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)

  def _handle(self, number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT and self._wanted:
      raise KeyboardInterrupt
    self._wanted = True
    if self._coordinated:
      os.kill(os.getpid(), signal.SIGTERM)

  def wanted(self, step: int) -> bool:
    """Whether to stop after `step` updates; all processes get the same answer."""
    if self._coordinated:
      return multihost_utils.reached_preemption_sync_point(step)
    return self._wanted
