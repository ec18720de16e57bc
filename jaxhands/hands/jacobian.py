"""Where keypoints go when a hand's parameters change: the derivatives of `HandModel.forward`, written out.

A point that several bones carry moves, when a joint turns, as the share of it moves that lies behind the joint. That
spares differentiating the chain of rotations once for each of 61 numbers; tests hold it against differences.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from jaxhands.geometry import rotations
from jaxhands.geometry.arrays import Array, einsum, matmul, namespace
from jaxhands.hands import skeleton
from jaxhands.hands.model import NUM_ROTATIONS, HandModel


def _ancestors() -> np.ndarray:
  """[16, 16]: 1 where the second joint is the first one, or one before it in the chain."""
  found = np.eye(NUM_ROTATIONS, dtype=np.float32)
  for joint, parent in enumerate(skeleton.MANO_PARENTS):
    if parent >= 0:
      found[joint] += found[parent]
  return found


_ANCESTORS = _ancestors()
_PARENTS = skeleton.MANO_PARENTS.clip(0)


def keypoints_and_jacobian(
  tips: HandModel,
  orient: Float[Array, "*b 2 3 3"],
  fingers: Float[Array, "*b 2 15 3"],
  shape: Float[Array, "*b 2 10"],
  translation_mm: Float[Array, "*b 2 3"],
) -> tuple[Float[Array, "*b 2 21 3"], Float[Array, "*b 2 21 61 3"]]:
  """Keypoints (mm, InterHand2.6M's order) of both hands, and how they move with each parameter.

  Args:
    tips: the hand model's `tips_only()`.
    orient: global rotation of each hand.
    fingers: rotation vectors (rad) of the other joints, MANO's order.
    shape: coefficients.
    translation_mm: of each hand.
  Returns:
    Keypoints, and for each of them the derivative by the parameters in the order of the schema's `mano`, in mm per
    unit. The first three are not the global rotation vector's, but a turn w about the wrist: R becomes exp(w) R.
  """
  xp = namespace(orient, fingers, shape, translation_mm)
  local = rotations.matrix_from_axis_angle(fingers)
  posed = tips.forward(xp.concatenate([orient[..., None, :, :], local], axis=-3), shape, translation_mm)
  turns, joints, rest = posed.transforms[..., :3, :3], posed.joints, tips.rest_joints(shape)
  before = turns[..., _PARENTS, :, :]  # of the bone that a joint sits on; the wrist's is not used
  carried = einsum("hik,...hkab->...hiab", tips.weights, turns)  # [.., 5, 3, 3] how a tip turns with its bones

  turned = rotations.left_jacobian(fingers)
  axes = matmul(before[..., 1:, :, :], turned).swapaxes(-1, -2)  # [.., 15, 3, 3]: a row is what one number turns about
  whole = xp.broadcast_to(xp.eye(3, dtype=axes.dtype), axes.shape[:-3] + (1, 3, 3))
  axes = xp.concatenate([whole, axes], axis=-3)
  by_pose = xp.cross(
    axes[..., None, :, :, :], _levers(tips, turns, joints, rest, _tips(tips, local, shape))[..., None, :]
  )
  by_pose = by_pose.reshape(by_pose.shape[:-3] + (48, 3))
  if tips.posedirs is not None:
    corrected = matmul(_correctives_by_pose(tips.posedirs, local, turned), carried.swapaxes(-1, -2))
    still = xp.zeros(corrected.shape[:-2] + (3, 3), corrected.dtype)
    moved = by_pose[..., NUM_ROTATIONS:, :, :] + xp.concatenate([still, corrected], axis=-2)
    by_pose = xp.concatenate([by_pose[..., :NUM_ROTATIONS, :, :], moved], axis=-3)

  by_shape = _by_shape(tips, turns, before, carried)
  by_shift = xp.broadcast_to(xp.eye(3, dtype=by_pose.dtype), by_pose.shape[:-2] + (3, 3))
  jacobian = xp.concatenate([by_pose, by_shape, by_shift], axis=-2)
  return posed.keypoints, jacobian[..., skeleton.INTERHAND_FROM_MANO21, :, :]


def _tips(tips: HandModel, local: Any, shape: Any) -> Any:
  """Fingertips of the unposed hand [*b, 2, 5, 3], pose correctives included."""
  found = tips.v_template + einsum("hvcs,...hs->...hvc", tips.shapedirs, shape)
  if tips.posedirs is None:
    return found
  feature = (local - np.eye(3, dtype=np.float32)).reshape(local.shape[:-3] + (135,))
  return found + einsum("hvcp,...hp->...hvc", tips.posedirs, feature)


def _levers(tips: HandModel, turns: Any, joints: Any, rest: Any, rest_tips: Any) -> Any:
  """[*b, 2, 21, 16, 3], mm: from each joint to what of a point lies behind it, times its share; MANO's order."""
  of_joints = _ANCESTORS[..., None] * (joints[..., :, None, :] - joints[..., None, :, :])
  offsets = rest_tips[..., :, None, :] - rest[..., None, :, :]
  on_bones = matmul(turns[..., None, :, :, :], offsets[..., None])[..., 0] + joints[..., None, :, :]
  behind = tips.weights[..., None] * _ANCESTORS  # [2, 5, bone, joint]
  of_tips = einsum("hikj,...hika->...hija", behind, on_bones)
  of_tips = of_tips - behind.sum(-2)[..., None] * joints[..., None, :, :]
  return namespace(of_joints).concatenate([of_joints, of_tips], axis=-3)


def _correctives_by_pose(posedirs: Any, local: Any, turned: Any) -> Any:
  """[*b, 2, 5, 45, 3]: how the unposed fingertips move with the fingers' rotation vectors."""
  xp = namespace(local, turned)
  # Each column of a joint's matrix turns about each of the axes: [.., joint, axis, row, column].
  change = xp.cross(turned.swapaxes(-1, -2)[..., :, None, :], local.swapaxes(-1, -2)[..., None, :, :]).swapaxes(-1, -2)
  directions = posedirs.reshape(posedirs.shape[:-1] + (15, 3, 3))
  found = einsum("hicjmn,...hjamn->...hijac", directions, change)
  return found.reshape(found.shape[:-3] + (45, 3))


def _by_shape(tips: HandModel, turns: Any, before: Any, carried: Any) -> Any:
  """[*b, 2, 21, 10, 3], MANO's order."""
  xp = namespace(turns)
  rest: Any = tips.joints_shapedirs
  bones = xp.asarray(
    rest - np.asarray(skeleton.MANO_PARENTS >= 0, np.float32)[:, None, None] * rest[..., _PARENTS, :, :]
  )
  first = xp.broadcast_to(xp.eye(3, dtype=turns.dtype), before[..., :1, :, :].shape)
  moved = matmul(xp.concatenate([first, before[..., 1:, :, :]], axis=-3), bones)
  joints = einsum("ik,...hkas->...hisa", _ANCESTORS, moved)
  tip = einsum("...hiab,hibs->...hisa", carried, tips.shapedirs)
  tip = tip + einsum("hik,...hksa->...hisa", tips.weights, joints - einsum("...hkab,hkbs->...hksa", turns, rest))
  return xp.concatenate([joints, tip], axis=-3)
