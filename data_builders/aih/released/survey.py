"""What of a download can be built, checked once, as tables that records are read from."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from data_builders.aih.released.layout import (
  BRANCHES,
  ListError,
  filtered_list,
  parts_of,
  read_filtered,
  read_syn,
  recipe,
  render_files,
  render_names,
  single_files,
  syn_list,
)  # fmt: skip
from data_builders.pictures import look_at
from data_builders.problems import Problems
from data_builders.shards import read_table
from data_builders.synthetic.config import SPLITS
from jaxhands.schema import HANDS, RIGHT

Say = Callable[[str, int, int], None]

RENDER_ROW = np.dtype([("id", "i4"), ("branch", "i1"), ("hand", "i1"), ("name", "S96")])
SYN_ROW = np.dtype([
  ("id", "i4"), ("branch", "i1"), ("hand", "i1"), ("below", "i4"), ("above", "i4"), ("below_move", "f8", 4),
  ("above_move", "f8", 4),
])  # fmt: skip
_AT_ONCE = 4096
_SMALL_BYTES = 1000  # a mask with something in it takes more, so that few are decoded


@dataclasses.dataclass(frozen=True)
class Tables:
  """Folder of the tables, a damaged one a `BuildError`; small, so that worker processes can receive it."""

  folder: str

  def render(self, split: str) -> np.ndarray:
    """[N] of `RENDER_ROW`."""
    return _load(self.folder, f"render-{split}.npy")

  def syn(self, split: str) -> np.ndarray:
    """[N] of `SYN_ROW`; `above` -1 = a hand alone."""
    return _load(self.folder, f"syn-{split}.npy")

  def count(self, split: str) -> int:
    return len(self.render(split)) + len(self.syn(split))


@functools.cache
def _load(folder: str, name: str) -> np.ndarray:
  path = pathlib.Path(folder, name)
  return read_table(path, path.parent, functools.partial(np.load, mmap_mode="r"))


def survey(source: pathlib.Path, folder: pathlib.Path, problems: Problems, say: Say) -> Tables:
  """Checks a download and writes the tables of all splits into `folder`, an empty one.

  `id` numbers everything that is listed, also what is left out, over both parts of a split.
  """
  parts = parts_of(source)
  for split in SPLITS:
    render: list[tuple[Any, ...]] = []
    syn = [np.zeros(0, SYN_ROW)]
    listed = 0
    for branch in range(len(BRANCHES)):
      if "render" in parts:
        for hand in range(2):
          rows, listed = _render_rows(parts["render"], branch, split, hand, listed, problems, say)
          render += rows
      if "syn" in parts:
        rows, listed = _syn_rows(parts["syn"], branch, split, listed, problems, say)
        syn.append(rows)
    np.save(folder / f"render-{split}.npy", np.array(render, RENDER_ROW))
    np.save(folder / f"syn-{split}.npy", np.concatenate(syn))
  return Tables(str(folder))


def _render_rows(
  folder: pathlib.Path, branch: int, split: str, hand: int, listed: int, problems: Problems, say: Say
) -> tuple[list[tuple[Any, ...]], int]:
  names, lonely = render_names(folder, BRANCHES[branch], split, hand)
  for name in lonely:
    problems.add("label without picture", split, name)

  def fault(name: str) -> list[tuple[str, str, str]]:
    files = render_files(folder, BRANCHES[branch], split, hand, name)
    found = [("picture", files.picture), ("picture", files.removed), ("label", files.amodal), ("label", files.visible)]
    return _faults(folder, found, whole_hand=files.amodal)

  rows = []
  what = f"{split}: checking AIH_render {BRANCHES[branch]} {HANDS[hand]}"
  for number, (name, faults) in enumerate(zip(names, _all(fault, names, what, say), strict=True), listed):
    encoded = os.fsencode(name)
    if encoded != name.encode(errors="replace"):
      problems.add("malformed entry", split, name, "its name is not UTF-8")
      continue
    for kind, where, detail in faults:
      problems.add(kind, split, where, detail)
    if len(encoded) > RENDER_ROW["name"].itemsize:
      problems.add("malformed entry", split, name, "its name is too long")
    elif not faults:
      rows.append((number, branch, hand, encoded))
  return rows, listed + len(names)


def _syn_rows(
  folder: pathlib.Path, branch: int, split: str, listed: int, problems: Problems, say: Say
) -> tuple[np.ndarray, int]:
  rows = np.zeros(0, SYN_ROW)
  path = syn_list(folder, BRANCHES[branch], split)
  if not path.is_file():
    if (folder / BRANCHES[branch] / split).is_dir():
      problems.add("missing list", split, str(path))
    return rows, listed
  say(f"{split}: reading {path.name}", 0, 0)
  numbers = []
  try:
    entries = read_syn(path)
    path = filtered_list(folder, BRANCHES[branch], split, RIGHT)
    numbers.append(read_filtered(path))
    path = filtered_list(folder, BRANCHES[branch], split, 1 - RIGHT)
    numbers.append(read_filtered(path))
  except ListError as error:
    problems.add("broken list" if path.is_file() else "missing list", split, str(path), str(error))
    return rows, listed
  whole = [_whole(folder, branch, split, hand, numbers[hand], problems, say) for hand in range(2)]
  rows, kept = np.zeros(len(entries), SYN_ROW), np.zeros(len(entries), bool)
  name = syn_list(folder, BRANCHES[branch], split).name
  for place, entry in enumerate(entries):
    try:
      found = recipe(entry)
      below = _number(numbers[found.hand], found.below)
      above = _number(numbers[1 - found.hand], found.above) if found.above >= 0 else -1
    except ListError as error:
      problems.add("malformed entry", split, f"{name} entry {place}", str(error))
      continue
    kept[place] = below in whole[found.hand] and (above < 0 or above in whole[1 - found.hand])
    rows[place] = listed + place, branch, found.hand, below, above, found.below_move, found.above_move
  return rows[kept], listed + len(entries)


def _whole(
  folder: pathlib.Path, branch: int, split: str, hand: int, numbers: np.ndarray, problems: Problems, say: Say
) -> set[int]:
  """The single hands whose files are whole; each that is not is one problem, however often it is used."""

  def fault(number: int) -> list[tuple[str, str, str]]:
    picture, mask = single_files(folder, BRANCHES[branch], split, hand, number)
    return _faults(folder, [("picture", picture), ("label", mask)], whole_hand=mask)

  whole = set()
  each = np.unique(numbers).tolist()
  what = f"{split}: checking AIH_syn {BRANCHES[branch]} {HANDS[hand]}"
  for number, faults in zip(each, _all(fault, each, what, say), strict=True):
    for kind, where, detail in faults:
      problems.add(kind, split, where, detail)
    if not faults:
      whole.add(number)
  return whole


def _number(numbers: np.ndarray, place: int) -> int:
  if not 0 <= place < len(numbers):
    raise ListError(f"names hand {place} of a list of {len(numbers)}")
  number = int(numbers[place])
  if not 0 <= number < 2**31:
    raise ListError(f"names hand {place}, whose number {number} is not in 0..{2**31 - 1}")
  return number


def _faults(
  folder: pathlib.Path, files: list[tuple[str, pathlib.Path]], whole_hand: pathlib.Path
) -> list[tuple[str, str, str]]:
  """What is wrong with the files of a record: kind of problem, where, detail.

  Args:
    folder: of the part.
    files: "picture" or "label" and the path of each, the picture first, whose size the others must have.
    whole_hand: the amodal mask, which must not be empty.
  """
  found, sizes = [], []
  for what, path in files:
    fault, hw = look_at(path)
    sizes.append(hw)
    if fault:
      found.append((fault[0].replace("picture", what), str(path.relative_to(folder)), fault[1]))
  if found:
    return found
  for (what, path), hw in zip(files, sizes, strict=True):
    if hw != sizes[0]:
      detail = f"{hw[1]} x {hw[0]} pixels, its picture {sizes[0][1]} x {sizes[0][0]}"
      found.append((f"{what} of another size", str(path.relative_to(folder)), detail))
  if whole_hand.stat().st_size < _SMALL_BYTES:
    content = np.frombuffer(whole_hand.read_bytes(), np.uint8)  # OpenCV crashes on a name that is not UTF-8
    if not np.any(cv2.imdecode(content, cv2.IMREAD_GRAYSCALE)):
      found.append(("empty label", str(whole_hand.relative_to(folder)), ""))
  return found


def _all(check: Callable[[Any], Any], items: list[Any], what: str, say: Say) -> Iterator[Any]:
  """`check` of every item, in their order, by threads: the disk is what takes time."""
  with concurrent.futures.ThreadPoolExecutor() as threads:
    for start in range(0, len(items), _AT_ONCE):
      say(what, start, len(items))
      yield from threads.map(check, items[start : start + _AT_ONCE])
