"""A chosen example's masks: over the picture each of the four, with its errors in colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from jaxhands.drawing import two_hands
from jaxhands.report.cards import SIDE, Block, panel
from jaxhands.schema import HANDS

NEEDS = frozenset({"batch/image", "batch/masks", "batch/masks_valid", "prediction/masks"})
_KINDS = ("whole", "visible")
# RGB and opacity, as in `style.css`: what is right in the hand's colour, what is missing, what is too much.
_RIGHT = ((232, 104, 16, 150), (32, 118, 214, 150))
_MISSED, _EXTRA = (255, 225, 0, 235), (230, 0, 126, 235)


def masks(example: Mapping[str, Any], row: int, alone: bool) -> Block:
  """The masks over the picture, which is embedded here where they stand `alone`, or else by `cards.poses`."""
  height, width = example["batch/image"].shape[:2]
  size = SIDE, round(SIDE * height / width)
  fills = f'width="{size[0]}" height="{size[1]}"'
  name, panels = f"picture-{row}", []
  if alone:
    picture = f'<image id="{name}" {fills} href="{two_hands.jpeg_uri(example["batch/image"])}"/>'
    panels.append(panel(size, "photo", "picture", picture, "picture"))
  for hand, hand_name in enumerate(HANDS):
    for kind, kind_name in enumerate(_KINDS):
      layer = errors_in_colour(hand, *_masks(example, hand, kind))
      label = f"{hand_name} hand, {kind_name}"
      content = f'<use href="#{name}"/><image class="marks layer" {fills} href="{two_hands.png_uri(layer)}"/>'
      panels.append(panel(size, "photo", label, content, f"{hand_name}, {kind_name}"))
  return Block(len(panels), panels, "masks")


def _masks(example: Mapping[str, Any], hand: int, kind: int) -> tuple[np.ndarray, np.ndarray]:
  """Predicted and true mask; without a true one the predicted one twice."""
  predicted = example["prediction/masks"][hand, kind] > 0.5
  truth = example["batch/masks"][hand, kind] > 0 if example["batch/masks_valid"][hand, kind] else predicted
  return predicted, truth


def errors_in_colour(
  hand: int, predicted: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 4"]:
  """RGBA to be laid over a picture: in the hand's colour what is in both masks; what is missing, what is too much."""
  layer = np.zeros((*predicted.shape, 4), np.uint8)
  for colour, where in (
    (_RIGHT[hand], predicted & truth),
    (_MISSED, truth & ~predicted),
    (_EXTRA, predicted & ~truth),
  ):
    layer[where] = colour
  return layer


def legend() -> str:
  """What the colours mean."""
  return (
    '<span class="key right">right hand</span> <span class="key left">left hand</span> where the mask is right; '
    '<span class="key missed">missed</span>, <span class="key extra">too much</span>.'
  )
