"""Where configs lie, and the packages beside this one, `configs` and `data_builders`, found by their names.

Nothing in `jaxhands` imports these two, which import it; in a checkout and in an installed wheel they lie beside it.
"""

from __future__ import annotations

import difflib
import importlib
import pathlib
import sys
from typing import Any

CONFIGS = "configs"
BESIDE = pathlib.Path(__file__).resolve().parents[2]


def module_beside(name: str) -> Any:
  """The module "PACKAGE.MODULE" of a package beside this one, also where the working directory has one of its name.

  Raises:
    ModuleNotFoundError: there is none.
  """
  top = name.partition(".")[0]
  if top in sys.modules:
    return importlib.import_module(name)
  sys.path.insert(0, str(BESIDE))
  try:
    return importlib.import_module(name)
  finally:
    sys.path.remove(str(BESIDE))


def module(name: str) -> Any:
  """The module `configs.NAME` of ours.

  Raises:
    ValueError: there is none.
  """
  try:
    return module_beside(f"{CONFIGS}.{name}")
  except ModuleNotFoundError as error:
    if error.name not in (CONFIGS, f"{CONFIGS}.{name}"):
      raise
    raise ValueError(f"there is no config {name!r}; configs/ is looked for beside jaxhands") from error


def find(name: str) -> pathlib.Path:
  """The file of a config.

  Args:
    name: a path, below the working directory or else beside this package, or the module of one of our configs, as
      "internet" for configs/internet.py.
  Raises:
    FileNotFoundError: there is no such file; names the config that may be meant.
  """
  places = [pathlib.Path(name), BESIDE / name] if name.endswith(".py") else [BESIDE / CONFIGS / f"{name}.py"]
  for place in places:
    if name and place.is_file():
      return place
  known = sorted(path.stem for path in (BESIDE / CONFIGS).glob("*.py") if not path.stem.startswith("_"))
  close = difflib.get_close_matches(pathlib.Path(name).stem, [stem for stem in known if stem != "base"], n=1)
  raise FileNotFoundError(f"there is no such file{f'; did you mean {close[0]!r}?' if close else ''}")
