"""A chosen example's pose: truth over prediction, each over the picture and in two views of space."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxhands import schema
from jaxhands.drawing import overlay, two_hands
from jaxhands.drawing.overlay import Mark
from jaxhands.drawing.two_hands import Cube
from jaxhands.geometry import camera, crop
from jaxhands.hands.model import HandModel
from jaxhands.hands.skeleton import WRIST
from jaxhands.report import mesh_cards, readings
from jaxhands.report.charts import number
from jaxhands.report.examples import example_errors
from jaxhands.report.files import RunFiles
from jaxhands.schema import HANDS

SIDE = 240  # of a panel, in its own units
_VIEW_NAMES = {"front": "from the front", "above": "from above"}


class Block(NamedTuple):
  """Panels of an example that belong together, in rows of `columns`; class "masks" has no truth above a prediction."""

  columns: int
  panels: Sequence[str]
  kind: str = ""

  def html(self) -> str:
    """The panels in their grid."""
    return f'<div class="{f"card {self.kind}".strip()}" style="--columns:{self.columns}">{"".join(self.panels)}</div>'


def poses(example: Mapping[str, Any], row: int, model: HandModel | None = None) -> Block:
  """Truth above prediction; the picture is embedded as `picture-ROW`, for the panels of other blocks.

  `model`: of the meshes, where they are shown.
  """
  if wrists_alone := "prediction/joints_img" not in example:
    example = {**example, **_hands_at_wrists(example)}
  seen = example["prediction/hand_prob"] > 0.5
  rows = [_over_picture(example, row, seen)]
  if {"lifted/joints_cam", "batch/joints_cam"} <= set(example):
    rows += _in_space(example, seen, moved_onto_truth=not wrists_alone)
  if model is not None and mesh_cards.is_pair(example):
    rows += _meshes(example, seen, model)
  rows += _readings(example, row)
  truths, predictions = zip(*rows, strict=True)
  return Block(len(rows), (*truths, *predictions))


def _meshes(example: Mapping[str, Any], seen: np.ndarray, model: HandModel) -> list[tuple[str, str]]:
  """Over the picture, and in space."""
  stills, spaces = [], []
  for tag, (still, space) in zip(("truth", "prediction"), mesh_cards.pairs(example, model, seen), strict=True):
    size = SIDE, round(SIDE * still.shape[0] / still.shape[1])
    content = f'<image width="{size[0]}" height="{size[1]}" href="{two_hands.jpeg_uri(still)}"/>'
    stills.append(panel(size, "photo", f"{tag}, meshes over the picture", content, "meshes"))
    spaces.append(space)
  return [(stills[0], stills[1]), (spaces[0], spaces[1])]


def _readings(example: Mapping[str, Any], row: int) -> list[tuple[str, str]]:
  """Over the picture again, what the network read in it."""
  height, width = example["batch/image"].shape[:2]
  size, picture = (SIDE, round(height * SIDE / width)), f'<use href="#picture-{row}"/>'

  def over(layer: readings.Layer) -> str:
    return panel(size, "photo", layer.label, picture + layer.content, layer.tag)

  return [(over(truth), over(found)) for truth, found in readings.parts_and_heatmaps(example, SIDE)]


def _hands_at_wrists(example: Mapping[str, Any]) -> dict[str, Any]:
  """A pose for a prediction of wrists alone: the true hands, moved as they are to where the wrists are said to be."""
  truth, valid = example["batch/joints_cam"], example["batch/joints_cam_valid"]
  known = example["batch/hand_present"] & valid[:, WRIST] & example["prediction/root_cam_valid"]
  wrist = truth[:, WRIST:]
  moved = np.where(valid[..., None], truth, wrist) - wrist + example["prediction/root_cam"][:, None]
  intrinsics = np.where(example["batch/camera_valid"], example["batch/camera_img"], np.eye(3, dtype=np.float32))
  return {
    "prediction/joints_img": camera.project(moved, intrinsics),
    "prediction/hand_prob": known.astype(np.float32),
    "prediction/confidence": valid.astype(np.float32),
    "lifted/joints_cam": moved,
    "lifted/valid": known,
  }


def depths(example: Mapping[str, Any]) -> list[str]:
  """Each wrist's depth beside the true one, for a prediction of wrists alone."""
  found, true = example["prediction/root_cam"][:, 2], example["batch/root_depth"]
  return [
    f"{name} wrist {found[hand]:.0f} mm away, truly {true[hand]:.0f}"
    for hand, name in enumerate(HANDS)
    if example["batch/root_depth_valid"][hand]
  ]


def title(run: RunFiles, example: Mapping[str, Any], more: Sequence[str] = ()) -> str:
  """Error, overlap, wrong hands, what else is to be said, and which record it is."""
  position = int(example["position"])
  errors, unit = example_errors(run.values)
  error = float(errors[position])
  words = []
  if not np.isnan(error):
    words.append(f"<strong>{number(error)} {unit}</strong>")
  if "overlap" in run.values and run.values["overlap_known"][position]:
    words.append(f"overlap {100 * float(run.values['overlap'][position]):.0f} %")
  words += more
  if "prediction/hand_prob" in example:
    present, seen = example["batch/hand_present"], example["prediction/hand_prob"] > 0.5
    if (present != seen).any():
      words.append(f"{_hands(present)}, taken for {_hands(seen)}")
  record, view = schema.record_and_view(int(example["batch/example_id"]))
  words.append(f"record {record}" + ("" if view == "pair" else f", {view} hand"))
  return " · ".join(words)


def _hands(present: np.ndarray) -> str:
  there = [name for name, is_there in zip(HANDS, present, strict=True) if is_there]
  return " and ".join(there) if there else "no hand"


def _over_picture(example: Mapping[str, Any], row: int, seen: np.ndarray) -> tuple[str, str]:
  """Truth and prediction over the crop that the network saw, which is embedded once."""
  picture = example["batch/image"]
  height, width = picture.shape[:2]
  scale = SIDE / width
  size = SIDE, round(height * scale)

  def over(tag: str, background: str, joints_img: np.ndarray, valid: np.ndarray, **options: Any) -> str:
    # A pixel's centre is half a pixel from its edge.
    points = (crop.apply_affine(example["batch/crop_from_img"], joints_img) + 0.5) * scale
    marks = overlay.skeleton(points, valid, two_hands.line_px(*size), **options)
    return panel(size, "photo", f"{tag} over the picture", background + _marks(marks), tag)

  name = f"picture-{row}"
  embedded = f'<image id="{name}" width="{size[0]}" height="{size[1]}" href="{two_hands.jpeg_uri(picture)}"/>'
  predicted, confidence = example["prediction/joints_img"], example["prediction/confidence"]
  return (
    over("truth", embedded, example["batch/joints_img"], example["batch/joints_img_valid"]),
    over("prediction", f'<use href="#{name}"/>', predicted, np.repeat(seen[:, None], 21, 1), confidence=confidence),
  )


def _in_space(example: Mapping[str, Any], seen: np.ndarray, moved_onto_truth: bool) -> list[tuple[str, str]]:
  """For each view truth and prediction, the latter perhaps moved onto the truth at the first wrist that both have."""
  truth, valid = example["batch/joints_cam"], example["batch/joints_cam_valid"]
  predicted = example["lifted/joints_cam"]
  shown = np.repeat((seen & example["lifted/valid"])[:, None], 21, 1)
  shared = np.flatnonzero(valid[:, WRIST] & shown[:, WRIST])
  if len(shared) and moved_onto_truth:
    predicted = predicted + (truth - predicted)[shared[0], WRIST]
  cube = Cube.around(np.stack([truth, predicted]), np.stack([valid, shown]))
  size = SIDE, SIDE
  pairs = []
  for view in two_hands.VIEWS:
    name = _VIEW_NAMES[view]
    real = two_hands.view_marks(view, truth, valid, cube, SIDE)
    behind = two_hands.view_marks(view, truth, valid, cube, SIDE, ("ghost", "ghost"))
    guess = two_hands.view_marks(view, predicted, shown, cube, SIDE)
    pairs.append(
      (
        panel(size, "space", f"truth {name}", _marks(real) + scale_of(cube), name),
        panel(size, "space", f"prediction {name}, truth behind it", _marks(behind + guess)),
      )
    )
  return pairs


def _marks(marks: Sequence[Sequence[Mark]]) -> str:
  return f'<g class="marks">{two_hands.svg(marks)}</g>'


def scale_of(cube: Cube) -> str:
  """A bar of a round length in the corner of a view of space."""
  length_mm, length_px = two_hands.scale_bar(cube, SIDE)
  x, y = SIDE - 10, SIDE - 10
  line = f'<line class="scale" x1="{x - length_px:.1f}" x2="{x:.1f}" y1="{y}" y2="{y}"/>'
  return f'{line}<text class="end" x="{x:.1f}" y="{y - 6}">{length_mm} mm</text>'


def panel(size: tuple[int, int], kind: str, label: str, content: str, tag: str = "") -> str:
  """A picture of a card: SVG of a size in units of its own; the page's class `kind`; described by `label`."""
  text = f'<text class="tag" x="9" y="18">{html.escape(tag)}</text>' if tag else ""
  described = f'role="img" aria-label="{html.escape(label)}"'
  return f'<svg class="{kind}" viewBox="0 0 {size[0]} {size[1]}" {described}>{content}{text}</svg>'
