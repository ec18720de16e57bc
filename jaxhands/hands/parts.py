"""Part classes 0..32: 0 background, 1..16 right hand, 17..32 left hand, in DIGIT's order (not the joints' order)."""

from __future__ import annotations

import functools
import importlib.resources

import numpy as np
from jaxtyping import Float, Integer, UInt8

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
NUM_MANO_FACES = 1538
# MANO's vertices around the open wrist, in order: DIGIT closes it with a fan of triangles around their mean.
SEAL_RING = np.array([108, 79, 78, 121, 214, 215, 279, 239, 234, 92, 38, 122, 118, 117, 119, 120])


def vertex_parts(weights: Float[np.ndarray, "*h V 16"], hand: int) -> UInt8[np.ndarray, "*h V"]:
  """Class of each vertex of a hand (0 right, 1 left): that of the joint which moves it most."""
  return CLASS_FROM_JOINT[hand][weights.argmax(-1)]


@functools.cache
def mano_face_parts() -> UInt8[np.ndarray, " 1554"]:
  """DIGIT's part 0..15 of each of MANO's 1538 faces, in MANO's own order, and of the 16 that close the wrist."""
  with importlib.resources.as_file(importlib.resources.files("jaxhands.hands") / "assets/mano_face_parts.npy") as path:
    return np.load(path)


def face_classes(hand: int) -> UInt8[np.ndarray, " 1554"]:
  """Class of each face of a closed MANO hand (0 right, 1 left)."""
  return mano_face_parts() + np.uint8(1 + hand * NUM_HAND_PARTS)


def sealed(
  vertices: Float[np.ndarray, "778 3"], faces: Integer[np.ndarray, "1538 3"]
) -> tuple[Float[np.ndarray, "779 3"], Integer[np.ndarray, "1554 3"]]:
  """A MANO hand with its wrist closed, as DIGIT's ground truth has it: one more vertex and 16 faces of the palm."""
  fan = np.stack([np.roll(SEAL_RING, 1), SEAL_RING, np.full(len(SEAL_RING), len(vertices))], axis=1)
  middle = vertices[SEAL_RING].mean(0, keepdims=True)
  return np.concatenate([vertices, middle]), np.concatenate([faces, fan.astype(faces.dtype)])
