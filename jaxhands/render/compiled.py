"""`kernel` and `fast_kernel`: loops over pixels, compiled with Numba where it is there, else left as plain Python.

Kernels carry no annotations and take arrays and numbers only. The compiled code is kept beside the source or, in an
install that cannot be written, in the user's cache folder; where neither can be written it is compiled per process.
"""

from __future__ import annotations

import inspect
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
  try:
    return numba.njit(cache=True, nogil=True, fastmath=fastmath, error_model="numpy")(function)
  except RuntimeError:  # Numba found no folder for its cache
    return numba.njit(nogil=True, fastmath=fastmath, error_model="numpy")(function)
