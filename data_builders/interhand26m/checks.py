"""Which annotated numbers can be used."""

from __future__ import annotations

import numpy as np

from jaxhands.hands.model import HandModel
from jaxhands.hands.skeleton import JOINT_NAMES, WRIST
from jaxhands.schema import HANDS

FARTHEST_FROM_WRIST_MM = 300.0  # the largest hands measure 230 from wrist to fingertip
SMALLEST_HAND_MM = 20.0  # from wrist to the farthest joint; of newborn children 60
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


def hand_sizes_mm(joints_cam: np.ndarray, known: np.ndarray) -> np.ndarray:
  """Distance [n, 2] from the wrist to the farthest known joint; NaN of hands without wrist or most of their joints."""
  enough = known[..., WRIST] & (known.sum(-1) > known.shape[-1] / 2)
  joints = np.where(known[..., None], joints_cam, 0)
  distance = np.where(known, np.linalg.norm(joints - joints[..., WRIST:, :], axis=-1), 0).max(-1)
  return np.where(enough, distance, np.nan)


def far_outside(joints_img: np.ndarray, hw: np.ndarray) -> np.ndarray:
  """Joints [n, 2, 21] that are farther outside their picture than its longer side.

  Args:
    joints_img: [n, 2, 21, 2], pixels.
    hw: [n, 2], of the pictures; 0 = unknown, of which no joint is outside.
  """
  size = hw[:, None, None, ::-1]
  outside = np.maximum(-joints_img, joints_img - size).max(-1)
  longer = hw.max(-1)[:, None, None]
  return np.asarray((outside > longer) & (longer > 0))


def beside(box: np.ndarray, hw: np.ndarray) -> np.ndarray:
  """Boxes [n, 4] (x, y, width, height) that share no pixel with their picture [n, 2]; none of unknown ones."""
  low, high = np.maximum(box[:, :2], 0), np.minimum(box[:, :2] + box[:, 2:], hw[:, ::-1])
  return np.asarray((hw > 0).all(-1) & (high <= low).any(-1))


def away_from_box(joints_img: np.ndarray, usable: np.ndarray, box: np.ndarray) -> np.ndarray:
  """Records [n] of whose usable joints less than half lie within the box, were it twice as large.

  The annotated box is the tight one of the joints 1.2 times.

  Args:
    joints_img: [n, 2, 21, 2], pixels.
    usable: [n, 2, 21].
    box: [n, 4], x, y, width, height.
  """
  centre = (box[:, :2] + box[:, 2:] / 2)[:, None, None]
  inside = (np.abs(joints_img - centre) <= box[:, None, None, 2:]).all(-1)
  return 2 * (inside & usable).sum((1, 2)) < usable.sum((1, 2))


def against_joints(present: np.ndarray, annotated: np.ndarray) -> np.ndarray:
  """Records [n] of one hand, by their type, that have joints of the other hand alone.

  Args:
    present: [n, 2], the hand type.
    annotated: [n, 2, 21], flags of the annotation.
  """
  has = annotated.any(-1)
  return (present.sum(-1) == 1) & (has.sum(-1) == 1) & (has != present).any(-1)


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
