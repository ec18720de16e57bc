"""Which annotated numbers can be used."""

from __future__ import annotations

import numpy as np

from jaxhands.hands.model import HandModel
from jaxhands.hands.skeleton import JOINT_NAMES, WRIST
from jaxhands.schema import HANDS

FARTHEST_FROM_WRIST_MM = 300.0  # the largest hands measure 230 from wrist to fingertip
FARTHEST_FIT_MM = 20.0  # mean distance of a MANO fit from the joints; the usual one is 5


def joint_faults(joints_cam: np.ndarray, annotated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Annotated joints [n, 2, 21] that are not finite, and those that cannot be: behind the camera, or off the hand.

  A joint is off the hand when it is farther than 300 mm from its wrist; where this holds for most joints of a hand, it
  is the wrist that is wrong.

  Args:
    joints_cam: [n, 2, 21, 3], mm.
    annotated: [n, 2, 21], flags of the annotation.
  """
  finite = np.isfinite(joints_cam).all(-1)
  bad = annotated & ~finite
  known = annotated & finite
  joints = np.where(known[..., None], joints_cam, 0)
  wrist = joints[..., WRIST:, :]
  off = known & known[..., WRIST:] & (np.linalg.norm(joints - wrist, axis=-1) > FARTHEST_FROM_WRIST_MM)
  wrist_is_wrong = np.asarray(off.sum(-1) > known.sum(-1) / 2)
  off &= ~wrist_is_wrong[..., None]
  off[..., WRIST] = wrist_is_wrong
  return bad, off | (known & (joints[..., 2] <= 0))


def usable_joints(annotated: np.ndarray, bad: np.ndarray) -> np.ndarray:
  """Flags [n, 2, 21] without the bad joints; an invalid wrist takes its hand with it, as in the reference."""
  usable = annotated & ~bad
  return usable & usable[..., WRIST:]


def name_joints(flags: np.ndarray) -> str:
  """The joints of `flags` [2, 21]: "right index4, left wrist"."""
  return ", ".join(f"{HANDS[hand]} {JOINT_NAMES[joint]}" for hand, joint in np.argwhere(flags))


def fit_distance_mm(
  model: HandModel, mano_world: np.ndarray, joints_world: np.ndarray, valid: np.ndarray
) -> np.ndarray:
  """Mean distance [n, 2] of fitted hands from their annotated joints; NaN where there is no fit or no joint.

  Args:
    model: the user's MANO; fingertips are InterHand2.6M's vertices.
    mano_world: [n, 2, 61] as `annotations.read_mano` gives them.
    joints_world: [n, 2, 21, 3], mm.
    valid: [n, 2, 21], joints to compare with.
  """
  fitted = np.asarray(np.isfinite(mano_world).all(-1))
  posed = model.tips_only().forward_mano(model.add_mean_pose(np.where(fitted[..., None], mano_world, 0)))
  distance = np.linalg.norm(np.where(valid[..., None], posed.keypoints - joints_world, 0), axis=-1)
  count = valid.sum(-1)
  return np.where(fitted & (count > 0), distance.sum(-1) / np.maximum(count, 1), np.nan)
