"""Reading of parity cases: folders with `golden.npz`, `tensors.json`, `case.json`, `gains.json`.

Seeds, batch sizes and shapes come from the folder, never from a test, so that other cases under the same names
check the same code. A case or array that the folder lacks is skipped by name when `$JAXHANDS_GOLDENS` is set and
fails under the committed default.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import sys
from collections.abc import Iterator

import numpy as np
import pytest

_SUMS = 32  # roundings within a sum of some thousand products, whose order is the machine's


def rounding(layers: int, grown: float = 1.0) -> float:
  """Share of a value by which float32 may miss it: the sums of one layer, and one rounding more for each layer.

  Args:
    layers: convolutions and matrix products that follow each other on the way to the value.
    grown: times errors grow where the computation is ill-conditioned, as with batch statistics of two examples.
  """
  return grown * (_SUMS + layers) * float(np.finfo(np.float32).eps)


def close(found, expected, layers: int, grown: float = 1.0) -> None:
  """Asserts that float32's `rounding` explains the difference, as a share of the largest expected value."""
  expected = np.asarray(expected, np.float64)
  np.testing.assert_allclose(found, expected, rtol=0, atol=rounding(layers, grown) * np.abs(expected).max())


def _missing(what: str) -> None:
  if "JAXHANDS_GOLDENS" in os.environ:
    pytest.skip(f"{what} is not among the cases of $JAXHANDS_GOLDENS")
  pytest.fail(f"{what} is missing from tests/goldens")


class Case:
  """One folder of reference inputs and outputs."""

  def __init__(self, root: pathlib.Path, name: str, file: str = "golden.npz"):
    self.name, self.folder = name, root / name
    if not (self.folder / file).is_file():
      _missing(f"{file} of case {name!r}")
    with np.load(self.folder / file) as arrays:
      self._arrays = dict(arrays)
    self._deterministic = _load_deterministic(root)

  def __getitem__(self, key: str) -> np.ndarray:
    if key not in self._arrays:
      _missing(f"array {key!r} of case {self.name!r}")
    return self._arrays[key]

  def __contains__(self, key: str) -> bool:
    return key in self._arrays

  def __iter__(self) -> Iterator[str]:
    return iter(self._arrays)

  def json(self, file: str) -> dict:
    path = self.folder / file
    if not path.is_file():
      _missing(f"{file} of case {self.name!r}")
    return json.loads(path.read_text())

  def image(self, name: str = "image") -> np.ndarray:
    """[B, H, W, C] float32 in 0..1, from the arguments under `name` in `case.json`."""
    return self._deterministic.image(**self.json("case.json")[name])

  def deterministic_image(self, seed: int, height: int, width: int) -> np.ndarray:
    """[H, W, 3] float32 in 0..1, for cases that keep several seeds among their arrays."""
    return self._deterministic.image(seed, 1, height, width)[0]

  def tensors(self, shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """The reference's tensors of these names and shapes, in the reference's layout."""
    return self._deterministic.state_dict(shapes)

  def state_dict(self, version: str = "") -> dict[str, np.ndarray]:
    """All of the reference's tensors, `gains.json` applied where there is one.

    Args:
      version: of a reference that `tensors.json` has several of, which also says what kernels are multiplied by.
    """
    listed = self.json("tensors.json")
    if version:
      made = self.tensors(listed[version]["tensors"])
      return {key: value * np.float32(_gain(key, value, listed[version]["rules"])) for key, value in made.items()}
    tensors = self.tensors(listed)
    if (self.folder / "gains.json").is_file():
      for pattern, factor in json.loads((self.folder / "gains.json").read_text()):
        tensors = {k: v * np.float32(factor) if re.search(pattern, k) else v for k, v in tensors.items()}
    return tensors


def _gain(key: str, value: np.ndarray, rules: dict[str, float]) -> float:
  kernel = value.ndim >= 2 and key.endswith(".weight")
  return next((factor for text, factor in rules.items() if kernel and text in key), 1.0)


def _load_deterministic(root: pathlib.Path):
  """`deterministic.py` beside the cases, or the committed one."""
  folder = root if (root / "deterministic.py").is_file() else pathlib.Path(__file__).parents[1] / "goldens"
  sys.path.insert(0, str(folder))
  try:
    import deterministic  # pyright: ignore[reportMissingImports]
  finally:
    sys.path.pop(0)
  return deterministic
