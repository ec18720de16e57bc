"""Copy and paste (HDR, section 4): where a hand is put onto the picture of another, and what is then seen.

The release draws scale, rotation and translation as its training augmentation does, warps both pictures, and tries
again until the hands overlap as wanted, within limits that were never published. Here the picture below stays as it
is, so that its labels stay exact and nothing of it is resampled; readers crop and augment it anyway.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from jaxhands.geometry import crop

_MAX_SCALE, _MAX_ROTATION_DEG, _ROTATED = 0.25, 45.0, 0.6
_SHIFT = 0.5  # of the box below, in each direction
OVERLAP = (0.05, 0.7)  # share of the pasted hand that lies on the other one
MOST_HIDDEN = 0.8  # of the hand below
LEAST_SHOWN = 0.8  # share of the pasted hand that is inside the picture
_TRIES = 100
_COARSE = 4  # places are tried on masks of a quarter of the size
_SOFT_PX = 0.7
_BRIGHTER, _JITTER = 0.15, 0.05  # of all channels of the pasted hand, of each
_GREY = 1.5  # largest difference of the mean channels of a hand before a monochrome camera


@dataclasses.dataclass(frozen=True, eq=False)
class Pasted:
  """A hand pasted onto the picture of another.

  picture: what is seen · below_in_front: the same with the hand below on top · mask: of the pasted hand.
  """

  picture: UInt8[np.ndarray, "h w 3"]
  below_in_front: UInt8[np.ndarray, "h w 3"]
  mask: Bool[np.ndarray, "h w"]


def draw_place(
  rng: np.random.Generator,
  below: Bool[np.ndarray, "h w"],
  above: Bool[np.ndarray, "p q"],
  scale: float,
) -> Float32[np.ndarray, "2 3"]:
  """`below_from_above`: where a hand is pasted.

  Args:
    rng: source of chance.
    below: mask of the hand in the picture.
    above: mask of the hand to be pasted, in a picture of its own.
    scale: that makes it as large, in mm, as the one below; varied by up to a quarter.
  Returns:
    The first of a hundred places at which the hands overlap as wanted; else the one that comes closest.
  """
  (left, top, width, height), (x, y, own_width, own_height) = _box(below), _box(above)
  centre = np.array([left + width / 2, top + height / 2])
  own_centre = np.array([x + own_width / 2, y + own_height / 2])
  small_below = _shrunk(below)
  small_above = _shrunk(above).astype(np.float32)
  best, best_miss = np.zeros((2, 3), np.float32), np.inf
  for _ in range(_TRIES):
    size = scale * (1 + _MAX_SCALE * np.clip(rng.standard_normal(), -1, 1))
    turn = np.radians(_MAX_ROTATION_DEG * np.clip(rng.standard_normal(), -2, 2)) * (rng.uniform() < _ROTATED)
    shift = rng.uniform(-_SHIFT, _SHIFT, 2) * (width, height)
    linear = size * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    centre, own_centre = (
      np.array([left + width / 2, top + height / 2]),
      np.array([x + own_width / 2, y + own_height / 2]),
    )
    affine = np.concatenate([linear, (centre + shift - linear @ own_centre)[:, None]], axis=1)
    miss = _miss(small_below, small_above, affine)
    if miss < best_miss:
      best, best_miss = affine, miss
    if miss == 0:
      break
  return best.astype(np.float32)


def _miss(below: np.ndarray, above: np.ndarray, affine: np.ndarray) -> float:
  """How far a place is from the wanted limits; 0 within them. Masks are coarse."""
  coarse = affine * (1, 1, 1 / _COARSE)
  there = cv2.warpAffine(above, coarse, below.shape[::-1], flags=cv2.INTER_LINEAR) > 0.5
  whole = above.sum() * abs(np.linalg.det(affine[:, :2]))
  both = (there & below).sum()
  overlap, shown, hidden = both / max(there.sum(), 1), there.sum() / max(whole, 1), both / max(below.sum(), 1)
  return (
    max(OVERLAP[0] - overlap, 0)
    + max(overlap - OVERLAP[1], 0)
    + max(hidden - MOST_HIDDEN, 0)
    + max(LEAST_SHOWN - shown, 0)
  )


def paste(
  below: UInt8[np.ndarray, "h w 3"],
  below_mask: Bool[np.ndarray, "h w"],
  above: UInt8[np.ndarray, "p q 3"],
  above_mask: Bool[np.ndarray, "p q"],
  below_from_above: Float[np.ndarray, "2 3"],
) -> Pasted:
  """Pastes one picture's hand onto another picture, with a smooth outline.

  The outermost pixels of the pasted hand, in which its own background shows, stay behind.
  """
  size = below.shape[1::-1]
  inner = cv2.erode(above_mask.astype(np.float32), cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)))
  share = cv2.warpAffine(inner, below_from_above, size, flags=cv2.INTER_LINEAR)
  moved = cv2.warpAffine(above, below_from_above, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
  picture = _mixed(below, moved, share)
  # The hand below, with an outline as soft as the other one's, over what was just made.
  own_share = cv2.GaussianBlur(below_mask.astype(np.float32), (0, 0), _SOFT_PX)
  return Pasted(picture, _mixed(picture, below, own_share), share > 0.5)


def moved_parts(
  parts: UInt8[np.ndarray, "p q"], below_from_above: Float[np.ndarray, "2 3"], mask: Bool[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w"]:
  """Part labels of the pasted hand at exactly the pixels of its mask."""
  labels = cv2.warpAffine(parts, below_from_above, mask.shape[::-1], flags=cv2.INTER_NEAREST)
  while (unlabelled := mask & (labels == 0)).any() and labels.any():
    labels = np.where(unlabelled, cv2.dilate(labels, np.ones((3, 3), np.uint8)), labels)
  return np.where(mask, labels, 0).astype(np.uint8)


def as_if_there(
  rng: np.random.Generator,
  above: UInt8[np.ndarray, "p q 3"],
  above_mask: Bool[np.ndarray, "p q"],
  below: UInt8[np.ndarray, "h w 3"],
  below_mask: Bool[np.ndarray, "h w"],
) -> UInt8[np.ndarray, "p q 3"]:
  """The picture of a hand as another picture's light and camera might show it, at random.

  Some of the difference of the hands' mean colours is made up for, then each channel is jittered. A monochrome camera
  sees no colours of a pasted hand either.
  """
  theirs, own = below[below_mask].mean(0), above[above_mask].mean(0)
  gain = (np.maximum(theirs, 1) / np.maximum(own, 1)) ** rng.uniform(0.3, 1.0)
  gain = gain * rng.uniform(1 - _BRIGHTER, 1 + _BRIGHTER) * rng.uniform(1 - _JITTER, 1 + _JITTER, 3)
  if np.ptp(theirs) < _GREY:
    above, gain = cv2.cvtColor(cv2.cvtColor(above, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), gain[:1].repeat(3)
  return np.clip(np.rint(above * gain), 0, 255).astype(np.uint8)


def moved_points(points: Float[np.ndarray, "n 2"], affine: Float[np.ndarray, "2 3"]) -> Float[np.ndarray, "n 2"]:
  """Points of the pasted hand's picture where they come to lie."""
  return np.asarray(crop.apply_affine(affine, points))


def _mixed(one: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
  """`other` over `one`, where its share is above 0."""
  return np.where(share[..., None] > 0, np.rint(one + share[..., None] * (other.astype(np.float32) - one)), one).astype(
    np.uint8
  )


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
  x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
  return x, y, width, height


def _shrunk(mask: np.ndarray) -> np.ndarray:
  return mask[::_COARSE, ::_COARSE]
