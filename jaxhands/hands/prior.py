"""How hands are usually held, as a normal distribution over a hand model's finger rotations."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxhands import schema
from jaxhands.geometry import rotations
from jaxhands.hands import anatomy
from jaxhands.hands.model import HandModel
from jaxhands.hands.pose_bank import default_bank

_LEAST_RAD = 0.05  # deviation that every component has at least: bones twist a little, and models differ


class PosePrior(NamedTuple):
  """Of both hands: mean [2, 45], rad, and precision [2, 45, 45], the inverse of the covariance."""

  mean: Float[np.ndarray, "2 45"]
  precision: Float[np.ndarray, "2 45 45"]


def pose_prior(model: HandModel) -> PosePrior:
  """Around the model's mean pose, independent along its principal components.

  Their deviations are the pose bank's: the root of the mean square, along a component, of what lies between the mean
  and the training poses (MANO's files have deviations of their own, which `HandModel` does not keep). The bank's joints
  turn as the embedded model's; MANO's fingers lie alike, so that this is about right for them, too.
  """
  precision = []
  for hand in (schema.RIGHT, schema.LEFT):
    components = np.asarray(model.hands_components[hand], np.float64)
    poses = _bank_poses() if hand == schema.RIGHT else _mirrored(_bank_poses())
    deviation = np.sqrt((((poses - model.hands_mean[hand]) @ components.T) ** 2).mean(0))
    precision.append((components.T / np.maximum(deviation, _LEAST_RAD) ** 2) @ components)
  return PosePrior(np.asarray(model.hands_mean, np.float32), np.stack(precision).astype(np.float32))


@functools.cache
def _bank_poses() -> Float[np.ndarray, "n 45"]:
  """Finger rotations of all hands of the bank's training families, as right hands."""
  bank = default_bank()
  train = np.flatnonzero(np.array([split == "train" for split in bank.splits])[bank.family])
  angles = [bank.placed(int(entry)).angles_deg[: 2 if bank.is_pair(int(entry)) else 1] for entry in train]
  return anatomy.pose_from_angles(bank.rig.anatomy, np.concatenate(angles))


def _mirrored(poses: np.ndarray) -> np.ndarray:
  return np.asarray(rotations.mirror_axis_angle(poses.reshape(-1, anatomy.NUM_JOINTS, 3))).reshape(poses.shape)
