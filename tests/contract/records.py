"""Records with everything known, made of the embedded hands and noise: examples for any system without a data set."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import cv2
import numpy as np

from data_builders import schema as records
from jaxhands import schema
from jaxhands.data import host_ops
from jaxhands.hands.model import HandModel
from jaxhands.systems.base import System

PICTURE_HW = (120, 160)
CAMERA = np.array([[200, 0, 80], [0, 200, 60], [0, 0, 1]], np.float32)
NUM_ANNOTATIONS = 3


def example(system: System, needs: Collection[str], index: int, train: bool) -> dict[str, np.ndarray]:
  """What the system's host ops make of record `index`."""
  rng = np.random.default_rng([index, 1])
  made = record(index) | {"view": "pair" if system.view == "pair" else ("right", "left")[index % 2]}
  for op in system.host_ops(train):
    made = op(made, rng)
  return host_ops.select(made, needs)


def batch(
  system: System, size: int, train: bool, more_needs: Collection[str] = (), first: int = 0
) -> dict[str, np.ndarray]:
  """A batch on the host."""
  needs = system.needs | set(more_needs)
  examples = [example(system, needs, first + index, train) for index in range(size)]
  return {key: np.stack([one[key] for one in examples]) for key in examples[0]}


def record(index: int) -> dict[str, Any]:
  """Both hands side by side, in every record of another pose, with all flags set."""
  rng = np.random.default_rng(index)
  mano = np.zeros((2, schema.MANO_DIM), np.float32)
  mano[:, :3] = rng.normal(0, 0.3, (2, 3))
  mano[:, 3:48] = rng.normal(0, 0.15, (2, 45))
  mano[:, schema.MANO_SHAPE] = rng.normal(0, 0.5, 10)
  mano[:, schema.MANO_TRANSLATION] = [[-60, 0, 400], [60, 0, 400]] + rng.normal(0, 10, (2, 3))
  joints_cam = np.asarray(HandModel.default().forward_mano(mano).keypoints, np.float32)
  joints_img = _project(joints_cam)
  masks = np.zeros((2, 2, *PICTURE_HW), np.uint8)
  parts = np.zeros(PICTURE_HW, np.uint8)
  picture = cv2.GaussianBlur(rng.integers(0, 256, (*PICTURE_HW, 3), dtype=np.uint8), (0, 0), 3)
  for hand in range(2):
    hull = cv2.convexHull(joints_img[hand].round().astype(np.int32))
    for kind in range(2):
      cv2.fillConvexPoly(masks[hand, kind], hull, 1)
    cv2.fillConvexPoly(parts, hull, 1 + 16 * hand + index % 16)
    cv2.fillConvexPoly(picture, hull, (200, 150 - 60 * hand, 120))
  corner, opposite = joints_img.min((0, 1)), joints_img.max((0, 1))
  annotations = np.repeat(mano[None], NUM_ANNOTATIONS, 0)
  annotations[1:, :, 3:48] += rng.normal(0, 0.1, (NUM_ANNOTATIONS - 1, 2, 45))
  encoded = records.encode_picture(picture)
  known: Mapping[str, Any] = {
    "record_id": np.int32(index), "source": f"contract/{index}", "annotation_kind": "rendered",
    "hand_model": HandModel.default().identity,
    "picture": encoded, "picture_hw": np.array(PICTURE_HW, np.int32),
    "camera_img": CAMERA, "camera_valid": np.bool_(True),
    "box_img": np.concatenate([corner, opposite - corner]).astype(np.float32),
    "joints_cam": joints_cam, "joints_cam_valid": np.ones((2, 21), bool),
    "joints_img": joints_img, "joints_img_valid": np.ones((2, 21), bool), "joints_visible": np.ones((2, 21), bool),
    "hand_present": np.ones(2, bool), "hand_present_valid": np.bool_(True),
    "root_depth": joints_cam[:, 20, 2], "root_depth_valid": np.ones(2, bool),
    "root_depth_estimated": joints_cam[:, 20, 2] + 5, "root_depth_estimated_valid": np.ones(2, bool),
    "mano": mano, "mano_valid": np.ones(2, bool), "annotations_mano": annotations,
    "parts": records.encode_labels(parts), "parts_valid": np.bool_(True),
    "masks": records.encode_labels(schema.pack_masks(masks)), "masks_valid": np.ones((2, 2), bool),
    **{f"{kind}_{hand}": encoded for kind in ("deoccluded", "removed") for hand in schema.HANDS},
    "deoccluded_valid": np.ones(2, bool), "removed_valid": np.ones(2, bool),
    "cam_from_world": np.eye(3, 4, dtype=np.float32),
  }  # fmt: skip
  return records.empty_record() | dict(known)


def _project(joints_cam: np.ndarray) -> np.ndarray:
  points = joints_cam @ CAMERA.T
  return (points[..., :2] / points[..., 2:]).astype(np.float32)
