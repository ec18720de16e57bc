"""MPJPE, MRRPE and handedness of InterHand2.6M's public evaluation routine, through the evaluator."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from jaxhands import codecs
from jaxhands.evaluation.evaluator import Evaluator
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.geometry import camera, crop
from tests import replay
from tests.parity.cases import Case

CODEC, ROOT_CODEC = codecs.HeatmapCodec(), codecs.RootDepthCodec()


@pytest.fixture(scope="module")
def case(goldens):
  return Case(goldens, "interhand_eval")


def prediction_of(case):
  voxels = case["in_pred_joint_coord"].reshape(-1, 2, 21, 3)
  joints_crop, rel_depth = CODEC.decode(voxels)
  return {
    "joints_img": crop.apply_affine(case["in_inv_trans"], joints_crop),
    "joints_rel_depth": rel_depth,
    "rel_root_depth": ROOT_CODEC.decode(case["in_pred_rel_root_depth"][:, 0]),
    "hand_prob": case["in_pred_hand_type"],
    "confidence": np.ones(voxels.shape[:3], np.float32),
    "scale_known": np.ones(len(voxels), bool),
  }


def truth_of(case):
  hand_type = case["in_hand_type"]
  joints = case["in_gt_cam"].reshape(-1, 2, 21, 3)
  valid = case["in_joint_valid"].reshape(-1, 2, 21) > 0
  return {
    "joints_cam": joints,
    "joints_cam_valid": valid,
    "joints_img": np.zeros(joints.shape[:3] + (2,), np.float32),
    "joints_img_valid": np.zeros(joints.shape[:3], bool),
    "hand_present": np.stack([hand_type != 1, hand_type != 0], -1),
    "hand_present_valid": case["in_hand_type_valid"] > 0,
    "camera_img": camera.intrinsics(case["in_focal"], case["in_princpt"]),
    "camera_valid": np.ones(len(joints), bool),
    "root_depth_estimated": case["in_abs_depth"].astype(np.float32),
    "root_depth_estimated_valid": np.ones((len(joints), 2), bool),
  }


@pytest.mark.parametrize(("devices", "batch_size"), [(1, 5), (4, 4)])
def test_the_printed_numbers(case, devices, batch_size):
  mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
  evaluate = Evaluator(replay.Replay(), mesh, protocol=Protocol(depth="rootnet"))
  truth = truth_of(case)
  result = evaluate(replay.variables(prediction_of(case)), replay.batches(truth, batch_size), resamples=0)
  assert result.examples == len(truth["hand_present"])
  # The reference sums float32 values in float32.
  for key, name in (("mpjpe/all", "mpjpe_all"), ("mpjpe/single", "mpjpe_sh"), ("mpjpe/interacting", "mpjpe_ih")):
    assert result.metrics[key] == pytest.approx(float(case[f"out_{name}"]), rel=2e-6), key
  assert result.metrics["mrrpe"] == pytest.approx(float(case["out_mrrpe"]), rel=2e-6)
  assert result.metrics["handedness_accuracy"] == float(case["out_handedness_accuracy"])
  for key, name in (("all", "all"), ("single", "sh"), ("interacting", "ih")):
    ours = np.array(result.per_joint[f"mpjpe/{key}"]).ravel()
    np.testing.assert_allclose(ours, case[f"out_mpjpe_per_joint_{name}"], rtol=1e-5, atol=1e-4)
