"""Where the hands of a picture are, by amodal segmentation: of the whole picture, then again of what was found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxhands import schema
from jaxhands.geometry import crop
from jaxhands.geometry.masks import presence
from jaxhands.predict import Model

_SMALLEST = 0.001  # share of the map that a hand has at least
_AMODAL = 0
_SMALLEST_PX = 4.0
_ROUNDS = 2


def find_hands(finder: Model, pictures: Sequence[np.ndarray]) -> Float[np.ndarray, "n 2 4"]:
  """Boxes (x, y, width, height in pixels) of the right and left hand of each picture; all 0 = not found.

  Args:
    finder: a system that predicts masks.
    pictures: uint8 [H, W, 3], RGB.
  Raises:
    ValueError: the system predicts no masks.
  """
  boxes = np.zeros((len(pictures), 2, 4), np.float32)
  for _ in range(_ROUNDS):
    looked = [box if box.any() else None for box in boxes]
    found, crop_from_img = finder.maps(pictures, looked)
    if "masks" not in found:
      raise ValueError(
        f"--finder: system {finder.config.system.name!r} predicts no masks; name the run of one that does, as hasm"
      )
    crop_hw = tuple(finder.config.data.crop_hw)
    boxes = np.stack([boxes_of_masks(*each, crop_hw) for each in zip(found["masks"], crop_from_img, strict=True)])
    boxes = np.stack([_within(box, picture) for box, picture in zip(boxes, pictures, strict=True)])
  return boxes


def _within(boxes: np.ndarray, picture: np.ndarray) -> np.ndarray:
  """The parts of boxes that the picture shows; all 0 of one that lies beside it, in the crop's black margin."""
  size = np.array(picture.shape[1::-1], np.float32)
  low = np.clip(boxes[:, :2], -0.5, size - 0.5)
  high = np.clip(boxes[:, :2] + boxes[:, 2:], -0.5, size - 0.5)
  shown = (high - low >= _SMALLEST_PX).all(-1, keepdims=True)
  return np.where(shown, np.concatenate([low, high - low], -1), 0).astype(np.float32)


def boxes_of_masks(
  masks: Float[np.ndarray, "2 2 h w"], crop_from_img: Float[np.ndarray, "2 2 3"], crop_hw: tuple[int, int]
) -> Float[np.ndarray, "2 4"]:
  """Tight boxes in the picture around the amodal mask of each hand; all 0 of one that is not there (`masks.presence`).

  They are as large as the `box_img` that systems learn from (`crop.JOINT_BOX_MARGIN`).
  """
  boxes = np.zeros((2, 4), np.float32)
  probs, parts = (np.asarray(found) for found in presence(masks[:, _AMODAL], _SMALLEST))
  for hand in (schema.RIGHT, schema.LEFT):
    inside = parts[hand]
    if probs[hand] <= 0.5:
      continue
    map_from_img = crop.resize_affine(crop_from_img[hand], crop_hw, inside.shape)
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    low, high = np.array([columns[0], rows[0]], np.float32) - 0.5, np.array([columns[-1], rows[-1]], np.float32) + 0.5
    corners = np.stack([low, high, [low[0], high[1]], [high[0], low[1]]]).astype(np.float32)
    corners = np.asarray(crop.apply_affine(crop.invert_affine(map_from_img), corners))
    boxes[hand] = [*corners.min(0), *np.ptp(corners, axis=0)]
  return boxes
