"""Shows how joints are numbered here and elsewhere, on a page of drawn hands and as lists.

    python -m jaxhands joints
    python -m jaxhands joints --draw joint_orders.png

In Python: `jaxhands.hands.conventions`.
"""

from __future__ import annotations

import argparse
import pathlib
import textwrap

import cv2
import numpy as np

from jaxhands import schema
from jaxhands.drawing import overlay, two_hands
from jaxhands.hands import conventions
from jaxhands.hands.model import HandModel
from jaxhands.runs import folder as files

_PANEL_HW = (620, 560)
_INK = (40, 36, 32)
_SHOWN = ("interhand", "mano", "openpose", "freihand")  # mediapipe is openpose's order, mano16 a part of mano's
_ALSO = {
  "openpose": "OpenPose, MediaPipe",
  "freihand": "FreiHAND, HO-3D",
  "mano": "MANO with tips",
  "interhand": "InterHand2.6M",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("--draw", type=pathlib.Path, metavar="FILE.png", help="write a page of the orders")


def main(args: argparse.Namespace) -> int:
  """Prints the lists, draws the page."""
  if args.draw is not None and args.draw.suffix.lower() != ".png":
    raise ValueError(f"--draw {args.draw}: the page is a PNG; name a file .png")
  for convention in conventions.CONVENTIONS.values():
    names = " ".join(f"{index}:{name}" for index, name in enumerate(convention.joint_names))
    print(f"{convention.name}: {convention.about}")
    print(textwrap.indent(textwrap.fill(names, 100), "  "))
  if args.draw is not None:
    ok, encoded = cv2.imencode(".png", page()[..., ::-1])  # imwrite crashes on a name that is not UTF-8
    assert ok, args.draw
    with files.written(args.draw) as file:
      file.write(encoded.tobytes())
    print(args.draw)
  return 0


def page() -> np.ndarray:
  """The orders on the embedded model's flat right hand, seen from its back; RGB."""
  panels = [_panel(name) for name in _SHOWN]
  return np.concatenate([np.concatenate(panels[:2], 1), np.concatenate(panels[2:], 1)], 0)


def _panel(name: str) -> np.ndarray:
  height, width = _PANEL_HW
  convention = conventions.find(name)
  posed = HandModel.default().forward_mano(np.zeros(schema.MANO_DIM, np.float32), schema.RIGHT)
  joints = np.asarray(posed.keypoints, np.float64)
  points = _upright(joints)
  low, high = points.min(0), points.max(0)
  scale = 0.76 * min((width - 60) / (high - low)[0], (height - 100) / (high - low)[1])
  points = (points - (low + high) / 2) * scale + (width / 2, height / 2 + 30)
  both = np.stack([points, points])
  valid = np.stack([np.ones(21, bool), np.zeros(21, bool)])
  panel = np.full((height, width, 3), 255, np.uint8)
  panel = overlay.paint(panel, overlay.skeleton(both, valid, two_hands.line_px(height, width)))
  middle = points.mean(0)
  for index, joint in enumerate(convention.interhand):
    away = points[joint] - middle
    sideways = np.array([18.0, 0.0]) if joint % 4 or joint == 20 else away / np.linalg.norm(away) * 22
    _text(panel, str(index), points[joint] + sideways, 0.55)
  _text(panel, _ALSO[name], (width / 2, 34.0), 0.8)
  unit = "mm" if convention.mm == 1 else "metres"
  _text(panel, f"conventions.find({name!r}), space in {unit}", (width / 2, 62.0), 0.45)
  return panel


def _upright(joints: np.ndarray) -> np.ndarray:
  """The hand's plane as x and y of the page, fingers up, the thumb of a right hand at the left (seen from its back)."""
  up = joints[8] - joints[20]
  up = up / np.linalg.norm(up)
  across = joints[3 + 4] - joints[19]
  across = across - up * (across @ up)
  across = across / np.linalg.norm(across)
  return np.stack([-(joints @ across), -(joints @ up)], -1)


def _text(panel: np.ndarray, text: str, middle: tuple[float, float] | np.ndarray, size: float) -> None:
  (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
  at = (round(float(middle[0]) - width / 2), round(float(middle[1]) + height / 2))
  cv2.putText(panel, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (255, 255, 255), 5, cv2.LINE_AA)
  cv2.putText(panel, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)
