"""A chosen example's distribution: annotations over samples, over the picture, from the side, and as colour.

What a picture leaves open shows here: the samples of a good distribution lie on each other over the picture, where
joints are visible, and apart from each other when they are seen from the side.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxhands.drawing import certainty, overlay, two_hands
from jaxhands.drawing.two_hands import Cube
from jaxhands.evaluation.metrics import spread
from jaxhands.geometry import camera, crop
from jaxhands.hands.model import HandModel
from jaxhands.hands.skeleton import WRIST
from jaxhands.report import cards
from jaxhands.schema import HANDS

NEEDS = frozenset(
  {"prediction/samples", "prediction/joints_cam", "batch/camera_img", "batch/camera_valid", "batch/crop_from_img"}
)
_MOST = 20  # poses of a panel
_NEAREST_MM = 10.0  # to the camera, of points that are projected


def samples(example: Mapping[str, Any], row: int, model: HandModel | None) -> cards.Block | None:
  """The annotations' panels above the samples'; without annotations the latter alone; None without a camera.

  Args:
    example: with `NEEDS`.
    row: of the example, whose picture is embedded as `picture-ROW`.
    model: of `batch/annotations_mano`; None = they are not shown.
  """
  if not example["batch/camera_valid"]:
    return None
  found = {"samples": (example["prediction/samples"], example["prediction/joints_cam"])}
  if model is not None and "batch/annotations_mano" in example and example["batch/annotations_valid"].any():
    mano = example["batch/annotations_mano"][example["batch/annotations_valid"]]
    found = {"annotations": (np.asarray(model.forward_mano(mano).keypoints), example["batch/joints_cam"])} | found
  shown = np.concatenate([poses[:_MOST] for poses, _ in found.values()])
  cube = Cube.around(shown, np.ones(shown.shape[:-1], bool))
  panels = [panel for tag, both in found.items() for panel in _panels(example, row, tag, *both, cube)]
  return cards.Block(3, tuple(panels))


def legend() -> str:
  """What the panels are."""
  ramp = ", ".join(f"rgb({r:.0f} {g:.0f} {b:.0f})" for r, g, b in certainty.STOPS_RGB)
  bar = f'<span class="ramp" style="background:linear-gradient(90deg, {ramp})"></span>'
  return (
    f"Thin: up to {_MOST} annotations, or samples, over the picture and from the right, depth to the right. In colour: "
    f"how far a joint deviates among them from its own wrist, 0 {bar} {certainty.UNSURE_MM:.0f} mm and more."
  )


def _panels(
  example: Mapping[str, Any], row: int, tag: str, poses: np.ndarray, pose: np.ndarray, cube: Cube
) -> list[str]:
  """Of one set of poses [S, 2, 21, 3] and the one that stands for it [2, 21, 3]."""
  picture = f'<use href="#picture-{row}"/>'
  height, width = example["batch/image"].shape[:2]
  scale = cards.SIDE / width
  size, square = (cards.SIDE, round(height * scale)), (cards.SIDE, cards.SIDE)

  def in_panel(joints_cam: np.ndarray) -> np.ndarray:
    ahead = np.concatenate([joints_cam[..., :2], joints_cam[..., 2:].clip(_NEAREST_MM)], -1).astype(np.float32)
    seen = crop.apply_affine(example["batch/crop_from_img"], camera.project(ahead, example["batch/camera_img"]))
    return (np.asarray(seen) + 0.5) * scale

  some = poses[:_MOST]
  side = np.stack([two_hands.seen_from("side", one, cube, cards.SIDE)[0] for one in some])
  deviation = np.asarray(spread.deviations((poses - poses[:, :, WRIST:])[None].astype(np.float32)))[0]
  return [
    cards.panel(size, "photo", f"{tag} over the picture", picture + _thin(in_panel(some)), tag),
    cards.panel(square, "space", f"{tag} from the side", _thin(side) + cards.scale_of(cube), "from the side"),
    cards.panel(
      size, "photo", f"deviation of the {tag}", picture + _coloured(in_panel(pose), deviation), "deviation"
    ),
  ]  # fmt: skip


def _thin(points: np.ndarray) -> str:
  """All poses [S, 2, 21, 2] as one path for each finger."""
  paths = []
  for hand, name in enumerate(HANDS):
    for finger, chain in enumerate(overlay.CHAINS):
      lines = "".join("M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in one) for one in points[:, hand, chain])
      paths.append(f'<path class="sample {name} f{finger}" d="{lines}"/>')
  return f'<g class="marks">{"".join(paths)}</g>'


def _coloured(points: np.ndarray, deviation_mm: np.ndarray) -> str:
  """One pose [2, 21, 2], each bone in the colour of the deviation at its end."""
  colours = certainty.colours(deviation_mm)
  lines = []
  for hand in range(len(HANDS)):
    for chain in overlay.CHAINS:
      for start, end in itertools.pairwise(chain):
        (x1, y1), (x2, y2) = points[hand, start], points[hand, end]
        r, g, b = colours[hand, end]
        line = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        lines.append(f'<line class="bone" {line} style="stroke:rgb({r} {g} {b});stroke-width:3.5"/>')
  return f'<g class="marks">{"".join(lines)}</g>'
