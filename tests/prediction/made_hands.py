"""Hands that no system predicted."""

import numpy as np

from jaxhands.prediction.hands import Hands


def make_hands(joints, placed, raw, confidence=1.0):
  """Hands with these joints [N, 2, 21, 3] (mm); `placed` [N, 2]; `confidence` of all joints, or [N, 2, 21]."""
  count = len(joints)
  cameras = np.tile(np.eye(3, dtype=np.float32), (count, 1, 1))
  return Hands(
    hand_prob=np.ones((count, 2), np.float32), present=np.ones((count, 2), bool), joints_img=joints[..., :2],
    confidence=np.broadcast_to(np.float32(confidence), (count, 2, 21)), joints_cam=joints,
    joints_cam_valid=np.array(placed),
    reprojection_px=np.zeros((count, 2, 21), np.float32), camera_img=cameras,
    scale=("metric",) * count, box_img=np.zeros((count, 2, 4), np.float32),
    crop_from_img=np.zeros((count, 2, 2, 3), np.float32), raw=raw,
  )  # fmt: skip
