"""A chosen example's meshes: true ones over predicted ones, over the picture and in space, to be turned together."""

from __future__ import annotations

import html
import importlib.resources
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxhands import schema
from jaxhands.drawing import overlay, surfaces, two_hands
from jaxhands.hands.mano_files import ManoFileError
from jaxhands.hands.model import HandModel
from jaxhands.hands.skeleton import WRIST
from jaxhands.report.files import RunFiles
from jaxhands.schema import HANDS

NEEDS = frozenset(
  {"batch/image", "batch/crop_from_img", "batch/camera_img", "batch/mano", "batch/mano_valid"}
  | {"prediction/vertices_cam", "prediction/joints_cam", "lifted/joints_cam"}
)
_FINE = 2  # pixels of a still, of the crop's


def model_of(run: RunFiles) -> HandModel | None:
  """Whose meshes a run's examples have; None where they have none, or where MANO's files are gone."""
  if not set(run.shown) >= NEEDS or "hand_model" not in run.config:
    return None
  try:
    return HandModel.named(run.config["hand_model"])
  except (ManoFileError, OSError):
    return None


def pairs(example: Mapping[str, Any], model: HandModel, seen: np.ndarray) -> list[tuple[np.ndarray, str]]:
  """Of truth and of prediction: the picture with the meshes, and the element that shows them in space.

  Args:
    example: with `NEEDS`, of a pair of hands.
    model: whose parameters `batch/mano` are.
    seen: [2], which hands are predicted to be there.
  """
  moved = example["lifted/joints_cam"] - example["prediction/joints_cam"]
  predicted = example["prediction/vertices_cam"] + moved[:, WRIST:]
  true = np.asarray(model.forward_mano(example["batch/mano"]).vertices)
  known = example["batch/mano_valid"] & example["batch/hand_present"]
  joints = example["batch/joints_cam"], example["lifted/joints_cam"]
  found = zip(("truth", "prediction"), joints, (true, predicted), (known, seen & example["lifted/valid"]), strict=True)
  return [
    (_over_picture(example, vertices, shown, model), _in_space(tag, own, vertices, shown))
    for tag, own, vertices, shown in found
  ]


def _over_picture(example: Mapping[str, Any], vertices: np.ndarray, shown: np.ndarray, model: HandModel) -> np.ndarray:
  picture = example["batch/image"]
  larger = np.repeat(np.repeat(picture, _FINE, 0), _FINE, 1)
  affine = np.vstack([_FINE * example["batch/crop_from_img"], [0, 0, 1]])
  affine[:2, 2] += (_FINE - 1) / 2  # the middle of the first pixel
  return surfaces.paint(larger, vertices, np.asarray(model.faces), shown, affine @ example["batch/camera_img"])


def _in_space(tag: str, joints: np.ndarray, vertices: np.ndarray, shown: np.ndarray) -> str:
  hands = [
    {"joints": joints[hand].astype(float).round(1).tolist(), "mesh": two_hands.packed(vertices[hand])}
    if shown[hand]
    else None
    for hand in range(2)
  ]
  data = html.escape(json.dumps(hands, separators=(",", ":")))
  return f'<canvas class="turn" tabindex="0" aria-label="{tag}, meshes in space" data-hands="{data}"></canvas>'


def script(model: HandModel) -> str:
  """What turns the meshes of a page; to be put at its end."""
  look = {
    "colours": [overlay.FINGER_RGB[hand] for hand in HANDS],
    "chains": overlay.CHAINS.tolist(),
    "faces": [two_hands.base64_of(np.asarray(own).astype("<u2")) for own in model.faces],
  }
  turn = importlib.resources.files("jaxhands.report").joinpath("turn.js").read_text(encoding="utf-8")
  return f'<script>\n"use strict";\n{two_hands.space_script()}const look = {json.dumps(look)};\n{turn}</script>'


def is_pair(example: Mapping[str, Any]) -> bool:
  """Whether an example shows both hands as they are, not one that may be mirrored."""
  return schema.record_and_view(int(example["batch/example_id"]))[1] == "pair"
