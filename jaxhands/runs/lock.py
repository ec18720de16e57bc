"""One writer for a folder: a lock that ends with the process that has it, however that ends.

The lock is POSIX's on `FOLDER/.lock`, which NFS and most cluster file systems honour between machines, too. Some do so
on one machine only, or not at all: the file therefore names its owner, who touches it every few seconds. Whoever finds
the name of another machine there looks for a while whether that happens.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import logging
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

from jaxhands.paths import check_on_disk

LOCK = ".lock"
_BEAT_S = 3.0
_BEATS = 3  # that a machine may miss, being busy
_TAKEN = (errno.EACCES, errno.EAGAIN)
_held: set[pathlib.Path] = set()  # by this process, to which POSIX would give them again
_guard = threading.Lock()


class FolderInUseError(OSError):
  """Another process writes into the folder."""


@contextlib.contextmanager
def only(folder: pathlib.Path, wait: bool = False) -> Iterator[None]:
  """Within this context no other process, and no other thread, is in such a context for the same folder.

  Args:
    folder: made if it is not there, and gone again if nothing came into it.
    wait: for the other to end, after a line that says so.
  Raises:
    FolderInUseError: another one is in it; at once, or, where that one is on another machine, after ten seconds.
    OSError: the folder cannot be written, or is an address, as gs://BUCKET.
  """
  check_on_disk(folder)
  is_new = not folder.exists()
  if not is_new and not folder.is_dir():
    raise NotADirectoryError(f"{folder} is no folder; name another one")
  folder.mkdir(parents=True, exist_ok=True)
  folder = folder.resolve()
  with contextlib.ExitStack() as stack:
    if is_new:
      stack.callback(_remove_if_empty, folder)
    for attempt in itertools.count():
      try:
        stack.enter_context(_locked(folder))
        break
      except FolderInUseError as error:
        if not wait:
          raise
        if attempt == 0:
          logging.getLogger(__name__).warning("%s; this one waits", error)
        time.sleep(0.5)
    yield


def _remove_if_empty(folder: pathlib.Path) -> None:
  with contextlib.suppress(OSError):
    folder.rmdir()


def is_empty(folder: pathlib.Path) -> bool:
  """Whether a folder holds nothing, or nothing but the lock."""
  return all(path.name == LOCK for path in folder.iterdir())


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
  with _guard:
    if folder in _held:
      raise FolderInUseError(f"this process writes into {folder} already")
    _held.add(folder)
  try:
    handle = _taken(folder)
    try:
      ended = threading.Event()
      beat = threading.Thread(target=_beat, args=(handle, ended), name="jaxhands-lock", daemon=True)
      beat.start()
      try:
        yield
      finally:
        ended.set()
        beat.join()
        with contextlib.suppress(OSError):
          (folder / LOCK).unlink()
    finally:
      os.close(handle)
  finally:
    _held.discard(folder)


def _taken(folder: pathlib.Path) -> int:
  """The open file, locked."""
  while True:
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
      _take(handle, folder)
      # Whoever had it before may have deleted it meanwhile.
      with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(handle), (folder / LOCK).stat()):
          return handle
    except BaseException:
      os.close(handle)
      raise
    os.close(handle)


def _take(handle: int, folder: pathlib.Path) -> None:
  """Locks the open file and puts this process's name into it."""
  honoured = True
  try:
    fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    if error.errno in _TAKEN:
      raise _in_use(folder, _owner(handle)) from error
    honoured = False  # this file system has no locks
  # From here on the file is opened nowhere else in this process: closing it there would end the lock.
  owner, host = _owner(handle), socket.gethostname()
  if owner and (not honoured or not owner.endswith(f" of {host}")) and _beats(folder / LOCK):
    raise _in_use(folder, owner)
  with contextlib.suppress(OSError):  # a full disk: the lock holds without the name
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} of {host}".encode(), 0)


def _in_use(folder: pathlib.Path, owner: str) -> FolderInUseError:
  return FolderInUseError(
    f"{folder} is in use: {owner or 'another process'} writes into it. Wait for its end, or name another folder"
  )


def _owner(handle: int) -> str:
  """What the file says; "" = nobody has it, or nobody could write it."""
  return os.pread(handle, 1000, 0).decode(errors="replace")


def _beats(file: pathlib.Path) -> bool:
  """Whether its owner touches it; clocks of different machines are not compared."""
  first, end = file.stat().st_mtime_ns, time.monotonic() + _BEATS * _BEAT_S
  while time.monotonic() < end:
    time.sleep(_BEAT_S / 6)
    if file.stat().st_mtime_ns != first:
      return True
  return False


def _beat(handle: int, ended: threading.Event) -> None:
  while not ended.wait(_BEAT_S):
    with contextlib.suppress(OSError):
      os.utime(handle)
