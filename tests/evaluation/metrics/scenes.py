"""Random truth and predictions for tests of metrics: batches on the host, with everything annotated or not."""

import numpy as np

from jaxhands.geometry import camera


def truth(seed=0, count=8):
  rng = np.random.default_rng(seed)
  joints = rng.uniform(-80, 80, (count, 2, 21, 3)) + rng.uniform([-100, -80, 500], [100, 80, 900], (count, 2, 1, 3))
  joints = joints.astype(np.float32)
  present = np.array([[True, True], [True, False], [False, True], [True, True]])[np.arange(count) % 4]
  valid = (rng.random((count, 2, 21)) < 0.9) & present[..., None]
  valid[:, :, 20] = present  # every wrist that is there
  joints[~present] = 0
  intrinsics = np.repeat(np.float32([[[800, 0, 320], [0, 790, 240], [0, 0, 1]]]), count, 0)
  return {
    "joints_cam": joints,
    "joints_cam_valid": valid,
    "joints_img": camera.project(joints, intrinsics[:, None]),
    "joints_img_valid": valid,
    "joints_visible": rng.random((count, 2, 21)) < 0.6,
    "hand_present": present,
    "hand_present_valid": rng.random(count) < 0.8,
    "camera_img": intrinsics,
    "camera_valid": np.ones(count, bool),
    "root_depth": joints[:, :, 20, 2],
    "root_depth_valid": present,
    "weight": np.ones(count, np.float32),
  }


def prediction(batch, seed=1, noise=5.0):
  """The truth with noise."""
  rng = np.random.default_rng(seed)
  shape = batch["joints_cam"].shape
  joints = (batch["joints_cam"] + rng.normal(0, noise, shape)).astype(np.float32)
  roots = joints[:, :, 20, 2]
  return {
    "joints_img": camera.project(joints, batch["camera_img"][:, None]),
    "joints_rel_depth": joints[..., 2] - roots[..., None],
    "rel_root_depth": roots[:, 1] - roots[:, 0],
    "hand_prob": rng.random(shape[:2]).astype(np.float32),
    "confidence": np.ones(shape[:3], np.float32),
    "scale_known": np.ones(shape[0], bool),
    "joints_cam": joints,
  }
