"""How sure a distribution is of a pose: its samples as thin skeletons, the deviation of each joint as a colour.

Blue is sure, yellow is not quite, red is anybody's guess: an order that colour-blind people see as well.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from jaxhands.drawing import overlay
from jaxhands.schema import HANDS

UNSURE_MM = 40.0  # from this deviation on a joint is red: about two fingers' width
# Of 0, a third, two thirds and all of that.
STOPS_RGB = np.array([(44, 103, 184), (122, 190, 220), (250, 206, 86), (205, 32, 44)], np.float64)
_STRENGTH = 2.5  # all samples together, where they agree, are as strong as so many lines; at most one is opaque


def colours(deviation_mm: Float[np.ndarray, "*n"]) -> UInt8[np.ndarray, "*n 3"]:
  """RGB of deviations (mm)."""
  at = np.clip(np.asarray(deviation_mm, np.float64) / UNSURE_MM, 0, 1) * (len(STOPS_RGB) - 1)
  places = np.arange(len(STOPS_RGB))
  return np.stack([np.interp(at, places, STOPS_RGB[:, c]) for c in range(3)], -1).round().astype(np.uint8)


def paint_samples(
  picture: UInt8[np.ndarray, "h w 3"],
  samples: Float[np.ndarray, "s 2 21 2"],
  valid: Bool[np.ndarray, "2 21"],
  line_px: float,
) -> UInt8[np.ndarray, "h w 3"]:
  """A copy of the picture with the skeletons of all samples in the hands' colours, the stronger where more agree.

  Args:
    picture: RGB.
    samples: joints in pixels of the picture.
    valid: joints to draw.
    line_px: width of a line.
  """
  seen = samples[:, valid].reshape(-1, 2).clip(0, np.array(picture.shape[1::-1]))
  if not len(seen):
    return picture.copy()
  # Layers as large as what is drawn, for photos are large.
  low, high = (seen.min(0) - 2 * line_px).clip(0).astype(int), (seen.max(0) + 2 * line_px + 1).astype(int)
  whole, picture = picture.copy(), picture[low[1] : high[1], low[0] : high[0]]
  painted = picture.astype(np.float32)
  for points in samples - low:
    layer = np.ascontiguousarray(picture).copy()
    for group in overlay.skeleton(points, valid, line_px, np.zeros((2, 21))):
      for mark in (mark for mark in group if len(mark.points) > 1):
        _line(layer, mark.points, mark.size, overlay.FINGER_RGB[mark.kind][mark.finger])
    drawn = (layer != picture).any(-1, keepdims=True)
    painted = np.where(drawn, painted + min(_STRENGTH / len(samples), 1) * (layer - painted), painted)
  whole[low[1] : high[1], low[0] : high[0]] = painted.round()
  return whole


def paint_deviations(
  picture: UInt8[np.ndarray, "h w 3"],
  joints_img: Float[np.ndarray, "2 21 2"],
  deviation_mm: Float[np.ndarray, "2 21"],
  valid: Bool[np.ndarray, "2 21"],
  line_px: float,
) -> UInt8[np.ndarray, "h w 3"]:
  """A copy of the picture with one pose, each bone in the colour of how far the joint at its end deviates.

  Args:
    picture: RGB.
    joints_img: in pixels of the picture.
    deviation_mm: of the samples' joints.
    valid: joints to draw.
    line_px: width of a line.
  """
  painted = np.ascontiguousarray(picture).copy()
  found = colours(deviation_mm)
  for hand in range(len(HANDS)):
    for chain in overlay.CHAINS:
      bones = [bone for bone in itertools.pairwise(chain) if valid[hand, list(bone)].all()]
      for start, end in bones:
        _line(painted, joints_img[hand, [start, end]], line_px * overlay.CASING, overlay.CASING_RGB)
      for start, end in bones:
        _line(painted, joints_img[hand, [start, end]], line_px, found[hand, end].tolist())
      for joint in chain[valid[hand, chain]]:
        _dot(painted, joints_img[hand, joint], 2.6 * line_px, overlay.CASING_RGB)
        _dot(painted, joints_img[hand, joint], 2.0 * line_px, found[hand, joint].tolist())
  return painted


def _line(picture: np.ndarray, points: np.ndarray, size: float, rgb: Sequence[int]) -> None:
  fixed = overlay.fixed(points)
  cv2.polylines(picture, [fixed], False, tuple(rgb), max(round(size), 1), cv2.LINE_AA, overlay.SHIFT)


def _dot(picture: np.ndarray, point: np.ndarray, size: float, rgb: Sequence[int]) -> None:
  x, y = (int(value) for value in overlay.fixed(point[None])[0])
  cv2.circle(picture, (x, y), round(size / 2 * 2**overlay.SHIFT), tuple(rgb), -1, cv2.LINE_AA, overlay.SHIFT)
