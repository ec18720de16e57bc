"""From masks of hands to boxes of hands. Everything serves NumPy and JAX, unless its types say otherwise."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float

from jaxhands.geometry import crop
from jaxhands.geometry.arrays import Array, namespace

_AMODAL = 0


def hand_boxes(
  masks: Float[Array, "*b 2 2 h w"], crop_from_img: Float[Array, "*b 2 3"], crop_hw: tuple[int, int]
) -> tuple[Float[Array, "*b 2 4"], Bool[Array, "*b 2"]]:
  """Where the hands are in the picture, by their amodal masks; HDR's rule: the box of all pixels above one half.

  The crop may be turned and mirrored. Without that, `crop.box_of_mask` moved to the picture.

  `crop.process_box` of a box makes the crop of that hand (HDR enlarges twice).

  Args:
    masks: probabilities by hand and kind, as predicted for a crop.
    crop_from_img: of that crop.
    crop_hw: its size in pixels; that of the masks may be a part of it.
  Returns:
    Tight boxes [x, y, width, height] in pixels of the picture (right, left), 0 for a hand that was not found; and which
    were found.
  """
  whole = masks[..., _AMODAL, :, :] > 0.5
  height, width = whole.shape[-2:]
  img_from_map = crop.invert_affine(crop.resize_affine(crop_from_img, crop_hw, (height, width)))
  xp = namespace(masks, crop_from_img)
  columns, rows = xp.meshgrid(xp.arange(width, dtype=np.float32), xp.arange(height, dtype=np.float32))
  pixels = xp.stack([columns, rows], axis=-1).reshape(-1, 2)
  points_img = crop.apply_affine(img_from_map, xp.broadcast_to(pixels, (*crop_from_img.shape[:-2], *pixels.shape)))
  of_each_hand = xp.broadcast_to(points_img[..., None, :, :], (*whole.shape[:-2], *pixels.shape))
  inside = whole.reshape(*whole.shape[:-2], -1)
  return crop.box_around(of_each_hand, inside, margin=1.0), xp.asarray(inside.any(-1))


def largest_blob(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
  """The largest part of a mask whose pixels touch by sides or corners: a hand without stray pixels."""
  count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
  if count <= 1:
    return np.zeros_like(mask)
  return labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
