"""What the builders' command lines share: progress, one line for an error, a tidy end on ctrl-C and SIGTERM."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

import rich.console
import rich.progress
import rich.text

from data_builders.problems import Problems
from data_builders.shards import BuildError, Progress
from jaxhands.terminal import console as consoles

_SECONDS_BETWEEN_LINES, _SECONDS_BETWEEN_STEPS = 30.0, 15.0


def add_beam(parser: argparse.ArgumentParser) -> None:
  """The flag `--beam`, which `beam_of` reads."""
  parser.add_argument(
    "--beam", nargs="?", const="", metavar="OPTIONS",
    help="write with Apache Beam: on this machine's cores, or as key=value,... says (runner=FlinkRunner,...)",
  )  # fmt: skip


def beam_of(text: str | None) -> tuple[str, ...] | None:
  """What `data_builders.shards.build` takes, from the value of `--beam`.

  Raises:
    BuildError: a part is no `key=value`.
  """
  if text is None:
    return None
  parts = tuple(part.strip() for part in text.split(",") if part.strip())
  for part in parts:
    if not re.fullmatch(r"\w+=.+", part):
      raise BuildError(f"--beam {part!r}: write key=value, with commas between, as runner=FlinkRunner")
  return parts


class Said:
  """A line on standard error for each thing that is done, and one now and then while it lasts."""

  def __init__(self) -> None:
    self._what, self._last = "", 0.0

  def __call__(self, what: str, done: int, total: int) -> None:
    now = time.monotonic()
    if what != self._what or now - self._last > _SECONDS_BETWEEN_STEPS:
      share = f" {100 * done // total} %" if self._what == what and total else ""
      print(f"{what}{share}", file=sys.stderr)
      self._what, self._last = what, now


@contextlib.contextmanager
def listed(consequence: Mapping[str, str], listing: pathlib.Path | None) -> Iterator[Problems]:
  """Problems, of which each gets a line in the file `listing`, where there is one.

  Raises:
    BuildError: the file cannot be written.
  """
  try:
    file = listing.open("w", encoding="utf-8", errors="backslashreplace") if listing else None
  except OSError as error:
    raise BuildError(f"cannot write {listing}: {error.strerror}") from error
  with file or contextlib.nullcontext():
    problems = Problems(consequence, file)
    problems.begin_listing()
    yield problems


def finish_verify(lines: Sequence[str], problems: Problems, begun: float) -> None:
  """Prints what was looked at and what was found since `begun`; ends with status 1 when that is anything."""
  print(*lines, *problems.lines(), sep="\n")
  print(f"{problems.counts.total():,} problems found in {time.monotonic() - begun:.0f} s.")
  if problems.counts:
    sys.exit(1)


class _Rate(rich.progress.ProgressColumn):
  def render(self, task: rich.progress.Task) -> rich.text.Text:
    speed = task.finished_speed or task.speed
    return rich.text.Text("" if speed is None else f"{speed:.1f} records/s")


@contextlib.contextmanager
def shown_progress(description: str) -> Iterator[Progress]:
  """A progress bar with rate and remaining time on standard error; in a log file one line every half minute."""
  console = consoles.make(stderr=True)
  if not console.is_terminal:
    yield _Lines(console, description)
    return
  columns = (
    rich.progress.TextColumn("{task.description}"),
    rich.progress.BarColumn(),
    rich.progress.MofNCompleteColumn(),
    _Rate(),
    rich.progress.TimeRemainingColumn(),
  )
  with rich.progress.Progress(*columns, console=console, speed_estimate_period=60) as bar:
    task: rich.progress.TaskID | None = None

    def show(finished: int, total: int) -> None:
      # The bar begins at what an earlier run left, which is no speed of this one.
      nonlocal task
      if task is None:
        task = bar.add_task(description, total=total, completed=finished)
      bar.update(task, completed=finished)

    yield show


class _Lines:
  def __init__(self, console: rich.console.Console, description: str):
    self.console, self.description = console, description
    self.begun: tuple[float, int] | None = None
    self.last = time.monotonic()

  def __call__(self, finished: int, total: int) -> None:
    now = time.monotonic()
    if self.begun is None:  # a rate is known from the second call on, however late the first one comes
      self.begun, self.last = (now, finished), now
    if now - self.last < _SECONDS_BETWEEN_LINES:
      return
    self.last = now
    rate = (finished - self.begun[1]) / (now - self.begun[0])
    left = f", {(total - finished) / rate / 60:.0f} minutes left" if rate else ""
    self.console.print(f"{self.description}: {finished} of {total} records, {rate:.1f} records/s{left}")


@contextlib.contextmanager
def clear_exit(program: str) -> Iterator[None]:
  """Ends the program with one line instead of a traceback: 1 for what a user can mend, 130 when it is interrupted."""

  def interrupt(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt

  consoles.accept_all_characters()
  old = signal.signal(signal.SIGTERM, interrupt)
  try:
    yield
  except (BuildError, OSError) as error:
    sys.exit(f"{program}: error: {error}")
  except KeyboardInterrupt:
    print(f"{program}: interrupted; run the same command to go on with what is missing", file=sys.stderr)
    sys.exit(consoles.INTERRUPTED)
  finally:
    signal.signal(signal.SIGTERM, old)
