"""A chosen example's recovered crops: each hand's crop, and the same with the other hand removed and the rest filled.

With the poses found in each, where there are poses, and the truth where the data have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxhands.drawing import overlay, two_hands
from jaxhands.geometry import crop
from jaxhands.report.cards import SIDE, Block, panel
from jaxhands.schema import HANDS

NEEDS = frozenset({"batch/image", "prediction/recovered"})
_FOUND = 0.5
_COLOURS = ((232, 104, 16), (32, 118, 214))  # of right and left hand, as in `style.css`
_SEEN, _HIDDEN = 0.6, 0.3  # opacity of what is visible and of what is not


def legend() -> str:
  """What is to be seen."""
  return "Crops of one hand, left hands mirrored, before and after recovery, with the pose found in each, where one is."


def recovered(example: Mapping[str, Any], alone: bool, with_masks: bool) -> Block:
  """Crops before and after; `alone` with the picture that they are of, and with its masks where no block has them."""
  panels = []
  if "prediction/hand_crops" in example:
    if alone:
      panels.append(_panel("picture", example["batch/image"]))
    if with_masks and "prediction/masks" in example:
      panels.append(_panel("masks", _masked(example["batch/image"], example["prediction/masks"])))
    for hand in map(int, np.flatnonzero(example["prediction/hand_prob"] > _FOUND)):
      before, after = (example[f"prediction/{key}"][hand] for key in ("hand_crops", "recovered"))
      panels.append(_panel(f"{HANDS[hand]}, as it is", before, _skeleton(example, hand, "joints_img_unrecovered")))
      panels.append(_panel(f"{HANDS[hand]}, recovered", after, _skeleton(example, hand, "joints_img")))
  else:
    panels += [_panel("crop", example["batch/image"]), _panel("recovered", example["prediction/recovered"][0])]
    if "batch/removed" in example and example["batch/removed_valid"][0]:
      panels.append(_panel("truth", example["batch/removed"][0]))
  return Block(max(len(panels), 3), panels, "masks")


def _skeleton(example: Mapping[str, Any], hand: int, key: str) -> str:
  """The pose of one hand over its crop."""
  if f"prediction/{key}" not in example:
    return ""
  affine, width = example["prediction/hand_crop_from_img"][hand], example["prediction/hand_crops"].shape[2]
  points = np.zeros((2, 21, 2), np.float32)
  # A pixel's centre is half a pixel from its edge.
  points[hand] = (crop.apply_affine(affine, example[f"prediction/{key}"][hand]) + 0.5) * (SIDE / width)
  valid = np.zeros((2, 21), bool)
  valid[hand] = True
  return f'<g class="marks">{two_hands.svg(overlay.skeleton(points, valid, two_hands.line_px(SIDE, SIDE)))}</g>'


def _masked(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
  """The picture with what is found of each hand laid over it."""
  shown = image.astype(np.float32)
  for hand, colour in enumerate(_COLOURS):
    # Masks may be smaller than the picture: every pixel takes the nearest one of theirs.
    rows, columns = (np.arange(size) * have // size for size, have in zip(image.shape, masks.shape[2:], strict=False))
    whole, visible = (masks[hand, kind][rows[:, None], columns] > _FOUND for kind in range(2))
    for where, opacity in ((whole & ~visible, _HIDDEN), (visible, _SEEN)):
      shown[where] += opacity * (np.array(colour, np.float32) - shown[where])
  return np.rint(shown).astype(np.uint8)


def _panel(label: str, picture: np.ndarray, marks: str = "") -> str:
  """`picture` in bytes or in 0..1."""
  shown = picture if picture.dtype == np.uint8 else np.rint(255 * picture.clip(0, 1)).astype(np.uint8)
  size = SIDE, round(SIDE * shown.shape[0] / shown.shape[1])
  content = f'<image width="{size[0]}" height="{size[1]}" href="{two_hands.jpeg_uri(shown)}"/>'
  return panel(size, "photo", label, content + marks, label)
