"""Where the files of a download are, and the lists that come with them.

AIH_render/BRANCH/SPLIT/images/{r,l}_images/{IH,DR_gt}/NAME.jpg
AIH_render/BRANCH/SPLIT/labels/in_{r,l}_images/{{r,l}_amodal,rl_visible}/NAME.png
AIH_syn/BRANCH/SPLIT/images/{r,l}_images/ID.jpg
AIH_syn/BRANCH/SPLIT/labels/in_{r,l}_images/{r,l}_amodal/ID.png
AIH_syn/filtered_list/BRANCH_SPLIT_sh_{right,left}_filtered.txt
AIH_syn/syn_cfgs/all_BRANCH_SPLIT_syn_cfgs.npy
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np

from data_builders.shards import BuildError
from jaxhands.hands import array_pickle
from jaxhands.schema import HANDS, RIGHT

BRANCHES = ("human_annot", "machine_annot")
_LETTER = ("r", "l")
_NO_PARTNER = -1000
_STILL = (0.0, 0.0, 1.0, 0.0)
_MOST_STEPS = 1 << 28  # of a list's pickle: some 50 for each picture


class ListError(ValueError):
  """A list of the download cannot be read; says why."""


@dataclasses.dataclass(frozen=True)
class RenderFiles:
  """Files of one picture of AIH_Render, which is centred on `hand`."""

  picture: pathlib.Path
  removed: pathlib.Path
  amodal: pathlib.Path
  visible: pathlib.Path


def parts_of(source: pathlib.Path) -> dict[str, pathlib.Path]:
  """The parts that are there: "render", "syn" -> folder.

  Raises:
    BuildError: there is none.
  """
  folders = {part: source / f"AIH_{part}" for part in ("render", "syn")}
  found = {part: folder for part, folder in folders.items() if folder.is_dir()}
  if not found:
    raise BuildError(f"{source} has no folder AIH_render or AIH_syn; --source is the folder that holds them")
  return found


def render_names(folder: pathlib.Path, branch: str, split: str, hand: int) -> tuple[list[str], list[str]]:
  """Names of the pictures of AIH_Render that are centred on one hand, and of labels without a picture; both sorted."""
  inside = folder / branch / split
  pictures = {path.stem for path in (inside / "images" / f"{_LETTER[hand]}_images" / "IH").glob("*.jpg")}
  labels = {path.stem for path in (inside / "labels" / f"in_{_LETTER[hand]}_images" / "rl_visible").glob("*.png")}
  return sorted(pictures), sorted(labels - pictures)


def render_files(folder: pathlib.Path, branch: str, split: str, hand: int, name: str) -> RenderFiles:
  """The files of a picture of AIH_Render."""
  letter = _LETTER[hand]
  images = folder / branch / split / "images" / f"{letter}_images"
  labels = folder / branch / split / "labels" / f"in_{letter}_images"
  return RenderFiles(
    images / "IH" / f"{name}.jpg",
    images / "DR_gt" / f"{name}.jpg",
    labels / f"{letter}_amodal" / f"{name}.png",
    labels / "rl_visible" / f"{name}.png",
  )


def single_files(
  folder: pathlib.Path, branch: str, split: str, hand: int, number: int
) -> tuple[pathlib.Path, pathlib.Path]:
  """Picture and amodal mask of a single hand of AIH_Syn."""
  letter = _LETTER[hand]
  inside = folder / branch / split
  return (
    inside / "images" / f"{letter}_images" / f"{number}.jpg",
    inside / "labels" / f"in_{letter}_images" / f"{letter}_amodal" / f"{number}.png",
  )


def filtered_list(folder: pathlib.Path, branch: str, split: str, hand: int) -> pathlib.Path:
  return folder / "filtered_list" / f"{branch}_{split}_sh_{HANDS[hand]}_filtered.txt"


def syn_list(folder: pathlib.Path, branch: str, split: str) -> pathlib.Path:
  return folder / "syn_cfgs" / f"all_{branch}_{split}_syn_cfgs.npy"


def read_filtered(path: pathlib.Path) -> np.ndarray:
  """Numbers of single hands, one a line.

  Raises:
    ListError: it cannot be read.
  """
  try:
    return np.array(path.read_text("utf-8-sig").split(), np.int64)
  except (OSError, ValueError, OverflowError) as error:
    raise ListError(f"is no list of numbers, one a line: {error}") from error


def read_syn(path: pathlib.Path) -> list[Any]:
  """The entries of a list of what is pasted where, as they are in the file; nothing of its pickle is run.

  Raises:
    ListError: it cannot be read.
  """
  try:
    with path.open("rb") as file:
      version = np.lib.format.read_magic(file)
      read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
      _, _, dtype = read(file)
      if not dtype.hasobject:
        raise ListError("holds numbers, not a pickled list")
      entries = array_pickle.load_nested(file.read(), _MOST_STEPS)
  except (ListError, array_pickle.RefusedPickle) as error:
    raise ListError(str(error)) from error
  except Exception as error:  # a damaged head raises nearly anything
    raise ListError(f"damaged, or no list of AIH ({type(error).__name__}: {error})") from error
  if not isinstance(entries, list):
    raise ListError(f"holds a {type(entries).__name__}, not a list")
  return entries


@dataclasses.dataclass(frozen=True)
class Recipe:
  """One picture of AIH_Syn: the hand below, its place in the list of its side, the other one's (-1: none), and how
  both are moved (translation as shares of the box, scale, rotation in degrees)."""

  hand: int
  below: int
  above: int
  below_move: tuple[float, float, float, float]
  above_move: tuple[float, float, float, float]


def recipe(entry: Any) -> Recipe:
  """The recipe that an entry of `read_syn` stands for.

  Raises:
    ListError: the entry is not understood.
  """
  try:
    side = str(entry["loop_side"]).lower()
    hand = {"r": RIGHT, "l": 1 - RIGHT}[side[:1]]
    below, above = int(entry["loop_side_idx"]), int(entry["another_side_idx"])
    if above == _NO_PARTNER:
      above, above_move = -1, _STILL
    else:
      above_move = _move(entry[f"{_LETTER[1 - hand]}_aug_list"])
    return Recipe(hand, below, above, _move(entry[f"{_LETTER[hand]}_aug_list"]), above_move)
  except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
    raise ListError(f"{type(error).__name__}: {error}") from error


def _move(listed: Any) -> tuple[float, float, float, float]:
  """From [translation (2), scale, rotation, colour]; the colour is drawn anew where the release uses it."""
  (x, y), scale, rotation = listed[0], listed[1], listed[2]
  move = float(x), float(y), float(scale), float(rotation)
  if not (np.isfinite(move).all() and move[2] > 0):
    raise ValueError(f"a move of {move}")
  return move
