"""How a program that trains ends before it is done: at a signal, at an error, and when another of its processes ends.

Within `distributed.Interruption`, while there are steps to save, a signal is obeyed after the step. Everywhere else
(building data, compiling, evaluating, between stages) nothing is lost: what is finished is on the disk.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

from jax._src import distributed as jax_distributed

from jaxhands.data import workers
from jaxhands.terminal import console

SIGNALS = workers.SIGNALS
STOPPED = 75  # EX_TEMPFAIL: not finished, and goes on when it is started again; job scripts requeue on it
_FAILED = 1
_AGAIN_S = 0.05
_STUCK_S = 10.0  # that a compiler may take before a signal ends the process without waiting for it
_OTHERS_S, _OWN_S = 10.0, 60.0  # for writing what is being written, when another process, or this one, has failed
_HEARD_S = 3.0  # in which the others hear of it before the process that coordinates them is gone
_KEY = "jaxhands/ended"


class Stopped(KeyboardInterrupt):
  """A signal came where there is nothing to save: what to say of it, and its number."""


def status_of(work: Callable[[], bool], program: str, mendable: tuple[type[Exception], ...] = ()) -> int:
  """Runs the whole work of a program, and says in a line how it ended, unless it did what it was asked for.

  Of several processes all end, within 90 seconds, when one of them fails or is stopped alone. Signals that
  come after the work change its status no more.

  Args:
    work: False = a signal came, on all processes, and all is saved.
    program: begins the line.
    mendable: errors that become a line, besides `ValueError`, `OSError`, `ImportError` and `ArithmeticError`. Others
      and, with `JAXHANDS_TRACEBACK=1` in the environment, all of them, are shown with their traceback.
  Returns:
    The exit status: 0, 75 after a signal, 130 after a second Ctrl-C, 1 after an error. Does not return on one of
    several processes that ends alone.
  """
  handled = _obey_signals(program)
  done = threading.Event()
  threading.Thread(target=_watch_others, args=(done, program), name="jaxhands-others", daemon=True).start()
  trace = ""
  try:
    if work():
      return 0
    _say(f"{program}: the run was stopped and is saved; the same command goes on with it")
    return STOPPED  # all processes were stopped at the same step, and take leave of each other
  except Stopped as stopped:
    status, line = STOPPED, f"{stopped.args[0]}; what was finished is saved, and the same command goes on from there"
  except KeyboardInterrupt:
    status, line = console.INTERRUPTED, "interrupted; the same command goes on from what was saved before"
  except Exception as error:
    status, line = _FAILED, f"error: {console.one_line(error)}"
    if not isinstance(error, (ValueError, OSError, ImportError, ArithmeticError, *mendable)) or _wants_traceback():
      trace = traceback.format_exc()
  finally:
    done.set()
    for number in handled:
      signal.signal(number, signal.SIG_IGN)
  _say(f"{trace}{program}: {line}")
  if _peers():
    _tell_others(status, line)
    _leave(status)
  return status


@contextlib.contextmanager
def failing_fast() -> Iterator[None]:
  """An error in here ends the other processes while this one still unwinds, for which it may wait for them in vain."""
  try:
    yield
  except BaseException as error:
    if _peers():
      status, trace = STOPPED if isinstance(error, Stopped) else _FAILED, traceback.format_exc()
      timer = threading.Timer(_OWN_S, lambda: (_say(trace), _leave(status)))
      timer.daemon = True
      timer.start()
      _tell_others(status, console.one_line(error) if status == _FAILED else str(error.args[0]))
    raise


joined = threading.Event()  # the processes of the run, by this one; set by `distributed.initialize`
_told = threading.Event()  # the others, by this process


def _tell_others(status: int, line: str) -> None:
  _told.set()
  with contextlib.suppress(Exception):  # another one was first, or the coordinator is gone
    client: Any = jax_distributed.global_state.client
    client.key_value_set(_KEY, f"{status} {jax_distributed.global_state.process_id} {line}")


def _watch_others(done: threading.Event, program: str) -> None:
  """Ends this process soon after another one has told that it ended."""
  while not done.wait(1):
    if not _peers():
      continue
    try:
      client: Any = jax_distributed.global_state.client
      status, process, line = client.key_value_try_get(_KEY).split(" ", 2)
    except Exception:  # nobody has told; without a coordinator jax itself ends this process
      continue
    if done.wait(_OTHERS_S) or _told.is_set():
      return
    _say(f"{program}: process {process} has ended, and this one with it: {line}")
    _leave(int(status))


def _peers() -> bool:
  return joined.is_set() and jax_distributed.global_state.num_processes > 1


def _obey_signals(program: str) -> Sequence[int]:
  """Lets `SIGNALS` raise `Stopped`; where a compiler keeps them from it, the process ends. Which those are."""
  if threading.current_thread() is not threading.main_thread():
    return []
  taken = threading.Event()

  def stop(number: int, frame: FrameType | None) -> None:
    if taken.is_set():
      if number == signal.SIGINT:
        raise KeyboardInterrupt
      return  # it is about to end
    taken.set()
    raise Stopped(f"stopped by {signal.Signals(number).name}", number)

  def once_more(unraised: Any) -> None:
    if not isinstance(unraised.exc_value, Stopped):
      return others(unraised)
    # It came while the garbage collector was at work, from where no error gets to us.
    taken.clear()
    number = unraised.exc_value.args[1]
    threading.Timer(_AGAIN_S, lambda: os.kill(os.getpid(), number)).start()
    return None

  def watch() -> None:
    while received := reader.recv(1):
      number = received[0]
      if number in handled and signal.getsignal(number) is stop and not taken.wait(_STUCK_S):
        line = f"stopped by {signal.Signals(number).name}; the same command goes on from what was saved before"
        _say(f"{program}: {line}")
        if _peers():
          _tell_others(STOPPED, line)
        _leave(STOPPED)

  # Whoever starts a program in the background of a script has it ignore Ctrl-C.
  handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
  reader, writer = socket.socketpair()
  writer.setblocking(False)
  others, sys.unraisablehook = sys.unraisablehook, once_more
  # The system writes to it at once, while `stop` waits until the main thread comes back from what it has called.
  signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
  for number in handled:
    signal.signal(number, stop)
  threading.Thread(target=watch, name="jaxhands-signals", daemon=True).start()
  return handled


def _wants_traceback() -> bool:
  return bool(os.environ.get("JAXHANDS_TRACEBACK"))


def _say(text: str) -> None:
  print(text, file=sys.stderr, flush=True)


def _leave(status: int) -> NoReturn:
  """Ends the process without jax's leave-taking, which waits minutes for processes that are gone."""
  if _peers() and jax_distributed.global_state.process_id == 0:
    time.sleep(_HEARD_S)
  for stream in (sys.stdout, sys.stderr):
    with contextlib.suppress(OSError, ValueError):
      stream.flush()
  os._exit(status)
