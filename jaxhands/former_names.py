"""Modules under the names that they had up to 0.1: `import jaxhands.photo.pictures` still works, and warns.

Programs of before name these. A name is looked up only if nothing of ours is called so any more, so that nobody who
uses the names of now pays for it. To be deleted with 0.2.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings
from typing import Any

_PACKAGES = ("metrics", "photo")  # that are gone
# Former name -> name of now, both below `jaxhands`; what is in a package of the list is there by its own name.
NOW = {
  "arguments": "terminal.arguments",
  "compare": "evaluation.compare",
  "comparisons": "evaluation.chosen_metrics",
  "compiled": "geometry.compiled",
  "config_files": "configuration.locate",
  "config_flags": "configuration.command_line",
  "config_rules": "configuration.rules",
  "console": "terminal.console",
  "draw": "drawing.two_hands",
  "evaluate": "evaluation.evaluator",
  "fitting": "train.time_budget",
  "inputs": "drawing.inputs",
  "joint_files": "prediction.joint_files",
  "metrics": "evaluation.metrics",
  "models.convolve": "models.conv_forms",
  "origin": "runs.provenance",
  "photo": "prediction",
  "photo.fitted": "prediction.fit_meshes",
  "photo.names": "prediction.file_names",
  "photo.pictures": "prediction.picture_files",
  "photo.records": "prediction.predictions_json",
  "predict": "prediction.predictor",
  "render.certainty": "drawing.certainty",
  "render.overlay": "drawing.overlay",
  "render.surfaces": "drawing.surfaces",
  "requirements": "configuration.requirements",
  "run_data": "runs.run_data",
  "stages": "runs.stages",
  "timing": "evaluation.latency",
  "train.report": "train.progress",
  "train.transfer": "train.initialise",
  "trained": "runs.released",
  "verdict": "evaluation.verdict",
  "writer": "runs.lock",
}

# Module of now -> what was in it, and the module that has it.
_MOVED = {
  "runs.released": {"load": "prediction.load"},
  "systems.base": {
    "for_prediction": "systems.subtrees", "from_fields": "systems.construct", "joined": "systems.subtrees",
    "load": "systems.construct", "nested": "systems.subtrees", "part": "systems.subtrees",
  },
}  # fmt: skip


def of_now(name: str) -> str:
  """What a module of `jaxhands` is called now, by its former name; "" = it never had that one.

  Args:
    name: below `jaxhands`, as "photo.pictures".
  """
  package, _, rest = name.partition(".")
  return NOW.get(name) or (f"{NOW[package]}.{rest}" if package in _PACKAGES and rest else "")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
  """Finds modules by their former names; the last one that is asked."""

  def find_spec(
    self, fullname: str, path: Any, target: types.ModuleType | None = None
  ) -> importlib.machinery.ModuleSpec | None:
    root, _, name = fullname.partition(".")
    if root != __package__ or not of_now(name):
      return None
    return importlib.machinery.ModuleSpec(fullname, self, is_package=name in _PACKAGES)

  def exec_module(self, module: types.ModuleType) -> None:
    name = module.__name__.partition(".")[2]
    now = f"{__package__}.{of_now(name)}"
    warnings.warn(f"{module.__name__} is called {now} now; the former name goes with 0.2", DeprecationWarning, 2)
    found = importlib.import_module(now)
    if name in _PACKAGES:  # which stays a module of its own, for modules below it have former names, too
      module.__getattr__ = lambda name: getattr(found, name)
    else:
      sys.modules[module.__name__] = found


def moved(module: str, name: str) -> Any:
  """What a module had under a name and another one has now, for its `__getattr__`.

  Raises:
    AttributeError: it never had such a thing.
  """
  now = _MOVED.get(module.partition(".")[2], {}).get(name)
  if now is None:
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
  warnings.warn(f"{module}.{name} is {__package__}.{now}.{name} now", DeprecationWarning, 3)
  return getattr(importlib.import_module(f"{__package__}.{now}"), name)


def install() -> None:
  """Lets Python find these names, once."""
  if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
    sys.meta_path.append(_Finder())
