"""Small data sets of known content, written as a user's are."""

import functools
import pathlib

import cv2
import numpy as np
import pytest

from data_builders import schema, shards
from jaxhands.schema import pack_masks

PICTURE_HW = (48, 64)
CAMERA = np.array([[100, 0, 32], [0, 110, 24], [0, 0, 1]], np.float32)


def make_record(split: str, index: int, first_id: int = 0) -> schema.Record:
  """Record `index`: of three, one shows the right hand, one the left, one both; every number can be told apart."""
  rng = np.random.default_rng([index, first_id])
  present = np.array([index % 3 != 1, index % 3 != 0])
  joints_cam = rng.uniform(-60, 60, (2, 21, 3)).astype(np.float32) + np.float32([0, 0, 400])
  joints_cam[~present] = 0
  points = joints_cam @ CAMERA.T
  joints_img = np.where(present[:, None, None], points[..., :2] / np.maximum(points[..., 2:], 1), 0)
  masks = np.zeros((2, 2, *PICTURE_HW), np.uint8)
  masks[0, :, :, :30], masks[1, :, :, 34:] = present[0], present[1]
  parts = np.where(masks[0, 0] > 0, 3, np.where(masks[1, 0] > 0, 20, 0)).astype(np.uint8)
  smooth = cv2.GaussianBlur(rng.integers(0, 256, (*PICTURE_HW, 3), dtype=np.uint8), (0, 0), 3)
  return schema.empty_record() | {
    "record_id": np.int32(first_id + index),
    "source": f"{split}/{index}",
    "annotation_kind": "rendered",
    "picture": cv2.imencode(".png", smooth)[1].tobytes(),
    "picture_hw": np.array(PICTURE_HW, np.int32),
    "camera_img": CAMERA,
    "camera_valid": np.bool_(True),
    "box_img": np.array([8, 4, 40, 36], np.float32),
    "joints_cam": joints_cam,
    "joints_cam_valid": np.repeat(present[:, None], 21, 1),
    "joints_img": joints_img.astype(np.float32),
    "joints_img_valid": np.repeat(present[:, None], 21, 1),
    "hand_present": present,
    "hand_present_valid": np.bool_(True),
    "root_depth": joints_cam[:, 20, 2],
    "root_depth_valid": present,
    "parts": schema.encode_labels(parts),
    "parts_valid": np.bool_(True),
    "masks": schema.encode_labels(pack_masks(masks)),
    "masks_valid": np.ones((2, 2), bool),
  }


def build(folder: pathlib.Path, first_id: int = 0, **counts: int) -> str:
  plan = shards.Plan(
    name="tiny",
    arguments={"first_id": first_id, **counts},
    counts=counts,
    make_record=functools.partial(make_record, first_id=first_id),
    description="Known content.",
    records_per_shard=5,
  )
  return str(shards.build(plan, folder))


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> str:
  """Splits train (13 records) and val (7)."""
  return build(tmp_path_factory.mktemp("tiny") / "data", train=13, val=7)


@pytest.fixture(scope="session")
def other_folder(tmp_path_factory) -> str:
  """Another data set: train (4 records, ids from 1000)."""
  return build(tmp_path_factory.mktemp("other") / "data", first_id=1000, train=4)
