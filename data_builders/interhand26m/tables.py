"""The tables that the survey of a split leaves, from which records are made."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from data_builders.interhand26m.annotations import Cameras
from data_builders.shards import read_table

# One record; rows point into the arrays of `Split`.
ROW = np.dtype([
  ("record_id", "i4"), ("annotation_id", "i8"), ("name_start", "i8"), ("name_length", "i4"),
  ("subject", "i4"), ("scene_id", "i4"), ("camera_id", "i4"), ("frame", "i4"), ("kind", "i1"),
  ("camera", "i4"), ("joints", "i8"), ("mano", "i8"), ("mano_valid", "?", 2),
  ("box", "f4", 4), ("joint_valid", "?", (2, 21)), ("hand_present", "?", 2), ("hand_present_valid", "?"),
])  # fmt: skip
KINDS = ("human or machine", "human", "machine")  # of annotation, by ROW's `kind`

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Split:
  """A split that was surveyed: its table of records and what that points into, memory-mapped from `folder`.

  A table that is damaged or missing raises `BuildError` when it is asked for.
  """

  folder: pathlib.Path

  @functools.cached_property
  def rows(self) -> np.ndarray:
    """[N] of `ROW`, as the reference's loader lists them: single hands, then interacting ones, in the file's order."""

    def read(path: pathlib.Path) -> np.ndarray:
      return np.memmap(path, ROW, "r") if path.stat().st_size else np.zeros(0, ROW)

    return self._read("rows", read)

  @functools.cached_property
  def picture_hw(self) -> np.ndarray | None:
    """[N, 2], heights and widths of the pictures; None of a survey by a version that did not keep them."""
    if not (self.folder / "picture_hw").is_file():
      return None
    return self._read("picture_hw", lambda path: np.memmap(path, np.int32, "r").reshape(len(self.rows), 2))

  @functools.cached_property
  def cameras(self) -> Cameras:
    def read(path: pathlib.Path) -> Cameras:
      with path.open("rb") as file, np.load(file) as arrays:
        return Cameras(**arrays)

    return self._read("cameras.npz", read)

  @functools.cached_property
  def joints_world(self) -> np.ndarray:
    """[*, 2, 21, 3], mm."""
    return self._read("joints", lambda path: np.memmap(path, np.float32, "r").reshape(-1, 2, 21, 3))

  @functools.cached_property
  def mano_world(self) -> np.ndarray:
    """[*, 2, 61], as in the file, translation in mm."""
    return self._read("mano", lambda path: np.memmap(path, np.float32, "r").reshape(-1, 2, 61))

  @functools.cached_property
  def _names(self) -> np.ndarray:
    return self._read("names", lambda path: np.memmap(path, np.uint8, "r"))

  def name(self, row: Any) -> str:
    """A record's picture, relative to the split's folder of pictures."""
    return bytes(self._names[row["name_start"] : row["name_start"] + row["name_length"]]).decode()

  def _read(self, name: str, read: Callable[[pathlib.Path], _T]) -> _T:
    return read_table(self.folder / name, self.folder.parent, read)
