"""What a run tells: a progress line, `metrics.jsonl`, TensorBoard files. Only the first process of a run speaks."""

from __future__ import annotations

import collections
import contextlib
import json
import pathlib
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

import rich.progress
import tensorboardX

from jaxhands.runs import folder as files
from jaxhands.terminal import console

T = TypeVar("T")


class Report:
  """Collects scalars between two log lines, and the time spent; a context manager.

  `metrics.jsonl` has one line per log and one per evaluation, with names `train/...` and `eval/...`. Among them
  `train/images_per_s`, and `train/data_wait`, the share of the time in which the trainer waited for data;
  `train/seconds` are those since the line before, without evaluations and writing.
  """

  def __init__(self, workdir: pathlib.Path, first: int, last: int, batch_size: int, speaks: bool = True):
    """Opens the files; what they hold beyond step `first`, of a run that was broken off, is dropped.

    Args:
      workdir: of the run.
      first: updates that were made before.
      last: updates of the whole run.
      batch_size: examples of one update.
      speaks: False on all processes but the first.
    """
    self._last, self._done, self._batch_size, self._speaks = last, first, batch_size, speaks
    self._sums: collections.defaultdict[str, float] = collections.defaultdict(float)
    self._count, self._timed = 0, -1  # the first step waits for the first data: the clock starts after it
    self._start, self._waited, self._paused = time.perf_counter(), 0.0, 0.0
    self._whole = 0.0  # seconds of the first step
    if not speaks:
      return
    self._lines = workdir / files.LOG
    _drop_after(self._lines, first)
    begun = (workdir / files.TENSORBOARD).exists()  # perhaps by a run that has saved nothing
    self._board = tensorboardX.SummaryWriter(str(workdir / files.TENSORBOARD), purge_step=first + 1 if begun else None)
    self._console, self._said = console.make(), time.monotonic()
    columns = rich.progress.TextColumn("{task.description}"), rich.progress.BarColumn()
    ends = rich.progress.MofNCompleteColumn(), rich.progress.TimeRemainingColumn()
    self._bar = rich.progress.Progress(
      *columns, *ends, console=self._console, transient=True, disable=not self._console.is_terminal
    )
    self._task = self._bar.add_task("step", total=last, completed=first)

  def __enter__(self) -> Report:
    if self._speaks:
      self._bar.start()
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
  ) -> None:
    if self._speaks:
      self._bar.stop()
      self._board.close()

  def say(self, text: str) -> None:
    """A line on the console."""
    if self._speaks:
      self._console.print(text)
      self._said = time.monotonic()

  def next_of(self, batches: Iterator[T]) -> T:
    """The next batch; the time is counted as waiting."""
    start = time.perf_counter()
    batch = next(batches)
    self._waited += time.perf_counter() - start
    return batch

  @contextlib.contextmanager
  def paused(self) -> Iterator[None]:
    """Time in here (evaluation, writing) does not count."""
    start = time.perf_counter()
    yield
    self._paused += time.perf_counter() - start

  def add(self, scalars: Mapping[str, Any]) -> None:
    """Counts one step with its scalars."""
    for name, value in scalars.items():
      self._sums[name] += float(value)
    self._count += 1
    self._timed += 1
    if self._timed == 0:
      self._whole = time.perf_counter() - self._start - self._paused
      self._start, self._waited, self._paused = time.perf_counter(), 0.0, 0.0
    self._done += 1
    if self._speaks:
      self._bar.advance(self._task)
      if not self._console.is_terminal and time.monotonic() - self._said > console.SILENT_S:
        self.say(f"step {self._done}/{self._last}")

  def log(self, step: int, more: Mapping[str, float]) -> None:
    """Writes the mean of what was added since the last time, `more`, the speed and the share of waiting."""
    seconds = time.perf_counter() - self._start - self._paused
    scalars = {name: total / self._count for name, total in self._sums.items()} | dict(more)
    scalars |= {"seconds": self._whole + seconds}
    line = [f"step {step}/{self._last}"]
    line += [f"{name} {value:.4g}" for name, value in scalars.items() if name.endswith("loss")]
    if self._timed > 0:
      images_per_s, data_wait = self._timed * self._batch_size / seconds, self._waited / seconds
      scalars |= {"images_per_s": images_per_s, "data_wait": data_wait}
      line += [f"{images_per_s:.0f} images/s", f"data wait {data_wait:.0%}"]
      if self._speaks:
        self._bar.update(self._task, description=", ".join(line[-2:]))
    self.say("  ".join(line))
    self._write(step, "train", scalars)
    self._sums.clear()
    self._count, self._timed = 0, 0
    self._start, self._waited, self._paused, self._whole = time.perf_counter(), 0.0, 0.0, 0.0

  def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
    """Writes the result of an evaluation; on the console without what is broken down further than by group."""
    shown = [f"{name} {value:.4g}" for name, value in metrics.items() if name.count("/") < 2]
    self.say("  ".join([f"evaluation at step {step}", *shown]))
    self._write(step, "eval", metrics)

  def _write(self, step: int, kind: str, scalars: Mapping[str, float]) -> None:
    """Adds a line to `metrics.jsonl` and points to TensorBoard, with names `kind/...`."""
    if not self._speaks:
      return
    named = {f"{kind}/{name}": float(value) for name, value in scalars.items()}
    with self._lines.open("a") as file:
      file.write(json.dumps({"step": step, "time": round(time.time(), 3)} | named) + "\n")
    for name, value in named.items():
      self._board.add_scalar(name, value, step)
    self._board.flush()


def _drop_after(lines: pathlib.Path, step: int) -> None:
  """Removes the lines of later steps, and a last one that was cut short."""
  if lines.is_file():
    whole = files.read_lines(lines, "delete it, or its damaged lines: the run goes on without")
    with files.written(lines) as file:
      file.writelines(json.dumps(line).encode() + b"\n" for line in whole if line.get("step", 0) <= step)
