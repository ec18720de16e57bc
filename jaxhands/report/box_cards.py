"""A chosen example's boxes: over the picture those that were found, with their probability, and the true ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxhands.drawing import two_hands
from jaxhands.geometry import crop
from jaxhands.report.cards import SIDE, Block, panel
from jaxhands.schema import HANDS

NEEDS = frozenset({
  "batch/image", "batch/crop_from_img", "batch/joints_img", "batch/joints_img_valid", "prediction/boxes",
  "prediction/boxes_prob",
})  # fmt: skip
_LIKELY = 0.5


def boxes(example: Mapping[str, Any], row: int) -> Block:
  """The picture with the true boxes, then with those that are likelier than not."""
  height, width = example["batch/image"].shape[:2]
  scale = SIDE / width
  size, name = (SIDE, round(SIDE * height / width)), f"picture-{row}"
  fills = f'width="{size[0]}" height="{size[1]}"'
  picture = f'<image id="{name}" {fills} href="{two_hands.jpeg_uri(example["batch/image"])}"/>'
  joints = crop.apply_affine(example["batch/crop_from_img"], example["batch/joints_img"])
  valid = example["batch/joints_img_valid"]
  true = [
    _frame(box, scale, hand)
    for box, hand, there in zip(np.asarray(crop.box_around(joints, valid)), HANDS, valid.any(-1), strict=True)
    if there
  ]
  found = [
    _frame(box, scale, HANDS[int(prob.argmax())], float(prob.sum()))
    for box, prob in zip(example["prediction/boxes"], example["prediction/boxes_prob"], strict=True)
    if prob.sum() >= _LIKELY
  ]
  panels = [
    panel(size, "photo", "truth over the picture", picture + "".join(true), "truth"),
    panel(size, "photo", "prediction over the picture", f'<use href="#{name}"/>' + "".join(found), "prediction"),
  ]
  return Block(len(panels), panels, "masks")


def _frame(box: np.ndarray, scale: float, hand: str, prob: float | None = None) -> str:
  """A box in px of the crop as SVG; a pixel's centre is half a pixel from its edge."""
  x, y = (box[:2] + 0.5) * scale
  width, height = box[2:] * scale
  text = "" if prob is None else f'<text class="end" x="{x + width:.1f}" y="{y - 3:.1f}">{prob:.2f}</text>'
  return f'<rect class="box {hand}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>{text}'


def legend() -> str:
  """What the colours mean."""
  return 'Boxes of a <span class="key right">right</span> and a <span class="key left">left</span> hand.'
