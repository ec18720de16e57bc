"""What programs show: on a terminal as wide as it is, in a log whole lines, no character that it cannot hold."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator

import rich.console

SILENT_S = 60.0  # after which a log hears that something goes on
INTERRUPTED = 130  # exit status after Ctrl-C
_UNLIMITED = 10_000  # columns: a log has as many as a table needs


def make(stderr: bool = False) -> rich.console.Console:
  """A console that breaks no line, and no table where it is no terminal."""
  console = rich.console.Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False)
  if not console.is_terminal:
    console.width = _UNLIMITED
  return console


def one_line(error: BaseException) -> str:
  """What an error says, or else its name, with its notes, in one line."""
  # JAX and grain add notes on their tracebacks, below a ruler.
  notes = (note for note in getattr(error, "__notes__", ()) if not note.startswith("-----"))
  return "; ".join(" ".join(text.split()) for text in (str(error).strip() or type(error).__name__, *notes))


@contextlib.contextmanager
def lasting(what: str, usually: str, say: Callable[[str], None] = print) -> Iterator[None]:
  """A line before something that lasts and shows nothing meanwhile, and one after it."""
  begun = time.perf_counter()
  say(f"{what} (usually {usually}) ...")
  yield
  say(f"{what}: done in {time.perf_counter() - begun:.0f} s")


def accept_all_characters() -> None:
  """Standard output shows what its encoding cannot hold as an escape, as standard error does, instead of failing."""
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):
      with contextlib.suppress(OSError, ValueError):  # closed
        stream.reconfigure(errors="backslashreplace")
