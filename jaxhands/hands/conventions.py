"""Joints as other programs and data sets have them: order and unit, to ours and back.

    joints_mm = conventions.to_interhand(joints, "freihand")          # [..., 21, 3], metres there, mm here
    points = conventions.from_interhand(points, "openpose")           # [..., 21, 2], pixels stay pixels

Ours is InterHand2.6M's: thumb tip to base, index, middle, ring, little, wrist last; millimetres; the camera's frame
with x right, y down, z forward, as all of these have it. `docs/joint_orders.md` shows each order on a hand.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxhands import schema
from jaxhands.geometry.arrays import Array, namespace
from jaxhands.hands import skeleton


@dataclasses.dataclass(frozen=True, eq=False)
class Convention:
  """How joints of one hand are listed.

  Attributes:
    name: of the data set or program.
    interhand: [K], which of our joints each of theirs is.
    mm: length of their unit of space.
    about: where it is from, in a few words.
  """

  name: str
  interhand: np.ndarray
  mm: float
  about: str

  @property
  def joint_names(self) -> list[str]:
    """Our names of their joints, in their order."""
    return [skeleton.JOINT_NAMES[joint] for joint in self.interhand]


# Wrist, then thumb to little finger, each from base to tip: what most programs share.
_BASE_TO_TIP = skeleton.SNAP_FROM_INTERHAND
_MANO = skeleton.MANO21_FROM_INTERHAND

CONVENTIONS = {
  convention.name: convention
  for convention in (
    Convention("interhand", np.arange(21), 1.0, "InterHand2.6M, and all of jaxhands; mm"),
    Convention("openpose", _BASE_TO_TIP, 1.0, "OpenPose's hands; pixels, or whatever unit was triangulated (here mm)"),
    Convention("mediapipe", _BASE_TO_TIP, 1000.0, "MediaPipe's world landmarks; metres from the middle of the hand"),
    Convention("freihand", _BASE_TO_TIP, 1000.0, "FreiHAND and HO-3D's evaluation; metres, camera frame"),
    Convention("mano", _MANO, 1000.0, "MANO's 16 joints, then tips of thumb, index, middle, ring, little; metres"),
    Convention("mano16", _MANO[:16], 1000.0, "MANO's 16 joints alone, without tips; metres"),
  )
}


def find(name: str) -> Convention:
  """A convention by its name.

  Raises:
    ValueError: an unknown one, with those that there are.
  """
  if name not in CONVENTIONS:
    raise ValueError(f"there is no convention {name!r}; known are {sorted(CONVENTIONS)}")
  return CONVENTIONS[name]


def to_interhand(joints: Float[Array, "*b k c"], source: str) -> Float[Array, "*b 21 c"]:
  """Joints in our order; of three coordinates in mm, of two as they are (pixels).

  Args:
    joints: of one hand in the last two axes.
    source: their convention.
  Raises:
    ValueError: an unknown convention, another number of joints, or one that lacks joints (its tips).
  """
  convention = find(source)
  _check(joints, convention)
  if len(convention.interhand) < skeleton.NUM_JOINTS:
    missing = sorted(set(skeleton.JOINT_NAMES) - set(convention.joint_names))
    raise ValueError(f"convention {source!r} has no {', '.join(missing)}")
  return joints[..., np.argsort(convention.interhand), :] * _mm(joints, convention)


def from_interhand(joints: Float[Array, "*b 21 c"], target: str) -> Float[Array, "*b k c"]:
  """The inverse of `to_interhand`.

  Raises:
    ValueError: an unknown convention, or another number of joints.
  """
  convention = find(target)
  _check(joints, CONVENTIONS["interhand"])
  return joints[..., convention.interhand, :] / _mm(joints, convention)


def both_hands(flat: Float[Array, "*b 42 c"]) -> Float[Array, "*b 2 21 c"]:
  """InterHand2.6M's flat list, the right hand's joints and then the left's, with our axis of hands."""
  return flat.reshape(*flat.shape[:-2], 2, skeleton.NUM_JOINTS, flat.shape[-1])


def flat(hands: Float[Array, "*b 2 21 c"]) -> Float[Array, "*b 42 c"]:
  """The inverse of `both_hands`."""
  return hands.reshape(*hands.shape[:-3], 2 * skeleton.NUM_JOINTS, hands.shape[-1])


def img_from_mediapipe(landmarks: Float[Array, "*b k c"], picture_hw: tuple[int, int]) -> Float[Array, "*b k 2"]:
  """Pixels of MediaPipe's normalised landmarks, whose 0 and 1 are the outer edges of the picture.

  Args:
    landmarks: x, y (and z, which is dropped: it has no unit).
    picture_hw: height and width of the picture.
  """
  return landmarks[..., :2] * np.array(picture_hw[::-1], landmarks.dtype) - np.array(0.5, landmarks.dtype)


def _check(joints: Any, convention: Convention) -> None:
  wanted = len(convention.interhand)
  if joints.ndim < 2 or joints.shape[-2] != wanted:
    hint = ""
    if wanted == schema.NUM_JOINTS and joints.ndim > 1 and joints.shape[-2] == 2 * schema.NUM_JOINTS:
      hint = "; of a flat list of two hands, take both_hands(...) first"
    raise ValueError(
      f"joints have shape {tuple(joints.shape)}, convention {convention.name!r} has {wanted} of them{hint}"
    )


def _mm(joints: Any, convention: Convention) -> Any:
  """Factor to mm, in the joints' type; 1 for pixels."""
  return namespace(joints).asarray(convention.mm if joints.shape[-1] == 3 else 1.0, joints.dtype)
