"""The chosen examples as rows: the picture, then over it each of the four masks with its errors in colour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from jaxhands import draw
from jaxhands.report.cards import panel, title
from jaxhands.report.files import RunFiles
from jaxhands.schema import HANDS

NEEDS = frozenset({"batch/image", "batch/masks", "batch/masks_valid", "prediction/masks"})
_SIDE = 180  # of a panel, in its own units
_KINDS = ("whole", "visible")
# RGB and opacity, as in `style.css`: what is right in the hand's colour, what is missing, what is too much.
_RIGHT = ((232, 104, 16, 150), (32, 118, 214, 150))
_MISSED, _EXTRA = (255, 225, 0, 235), (230, 0, 126, 235)


def mask_cards(run: RunFiles, worst: bool) -> list[str]:
  """One card for each example that was chosen at random, or as one of the worst."""
  return [_card(run, int(row)) for row in np.flatnonzero(run.shown["worst"] == worst)]


def _card(run: RunFiles, row: int) -> str:
  example = {key: value[row] for key, value in run.shown.items()}
  height, width = example["batch/image"].shape[:2]
  size = _SIDE, round(_SIDE * height / width)
  fills = f'width="{size[0]}" height="{size[1]}"'
  name = f"masked-{row}-{'worst' if example['worst'] else 'random'}"
  picture = f'<image id="{name}" {fills} href="{draw.jpeg_uri(example["batch/image"])}"/>'
  panels = [panel(size, "photo", "picture", picture, "picture")]
  for hand, hand_name in enumerate(HANDS):
    for kind, kind_name in enumerate(_KINDS):
      layer = errors_in_colour(hand, *_masks(example, hand, kind))
      label = f"{hand_name} hand, {kind_name}"
      content = f'<use href="#{name}"/><image class="marks layer" {fills} href="{draw.png_uri(layer)}"/>'
      panels.append(panel(size, "photo", label, content, f"{hand_name}, {kind_name}"))
  caption = f"<figcaption>{title(run, example)}</figcaption>"
  return f'<figure class="card masks" style="--columns:{len(panels)}">{"".join(panels)}{caption}</figure>'


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
