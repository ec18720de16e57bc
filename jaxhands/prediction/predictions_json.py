"""`predictions.json` and `predictions.npz`: what was found in each picture, in a format with a version.

`docs/predictions.md` describes it. Numbers are always finite; what is not known is null, or absent.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxhands import __version__, schema
from jaxhands.evaluation.metrics.spread import deviations
from jaxhands.hands import skeleton
from jaxhands.prediction.hands import Hands

FORMAT, VERSION = "jaxhands-predictions", 1
# Keys of `Hands.raw` that are written, drawn or followed: all that may be kept of many pictures.
RAW = ("vertices_cam", "mano", "mano_residual_mm", "mano_converged", "samples", "log_prob", "root_cam")
# A byte B of a name that is not UTF-8 is written as \\udcB; Python's os.fsencode gives the bytes back.
_FILE_NAMES = "UTF-8 with surrogateescape (PEP 383)"


@dataclasses.dataclass(frozen=True, eq=False)
class PictureResult:
  """One picture or frame.

  Attributes:
    file: path, as it was given.
    frame: number of the frame in a video, from 0; None = a picture.
    picture_hw: height and width in pixels.
    camera_source: "given", "EXIF", or "unknown" (a normal lens was assumed).
    hands: of this picture and of others that were predicted with it.
    row: of this picture in `hands`.
    exchanged: in a video, right and left were exchanged to go on as before.
    time_s: of the frame, since the video began.
    overlay: path of the drawn picture or video in the folder.
    meshes: paths of the files with its meshes in the folder; those of a video hold all of its frames.
    remarks: on how the picture was read.
  """

  file: str
  frame: int | None
  picture_hw: tuple[int, int]
  camera_source: str
  hands: Hands
  row: int = 0
  exchanged: bool = False
  time_s: float | None = None
  overlay: str = ""
  meshes: tuple[str, ...] = ()
  remarks: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Failed:
  """A file that could not be used, or only in part, and why."""

  file: str
  reason: str
  part: bool = False


@dataclasses.dataclass(frozen=True)
class About:
  """What predicted: the run, its system, and whether its confidences are probabilities.

  `samples`: how many poses of a distribution are written at most. `hand_model`: identity of that of all `mano`; "" =
  there are none.
  """

  run: str
  system: str
  calibrated: bool
  samples: int = 0
  hand_model: str = ""


def is_in(folder: pathlib.Path) -> bool:
  """Whether an earlier call wrote its predictions into a folder."""
  begin = f'{{"format": "{FORMAT}"'.encode()
  try:
    with (folder / "predictions.json").open("rb") as file:
      return file.read(len(begin)) == begin
  except OSError:
    return False


def as_json(
  results: Sequence[PictureResult], failed: Sequence[Failed], passed_over: Sequence[pathlib.Path], about: About
) -> dict[str, Any]:
  """The content of `predictions.json`."""
  return {
    "format": FORMAT,
    "version": VERSION,
    "jaxhands": __version__,
    "run": about.run,
    "system": about.system,
    "confidence_calibrated": about.calibrated,
    **({"hand_model": about.hand_model} if about.hand_model else {}),
    "file_names": _FILE_NAMES,
    "joint_names": list(skeleton.JOINT_NAMES),
    "pictures": [_picture(each, about.samples) for each in results],
    "failed": [
      {"file": each.file, "reason": each.reason} | ({"used_in_part": True} if each.part else {}) for each in failed
    ],
    "passed_over": [str(file) for file in passed_over],
  }


def write(folder: pathlib.Path, content: dict[str, Any], results: Sequence[PictureResult]) -> None:
  """Writes both files, each whole or not at all."""
  text = json.dumps(content, allow_nan=False) + "\n"
  partial = folder / "predictions.json.partial"
  partial.write_text(text, encoding="utf-8")
  partial.replace(folder / "predictions.json")
  partial = folder / "predictions.partial.npz"
  np.savez_compressed(partial, **_arrays(results))
  partial.replace(folder / "predictions.npz")


def _picture(result: PictureResult, samples: int) -> dict[str, Any]:
  hands, row = result.hands, result.row
  (fx, skew, cx), (_, fy, cy) = hands.camera_img[row, :2].tolist()
  entry: dict[str, Any] = {"file": result.file}
  if result.frame is not None:
    entry |= {"frame": result.frame, "time_s": _number(result.time_s), "exchanged": result.exchanged}
  if result.remarks:
    entry["remarks"] = list(result.remarks)
  return entry | {
    "overlay": result.overlay,
    **({"meshes": list(result.meshes)} if result.meshes else {}),
    "height": result.picture_hw[0],
    "width": result.picture_hw[1],
    "camera": {"source": result.camera_source, "fx": fx, "fy": fy, "cx": cx, "cy": cy, "skew": skew},
    "scale": hands.scale[row],
    "probability": {name: _number(hands.hand_prob[row, hand]) for hand, name in enumerate(schema.HANDS)},
    "hands": [
      _hand(hands, row, hand) | _spread(hands, row, hand, samples) | _parameters(hands, row, hand)
      for hand in range(2)
      if hands.present[row, hand]
    ],
  }


def _hand(hands: Hands, row: int, hand: int) -> dict[str, Any]:
  placed = bool(hands.joints_cam_valid[row, hand])
  return {
    "hand": schema.HANDS[hand],
    "probability": _number(hands.hand_prob[row, hand]),
    "box_img": _numbers(hands.box_img[row, hand]),
    "joints_img": _numbers(hands.joints_img[row, hand]),
    "confidence": _numbers(hands.confidence[row, hand], 4),
    "joints_cam_mm": _numbers(hands.joints_cam[row, hand]) if placed else None,
    "reprojection_px": _numbers(hands.reprojection_px[row, hand]) if placed else None,
  }


def sampled(hands: Hands, row: int, hand: int) -> np.ndarray | None:
  """Samples [S, 21, 3] (mm, camera frame) of one hand of one picture; None of a system, or a hand, without."""
  if "samples" not in hands.raw or not hands.joints_cam_valid[row, hand]:
    return None
  return hands.raw["samples"][row, :, hand]


def deviations_of(poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """How far samples [S, 21, 3] of a hand's joints spread, [21] each: from its own wrist, and in the camera's frame."""
  of_own_wrist, in_camera = np.asarray(deviations(np.stack([poses - poses[:, skeleton.WRIST :], poses])))
  return of_own_wrist, in_camera


def _spread(hands: Hands, row: int, hand: int, samples: int) -> dict[str, Any]:
  """What a distribution says of a hand besides its mode; nothing of a system without samples."""
  poses = sampled(hands, row, hand)
  if poses is None:
    return {}
  of_own_wrist, in_camera = deviations_of(poses)
  entry: dict[str, Any] = {
    "deviation_mm": _numbers(of_own_wrist),
    "deviation_cam_mm": _numbers(in_camera),
  }
  return entry | ({"samples_cam_mm": _numbers(poses[:samples], 1)} if samples else {})


def _parameters(hands: Hands, row: int, hand: int) -> dict[str, Any]:
  """Those of the hand model; nothing of a system that gives none."""
  if "mano" not in hands.raw:
    return {}
  mano = hands.raw["mano"][row, hand]
  known = bool(hands.joints_cam_valid[row, hand]) and bool(mano.any())
  entry: dict[str, Any] = {"mano": _numbers(mano, 5) if known else None}
  if "mano_residual_mm" in hands.raw:
    was_fitted = known and hands.raw["mano_residual_mm"][row, hand] > 0
    entry["mano_residual_mm"] = _number(hands.raw["mano_residual_mm"][row, hand]) if was_fitted else None
    entry["mano_converged"] = bool(hands.raw["mano_converged"][row, hand]) if was_fitted else None
  return entry


def _arrays(results: Sequence[PictureResult]) -> dict[str, Any]:
  names = [field.name for field in dataclasses.fields(Hands) if field.name not in ("raw", "scale")]
  arrays: dict[str, Any] = (
    {name: np.stack([getattr(each.hands, name)[each.row] for each in results]) for name in names} if results else {}
  )
  arrays |= {
    "files": np.array([each.file for each in results], str),
    "frame": np.array([-1 if each.frame is None else each.frame for each in results], np.int32),
    "picture_hw": np.array([each.picture_hw for each in results], np.int32).reshape(-1, 2),
    "camera_source": np.array([each.camera_source for each in results], str),
    "scale": np.array([each.hands.scale[each.row] for each in results], str),
    "version": np.int32(VERSION),
  }
  for key in RAW:
    if results and all(key in each.hands.raw for each in results):
      arrays[key] = np.stack([each.hands.raw[key][each.row] for each in results])
  return arrays


def _number(value: Any) -> float:
  return round(float(value), 4)


def _numbers(values: np.ndarray, digits: int = 2) -> list[Any]:
  return np.round(values.astype(np.float64), digits).tolist()
