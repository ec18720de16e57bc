"""Where the time of a few steps of training goes: a trace to look at, and its longest operations as text.

The trace lies in WORKDIR/profile as TensorBoard's profile plugin and Perfetto read it; `operations.txt` beside it is
for everyone. Steps outside the trace cost nothing.
"""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import jax

from jaxhands.runs import folder as files
from jaxhands.train import progress

FOLDER, TEXT = "profile", "operations.txt"
_SKIPPED = 2  # steps of a start, which wait for the first data
_LISTED, _SHOWN = 40, 8  # operations in the text, and on the console
_OPERATIONS = "XLA Ops"  # the line of a TPU's trace whose events are operations


class Operation(NamedTuple):
  """One operation of a compiled function.

  Attributes:
    name: in the compiled function, e.g. "conv_general_dilated.3".
    module: the compiled function, e.g. "jit_train_step".
    times: how often it ran.
    own_ns: its time without that of operations within it, all runs together.
  """

  name: str
  module: str
  times: int
  own_ns: float


class Profile:
  """Traces some steps of a loop, without a pause for evaluation or writing between them."""

  def __init__(self, workdir: pathlib.Path, wanted: int, start: int, end: int, log: progress.Report):
    """Nothing is traced yet.

    Args:
      workdir: of the run.
      wanted: steps to trace; 0 = none.
      start: first step of the loop.
      end: of the run.
      log: shows lines, and does not count the time that the trace itself takes.
    """
    self._folder, self._log, self._wanted = workdir / FOLDER, log, wanted
    self._first = start + min(_SKIPPED, max(end - start - wanted, 0)) if wanted else end
    self._runs, self._done = False, False

  def __enter__(self) -> Profile:
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    if self._runs:  # an error within a traced step
      jax.profiler.stop_trace()
    elif self._wanted and not self._done and error is None:
      self._log.say("no step was left to profile")

  def before(self, step: int, state: Any) -> None:
    """To be called before a step, with what it changes."""
    if step == self._first:
      jax.block_until_ready(state)  # earlier steps are not of the trace
      options = jax.profiler.ProfileOptions()
      options.python_tracer_level = 0  # Python's own calls slow the steps, and fill the trace
      with self._log.paused():
        jax.profiler.start_trace(str(self._folder), profiler_options=options)
      self._runs = True

  def after(self, step: int, state: Any, pauses: bool) -> None:
    """To be called after a step, with what it changed, and whether something else follows that is not to be traced."""
    if self._runs and (pauses or step + 1 == self._first + self._wanted):
      jax.block_until_ready(state)
      with self._log.paused():
        jax.profiler.stop_trace()
        self._runs, self._done = False, True
        self._write(self._first, step + 1)

  def _write(self, first: int, end: int) -> None:
    newest = max(self._folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    lines = table(operations(jax.profiler.ProfileData.from_file(str(newest))), end - first, jax.local_device_count())
    device = jax.devices()[0]
    head = [f"steps {first + 1} to {end} on {jax.local_device_count()} of {device.device_kind} ({device.platform})", ""]
    path = self._folder / TEXT
    with files.written(path) as file:
      file.write(("\n".join([*head, *lines]) + "\n").encode())
    for line in [f"profile of steps {first + 1} to {end}: {path}", *lines[: _SHOWN + 2]]:
      self._log.say(line)


def operations(trace: Any) -> list[Operation]:
  """The operations of a trace (`jax.profiler.ProfileData`) of all devices together, the longest first."""
  own: collections.defaultdict[tuple[str, str], float] = collections.defaultdict(float)
  count: collections.Counter[tuple[str, str]] = collections.Counter()
  for plane in trace.planes:
    for line in plane.lines:
      rows = []
      for event in line.events:
        stats = dict(event.stats)
        if "hlo_op" in stats or line.name == _OPERATIONS:
          key = str(stats.get("hlo_op", event.name)), str(stats.get("hlo_module", ""))
          rows.append((key, (float(event.start_ns), float(event.duration_ns))))
      for (key, _), own_ns in zip(rows, own_times([times for _, times in rows]), strict=True):
        own[key] += own_ns
        count[key] += 1
  return [Operation(*key, count[key], own[key]) for key in sorted(own, key=lambda key: -own[key])]


def own_times(events: Sequence[tuple[float, float]]) -> list[float]:
  """Durations of the events of one thread without those of events within them.

  Args:
    events: start and duration of each, in any order; two overlap only if one lies within the other.
  """
  own = [duration for _, duration in events]
  around: list[int] = []
  for index in sorted(range(len(events)), key=lambda i: (events[i][0], -events[i][1])):
    start, duration = events[index]
    while around and events[around[-1]][0] + events[around[-1]][1] <= start:
      around.pop()
    if around:
      own[around[-1]] -= duration
    around.append(index)
  return own


def table(found: Iterable[Operation], steps: int, devices: int) -> list[str]:
  """Lines with the time of the longest operations per step and device, its share of all, and how often each ran."""
  every = list(found)
  total = sum(operation.own_ns for operation in every) or 1.0
  runs = steps * devices
  lines = [
    f"{total / runs / 1e6:.2f} ms of operations in a step, on each device",
    f"{'ms':>10} {'share':>6} {'runs':>7}  operation",
  ]
  for name, module, count, own_ns in every[:_LISTED]:
    where = f"  ({module})" if module else ""
    lines.append(f"{own_ns / runs / 1e6:10.3f} {own_ns / total:6.1%} {count / runs:7.1f}  {name}{where}")
  if rest := every[_LISTED:]:
    left = sum(operation.own_ns for operation in rest)
    lines.append(f"{left / runs / 1e6:10.3f} {left / total:6.1%} {'':7}  {len(rest)} others")
  return lines
