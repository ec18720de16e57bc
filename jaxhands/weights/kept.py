"""Weights that come with the package, or that `keep` made of a run: a file of safetensors beside the run's config.

    FOLDER/config.json
    FOLDER/weights.safetensors    float16 arrays by path, as "params/backbone/conv1/kernel"
    FOLDER/weights.json           a checksum (CRC-32) of each, which is looked at whenever they are read
    FOLDER/eval/                  what makes probabilities of confidences, if the run was evaluated

A subtree that is the whole of other weights of the package, as Intershape's heatmaps are InterNet, is named in
`weights.json` ("shared") and read from there; its checksums are looked at as all others.

Those of the package are named by their folder, as "internet". `docs/kept.md` says what each has learnt.
"""

from __future__ import annotations

import importlib.resources
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import numpy as safetensors

from jaxhands.runs import folder as run_files
from jaxhands.weights import files

FILE = "weights.safetensors"
PREFIX = "kept"  # "kept/internet" in a config
_SUMS = "weights.json"
_ADVICE = "take another copy, or install jaxhands again"


def names() -> list[str]:
  """Of what comes with the package."""
  return sorted(path.parent.name for path in _packaged().glob(f"*/{FILE}"))


def finder() -> pathlib.Path | None:
  """The folder of the package's finder of hands, that whoever names no other one looks with; None = there is none."""
  return folder("finder") if "finder" in names() else None


def folder(name: str) -> pathlib.Path:
  """The folder of kept weights of the package.

  Raises:
    FileNotFoundError: there are none of that name; says which there are.
  """
  path = _packaged() / name
  if name not in names():
    raise FileNotFoundError(f"no weights {name!r} come with the package; there are {', '.join(names()) or 'none'}")
  return path


def located(path: pathlib.Path) -> pathlib.Path:
  """The package's folder of "kept/NAME", or of "NAME", where nothing is called so; any other path as it is.

  Raises:
    FileNotFoundError: "kept/NAME" of what does not come with the package.
  """
  if path.exists():
    return path
  if path.parts[:1] == (PREFIX,) and len(path.parts) == 2:
    return folder(path.name)
  return folder(str(path)) if str(path) in names() else path


def write(workdir: pathlib.Path, arrays: Mapping[str, np.ndarray], shared: Mapping[str, str] | None = None) -> None:
  """Writes both files, the weights last.

  Args:
    workdir: their folder.
    arrays: by their paths.
    shared: subtree -> name of the package's weights that it is the whole of; it is not written again.
  Raises:
    FileNotFoundError: there are no such weights.
    ValueError: a subtree differs from them.
  """
  whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
  content: dict[str, Any] = {"crc32": {name: _sum(array) for name, array in whole.items()}}
  for subtree, source in (shared or {}).items():
    there = _as_subtree(subtree, source)
    own = {name for name in whole if name.split("/")[1] == subtree}
    if own != set(there) or any(_sum(whole[name]) != _sum(array) for name, array in there.items()):
      raise ValueError(f"{subtree!r} is not the same as the package's weights {source!r}")
    whole = {name: array for name, array in whole.items() if name not in own}
  run_files.write_json(workdir / _SUMS, content | ({"shared": dict(shared)} if shared else {}))
  with run_files.written(workdir / FILE) as file:
    file.write(safetensors.save(whole))


def read(workdir: pathlib.Path) -> dict[str, np.ndarray]:
  """The arrays by their paths.

  Raises:
    FileNotFoundError: a file is missing.
    ValueError: a file is damaged, or an array is not what was written.
  """
  content = run_files.read_json(workdir / _SUMS, _ADVICE, ("crc32",))
  tree, sums = dict(files.read(workdir / FILE).tree), content["crc32"]
  for subtree, source in content.get("shared", {}).items():
    tree |= _as_subtree(subtree, source)
  bad = [name for name in sorted(set(sums) | set(tree)) if name not in tree or _sum(tree[name]) != sums.get(name)]
  if bad:
    raise ValueError(
      f"{workdir / FILE} is damaged: {len(bad)} arrays, first {bad[0]!r}, are not what was written; {_ADVICE}"
    )
  return tree


def _as_subtree(subtree: str, source: str) -> dict[str, np.ndarray]:
  """Weights of the package, by their paths where they are a subtree: "params/conv" -> "params/SUBTREE/conv"."""
  return {path.replace("/", f"/{subtree}/", 1): array for path, array in read(folder(source)).items()}


def _sum(array: np.ndarray) -> str:
  return f"{zlib.crc32(np.ascontiguousarray(array).tobytes()):08x}"


def _packaged() -> pathlib.Path:
  return pathlib.Path(str(importlib.resources.files("jaxhands.weights"))) / PREFIX
