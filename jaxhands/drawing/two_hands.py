"""Two hands drawn over their picture and seen in space from the front and from above, as pixels or as SVG.

Right hands are orange, left hands blue (`render.overlay`).
"""

from __future__ import annotations

import base64
import dataclasses
import html
import importlib.resources
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from jaxhands import schema
from jaxhands.drawing import overlay
from jaxhands.drawing.overlay import Mark
from jaxhands.hands import parts
from jaxhands.hands.skeleton import FINGERS

View = Literal["front", "above", "side"]
VIEWS: tuple[View, ...] = ("front", "above")  # of one pose; "side" is for what differs in depth
# x and y of the page, and what lies behind: rows of a rotation of the camera's frame.
_AXES = {
  "front": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float64),
  "above": np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float64),
  "side": np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float64),
}
_LINES_PER_SIDE = 115.0  # a picture's longer side holds so many widths of a line
_MARGIN = 1.15  # room around the hands in a view
_PALE = (0.0, 0.22, 0.44)  # share of white in the colour of a finger's parts, from its base to its tip
_PALE_PALM = 0.7
_SMALLEST_MM = 60.0  # a view shows at least this much from side to side


def line_px(height: int, width: int) -> float:
  """Width of a skeleton's lines that suits a picture of this size."""
  return max(height, width) / _LINES_PER_SIDE


def skeletons(
  picture: UInt8[np.ndarray, "h w 3"],
  joints_img: Float[np.ndarray, "2 21 2"],
  valid: Bool[np.ndarray, "2 21"],
  confidence: Float[np.ndarray, "2 21"] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
  """The picture with the skeletons of both hands over it.

  Args:
    picture: RGB.
    joints_img: in pixels of this picture.
    valid: joints to draw.
    confidence: 0..1, the sizes of the joints; None = all the same.
  """
  marks = overlay.skeleton(joints_img, valid, line_px(*picture.shape[:2]), confidence)
  return overlay.paint(picture, marks)


@dataclasses.dataclass(frozen=True, eq=False)
class Cube:
  """The part of space that both views show: its middle [3] and its side, in mm of the camera's frame."""

  centre_cam: np.ndarray
  side_mm: float

  @classmethod
  def around(cls, joints_cam: Float[np.ndarray, "*b 3"], valid: Bool[np.ndarray, "*b"]) -> Cube:
    """The smallest cube around all valid joints, with a margin."""
    shown = joints_cam[valid]
    if not len(shown):
      return cls(np.zeros(3), _SMALLEST_MM)
    low, high = shown.min(0), shown.max(0)
    return cls((low + high) / 2, max(float((high - low).max()) * _MARGIN, _SMALLEST_MM))


def seen_from(
  view: View, joints_cam: Float[np.ndarray, "2 21 3"], cube: Cube, side_px: int
) -> tuple[Float[np.ndarray, "2 21 2"], Float[np.ndarray, "2 21"]]:
  """Parallel projection into a square of `side_px`: points in its pixels, and depth (mm) away from the viewer.

  "front" looks as the camera does; "above" looks down on it, with the camera at the lower edge; "side" looks from its
  right, with the camera at the left edge.
  """
  turned = (joints_cam - cube.centre_cam) @ _AXES[view].T
  return turned[..., :2] * (side_px / cube.side_mm) + side_px / 2, turned[..., 2]


def view_marks(
  view: View,
  joints_cam: Float[np.ndarray, "2 21 3"],
  valid: Bool[np.ndarray, "2 21"],
  cube: Cube,
  side_px: int,
  kinds: Sequence[str] = ("right", "left"),
) -> list[list[Mark]]:
  """Both hands in space, nearer fingers over those behind."""
  points, depth = seen_from(view, joints_cam, cube, side_px)
  return overlay.skeleton(points, valid, side_px / _LINES_PER_SIDE, depth=depth, kinds=kinds)


def in_space(
  joints_cam: Float[np.ndarray, "2 21 3"], valid: Bool[np.ndarray, "2 21"], side_px: int
) -> UInt8[np.ndarray, "h w 3"]:
  """The view from the front and, right of it, the one from above, on white; [side, 2 side, 3]."""
  cube = Cube.around(joints_cam, valid)
  blank = np.full((side_px, side_px, 3), 255, np.uint8)
  panels = [overlay.paint(blank, view_marks(view, joints_cam, valid, cube, side_px)) for view in VIEWS]
  return np.concatenate(panels, axis=1)


def scale_bar(cube: Cube, side_px: int) -> tuple[int, float]:
  """A round length (mm) of at most a third of the view, and its pixels."""
  longest = cube.side_mm / 3
  length = max(step for step in (10, 20, 50, 100, 200, 500, 1000) if step <= longest or step == 10)
  return length, length * side_px / cube.side_mm


def svg(marks: Sequence[Sequence[Mark]]) -> str:
  """SVG elements of marks, with their kinds, "casing" and "ring" as classes, to which the page gives colours."""
  parts = []
  for group in marks:
    parts += [_element(mark._replace(size=mark.size * overlay.CASING, kind="casing", filled=True)) for mark in group]
    parts += [_element(mark) for mark in group]
  return "".join(parts)


def _element(mark: Mark) -> str:
  kind = html.escape(f"{mark.kind} f{mark.finger}")
  if len(mark.points) > 1:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in mark.points)
    return f'<polyline class="{kind}" points="{path}" stroke-width="{mark.size:.1f}"/>'
  (x, y), radius = mark.points[0], mark.size / 2
  if mark.filled:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
  ring = mark.size * overlay.RING
  return f'<circle class="{kind} ring" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" stroke-width="{ring:.1f}"/>'


def part_colours() -> UInt8[np.ndarray, "33 3"]:
  """RGB of each part class: a finger as in skeletons, paler towards its tip; the palm palest, the background black."""
  colours = np.zeros((schema.NUM_PARTS, 3))
  for hand, name in enumerate(schema.HANDS):
    for part, joint in enumerate(parts.PART_JOINTS):
      finger = joint[:-1]
      colour = overlay.FINGER_RGB[name][FINGERS.index(finger)] if finger in FINGERS else overlay.HAND_RGB[name]
      pale = _PALE[int(joint[-1]) - 1] if finger in FINGERS else _PALE_PALM
      colours[1 + part + parts.NUM_HAND_PARTS * hand] = np.add((1 - pale) * np.array(colour), 255 * pale)
  return colours.round().astype(np.uint8)


def png_uri(rgba: UInt8[np.ndarray, "h w 4"]) -> str:
  """A picture with transparency as a data URI, to be embedded in a page."""
  return _uri("png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA), [])


def jpeg_uri(picture: UInt8[np.ndarray, "h w 3"], quality: int = 85) -> str:
  """An RGB picture as a data URI, to be embedded in a page."""
  return _uri("jpeg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])


def _uri(kind: str, picture: np.ndarray, options: list[int]) -> str:
  ok, encoded = cv2.imencode(f".{kind}", picture, options)
  assert ok, picture.shape
  return f"data:image/{kind};base64," + base64_of(encoded)


def space_script() -> str:
  """The script of pages with hands to be turned: the class `Space`."""
  return importlib.resources.files("jaxhands").joinpath("space.js").read_text(encoding="utf-8")


def packed(vertices_cam: Float[np.ndarray, "v 3"]) -> dict[str, Any]:
  """A mesh (mm) for `Space.unpack`: tenths of millimetres from its middle as 16 bits, three metres at most."""
  origin = vertices_cam.astype(np.float64).mean(0).round(1)
  tenths = np.rint(10 * (vertices_cam - origin)).clip(-32767, 32767).astype("<i2")
  return {"origin": origin.tolist(), "tenths": base64_of(tenths)}


def base64_of(values: np.ndarray) -> str:
  """The bytes of an array, to be embedded in a page."""
  return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
