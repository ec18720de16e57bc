"""Anatomical joint angles of a hand: which way each joint bends, how far it can, and which joints go together.

Angles are degrees [..., 15, 3] in MANO's joint order without the wrist; last axis flexion (towards the palm), abduction
(towards the thumb side), twist (the thumb-side edge turning to the palm). A straight finger in line with the hand is 0.
At the base of the thumb the three are flexion across the palm (negative: away from the fingers, in the plane of the
palm), palmar abduction (out of that plane), and pronation. The same angles serve both hands; the model's rotations of
the left hand are the mirrored ones. Limits and couplings, with sources: docs/pose_bank.md.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from jaxhands import schema
from jaxhands.geometry import rotations
from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel

FLEXION, ABDUCTION, TWIST = range(3)
NUM_JOINTS = 15
_FINGERS = ("index", "middle", "little", "ring", "thumb")  # MANO's order
BASE = {finger: 3 * number for number, finger in enumerate(_FINGERS)}  # row of a finger's first joint
LONG_FINGERS = ("index", "middle", "ring", "little")


def _limits() -> np.ndarray:
  limits = np.zeros((NUM_JOINTS, 3, 2))
  for finger in LONG_FINGERS:
    base = BASE[finger]
    limits[base] = [(-30, 92), (-22, 22), (-6, 6)]
    limits[base + 1] = [(-5, 108), (-4, 4), (-4, 4)]
    limits[base + 2] = [(-15, 80), (-6, 6), (-4, 4)]
  limits[BASE["little"], ABDUCTION] = (-35, 20)  # its spread is the widest
  thumb = BASE["thumb"]
  limits[thumb] = [(-62, 15), (-8, 62), (-40, 56)]
  limits[thumb + 1] = [(-12, 60), (-10, 10), (-8, 8)]
  limits[thumb + 2] = [(-22, 82), (-4, 4), (-4, 4)]
  return limits


LIMITS = _limits()  # [15, 3, 2] degrees: lowest, highest

DIP_FREEDOM_DEG = 40.0
RING_FREEDOM_DEG = 50.0

# Free angles, (joint, axis): 4 a finger, 5 of the thumb; the rest stay near 0, pronation follows `thumb_pronation`.
FREE = tuple(
  (BASE[finger] + joint, axis)
  for finger in LONG_FINGERS
  for joint, axis in ((0, FLEXION), (0, ABDUCTION), (1, FLEXION), (2, FLEXION))
) + tuple(
  (BASE["thumb"] + joint, axis)
  for joint, axis in ((0, FLEXION), (0, ABDUCTION), (0, TWIST), (1, FLEXION), (2, FLEXION))
)
IS_FREE = np.zeros((NUM_JOINTS, 3), bool)
IS_FREE[tuple(np.array(FREE).T)] = True


@dataclasses.dataclass(frozen=True, eq=False)
class Anatomy:
  """Frames of the joints of a right hand at rest; columns: along the bone, to the palm, axis of flexion.

  before [15, 3, 3]: where the bone lies at angles 0, seen from the bone before it · bone [15, 3, 3]: where it lies in
  the template.
  """

  before: Float[np.ndarray, "15 3 3"]
  bone: Float[np.ndarray, "15 3 3"]


def _unit(vector: np.ndarray) -> np.ndarray:
  return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def _frame(along: np.ndarray, flexion_axis: np.ndarray) -> np.ndarray:
  """Right-handed columns (along, to the palm, axis of flexion); `along` is kept."""
  along = _unit(along)
  palmar = _unit(np.cross(flexion_axis, along))
  return np.stack([along, palmar, np.cross(along, palmar)], axis=-1)


def make_anatomy(model: HandModel) -> Anatomy:
  """Reads the joint frames off a hand model's right hand at rest.

  The bend of a finger lies in the plane through its bones and its nail, that of the thumb is told by its nail alone.

  Raises:
    ValueError: a model whose nails are not marked.
  """
  nail = np.asarray(model.nail)[schema.RIGHT]
  if not nail.any():
    raise ValueError(f"model {model.identity!r} does not mark nails, which tell the way the fingers bend")
  vertices, faces = np.asarray(model.v_template)[schema.RIGHT], np.asarray(model.faces)[schema.RIGHT]
  joints = np.asarray(model.joints_template)[schema.RIGHT].astype(float)
  tips = vertices[np.asarray(model.tip_vertices)[schema.RIGHT]]
  owner = np.asarray(model.weights)[schema.RIGHT].argmax(axis=1)
  corners = vertices[faces].astype(float)
  area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) * nail[faces].mean(axis=1)[:, None]

  index, middle, little = (1 + BASE[finger] for finger in ("index", "middle", "little"))
  palm = _frame(joints[middle] - joints[0], joints[index] - joints[little])
  before, bone = np.zeros((2, NUM_JOINTS, 3, 3))
  for finger in _FINGERS:
    base = BASE[finger]
    chain = np.concatenate([joints[1 + base : 4 + base], tips[None, skeleton.FINGERS.index(finger)]])
    bones = np.diff(chain, axis=0)
    on_finger = (owner[faces] == 3 + base).all(axis=1)
    nail_normal = _unit(area[on_finger].sum(axis=0))
    axis = np.cross(bones[2], -nail_normal)
    bone[base : base + 3] = [_frame(along, axis) for along in bones]
    if finger == "thumb":
      # Stretched beside the index finger, the thumb shows its nail to the side: it bends across the palm.
      before[base] = np.stack([palm[:, 0], -palm[:, 2], palm[:, 1]], axis=-1)
    else:
      before[base] = _frame(palm[:, 0], bone[base, :, 2])
    before[base + 1 : base + 3] = bone[base : base + 2]
  return Anatomy(before, bone)


def _turn(degrees: np.ndarray, axis: int, sign: float) -> np.ndarray:
  vector = np.zeros(degrees.shape + (3,))
  vector[..., axis] = sign * np.radians(degrees)
  return np.asarray(rotations.matrix_from_axis_angle(vector))


def pose_from_angles(
  anatomy: Anatomy, angles_deg: Float[np.ndarray, "*b 15 3"], hand: int = schema.RIGHT
) -> Float[np.ndarray, "*b 45"]:
  """The model's finger rotations (rotation vectors, rad, MANO's order) of anatomical angles (degrees)."""
  turn = _turn(angles_deg[..., FLEXION], 2, 1.0) @ _turn(angles_deg[..., ABDUCTION], 1, -1.0)
  turn = turn @ _turn(angles_deg[..., TWIST], 0, -1.0)
  local = anatomy.before @ turn @ anatomy.bone.swapaxes(-1, -2)
  pose = np.asarray(rotations.axis_angle_from_matrix(local))
  if hand == schema.LEFT:
    pose = np.asarray(rotations.mirror_axis_angle(pose))
  return pose.reshape(pose.shape[:-2] + (3 * NUM_JOINTS,))


def angles_from_pose(
  anatomy: Anatomy, pose: Float[np.ndarray, "*b 45"], hand: int = schema.RIGHT
) -> Float[np.ndarray, "*b 15 3"]:
  """Inverse of `pose_from_angles` for abductions below 90 degrees."""
  pose = pose.reshape(pose.shape[:-1] + (NUM_JOINTS, 3))
  if hand == schema.LEFT:
    pose = np.asarray(rotations.mirror_axis_angle(pose))
  turn = anatomy.before.swapaxes(-1, -2) @ rotations.matrix_from_axis_angle(pose) @ anatomy.bone
  flexion = np.arctan2(turn[..., 1, 0], turn[..., 0, 0])
  abduction = np.arcsin(np.clip(turn[..., 2, 0], -1, 1))
  twist = -np.arctan2(turn[..., 2, 1], turn[..., 2, 2])
  return np.degrees(np.stack([flexion, abduction, twist], axis=-1))


def dip_from_pip(pip_deg: float) -> float:
  """Flexion of the last joint that goes with the middle one's: two thirds (Lin, Wu & Huang 2000)."""
  return 2 / 3 * pip_deg


def pronation(flexion_deg: float) -> float:
  """Twist of the thumb's base that goes with its flexion across the palm (the screw-home of opposition)."""
  return 38.0 + 1.15 * flexion_deg


def complaints(angles_deg: Float[np.ndarray, "15 3"]) -> list[str]:
  """What no hand does by itself: angles out of their limits, joints that leave their couplings; empty if all is well.

  DIP and PIP may differ from the two-thirds rule by what an outside force does to a finger; the ring finger stretches
  or bends at its base only so far from its neighbours, which share its tendons.
  """
  found = []
  low, high = LIMITS[..., 0] - 0.01, LIMITS[..., 1] + 0.01
  for joint, axis in np.argwhere((angles_deg < low) | (angles_deg > high)):
    name = skeleton.MANO_JOINT_NAMES[1 + joint]
    found.append(f"{name} {('flexion', 'abduction', 'twist')[axis]} is {angles_deg[joint, axis]:.1f} degrees")
  flexion = angles_deg[:, FLEXION]
  for finger in LONG_FINGERS:
    pip, dip = flexion[BASE[finger] + 1 : BASE[finger] + 3]
    if abs(dip - dip_from_pip(pip)) > DIP_FREEDOM_DEG:
      found.append(f"{finger} DIP is {dip:.0f} degrees at PIP {pip:.0f}")
  neighbours = flexion[BASE["middle"]], flexion[BASE["little"]]
  if not min(neighbours) - RING_FREEDOM_DEG <= flexion[BASE["ring"]] <= max(neighbours) + RING_FREEDOM_DEG:
    found.append(f"ring MCP is {flexion[BASE['ring']]:.0f} degrees beside {neighbours[0]:.0f} and {neighbours[1]:.0f}")
  return found
