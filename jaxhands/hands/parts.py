"""Part classes 0..32: 0 background, 1..16 right hand, 17..32 left hand, in DIGIT's order (not the joints' order)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from jaxhands.hands import skeleton

# Part p is class p + 1 of the right hand and class p + 17 of the left; fingers: 1 proximal, 2 middle, 3 distal
# (thumb: metacarpal, proximal, distal), which is how the kinematic joints at their bases are called.
PART_JOINTS = (
  "ring1", "index2", "little1", "middle1", "middle3", "ring3", "little3", "thumb1",
  "wrist", "thumb2", "index1", "index3", "thumb3", "little2", "middle2", "ring2",
)  # fmt: skip
NUM_HAND_PARTS = len(PART_JOINTS)
JOINT_FROM_PART = np.array([skeleton.MANO_JOINT_NAMES.index(name) for name in PART_JOINTS])
PART_FROM_JOINT = np.argsort(JOINT_FROM_PART)
# [2, 16] class of a hand's kinematic joint: what moves with joint j of hand h is drawn as CLASS_FROM_JOINT[h, j].
CLASS_FROM_JOINT = (PART_FROM_JOINT + 1 + np.array([[0], [NUM_HAND_PARTS]])).astype(np.uint8)


def vertex_parts(weights: Float[np.ndarray, "*h V 16"], hand: int) -> UInt8[np.ndarray, "*h V"]:
  """Class of each vertex of a hand (0 right, 1 left): that of the joint which moves it most."""
  return CLASS_FROM_JOINT[hand][weights.argmax(-1)]
