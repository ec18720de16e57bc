"""A picture with what is known of it: where it is from, its camera, and where its hands may be."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxhands import schema

_BOX_PX = 2.0  # boxes show at least as much of the picture
_SEEN = 0.01  # and at least so much of a box is picture
MOST_PX = 1e9  # of focal lengths and places; squares of much larger numbers overflow
_TOP = 2.0  # a picture is shrunk so that the box has at most as many pixels a side as the crop, times this


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
  """A picture, or a frame of a video, checked where it is made.

  Attributes:
    path: of the file; empty of pixels that somebody gave.
    pixels: uint8 [H, W, 3], RGB.
    focal_px: focal length by EXIF, in pixels; None = the file does not say.
    remarks: what a user should know of how it was read.
    camera_img: intrinsics [3, 3]; None = not known.
    camera_source: "given", "EXIF", or "unknown".
    boxes: [2, 4], where the right and the left hand are (x, y, width, height in pixels), all 0 = this hand is not
      there; may be given as [4] for both, and as None for the whole picture.
    frame: number in a video; None = a picture.
    time_s: of the frame.
  Raises:
    ValueError: pixels, boxes or camera are not what they should be; does not name the picture.
  """

  path: pathlib.Path
  pixels: np.ndarray
  focal_px: float | None = None
  remarks: tuple[str, ...] = ()
  camera_img: np.ndarray | None = None
  camera_source: str = "unknown"
  boxes: Any = None
  frame: int | None = None
  time_s: float | None = None

  def __post_init__(self) -> None:
    pixels = np.asarray(self.pixels)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
      raise ValueError(f"it is {pixels.dtype} {pixels.shape}, expected uint8 [H, W, 3] (RGB)")
    object.__setattr__(self, "pixels", pixels)
    object.__setattr__(self, "boxes", self._checked_boxes())
    if self.camera_img is not None:
      object.__setattr__(self, "camera_img", check_camera(self.camera_img))

  def _checked_boxes(self) -> np.ndarray:
    height, width = self.pixels.shape[:2]
    if self.boxes is None:
      return np.array([[-0.5, -0.5, width, height]] * 2, np.float32)
    boxes = np.asarray(self.boxes, np.float64)
    boxes = np.stack([boxes, boxes]) if boxes.shape == (4,) else boxes
    if boxes.shape != (2, 4) or not (np.abs(boxes) <= MOST_PX).all():
      raise ValueError(f"its box is {self.boxes}, expected x, y, width, height, or one such box for each hand")
    boxes = boxes.astype(np.float32)
    for x, y, w, h in boxes[boxes.any(-1)]:
      if not shows((x, y, w, h), (height, width)):
        raise ValueError(f"its box x={x:g} y={y:g} width={w:g} height={h:g} shows nothing of {width} x {height} pixels")
    return boxes

  def box(self, view: str) -> np.ndarray:
    """What a view looks at: of a pair the smallest box around both, of a missing hand the picture."""
    whole = np.array([-0.5, -0.5, self.pixels.shape[1], self.pixels.shape[0]], np.float32)
    chosen = self.boxes[[schema.HANDS.index(view)]] if view in schema.HANDS else self.boxes
    chosen = chosen[chosen.any(-1)]
    if not len(chosen):
      return whole
    low, high = chosen[:, :2].min(0), (chosen[:, :2] + chosen[:, 2:]).max(0)
    return np.concatenate([low, high - low]).astype(np.float32)

  def scale(self, box: np.ndarray, crop_hw: tuple[int, int], room_hw: tuple[int, int] | None) -> float:
    """How much smaller the picture is shown, so that the crop does not skip pixels, and a system's frame holds it."""
    if room_hw is not None:  # the system cuts finer crops of its own out of the picture
      return min(1.0, *(room / side for room, side in zip(room_hw, self.pixels.shape[:2], strict=True)))
    return min(1.0, _TOP * max(crop_hw) / float(max(box[2:])))


def shows(box: Any, picture_hw: tuple[int, int]) -> bool:
  """Whether a box (x, y, width, height in pixels) shows enough of a picture to be looked at."""
  (x, y, w, h), (height, width) = box, picture_hw
  seen_w, seen_h = min(x + w, width) - max(x, 0), min(y + h, height) - max(y, 0)
  return bool(min(seen_w, seen_h) >= _BOX_PX and seen_w * seen_h >= _SEEN * w * h)


def all_of(pictures: Sequence[Any], boxes: Any = None, cameras: Any = None) -> list[Picture]:
  """Pictures of pixels, boxes and cameras, as `Model.predict` takes them; a `Picture` keeps what is not given anew.

  Raises:
    ValueError: there are none, or a different number of each; or one is not what it should be, named by its position.
  """
  if not len(pictures):
    raise ValueError("there are no pictures")
  boxes = [None] * len(pictures) if boxes is None else boxes
  cameras = [None] * len(pictures) if cameras is None else cameras
  if len(boxes) != len(pictures) or len(cameras) != len(pictures):
    raise ValueError(f"{len(pictures)} pictures have {len(boxes)} boxes and {len(cameras)} cameras")
  checked = []
  for index, (picture, box, camera_img) in enumerate(zip(pictures, boxes, cameras, strict=True)):
    try:
      if not isinstance(picture, Picture):
        picture = Picture(pathlib.Path(), np.ascontiguousarray(picture))
      given = {"boxes": box, "camera_img": None if camera_img is None else np.asarray(camera_img, np.float64)}
      checked.append(dataclasses.replace(picture, **{key: value for key, value in given.items() if value is not None}))
    except (ValueError, OverflowError) as error:
      raise ValueError(f"picture {index}: {error}") from error
  return checked


def check_camera(camera_img: Any) -> Float[np.ndarray, "3 3"]:
  """Pinhole intrinsics in pixels, as float32.

  Raises:
    ValueError: not [3, 3], not finite, over 1e9, a focal length that is not positive, or a last row other than 0 0 1.
  """
  try:
    given = np.asarray(camera_img, np.float64)
  except OverflowError as error:  # an integer of over 308 digits
    raise ValueError(f"its intrinsics are {camera_img}, expected a finite [3, 3]") from error
  if given.shape != (3, 3) or not np.isfinite(given).all():
    raise ValueError(f"its intrinsics have shape {given.shape}, expected a finite [3, 3]")
  if np.abs(given).max() > MOST_PX:
    raise ValueError(f"its intrinsics {given.tolist()} have numbers over {MOST_PX:g} px, which no camera has")
  intrinsics = given.astype(np.float32)
  if min(intrinsics[0, 0], intrinsics[1, 1]) <= 0 or np.any(intrinsics[2] != [0, 0, 1]) or intrinsics[1, 0] != 0:
    raise ValueError(
      f"its intrinsics {intrinsics.tolist()} are none: expected [[fx, s, cx], [0, fy, cy], [0, 0, 1]], px"
    )
  return intrinsics
