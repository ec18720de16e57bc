"""Skeletons as marks - lines along the fingers, dots at the joints - and marks, masks and words painted over a picture.

Right hands are orange and left hands blue, a pair that colour-blind people tell apart; each from a light thumb to a
dark little finger.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int32, UInt8

from jaxhands.hands.skeleton import WRIST
from jaxhands.schema import HANDS

# Of each finger, thumb first.
FINGER_RGB = {
  "right": ((255, 190, 92), (247, 150, 56), (232, 104, 16), (200, 76, 4), (150, 52, 0)),
  "left": ((132, 200, 255), (80, 160, 240), (32, 118, 214), (14, 88, 176), (8, 58, 128)),
}
HAND_RGB = {hand: colours[2] for hand, colours in FINGER_RGB.items()}
CASING_RGB = (255, 255, 255)
CASING = 1.6  # its width, of the mark's
RING = 0.25  # width of a ring, of its diameter
# Wrist to tip of each finger, thumb first: what is drawn as one line.
CHAINS = np.array([[WRIST, 4 * finger + 3, 4 * finger + 2, 4 * finger + 1, 4 * finger] for finger in range(5)])
SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
_FAR = 1e6  # px; further away OpenCV's integers would overflow


class Mark(NamedTuple):
  """A line through several points, or a dot at one.

  Attributes:
    points: in pixels, [n, 2].
    size: the line's width or the dot's diameter in pixels.
    kind: "right" or "left", or what the drawer knows besides.
    finger: 0 = thumb .. 4 = little finger.
    filled: False = a ring.
  """

  points: np.ndarray
  size: float
  kind: str
  finger: int
  filled: bool = True


def skeleton(
  points: Float[np.ndarray, "2 21 2"],
  valid: Bool[np.ndarray, "2 21"],
  size: float,
  confidence: Float[np.ndarray, "2 21"] | None = None,
  visible: Bool[np.ndarray, "2 21"] | None = None,
  depth: Float[np.ndarray, "2 21"] | None = None,
  kinds: Sequence[str] = HANDS,
) -> list[list[Mark]]:
  """The marks of both hands, one list a finger: its line, then its dots.

  Args:
    points: joints in pixels.
    valid: joints to draw; a line goes where both of its ends are.
    size: width of the lines in pixels.
    confidence: 0..1 shrinks a dot to as little as the line; None = full size.
    visible: joints that are not get a ring.
    depth: nearer fingers come later, and so are drawn over others; None = in their order.
    kinds: of the marks of right and left hand.
  """
  fingers = list(itertools.product(range(2), range(5)))
  if depth is not None:
    nearness = [-depth[hand, CHAINS[finger, 1:]].mean() for hand, finger in fingers]
    fingers = [fingers[i] for i in np.argsort(nearness, kind="stable")]
  marks = []
  for hand, finger in fingers:
    chain, kind = CHAINS[finger], kinds[hand]
    drawn = [Mark(points[hand, run], size, kind, finger) for run in _runs(chain, valid[hand, chain]) if len(run) > 1]
    for joint in chain[valid[hand, chain]]:
      sure = 1.0 if confidence is None else float(np.clip(confidence[hand, joint], 0, 1))
      seen = visible is None or bool(visible[hand, joint])
      drawn.append(Mark(points[hand, joint][None], size * (1 + 1.2 * sure), kind, finger, seen))
    if drawn:
      marks.append(drawn)
  return marks


def _runs(chain: np.ndarray, valid: np.ndarray) -> list[np.ndarray]:
  """The pieces of a chain between joints that are not valid."""
  pieces = np.split(chain, np.flatnonzero(valid[1:] != valid[:-1]) + 1)
  return pieces[0 if valid[0] else 1 :: 2]


def paint(picture: UInt8[np.ndarray, "h w 3"], marks: Sequence[Sequence[Mark]]) -> UInt8[np.ndarray, "h w 3"]:
  """A copy of the picture with marks of the kinds "right" and "left", each group in a light casing."""
  painted = np.ascontiguousarray(picture).copy()
  for group in marks:
    for mark in group:
      _paint(painted, mark._replace(size=mark.size * CASING, filled=True), CASING_RGB)
    for mark in group:
      _paint(painted, mark, FINGER_RGB[mark.kind][mark.finger])
  return painted


def fixed(points: Float[np.ndarray, "n 2"]) -> Int32[np.ndarray, "n 2"]:
  """Pixels as OpenCV's drawing takes them, with `SHIFT` fractional bits."""
  return (np.clip(points, -_FAR, _FAR) * 2**SHIFT).round().astype(np.int32)


def _paint(picture: np.ndarray, mark: Mark, colour: tuple[int, int, int]) -> None:
  at = fixed(mark.points)
  if len(at) > 1:
    cv2.polylines(picture, [at], False, colour, max(round(mark.size), 1), cv2.LINE_AA, SHIFT)
    return
  radius = round(mark.size / 2 * 2**SHIFT)
  ring = max(round(mark.size * RING), 1)
  centre = (int(at[0, 0]), int(at[0, 1]))
  cv2.circle(picture, centre, radius, colour, -1 if mark.filled else ring, cv2.LINE_AA, SHIFT)


def paint_masks(picture: UInt8[np.ndarray, "h w 3"], masks: UInt8[np.ndarray, "2 2 h w"]) -> UInt8[np.ndarray, "h w 3"]:
  """A copy of the picture with visible masks filled in the hands' colours, and whole (amodal) ones outlined.

  Args:
    picture: RGB.
    masks: by hand and kind (amodal, visible), 0 | 1, of the picture's size.
  """
  for hand, name in enumerate(HANDS):
    visible = masks[hand, 1, ..., None].astype(bool)
    picture = np.where(visible, picture // 2 + np.array(HAND_RGB[name], np.uint8) // 2, picture)
  painted = np.ascontiguousarray(picture).copy()
  for hand, name in enumerate(HANDS):
    outline, _ = cv2.findContours(masks[hand, 0], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(painted, outline, -1, HAND_RGB[name], 1)
  return painted


def write_words(picture: UInt8[np.ndarray, "h w 3"], words: str, line: int = 0) -> UInt8[np.ndarray, "h w 3"]:
  """Writes words into the upper left corner of the picture itself, on a darkened strip; `line` counts from the top."""
  (width, height), below = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 0.38, 1)
  top, bottom = 13 * line, 13 * line + height + below + 3
  picture[top:bottom, : width + 6] //= 3
  return cv2.putText(picture, words, (3, bottom - below), cv2.FONT_HERSHEY_SIMPLEX, 0.38, CASING_RGB, 1, cv2.LINE_AA)
