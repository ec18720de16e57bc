"""What a network reads in the picture on its way to a pose: parts of the hands, heatmaps of single joints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from jaxhands.drawing import two_hands
from jaxhands.geometry import crop
from jaxhands.hands.skeleton import JOINT_NAMES
from jaxhands.schema import HANDS

_ARM = 5.0  # half the width of a cross
_DARKER = 0.55  # of the picture below a heatmap
_SOLID = 190  # of parts over the picture, of 255


class Layer(NamedTuple):
  """Something that lies over the picture: a label for all, a tag in its corner, SVG in a panel's units."""

  label: str
  tag: str
  content: str


def parts_and_heatmaps(example: Mapping[str, Any], side: int) -> list[tuple[Layer, Layer]]:
  """Pairs of layers, of which one is shown over the other; none of what the system does not predict.

  Args:
    example: of `RunFiles.shown`.
    side: width of the panel.
  """
  found = []
  scale = side / example["batch/image"].shape[1]
  if "prediction/parts" in example:
    predicted, known = example["prediction/parts"], example.get("batch/parts_valid", np.False_)
    truth = example["batch/parts"] if known else np.zeros_like(predicted)
    truth_tag = "parts" if known else "parts, not annotated"
    found.append((
      Layer("true parts", truth_tag, _parts(truth, example, scale)),
      Layer("predicted parts", "predicted", _parts(predicted, example, scale)),
    ))  # fmt: skip
  if "prediction/heatmaps" in example:
    found.append(_two_heatmaps(example, scale))
  return found


def _two_heatmaps(example: Mapping[str, Any], scale: float) -> tuple[Layer, Layer]:
  """Those of the joint that went worst in each hand, or of the two worst joints of the only hand."""
  affine = example["batch/crop_from_img"]
  truth, predicted = (
    np.asarray(crop.apply_affine(affine, example[f"{kind}/joints_img"])) for kind in ("batch", "prediction")
  )
  valid = example["batch/joints_img_valid"]
  error = np.where(valid, np.linalg.norm(truth - predicted, axis=-1), -1.0)
  order = np.argsort(-error, axis=1, kind="stable")
  chosen = [(hand, int(order[hand, rank])) for rank in range(2) for hand in range(2) if valid[hand].any()][:2]
  layers = []
  for hand, joint in chosen:
    name = f"{HANDS[hand]} {JOINT_NAMES[joint]}"
    heatmap = _heatmap(example["prediction/heatmaps"][hand, joint], example, scale)
    marks = _cross(truth[hand, joint], scale, "x") + _cross(predicted[hand, joint], scale, "+")
    layers.append(Layer(f"heatmap of {name}", name, heatmap + marks))
  nothing = Layer("no annotated joint", "no annotated joint", "")
  first, second = (*layers, nothing, nothing)[:2]
  return first, second


def _parts(parts: UInt8[np.ndarray, "h w"], example: Mapping[str, Any], scale: float) -> str:
  colours = np.concatenate(
    [two_hands.part_colours(), np.full((len(two_hands.part_colours()), 1), _SOLID, np.uint8)], axis=1
  )
  colours[0] = 0
  return _image(colours[parts], example, scale, "layer")


def _heatmap(heatmap: Float[np.ndarray, "u v"], example: Mapping[str, Any], scale: float) -> str:
  """Light where the network believes the joint to be, over a darkened picture; square roots, so that doubts show."""
  strength = (255 * np.sqrt(np.clip(heatmap / max(float(heatmap.max()), 1e-12), 0, 1))).astype(np.uint8)
  rgb = cv2.applyColorMap(strength, cv2.COLORMAP_INFERNO)[..., ::-1]
  dark = f'<rect width="100%" height="100%" opacity="{_DARKER}"/>'
  return dark + _image(np.concatenate([rgb, strength[..., None]], axis=-1), example, scale, "")


def _image(rgba: UInt8[np.ndarray, "h w 4"], example: Mapping[str, Any], scale: float, kind: str) -> str:
  """A map over the picture: its pixel i is the crop's pixel i * crop / map, with their centres on each other."""
  height, width = example["batch/image"].shape[:2]
  corner = [(0.5 - size / cells / 2) * scale for size, cells in ((width, rgba.shape[1]), (height, rgba.shape[0]))]
  place = f'x="{corner[0]:.2f}" y="{corner[1]:.2f}" width="{width * scale:.1f}" height="{height * scale:.1f}"'
  return f'<image class="{kind}" {place} preserveAspectRatio="none" href="{two_hands.png_uri(rgba)}"/>'


def _cross(point_crop: Float[np.ndarray, " 2"], scale: float, kind: Literal["x", "+"]) -> str:
  x, y = (point_crop + 0.5) * scale
  a, b = (_ARM, 0.0) if kind == "+" else (_ARM * 0.71, _ARM * 0.71)
  path = f"M{x - a:.1f} {y - b:.1f}L{x + a:.1f} {y + b:.1f}M{x + b:.1f} {y - a:.1f}L{x - b:.1f} {y + a:.1f}"
  return f'<path class="cross casing" d="{path}"/><path class="cross" d="{path}"/>'
