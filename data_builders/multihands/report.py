"""What was built: how often changes pass, how far annotations differ, and a sheet of one record to look at."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from data_builders.multihands.records import Source, found, hand_model, rows_of
from data_builders.schema import RECORD
from data_builders.shards import BuildError, clear_errors
from jaxhands.drawing.overlay import paint, skeleton
from jaxhands.geometry import camera, crop
from jaxhands.schema import RIGHT

_TESTS = (
  "places and depth", "likely", "both, and tested further", "and no collision", "and hidden stays hidden", "all"
)  # fmt: skip
_PANEL_PX = 360
_SHOWN = 24  # annotations of a sheet, beside the fit
_WRIST = 20


def write(source: Source, folder: pathlib.Path, split: str, records: int) -> dict[str, Any]:
  """Makes records of a split anew and writes `report.json` and `sheet.png` into the folder.

  Args:
    source: of the data set.
    folder: of the data set.
    split: that they are of.
    records: how many, spread evenly.
  Returns:
    What `report.json` holds: shares of the changes that pass each test; the mean deviation (mm) of the annotations'
    joints under three alignments; the mean number of poses that moved; the share of records of which fewer moved than
    there should be annotations.
  Raises:
    BuildError: a record cannot be read, or the files cannot be written.
  """
  rows = rows_of(source.survey, split)
  chosen = np.linspace(0, len(rows) - 1, min(records, len(rows))).round().astype(int)
  tested, spread, moved, sheet = np.zeros(7), [], [], None
  for index in dict.fromkeys(chosen.tolist()):
    record = source.built.read(split, int(rows[index]), RECORD.keys())
    result = found(source, split, index, record)
    tested += result.tested
    moved.append(int(result.moved))
    spread.append([_deviation_mm(_aligned(result.joints_cam, name)) for name in ("global", "rrr", "rr")])
    if sheet is None:
      sheet = draw(record, np.asarray(result.joints_cam), source.config.mano)
  content = {
    "split": split,
    "records": len(moved),
    "changes": int(tested[0]),
    "passed": dict(zip(_TESTS, (tested[1:] / max(tested[0], 1)).round(4).tolist(), strict=True)),
    "poses_moved": float(np.mean(moved)),
    "fewer_annotations": float(np.mean(np.array(moved) < source.config.annotations)),
    "deviation_mm": dict(zip(("global", "rrr", "rr"), np.mean(spread, 0).round(2).tolist(), strict=True)),
  }
  assert sheet is not None
  with clear_errors(folder):  # cv2.imwrite does not notice every full disk
    (folder / "report.json").write_text(json.dumps(content, indent=2) + "\n")
    (folder / "sheet.png").write_bytes(cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes())
  return content


def draw(record: dict[str, Any], joints_cam: Float[np.ndarray, "a 2 21 3"], mano: str = "") -> np.ndarray:
  """The picture; its fit and some annotations over it; the same from the side.

  Args:
    record: with its picture encoded.
    joints_cam: of the annotations, mm.
    mano: folder of the MANO files that the fit belongs to; "" = the embedded hands.
  Returns:
    Picture [n, 4 n, 3], uint8 RGB.
  """
  decoded = cv2.imdecode(np.frombuffer(record["picture"], np.uint8), cv2.IMREAD_COLOR)
  if decoded is None:
    raise BuildError(f"the picture of {record['source']} cannot be decoded; build its data set anew")
  picture = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
  box = np.asarray(crop.process_box(record["box_img"], (_PANEL_PX, _PANEL_PX)))
  affine = np.asarray(crop.crop_affine(box, (_PANEL_PX, _PANEL_PX)))
  seen = cv2.warpAffine(picture, affine.astype(np.float64), (_PANEL_PX, _PANEL_PX))
  fit = np.asarray(hand_model(mano).forward_mano(np.asarray(record["mano"])).keypoints)
  some = joints_cam[:_SHOWN]

  def over(joints: np.ndarray) -> np.ndarray:
    return np.asarray(crop.apply_affine(affine, camera.project(joints, record["camera_img"])))

  centre, extent = fit.reshape(-1, 3).mean(0), max(np.ptp(fit.reshape(-1, 3), axis=0).max(), 1.0)

  def from_side(joints: np.ndarray) -> np.ndarray:
    """Depth to the right, down as in the picture."""
    offset = (joints - centre)[..., [2, 1]]
    return offset / (2.2 * extent) * _PANEL_PX + _PANEL_PX / 2

  blank = np.full((_PANEL_PX, _PANEL_PX, 3), 250, np.uint8)
  panels = [seen, _drawn(seen, fit[None], over), _drawn(seen, some, over), _drawn(blank, some, from_side)]
  return np.concatenate(panels, axis=1)


def _drawn(panel: np.ndarray, joints: np.ndarray, place: Any) -> np.ndarray:
  """Skeletons laid over each other, so that what they share is strong."""
  valid = np.ones((2, 21), bool)
  layers = [paint(panel, skeleton(place(one), valid, 1.5, depth=one[..., 2])).astype(np.float32) for one in joints]
  strength = 1.0 if len(layers) == 1 else min(3.0 / len(layers), 1.0)
  drawn = panel.astype(np.float32)
  for layer in layers:
    drawn = np.where(layer != panel, drawn + strength * (layer - drawn), drawn)
  return drawn.round().astype(np.uint8)


def _aligned(joints: np.ndarray, name: str) -> np.ndarray:
  if name == "global":
    return joints
  wrists = joints[..., _WRIST:, :]
  return joints - (wrists if name == "rr" else wrists[:, RIGHT : RIGHT + 1])


def _deviation_mm(joints: np.ndarray) -> float:
  """Mean over the joints of the root mean square distance from their mean."""
  return float(np.sqrt(np.square(joints - joints.mean(0)).sum(-1).mean(0)).mean())
