"""Large pages of memory, which make what XLA computes on a processor faster."""

from __future__ import annotations

import os
import pathlib
import platform
import sys

_VARIABLE, _WANTED = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
_FIRST = (2, 35)  # glibc that knows it
_SETTING = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def start_anew() -> None:
  """Starts this program once more, as it was called, where that gives it large pages; does nothing elsewhere.

  XLA takes the memory of each step from the system and gives it back: 18,000 pages of 4 kB in a step of a compact
  network, a sixth of its time (docs/performance.md). Where Linux gives large pages to those who ask for them, glibc
  asks if the environment says so when a program begins. Who has set `GLIBC_TUNABLES` is left alone.
  """
  if _VARIABLE not in os.environ and sys.executable and _can():
    os.environ[_VARIABLE] = _WANTED
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _can() -> bool:
  """Large pages are for those who ask, and this glibc can."""
  library, version = platform.libc_ver()
  if library != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < _FIRST:
    return False
  try:
    return "[madvise]" in _SETTING.read_text()
  except OSError:
    return False
