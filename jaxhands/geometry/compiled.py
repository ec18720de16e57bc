"""`kernel` and `fast_kernel`: loops over pixels and points, compiled with Numba, else left as plain Python.

Kernels carry no annotations and take arrays and numbers only. The compiled code is kept beside the source or, in an
install that cannot be written, in the user's cache folder. Where neither can be written, or the disk is full, it is
compiled by each process anew, and a line says so.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import multiprocessing
from collections.abc import Callable
from typing import Any

try:
  import numba
except ImportError:  # no wheel for this Python: slow, never wrong
  numba = None

HAVE_NUMBA = numba is not None

_Function = Callable[..., Any]


def kernel(function: _Function) -> _Function:
  """Decorator: `function`, compiled; it runs without the interpreter's lock and keeps the order of float operations."""
  return _compiled(function, fastmath=False)


def fast_kernel(function: _Function) -> _Function:
  """As `kernel`, but sums may be reordered and infinities are not expected: for colours, not for decisions."""
  return _compiled(function, fastmath=True)


def _compiled(function: _Function, fastmath: bool) -> _Function:
  # Type checkers that wrap every function of the package would otherwise hand Numba their wrapper.
  function = inspect.unwrap(function)
  if numba is None:
    return function
  compiled: Any = numba.njit(nogil=True, fastmath=fastmath, error_model="numpy")(function)
  try:
    compiled._cache = _Cache(function)  # what `cache=True` does, with a cache that a full disk does not stop
  except RuntimeError:  # Numba found no folder for it
    _say_not_kept("no folder for it can be written; set NUMBA_CACHE_DIR or XDG_CACHE_HOME to one")
  return compiled


if numba is not None:
  from numba.core import caching

  class _Cache(caching.FunctionCache):
    """Numba's, which may fail: what it holds can always be made again."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
      try:
        return super().load_overload(sig, target_context)
      except Exception:  # a damaged file raises nearly anything
        with contextlib.suppress(OSError):
          self.flush()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
      try:
        super().save_overload(sig, data)
      except Exception as error:
        _say_not_kept(getattr(error, "strerror", None) or str(error))


@functools.cache
def _say_not_kept(why: str) -> None:
  """Once, and not by every worker process."""
  if multiprocessing.parent_process() is None:
    logging.getLogger(__name__).warning("loops that Numba compiles are not kept for the next start: %s", why)
