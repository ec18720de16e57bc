"""Joint orders, bones, hand sides: the one place that knows which index is which joint.

InterHand2.6M's order is ours: per hand thumb, index, middle, ring, little, each from tip (4) to base (1),
then the wrist. Two hands are `[..., 2, 21, C]`, right first. Flat 42-joint arrays live in weight import only.
"""

from __future__ import annotations

import numpy as np

FINGERS = ("thumb", "index", "middle", "ring", "little")
JOINT_NAMES = tuple(f"{finger}{i}" for finger in FINGERS for i in (4, 3, 2, 1)) + ("wrist",)
NUM_JOINTS = len(JOINT_NAMES)
WRIST = 20
TIPS = (0, 4, 8, 12, 16)  # thumb .. little
MCPS = (3, 7, 11, 15, 19)  # the joint next to the palm of thumb .. little (thumb: CMC)
PARENTS = np.array([p for f in range(5) for p in (4 * f + 1, 4 * f + 2, 4 * f + 3, WRIST)] + [-1])
BONES = np.stack([np.arange(20), PARENTS[:20]], axis=1)  # [20, 2] child, parent

# MANO: 16 kinematic joints (wrist; index, middle, pinky, ring, thumb, each base to tip), tips appended
# in the order thumb, index, middle, ring, pinky (16..20).
MANO_JOINT_NAMES = (
  "wrist", "index1", "index2", "index3", "middle1", "middle2", "middle3", "little1", "little2", "little3",
  "ring1", "ring2", "ring3", "thumb1", "thumb2", "thumb3",
)  # fmt: skip
MANO_PARENTS = np.array([-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14])
MANO_LEVELS = ((0,), (1, 4, 7, 10, 13), (2, 5, 8, 11, 14), (3, 6, 9, 12, 15))
INTERHAND_FROM_MANO21 = np.array([16, 15, 14, 13, 17, 3, 2, 1, 18, 6, 5, 4, 19, 12, 11, 10, 20, 9, 8, 7, 0])
MANO21_FROM_INTERHAND = np.argsort(INTERHAND_FROM_MANO21)
INTERHAND_FROM_SNAP = np.array([4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17, 0])
SNAP_FROM_INTERHAND = np.argsort(INTERHAND_FROM_SNAP)

# MANO's fingertip vertices, thumb .. little, as InterHand2.6M's joint regressor picks them.
MANO_TIP_VERTICES = (745, 317, 445, 556, 673)
