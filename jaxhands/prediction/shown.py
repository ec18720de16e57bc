"""A picture as it is given to be looked at: its pixels, where hands may be, and its camera, checked once."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxhands import schema

_BOX_PX = 2.0  # boxes show at least as much of the picture
_SEEN = 0.01  # and at least so much of a box is picture
_TOP = 2.0  # a picture is shrunk so that the box has at most as many pixels a side as the crop, times this


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
  """A picture with its boxes [2, 4], one a hand, 0 = not there, and its camera, None = not known."""

  picture: np.ndarray
  boxes: np.ndarray
  camera: np.ndarray | None

  @classmethod
  def of(cls, picture: Any, box: Any = None, camera_img: Any = None) -> Shown:
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
      raise ValueError(f"it is {picture.dtype} {picture.shape}, expected uint8 [H, W, 3] (RGB)")
    height, width = picture.shape[:2]
    boxes = np.array([[-0.5, -0.5, width, height]] * 2, np.float32) if box is None else np.asarray(box, np.float32)
    boxes = np.stack([boxes, boxes]) if boxes.shape == (4,) else boxes
    if boxes.shape != (2, 4) or not np.isfinite(boxes).all():
      raise ValueError(f"its box is {box}, expected x, y, width, height, or one such box for each hand")
    for x, y, w, h in boxes[boxes.any(-1)]:
      seen_w, seen_h = min(x + w, width) - max(x, 0), min(y + h, height) - max(y, 0)
      if min(seen_w, seen_h) < _BOX_PX or seen_w * seen_h < _SEEN * w * h:
        raise ValueError(f"its box x={x:g} y={y:g} width={w:g} height={h:g} shows nothing of {width} x {height} pixels")
    if camera_img is not None:
      camera_img = check_camera(camera_img)
    return cls(np.ascontiguousarray(picture), boxes, camera_img)

  def box(self, view: str) -> np.ndarray:
    """What a view looks at: of a pair the smallest box around both, of a missing hand the picture."""
    whole = np.array([-0.5, -0.5, self.picture.shape[1], self.picture.shape[0]], np.float32)
    chosen = self.boxes[[schema.HANDS.index(view)]] if view in schema.HANDS else self.boxes
    chosen = chosen[chosen.any(-1)]
    if not len(chosen):
      return whole
    low, high = chosen[:, :2].min(0), (chosen[:, :2] + chosen[:, 2:]).max(0)
    return np.concatenate([low, high - low]).astype(np.float32)

  def scale(self, box: np.ndarray, crop_hw: tuple[int, int], room_hw: tuple[int, int] | None) -> float:
    """How much smaller the picture is shown, so that the crop does not skip pixels, and a system's frame holds it."""
    if room_hw is not None:  # the system cuts finer crops of its own out of the picture
      return min(1.0, *(room / side for room, side in zip(room_hw, self.picture.shape[:2], strict=True)))
    return min(1.0, _TOP * max(crop_hw) / float(max(box[2:])))


def check(picture: Any, box: Any = None, camera_img: Any = None) -> None:
  """Raises `ValueError` if `Model.predict` would refuse a picture with its box and camera."""
  Shown.of(picture, box, camera_img)


def check_camera(camera_img: Any) -> Float[np.ndarray, "3 3"]:
  """Pinhole intrinsics in pixels, as float32.

  Raises:
    ValueError: not [3, 3], not finite, a focal length that is not positive, or a last row other than 0 0 1.
  """
  intrinsics = np.asarray(camera_img, np.float32)
  if intrinsics.shape != (3, 3) or not np.isfinite(intrinsics).all():
    raise ValueError(f"its intrinsics have shape {intrinsics.shape}, expected a finite [3, 3]")
  if min(intrinsics[0, 0], intrinsics[1, 1]) <= 0 or np.any(intrinsics[2] != [0, 0, 1]) or intrinsics[1, 0] != 0:
    raise ValueError(
      f"its intrinsics {intrinsics.tolist()} are none: expected [[fx, s, cx], [0, fy, cy], [0, 0, 1]], px"
    )
  return intrinsics
