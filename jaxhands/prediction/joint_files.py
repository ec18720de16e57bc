"""`predictions.json` read again: joints of anybody's hands as arrays, and the file with parameters added.

What is read of an entry of `pictures`: `file`, `frame`; `camera`; and of each of its `hands` `hand`, `joints_cam_mm`,
`joints_img` and `confidence`. A joint, a confidence, a list or the camera may be null, or not there. Everything else
stays as it is, so that other programs' joints need no more than that; only NaN and infinity, which are no JSON, are
refused anywhere. The format: docs/predictions.md.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer

from jaxhands import schema
from jaxhands.hands.fit import Fitted
from jaxhands.prediction.picture import MOST_PX
from jaxhands.prediction.predictions_json import FORMAT, VERSION
from jaxhands.runs import folder as files

_ADVICE = "name a predictions.json as docs/predictions.md describes it"


@dataclasses.dataclass(frozen=True, eq=False)
class JointFile:
  """Joints of N pictures, right hands first; what is not known is 0 with its flag False.

  Attributes:
    content: of the file.
    present: [N, 2], the hand has an entry.
    joints_cam, joints_cam_valid: [N, 2, 21, 3] mm and [N, 2, 21].
    joints_img, joints_img_valid: [N, 2, 21, 2] pixels and [N, 2, 21]; valid where the picture has a camera.
    camera_img: [N, 3, 3], the identity where there is none.
    confidence: [N, 2, 21], not negative; 1 where none is given.
  """

  content: Mapping[str, Any]
  present: Bool[np.ndarray, "n 2"]
  joints_cam: Float[np.ndarray, "n 2 21 3"]
  joints_cam_valid: Bool[np.ndarray, "n 2 21"]
  joints_img: Float[np.ndarray, "n 2 21 2"]
  joints_img_valid: Bool[np.ndarray, "n 2 21"]
  camera_img: Float[np.ndarray, "n 3 3"]
  confidence: Float[np.ndarray, "n 2 21"]

  @classmethod
  def read(cls, path: pathlib.Path) -> JointFile:
    """Reads a file.

    Raises:
      FileNotFoundError: there is none.
      DamagedFile: it is no JSON, or not in this format.
      ValueError: an entry is not what it should be, or a number anywhere is not finite; names picture, hand and key.
    """
    content = files.read_json(path, _ADVICE, ("format", "version", "pictures"))
    if content["format"] != FORMAT or not isinstance(content["pictures"], list):
      raise files.DamagedFile(path, f"its format is {content['format']!r}, expected {FORMAT!r}", _ADVICE)
    if content["version"] != VERSION:
      raise ValueError(f"{path} has version {content['version']!r} of the format, this program reads {VERSION}")
    try:
      found = cls._of(content)
      if (field := _not_finite(content)) is not None:
        raise ValueError(f"{field.removeprefix('.')} is no finite number; write null where a number is not known")
    except ValueError as error:
      raise ValueError(f"{path}: {error}") from error
    return found

  @classmethod
  def _of(cls, content: Mapping[str, Any]) -> JointFile:
    count = len(content["pictures"])
    present, confidence = np.zeros((count, 2), bool), np.ones((count, 2, schema.NUM_JOINTS), np.float32)
    cam, cam_valid = np.zeros((count, 2, schema.NUM_JOINTS, 3), np.float32), np.zeros(confidence.shape, bool)
    img, img_valid = np.zeros((count, 2, schema.NUM_JOINTS, 2), np.float32), np.zeros(confidence.shape, bool)
    cameras = np.tile(np.eye(3, dtype=np.float32), (count, 1, 1))
    for row, picture in enumerate(content["pictures"]):
      where = f"picture {row}"
      if not isinstance(picture, dict) or not isinstance(picture.get("hands", []), list):
        raise ValueError(f"{where} is no object with a list of hands")
      _check_frame(where, picture.get("frame"))
      camera = picture.get("camera")
      if camera is not None:
        cameras[row] = _camera(where, camera)
      for entry in picture.get("hands", []):
        name = entry.get("hand") if isinstance(entry, dict) else None
        if name not in schema.HANDS:
          raise ValueError(f"{where}: a hand is {name!r}, expected one of {schema.HANDS}")
        hand = schema.HANDS.index(name)
        if present[row, hand]:
          raise ValueError(f"{where} has two {name} hands")
        where_hand, present[row, hand] = f"{where}, {name} hand", True
        cam[row, hand], cam_valid[row, hand] = _values(where_hand, entry, "joints_cam_mm", (3,))
        img[row, hand], img_valid[row, hand] = _values(where_hand, entry, "joints_img", (2,))
        sure, given = _values(where_hand, entry, "confidence", ())
        if (sure < 0).any():
          raise ValueError(f"{where_hand}: confidence[{sure.argmin()}] is {sure.min():g}; none is below 0")
        confidence[row, hand] = np.where(given, sure, 1)
      img_valid[row] &= camera is not None
    return cls(content, present, cam, cam_valid, img, img_valid, cameras, confidence)

  @property
  def clips(self) -> list[Integer[np.ndarray, " k"]]:
    """The frames of each video: rows of the entries that have a `frame`, together where they have the same `file`."""
    rows: dict[str, list[int]] = {}
    for row, picture in enumerate(self.content["pictures"]):
      if picture.get("frame") is not None:
        rows.setdefault(str(picture.get("file", "")), []).append(row)
    return [np.array(own) for own in rows.values()]

  def with_parameters(self, fitted: Fitted) -> dict[str, Any]:
    """The file's content with `hand_model`, and of each hand that was fitted `mano` and what is said of the fit."""
    content: dict[str, Any] = copy.deepcopy(dict(self.content)) | {"hand_model": fitted.hand_model}
    for row, picture in enumerate(content["pictures"]):
      for entry in picture.get("hands", []):
        hand = schema.HANDS.index(entry["hand"])
        if not fitted.valid[row, hand]:
          entry |= {"mano": None, "mano_residual_mm": None, "mano_residual_px": None, "mano_converged": None}
          continue
        in_space = bool(self.joints_cam_valid[row, hand].any())
        in_picture = bool((fitted.error_px[row, hand] > 0).any())
        entry |= {
          "mano": np.round(fitted.mano[row, hand].astype(np.float64), 5).tolist(),
          "mano_residual_mm": round(float(fitted.residual_mm[row, hand]), 3) if in_space else None,
          "mano_residual_px": round(float(fitted.residual_px[row, hand]), 3) if in_picture else None,
          "mano_converged": bool(fitted.converged[row, hand]),
        }
    return content


def write(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes `predictions.json`, whole or not at all."""
  with files.written(path) as file:
    file.write((json.dumps(content, allow_nan=False) + "\n").encode())


def _not_finite(value: Any) -> str | None:
  """The way to the first number that is not finite, as `.pictures[0].note`; None = there is none."""
  if isinstance(value, float):
    return None if math.isfinite(value) else ""
  inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
  for key, inner in inside:
    if (rest := _not_finite(inner)) is not None:
      return (f"[{key}]" if isinstance(value, list) else f".{key}") + rest
  return None


def _check_frame(where: str, frame: Any) -> None:
  number = isinstance(frame, int | float) and not isinstance(frame, bool)
  if frame is not None and not (number and -(2**31) <= frame < 2**31 and frame == int(frame)):
    raise ValueError(f"{where}: its frame is {frame!r}, expected a whole number of 32 bits, or null")


def _camera(where: str, camera: Any) -> np.ndarray:
  try:
    fx, fy, cx, cy = (float(camera[key]) for key in ("fx", "fy", "cx", "cy"))
    found = np.array([[fx, float(camera.get("skew", 0)), cx], [0, fy, cy], [0, 0, 1]], np.float64)
    if not (np.abs(found) <= MOST_PX).all():
      raise ValueError(f"a number is not finite, or over {MOST_PX:g}")
  except (TypeError, KeyError, AttributeError, ValueError, OverflowError) as error:
    raise ValueError(f"{where}: its camera is {camera!r}, expected fx, fy, cx, cy in pixels ({error})") from error
  found = found.astype(np.float32)
  if min(found[0, 0], found[1, 1]) <= 0:
    raise ValueError(f"{where}: its camera has fx={fx}, fy={fy}; focal lengths are positive, in pixels")
  return found


def _values(where: str, entry: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
  """Those of 21 joints, of one shape, and which of them are known."""
  found, known = np.zeros((schema.NUM_JOINTS, *shape), np.float32), np.zeros(schema.NUM_JOINTS, bool)
  listed = entry.get(key)
  if listed is None:
    return found, known
  if not isinstance(listed, list) or len(listed) != schema.NUM_JOINTS:
    raise ValueError(f"{where}: {key} is no list of {schema.NUM_JOINTS} joints")
  expected = f"{shape[0]} numbers" if shape else "a number"
  for joint, value in enumerate(listed):
    if value is None:
      continue
    try:
      numbers = np.array(value, np.float64)
    except (TypeError, ValueError, OverflowError):
      numbers = np.zeros(0)
    if numbers.shape != shape or not (np.abs(numbers) <= MOST_PX).all():
      raise ValueError(f"{where}: {key}[{joint}] is {value!r}, expected {expected}, or null; none over {MOST_PX:g}")
    found[joint], known[joint] = numbers, True
  return found, known
