"""Our networks written in PyTorch, to be timed beside ours: same layers, same number of parameters, same kind of loss.

`load(system)` finds the module that is called as the system's is; a twin is in the form that PyTorch is fastest in on a
CPU: maps in channels-last layout, attention by `scaled_dot_product_attention`. Nothing else imports these modules, for
PyTorch is no dependency (extra `bench`).
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any


def has(system: Any) -> bool:
  """Whether there is a twin of a system."""
  return importlib.util.find_spec(_name(system)) is not None


def load(system: Any) -> Any:
  """The twin of a system, a `torch_twins.layers.Twin`; None where there is none.

  Raises:
    ModuleNotFoundError: PyTorch is not installed.
  """
  return importlib.import_module(_name(system)).build(system) if has(system) else None


def _name(system: Any) -> str:
  return f"{__name__}.{type(system).__module__.rsplit('.', 1)[-1]}"
