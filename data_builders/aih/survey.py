"""Which records of other data sets an AIH data set can be made of, found once and kept beside what is built.

AIH_Syn takes pictures of one hand whose joints, fit and masks are known. For each it keeps the colour of the skin, by
which partners are chosen, and whether the hand is whole: one that the picture's edge cuts is not pasted elsewhere.
AIH_Render takes poses: records in which both hands have a fit.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from data_builders.built import Built
from data_builders.shards import BuildError, read_table
from data_builders.synthetic.config import SPLITS
from jaxhands.schema import unpack_masks

Say = Callable[[str, int, int], None]  # what is done, how far, of how much

SINGLE = np.dtype([("row", "i4"), ("hand", "i1"), ("scene", "i4"), ("whole", "?"), ("colour", "f4", 3)])
_FLAGS = ("hand_present", "hand_present_valid", "masks_valid", "mano_valid", "joints_cam_valid", "scene_id")
_SINGLE_KEYS = (*_FLAGS, "masks", "picture", "parts_valid")
_POSE_KEYS = ("hand_present", "mano_valid", "hand_model")
_FEWEST_PX = 400
_AT_ONCE = 512


@dataclasses.dataclass(frozen=True)
class Surveyed:
  """Folder of a survey's tables, a damaged one a `BuildError`; small, so that worker processes can receive it."""

  folder: str

  def singles(self, split: str) -> np.ndarray:
    """[N] of `SINGLE`."""
    return _load(self.folder, f"singles-{split}.npy")

  def poses(self, split: str) -> np.ndarray:
    """[N] rows of the data set with poses."""
    return _load(self.folder, f"poses-{split}.npy")


@functools.cache
def _load(folder: str, name: str) -> np.ndarray:
  path = pathlib.Path(folder, name)
  return read_table(path, path.parent, functools.partial(np.load, mmap_mode="r"))


def survey(
  folder: pathlib.Path, counts: dict[str, int], singles: Built | None, poses: Built | None, model: str, say: Say
) -> Surveyed:
  """Makes the tables, or finds them: `folder` gets its name when all of it is there.

  Args:
    folder: of the tables.
    counts: splits with a number of wanted records above 0 are surveyed.
    singles, poses: data sets to survey; None = not needed.
    model: identity that the fits of `poses` must belong to.
    say: told how far it is.
  Raises:
    BuildError: a data set lacks a split, or a split has nothing that can be used.
  """
  if not folder.is_dir():
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for split in [split for split in SPLITS if counts[split]]:
      if singles is not None:
        np.save(partial / f"singles-{split}.npy", _survey_singles(singles, split, say))
      if poses is not None:
        np.save(partial / f"poses-{split}.npy", _survey_poses(poses, split, model, say))
    partial.rename(folder)
  return Surveyed(str(folder))


def _survey_singles(built: Built, split: str, say: Say) -> np.ndarray:
  found = [entry for entry in _each(built, split, _SINGLE_KEYS, _single, say) if entry is not None]
  table = np.array(found, SINGLE)
  for hand, name in enumerate(("right", "left")):
    if not (table["whole"] & (table["hand"] == hand)).any():
      raise BuildError(
        f"{built.folder}:{split} has no picture of one whole {name} hand with joints, fit and masks; build it with "
        "parameters and masks (interhand26m: --mano)"
      )
  # Numbered from 0, whatever the ids of the data set are.
  table["scene"] = np.unique(table["scene"], return_inverse=True)[1]
  return table


def _single(row: int, record: dict[str, Any]) -> tuple[Any, ...] | None:
  """The entry of a record in the table; None where it cannot be used."""
  present = record["hand_present"]
  hand = int(present.argmax())
  known = record["masks_valid"].all() and record["joints_cam_valid"][hand].all() and record["parts_valid"]
  if present.sum() != 1 or not (record["hand_present_valid"] and record["mano_valid"][hand] and known):
    return None
  labels = cv2.imdecode(np.frombuffer(record["masks"], np.uint8), cv2.IMREAD_GRAYSCALE)
  picture = cv2.imdecode(np.frombuffer(record["picture"], np.uint8), cv2.IMREAD_COLOR)
  if labels is None or picture is None or labels.shape != picture.shape[:2]:
    return None
  mask = unpack_masks(labels)[hand, 0].astype(bool)
  if mask.sum() < _FEWEST_PX:
    return None
  edge = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
  return row, hand, int(record["scene_id"]), not edge, _lab(picture[mask].mean(0))


def _lab(bgr: np.ndarray) -> tuple[float, ...]:
  lab = cv2.cvtColor(np.float32(bgr / 255).reshape(1, 1, 3), cv2.COLOR_BGR2Lab)
  return tuple(lab.ravel().tolist())


def _survey_poses(built: Built, split: str, model: str, say: Say) -> np.ndarray:
  def usable(row: int, record: dict[str, Any]) -> int | None:
    if not (record["hand_present"].all() and record["mano_valid"].all()):
      return None
    if record["hand_model"] != model:
      raise BuildError(f"the fits of {built.folder} belong to {record['hand_model']!r}, and --mano holds {model!r}")
    return row

  rows = [row for row in _each(built, split, _POSE_KEYS, usable, say) if row is not None]
  if not rows:
    raise BuildError(f"{built.folder}:{split} has no picture in which both hands have a fit")
  return np.array(rows, np.int32)


def _each(
  built: Built, split: str, keys: tuple[str, ...], entry: Callable[[int, dict[str, Any]], Any], say: Say
) -> Iterator[Any]:
  """`entry` of every record, in their order; read and decoded by threads."""
  splits = built.splits()
  if split not in splits:
    raise BuildError(f"{built.folder} has no split {split!r}, but {sorted(splits)}; ask for 0 records of {split}")
  count = splits[split]
  with concurrent.futures.ThreadPoolExecutor() as threads:
    for start in range(0, count, _AT_ONCE):
      say(f"looking at {split} of {pathlib.Path(built.folder).name}", start, count)
      rows = range(start, min(start + _AT_ONCE, count))
      yield from threads.map(lambda row: entry(row, built.read(split, row, keys)), rows)
