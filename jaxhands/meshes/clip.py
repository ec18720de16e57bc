"""What is written: the parameters of both hands at the moments of a clip, or of a picture."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from jaxhands import schema
from jaxhands.hands.model import HandModel

_AXES = np.array([1, -1, -1])
_MM = 1e-3  # in metres


@dataclasses.dataclass(frozen=True, eq=False)
class View:
  """The camera of a picture: intrinsics `camera_img` [3, 3] in pixels, and the picture's height and width."""

  camera_img: Float[np.ndarray, "3 3"]
  picture_hw: tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Clip:
  """Both hands at T moments; a picture is a clip of one.

  Attributes:
    model: whose parameters these are.
    mano: [T, 2, 61], rad, 1 and mm, in the camera's frame.
    present: [T, 2], the hand is there at that moment; elsewhere its parameters are not read.
    time_s: [T], seconds, rising.
    view: the camera, if a file is to hold it.
    scale: whether distances hold; "metric", "assumed" or "unknown" (`prediction.hands.Hands.scale`).
  """

  model: HandModel
  mano: Float[np.ndarray, "t 2 61"]
  present: Bool[np.ndarray, "t 2"]
  time_s: Float[np.ndarray, " t"]
  view: View | None = None
  scale: str = "metric"

  def __post_init__(self) -> None:
    count = len(self.mano)
    if self.mano.shape != (count, 2, schema.MANO_DIM) or self.present.shape != (count, 2):
      raise ValueError(
        f"mano has shape {self.mano.shape} and present {self.present.shape}; expected [T, 2, 61] and [T, 2]"
      )
    if len(self.time_s) != count or (np.diff(self.time_s.astype(np.float32)) <= 0).any():
      raise ValueError(f"time_s has to rise over {count} moments; it is {np.asarray(self.time_s).tolist()[:8]}")
    if not np.isfinite(self.mano[self.present]).all():
      raise ValueError("mano is not finite for a hand that is present")

  def vertices_cam(self, moment: int) -> Float[np.ndarray, "2 v 3"]:
    """Both meshes at a moment, mm, camera frame; where a hand is not there, of no meaning."""
    return np.asarray(self.model.forward_mano(self.mano[moment]).vertices)


def from_camera(points_cam: Float[np.ndarray, "*b 3"]) -> Float[np.ndarray, "*b 3"]:
  """Points (mm, camera frame) in the frame of the files: metres, x right, y up, z towards the viewer."""
  return points_cam * (_AXES * _MM)


def quaternion_from_camera(wxyz: Float[np.ndarray, "*b 4"]) -> Float[np.ndarray, "*b 4"]:
  """A rotation of the camera's frame (w, x, y, z) as one of the files' (x, y, z, w)."""
  return np.concatenate([wxyz[..., 1:] * _AXES, wxyz[..., :1]], axis=-1)
