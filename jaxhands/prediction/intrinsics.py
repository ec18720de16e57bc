"""Which camera took a picture: by flags, a JSON file, or EXIF; or it is not known, and that is said."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxhands.prediction.picture import MOST_PX, Picture, check_camera

_NUMBERS = ("fx", "fy", "cx", "cy", "skew")
_WIDEST, _LONGEST = 0.2, 20.0  # focal lengths over the picture's longer side; 0.2 would be a view of 136 degrees


@dataclasses.dataclass(frozen=True)
class Cameras:
  """Intrinsics of all pictures, or of each by its name.

  Attributes:
    of_all: [3, 3] or None.
    by_name: name of a file, or its stem -> [3, 3].
    use_exif: where nothing else says it.
  """

  of_all: np.ndarray | None = None
  by_name: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  use_exif: bool = True

  def find(self, picture: Picture) -> tuple[np.ndarray | None, str]:
    """Intrinsics of a picture and where they are from ("given", "EXIF"); (None, "unknown").

    Raises:
      ValueError: they cannot belong to a picture of this size; names it.
    """
    height, width = picture.pixels.shape[:2]
    for name in (picture.path.name, picture.path.stem):
      if name in self.by_name:
        return _fits(picture, self.by_name[name], "the file of intrinsics"), "given"
    if self.of_all is not None:
      return _fits(picture, self.of_all, "the given intrinsics"), "given"
    if self.use_exif and picture.focal_px is not None and _plausible(picture.focal_px, width, height):
      f = picture.focal_px
      return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1]], np.float32), "EXIF"
    return None, "unknown"


def from_flags(fx: float | None, fy: float | None, cx: float | None, cy: float | None) -> np.ndarray | None:
  """Intrinsics of `--fx --fy --cx --cy`; fy = fx without it. None without any; the principal point may be missing.

  A missing principal point is NaN, to be the middle of each picture.

  Raises:
    ValueError: a part without the focal length, one of cx and cy alone, a focal length that is not positive, or one of
      these over 1e9.
  """
  if fx is None:
    if fy is not None or cx is not None or cy is not None:
      raise ValueError("--fy, --cx and --cy need --fx, the focal length in pixels")
    return None
  if (cx is None) != (cy is None):
    raise ValueError("--cx and --cy are given together, or not at all (the picture's middle)")
  fy = fx if fy is None else fy
  if not (0 < fx <= MOST_PX and 0 < fy <= MOST_PX):
    raise ValueError(f"--fx {fx:g} --fy {fy:g}: focal lengths are positive and at most {MOST_PX:g}, in pixels")
  if not all(value is None or abs(value) <= MOST_PX for value in (cx, cy)):
    raise ValueError(f"--cx {cx:g} --cy {cy:g}: a principal point is a place, at most {MOST_PX:g} pixels away")
  middle = (np.nan if cx is None else cx, np.nan if cy is None else cy)
  return np.array([[fx, 0, middle[0]], [0, fy, middle[1]], [0, 0, 1]], np.float32)


def from_json(path: pathlib.Path) -> Cameras:
  """Intrinsics of a JSON file: one camera, or `{"NAME of a picture": camera, …}`.

  A camera is `{"fx", "fy", "cx", "cy", "skew"}` (all but fx may be missing), or a matrix of 3 rows, also as "K"; and a
  `camera` of our predictions.json, unless that was assumed.

  Raises:
    FileNotFoundError: no such file.
    ValueError: anything else; says what is wrong.
  """
  try:
    content = json.loads(path.read_bytes())  # of bytes: UTF-8 or UTF-16, with or without a byte order mark
  except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or a number of over 4,300 digits
    raise ValueError(f"{path}: it is no JSON: {error}") from error
  try:
    if isinstance(content, dict) and not {"fx", "K"} & set(content):
      if not content:
        raise ValueError("it names no picture")
      return Cameras(by_name={name: _named(name, value) for name, value in content.items()})
    return Cameras(of_all=_camera(content))
  except (TypeError, ValueError, KeyError) as error:
    raise ValueError(f"{path}: {error}; write {{'fx': …, 'fy': …, 'cx': …, 'cy': …}}, in pixels") from error


def _named(name: str, value: Any) -> np.ndarray:
  try:
    return _camera(value)
  except (TypeError, ValueError, KeyError) as error:
    raise ValueError(f"{name!r}: {error}") from error


def _number(name: str, value: Any) -> float:
  try:
    return float(value)
  except (TypeError, ValueError, OverflowError) as error:
    raise ValueError(f"{name} is {value!r}: {error}") from error


def _camera(value: Any) -> np.ndarray:
  if not isinstance(value, dict):
    return check_camera(value)
  known = ("K",) if "K" in value else _NUMBERS
  if unknown := sorted(set(value) - {*known, "source"}):
    raise ValueError(f"{', '.join(unknown)} cannot be used in a camera of {', '.join(known)}")
  if value.get("source") == "unknown":
    raise ValueError("its source is 'unknown': it was assumed, and is not the picture's; leave it out")
  if "K" in value:
    return check_camera(value["K"])
  numbers = {name: _number(name, value[name]) for name in _NUMBERS if name in value}
  camera_img = from_flags(*(numbers.get(name) for name in _NUMBERS[:4]))
  if camera_img is None:
    raise ValueError("there is no fx in it")
  skew = numbers.get("skew", 0.0)
  if not abs(skew) <= MOST_PX:
    raise ValueError(f"skew is {skew:g}, expected at most {MOST_PX:g}")
  camera_img[0, 1] = skew
  return camera_img


def _fits(picture: Picture, camera_img: np.ndarray, what: str) -> np.ndarray:
  height, width = picture.pixels.shape[:2]
  scaled = camera_img.copy()
  for axis, side in ((0, width), (1, height)):
    if np.isnan(scaled[axis, 2]):
      scaled[axis, 2] = (side - 1) / 2
  (fx, _, cx), (_, fy, cy) = scaled[:2].tolist()
  if not (-width < cx < 2 * width and -height < cy < 2 * height):
    raise ValueError(
      f"{picture.path}: {what} have the principal point ({cx:g}, {cy:g}), far outside of {width} x {height} pixels"
    )
  if not (_plausible(fx, width, height) and _plausible(fy, width, height)):
    raise ValueError(
      f"{picture.path}: {what} have focal lengths {fx:g} and {fy:g}, which no lens has on {width} x {height} pixels; "
      "they are in pixels of this picture"
    )
  return scaled


def _plausible(focal: float, width: int, height: int) -> bool:
  return _WIDEST <= focal / max(width, height) <= _LONGEST
