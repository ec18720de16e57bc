"""Huge pages of memory, which make what XLA computes on a processor faster."""

from __future__ import annotations

import contextlib
import os
import pathlib
import platform
import sys

_VARIABLE, _WANTED = "GLIBC_TUNABLES", "glibc.malloc.hugetlb=1"
_OLDEST_GLIBC = (2, 35)  # that knows it
_KERNELS_CHOICE = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
_AGAIN = "jaxhands-again"  # -X of the second start, which must not become a third


def start_anew() -> None:
  """Starts this program once more, as it was called, where that gives it huge pages; does nothing elsewhere.

  XLA takes the memory of each step from the system and gives it back: 18,000 pages of 4 kB in a step of a compact
  network, a sixth of its time (docs/performance.md). Where Linux gives huge pages to those that ask for them, glibc
  asks if the environment says so when a program begins. Who has set `GLIBC_TUNABLES`, also to nothing, is left alone;
  so is a program that Python does not run by itself: in a notebook, under a debugger or profiler, from a pipe.
  """
  if _VARIABLE in os.environ or not _runs_by_itself() or not _supported():
    return
  os.environ[_VARIABLE] = _WANTED
  with contextlib.suppress(OSError):
    os.execv(sys.executable, [sys.executable, "-X", _AGAIN, *sys.orig_argv[1:]])
  del os.environ[_VARIABLE]


def _runs_by_itself() -> bool:
  """Python was called with nothing but options, this program and its arguments: the same call does the same again."""
  if not sys.executable or _AGAIN in sys._xoptions:
    return False
  *options, program = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1] or [""]
  if options[-1:] == ["-m"]:
    module = sys.modules["__main__"].__spec__
    known = module is not None and module.name.removesuffix(".__main__") == program
    options.pop()
  else:
    known = program == sys.argv[0] and os.path.isfile(program)
  return known and all(
    option.startswith("-") or before in ("-X", "-W") for before, option in zip(["", *options], options, strict=False)
  )


def _supported() -> bool:
  """Huge pages are for those that ask, and this glibc can."""
  library, version = platform.libc_ver()
  if library != "glibc" or tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_GLIBC:
    return False
  try:
    return "[madvise]" in _KERNELS_CHOICE.read_text()
  except OSError:
    return False
