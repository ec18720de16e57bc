"""The annotation files of a split as compact arrays on the disk: their JSON is streamed and never held."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from data_builders.interhand26m import json_stream
from data_builders.problems import Problems
from jaxhands.schema import HANDS, LEFT, MANO_DIM, RIGHT

Progress = Callable[[int], None]

_ROWS_AT_ONCE = 8192
_HAND_TYPES = {"right": (True, False), "left": (False, True), "interacting": (True, True)}

PICTURE = np.dtype([
  ("image_id", "i8"), ("capture", "i4"), ("subject", "i4"), ("sequence", "i4"), ("camera", "i4"), ("frame", "i4"),
  ("height", "i4"), ("width", "i4"), ("name_start", "i8"), ("name_length", "i4"),
])  # fmt: skip
ANNOTATION = np.dtype([
  ("annotation_id", "i8"), ("image_id", "i8"), ("box", "f4", 4), ("joint_valid", "?", (2, 21)),
  ("hand_present", "?", 2), ("hand_present_valid", "?"),
])  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Frames:
  """One row of values for each (capture, frame), on the disk."""

  keys: np.ndarray  # int64, sorted, see `frame_key`
  rows: np.ndarray  # where each key's values are
  values: np.ndarray  # memory-mapped

  def find(self, capture: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Rows of `values`; -1 where there are none."""
    return find(self.keys, self.rows, frame_key(capture, frame))


@dataclasses.dataclass(frozen=True)
class Cameras:
  """The cameras of all captures: world to camera rotation, position in the world (mm), focal and centre (px)."""

  keys: np.ndarray
  rotation: np.ndarray  # [N, 3, 3]
  position_mm: np.ndarray  # [N, 3]
  focal_px: np.ndarray  # [N, 2]
  centre_px: np.ndarray  # [N, 2]

  def find(self, capture: np.ndarray, camera: np.ndarray) -> np.ndarray:
    """Rows; -1 where a capture has no such camera."""
    return find(self.keys, np.arange(len(self.keys)), frame_key(capture, camera))


def frame_key(capture: Any, number: Any) -> Any:
  """A capture and a frame (or a camera) as one integer."""
  return np.asarray(capture, np.int64) << 32 | np.asarray(number, np.int64)


def find(keys: np.ndarray, rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
  """The row of each wanted key, -1 where there is none; `keys` are sorted."""
  if not len(keys):
    return np.full(len(wanted), -1, np.int64)
  at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
  return np.where(keys[at] == wanted, rows[at], -1)


def _silent(characters: int) -> None:
  """Progress that nobody is told."""


def read_data(
  path: pathlib.Path, folder: pathlib.Path, split: str, problems: Problems, progress: Progress = _silent
) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]:
  """Pictures (`PICTURE`) and annotations (`ANNOTATION`) of a `data.json`, and its (capture, name) of sequences.

  Entries that are malformed are reported and left out. `folder` gets `names`, the pictures' paths, which
  `name_start` and `name_length` point into.

  Raises:
    json_stream.JsonError: the file is broken.
  """
  sequences: dict[tuple[int, str], int] = {}
  with (
    (folder / "names").open("wb") as names,
    _RowFile(folder / "pictures", PICTURE) as pictures,
    _RowFile(folder / "annotations", ANNOTATION) as annotations,
  ):
    for at, value in json_stream.values(path, 2, progress):
      kind = at[0] if at else ""
      if kind not in ("images", "annotations"):
        continue
      try:
        if kind == "annotations":
          annotations.add(_annotation(value))
          continue
        name, row = _picture(value, sequences)
      except (KeyError, TypeError, ValueError, OverflowError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        problems.add("malformed entry", split, f"{path.name} {json_stream.format_path(at)}", what)
        continue
      pictures.add((*row, names.tell(), len(name)))
      names.write(name)
  return _read_rows(folder / "pictures", PICTURE), _read_rows(folder / "annotations", ANNOTATION), list(sequences)


def _picture(entry: dict[str, Any], sequences: dict[tuple[int, str], int]) -> tuple[bytes, tuple[int, ...]]:
  name, capture, sequence = str(entry["file_name"]), int(entry["capture"]), str(entry["seq_name"])
  if name.startswith("/") or ".." in name.split("/"):
    raise ValueError(f"file_name {name!r} leads out of the pictures' folder")
  if "\0" in name:  # which no file can have
    raise ValueError(f"file_name {name!r} holds a null character")
  numbers = [int(entry[key]) for key in ("subject", "camera", "frame_idx")]
  if not all(0 <= number < 2**31 for number in (capture, *numbers)):
    raise ValueError(f"capture, subject, camera and frame {[capture, *numbers]} are not all 0..{2**31 - 1}")
  subject, camera, frame = numbers
  hw = [int(entry.get(key, 0)) for key in ("height", "width")]  # 0 = not stated
  if not all(0 <= number < 2**31 for number in hw):
    raise ValueError(f"height and width are {hw}")
  index = sequences.setdefault((capture, sequence), len(sequences))
  return name.encode(), (_id(entry["id"]), capture, subject, index, camera, frame, *hw)


def _annotation(entry: dict[str, Any]) -> tuple[Any, ...]:
  valid, box = entry["joint_valid"], entry["bbox"]
  if valid and isinstance(valid[0], list):
    valid = list(itertools.chain.from_iterable(valid))
  if len(valid) != 42 or len(box) != 4:
    raise ValueError(f"joint_valid has {len(valid)} entries and bbox {len(box)}, expected 42 and 4")
  flags = np.asarray(valid, np.float32).reshape(2, 21) > 0
  if entry["hand_type"] not in _HAND_TYPES:
    raise ValueError(f"hand_type is {entry['hand_type']!r}, expected one of {list(_HAND_TYPES)}")
  present = _HAND_TYPES[entry["hand_type"]]
  box = tuple(float(number) for number in box)
  return _id(entry["id"]), _id(entry["image_id"]), box, flags, present, bool(int(entry["hand_type_valid"]))


def _id(value: Any) -> int:
  number = int(value)
  if not -(2**63) <= number < 2**63:
    raise ValueError(f"id {number} has more than 64 bits")
  return number


def read_cameras(path: pathlib.Path, split: str, problems: Problems, progress: Progress = _silent) -> Cameras:
  """The cameras of a `camera.json`; those that lack a number or hold a bad one are reported and left out.

  Raises:
    json_stream.JsonError: the file is broken.
  """
  keys, values = [], []
  content = json_stream.load(path)
  progress(path.stat().st_size)
  if not isinstance(content, dict) or not all(_is_camera_table(fields) for fields in content.values()):
    raise json_stream.JsonError(f"{path} holds no cameras by capture, field and name")
  for capture, fields in content.items():
    for camera in sorted({name for field in fields.values() for name in field}):
      try:
        key = _key(capture, camera)
        numbers = [np.asarray(fields[name][camera], np.float64).ravel() for name in _CAMERA_FIELDS]
        row = np.concatenate(numbers)
        if [len(number) for number in numbers] != list(_CAMERA_FIELDS.values()) or not np.isfinite(row).all():
          raise ValueError("its numbers are not all there and finite")
        rotation = row[:9].reshape(3, 3)
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-2:
          raise ValueError("its camrot is no rotation")
        if not (row[12:14] > 0).all():
          raise ValueError(f"its focal length is {row[12:14].tolist()}")
        if 0 < np.abs(row[9:12]).max() < NEAREST_CAMERA_MM:
          raise ValueError(f"its campos {row[9:12].tolist()} is no place in mm; is it in metres?")
      except (KeyError, TypeError, ValueError, OverflowError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        problems.add("malformed entry", split, f"{path.name} capture {capture} camera {camera}", what)
        continue
      keys.append(key)
      values.append(row)
  order = np.argsort(keys)
  table = np.array(values, np.float64).reshape(-1, sum(_CAMERA_FIELDS.values()))[order]
  return Cameras(
    keys=np.array(keys, np.int64)[order],
    rotation=table[:, :9].reshape(-1, 3, 3),
    position_mm=table[:, 9:12],
    focal_px=table[:, 12:14],
    centre_px=table[:, 14:16],
  )


NEAREST_CAMERA_MM = 20.0  # from the world's origin, unless it is there
_CAMERA_FIELDS = {"camrot": 9, "campos": 3, "focal": 2, "princpt": 2}


def _is_camera_table(fields: Any) -> bool:
  return isinstance(fields, dict) and all(isinstance(field, dict) for field in fields.values())


def read_joints(
  path: pathlib.Path, folder: pathlib.Path, split: str, problems: Problems, progress: Progress = _silent
) -> Frames:
  """World joints [2, 21, 3] (mm) of every frame of a `joint_3d.json`.

  Raises:
    json_stream.JsonError: the file is broken.
  """

  def frames() -> Iterator[tuple[int, np.ndarray]]:
    for at, value in json_stream.values(path, 2, progress):
      try:
        # The first release has the bare list.
        joints = np.asarray(value["world_coord"] if isinstance(value, dict) else value, np.float32)
        yield _key(at[0], at[1]), joints.reshape(2, 21, 3)
      except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        problems.add("malformed entry", split, f"{path.name} {json_stream.format_path(at)}", str(error))

  return _frames(frames(), folder / "joints", (2, 21, 3))


def read_mano(
  path: pathlib.Path, folder: pathlib.Path, split: str, problems: Problems, progress: Progress = _silent
) -> Frames:
  """World parameters [2, 61] of a `MANO_NeuralAnnot.json`: pose as it is there (mean not included), translation in mm.

  A hand without parameters is NaN.

  Raises:
    json_stream.JsonError: the file is broken.
  """

  def frames() -> Iterator[tuple[int, np.ndarray]]:
    for at, value in json_stream.values(path, 2, progress):
      mano = np.full((2, MANO_DIM), np.nan, np.float32)
      try:
        for hand in (RIGHT, LEFT):
          fit = value.get(HANDS[hand])
          if fit is not None:
            numbers = np.concatenate([np.asarray(fit[name], np.float64).ravel() for name in ("pose", "shape", "trans")])
            mano[hand] = numbers * _MANO_UNITS
            if not np.isfinite(mano[hand]).all():
              mano[hand] = np.nan
              problems.add(
                "MANO parameters not finite", split, f"{path.name} {json_stream.format_path(at)}", HANDS[hand]
              )
        yield _key(at[0], at[1]), mano
      except (AttributeError, KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        problems.add("malformed entry", split, f"{path.name} {json_stream.format_path(at)}", str(error))

  return _frames(frames(), folder / "mano", (2, MANO_DIM))


_MANO_UNITS = np.array([1.0] * 58 + [1000.0] * 3)  # m to mm


def _key(capture: str | int, number: str | int) -> int:
  """The key of a capture and a frame (or a camera) as the files name them.

  Raises:
    ValueError: they are no numbers that an entry of a `data.json` may have.
  """
  numbers = int(capture), int(number)
  if not all(0 <= one < 2**31 for one in numbers):
    raise ValueError(f"its numbers {list(numbers)} are not all 0..{2**31 - 1}")
  return int(frame_key(*numbers))


def _frames(frames: Iterable[tuple[int, np.ndarray]], path: pathlib.Path, shape: tuple[int, ...]) -> Frames:
  keys: list[np.ndarray] = []
  some: list[int] = []
  with path.open("wb") as file:
    for key, values in frames:
      some.append(key)
      file.write(values.tobytes())
      if len(some) == _ROWS_AT_ONCE:
        keys.append(np.array(some, np.int64))
        some.clear()
  unsorted = np.concatenate([*keys, np.array(some, np.int64)])
  rows = np.argsort(unsorted, kind="stable")
  # np.memmap refuses empty files.
  values = np.memmap(path, np.float32, "r").reshape(-1, *shape) if len(rows) else np.zeros((0, *shape), np.float32)
  return Frames(unsorted[rows], rows, values)


class _RowFile:
  """Rows of a structured array, appended to a file."""

  def __init__(self, path: pathlib.Path, dtype: np.dtype):
    self._file, self._dtype, self._rows = path.open("wb"), dtype, []

  def add(self, row: tuple[Any, ...]) -> None:
    self._rows.append(row)
    if len(self._rows) == _ROWS_AT_ONCE:
      self._write()

  def _write(self) -> None:
    np.array(self._rows, self._dtype).tofile(self._file)
    self._rows.clear()

  def __enter__(self) -> _RowFile:
    return self

  def __exit__(self, *error: object) -> None:
    self._write()
    self._file.close()


def _read_rows(path: pathlib.Path, dtype: np.dtype) -> np.ndarray:
  return np.memmap(path, dtype, "r") if path.stat().st_size else np.zeros(0, dtype)
