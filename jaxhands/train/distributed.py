"""Devices and processes: the batch is divided among all devices, the state among groups of them where a rule says so.

Without rules the state is the same on every device, which is the fastest as long as it fits.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import math
import os
import pathlib
import platform
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxhands.data import folders
from jaxhands.train import ending

AXES = DATA, FSDP = "data", "fsdp"
Rules = Sequence[tuple[str, int]]
_PROCESS = re.compile(r"(?P<address>[^,]+:(?P<port>\d{1,5})),\s*(?P<number>\d+),\s*(?P<index>\d+)")
_LOOPBACK = re.compile(r"(localhost|127\.[\d.]+|\[::1\]):\d+$")
_HEARTBEAT_S = 45  # without a sign of life from a process, before the others end
_notice: int | None = None  # what the coordinator does at SIGTERM: tell all processes


def initialize(how: str = "auto") -> None:
  """Joins the processes of a run; to be called before anything touches a device.

  A coordinator on localhost listens there alone. A process that dies without a word ends the others within 90 seconds.

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
      _join(os.environ.get("JAX_COORDINATOR_ADDRESS"))
    elif _has_tpu():
      # A slice may have several machines; a single one that no cluster manages is refused, and needs nothing.
      with contextlib.suppress(ValueError):
        _join(None)
  elif how == "local":
    with socket.socket() as free:
      free.bind(("localhost", 0))
      address = f"localhost:{free.getsockname()[1]}"
    _join(address, 1, 0)
  else:
    words = _PROCESS.fullmatch(how)
    if words is None or not int(words["index"]) < int(words["number"]) or not 0 < int(words["port"]) < 2**16:
      raise ValueError(
        f"--distributed={how}: write auto, off, local or HOST:PORT,NUMBER_OF_PROCESSES,INDEX, with INDEX from 0"
      )
    _join(words["address"], int(words["number"]), int(words["index"]))


def _join(address: str | None, number: int | None = None, index: int | None = None) -> None:
  global _notice
  bind: dict[str, Any] = {"coordinator_bind_address": address} if address and _LOOPBACK.match(address) else {}
  before = _sigterm()
  jax.distributed.initialize(address, number, index, heartbeat_timeout_seconds=_HEARTBEAT_S, **bind)
  # The coordinator's handler of SIGTERM is for the training loop (`Interruption`); elsewhere nothing waits for it.
  _notice = _sigterm(before)
  ending.joined.set()


def _sigterm(handler: int | None = None) -> int | None:
  """The system's handler of SIGTERM, which may be none of Python's; sets another one, if it is given."""
  with_handler = () if handler is None else (ctypes.c_void_p(handler),)
  call = ctypes.pythonapi.PyOS_setsig if with_handler else ctypes.pythonapi.PyOS_getsig
  call.restype = ctypes.c_void_p
  return call(int(signal.SIGTERM), *with_handler) or 0


def _tasks() -> int:
  """Tasks that Slurm or Open MPI started together."""
  return max(int(os.environ.get(name, "1")) for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))


def _has_tpu() -> bool:
  """Whether this machine has TPUs, found without touching them."""
  devices = (*pathlib.Path("/dev").glob("accel*"), *pathlib.Path("/dev/vfio").glob("[0-9]*"))
  return importlib.util.find_spec("libtpu") is not None and bool(devices)


def use_compilation_cache() -> None:
  """Keeps compiled functions in the user's cache, one folder for each kind of device and processor.

  `$JAX_COMPILATION_CACHE_DIR` goes first. Where there is no such folder, or nothing can be written into it, a line
  says so and nothing is kept. To be called after `initialize`.
  """
  if jax.config.values["jax_compilation_cache_dir"]:
    return
  device = jax.devices()[0]
  kind = "".join(letter if letter.isalnum() else "_" for letter in f"{device.platform}-{device.device_kind}")
  cache = folders.cache()
  folder = cache / "compiled" / f"{kind}-{_processor()}" if cache else None
  reason = folders.why_not_writable(folder) if folder else "this user has no home"
  if reason:
    if jax.process_index() == 0:
      print(f"compiled functions are not kept for the next start: {reason}; set XDG_CACHE_HOME", file=sys.stderr)
    return
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _processor() -> str:
  """Names this processor with its features: code compiled for one may crash on another."""
  info = pathlib.Path("/proc/cpuinfo")
  lines = info.read_text().splitlines() if info.is_file() else []
  features = sorted({line for line in lines if line.startswith(("flags", "Features"))})
  return hashlib.sha256("".join([platform.machine(), platform.processor(), *features]).encode()).hexdigest()[:8]


def make_mesh(devices: int = 0, fsdp: int = 1) -> Mesh:
  """All devices of all processes, or the first few, on two axes that the compiler shards along by itself.

  Along them stand those of the first process, then those of the second one, as their rows do in a batch.

  Args:
    devices: how many; 0 = all.
    fsdp: neighbouring devices that share one copy of the state.
  Raises:
    ValueError: the devices do not divide into such groups.
  """
  chosen = in_order(jax.devices())[: devices or None]
  if fsdp < 1 or len(chosen) % fsdp:
    raise ValueError(f"sharding.fsdp={fsdp}: {len(chosen)} devices do not divide into groups of so many")
  shape = (len(chosen) // fsdp, fsdp)
  # `jax.make_mesh` would order them by the topology of a TPU, where processes mix.
  return Mesh(np.array(chosen).reshape(shape), AXES, axis_types=(AxisType.Auto,) * 2)


def in_order(devices: Sequence[Any]) -> list[Any]:
  """Devices by their process, and by their number in it."""
  return sorted(devices, key=lambda device: (device.process_index, device.id))


def sharded(mesh: Mesh) -> NamedSharding:
  """Of a batch: its first axis divided among the devices."""
  return NamedSharding(mesh, PartitionSpec(AXES))


def replicated(mesh: Mesh) -> NamedSharding:
  """The same on every device."""
  return NamedSharding(mesh, PartitionSpec())


def layout(mesh: Mesh, rules: Rules, state: Any) -> Any:
  """Where each array of a state lies: a tree like `state` of shardings.

  Args:
    mesh: of `make_mesh`.
    rules: (regular expression, dimension): the first one that is found in an array's path, for instance
      "variables/params/backbone/conv1/kernel" or "opt/pose/0/mu/params/backbone/conv1/kernel", divides that dimension
      among the devices of a group. What no rule finds, or does not divide, is whole on every device.
    state: arrays or shapes.
  Raises:
    ValueError: a rule that is no regular expression, finds nothing, or names a dimension that an array lacks.
  """
  group, idle = mesh.shape[FSDP], {text for text, _ in rules}
  for text in idle:
    try:
      re.compile(text)
    except re.error as error:
      raise ValueError(f"sharding.rules: {text!r} is no regular expression: {error}") from error

  def place(keys: Any, leaf: Any) -> NamedSharding:
    path = jax.tree_util.keystr(keys, simple=True, separator="/")
    text, dimension = next(((text, d) for text, d in rules if re.search(text, path)), ("", 0))
    idle.discard(text)
    if not text:
      return replicated(mesh)
    if not -leaf.ndim <= dimension < leaf.ndim:
      raise ValueError(f"sharding.rules: {text!r} divides dimension {dimension} of {path}, which has {leaf.ndim}")
    if leaf.shape[dimension] % group:
      return replicated(mesh)
    spec = [None] * leaf.ndim
    spec[dimension] = FSDP
    return NamedSharding(mesh, PartitionSpec(*spec))

  divided = jax.tree_util.tree_map_with_path(place, state)
  if idle:
    raise ValueError(f"sharding.rules: no array of the state is found by {min(idle)!r}")
  return divided


def held_bytes(state: Any, places: Any) -> tuple[int, int]:
  """Bytes of a state, and those of it that one device holds, laid out like `places`."""
  sizes = [
    (math.prod(leaf.shape) * leaf.dtype.itemsize, math.prod(place.shard_shape(leaf.shape)) * leaf.dtype.itemsize)
    for leaf, place in zip(jax.tree.leaves(state), jax.tree.leaves(places), strict=True)
  ]
  return sum(whole for whole, _ in sizes), sum(part for _, part in sizes)


def check_batch_size(batch_size: int, accumulation: int, mesh: Mesh, name: str = "batch_size") -> None:
  """Raises `ValueError` if a batch, of the config's field `name`, cannot be divided among devices and micro-batches."""
  parts = mesh.size * accumulation
  if accumulation < 1 or batch_size < 1 or batch_size % parts:
    near = max(round(batch_size / parts), 1) * parts if accumulation > 0 else mesh.size
    micro = "" if accumulation == 1 else f" and accumulation={accumulation} micro-batches"
    raise ValueError(f"{name}={batch_size} cannot be divided among {mesh.size} devices{micro}; try {name}={near}")


class Interruption:
  """Within this context SIGTERM, SIGUSR1 and the first Ctrl-C ask for a stop after the current step, on all processes.

  With the coordinator running, its preemption service decides on the step, so that all processes stop at the same one.
  A second Ctrl-C interrupts at once. A Ctrl-C that the program ignores stays ignored.
  """

  def __init__(self) -> None:
    self._wanted = False
    self._coordinated = jax.distributed.is_initialized()
    self._previous: dict[int, Any] = {}
    self._sigterm: int | None = None

  def __enter__(self) -> Interruption:
    # Only the main thread may set handlers; elsewhere (a server, some notebooks) signals keep their meaning.
    if threading.current_thread() is threading.main_thread():
      for number in ending.SIGNALS:
        if (number != signal.SIGTERM or not self._coordinated) and signal.getsignal(number) is not signal.SIG_IGN:
          self._previous[number] = signal.signal(number, self._handle)
      if self._coordinated and _notice is not None:
        self._sigterm = _sigterm(_notice)
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    for number, handler in self._previous.items():
      signal.signal(number, handler)
    self._previous.clear()
    if self._sigterm is not None:
      _sigterm(self._sigterm)
      self._sigterm = None

  @contextlib.contextmanager
  def suspended(self) -> Iterator[None]:
    """Within this context, where all is saved, signals do what they did before."""
    self.__exit__(None, None, None)
    try:
      yield
    finally:
      self.__enter__()

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
