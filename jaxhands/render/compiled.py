"""`kernel`: compiles a loop over pixels with Numba where it is there, else leaves it as plain Python.

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


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
  """Decorator: `function`, compiled; it runs without the interpreter's lock and keeps the order of float operations."""
  # Type checkers that wrap every function of the package would otherwise hand Numba their wrapper.
  function = inspect.unwrap(function)
  if numba is None:
    return function
  try:
    return numba.njit(cache=True, nogil=True)(function)
  except RuntimeError:  # Numba found no folder for its cache
    return numba.njit(nogil=True)(function)
