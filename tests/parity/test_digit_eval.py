"""DIGIT's evaluation, through the evaluator: InterNet's numbers, camera joints, bones of unequal length."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from jaxhands.evaluation.evaluator import Evaluator
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.geometry import lift
from jaxhands.hands import bones
from tests import replay
from tests.parity.cases import Case
from tests.parity.test_interhand_eval import prediction_of, truth_of

# Names of InterHand2.6M's case -> of this one.
NAMES = {
  "in_pred_joint_coord": "in:pred_joint", "in_pred_rel_root_depth": "in:pred_rel", "in_pred_hand_type": "in:pred_hand",
  "in_inv_trans": "in:inv_trans", "in_hand_type": "in:hand_type", "in_gt_cam": "in:gt_cam",
  "in_joint_valid": "in:joint_valid", "in_hand_type_valid": "in:hand_type_valid", "in_focal": "in:focal",
  "in_princpt": "in:princpt", "in_abs_depth": "in:abs_depth",
}  # fmt: skip


@pytest.fixture(scope="module")
def case(goldens) -> Case:
  return Case(goldens, "digit_eval")


@pytest.fixture(scope="module")
def prediction(case):
  return prediction_of({name: case[theirs] for name, theirs in NAMES.items()})


@pytest.fixture(scope="module")
def truth(case):
  return truth_of({name: case[theirs] for name, theirs in NAMES.items()})


@pytest.fixture(scope="module")
def lifted(prediction, truth):
  """Camera joints; the left wrist from the right one where both hands are there with their wrists."""
  own, relative = (lift.lift(prediction, truth, "rootnet", root).joints_cam for root in ("own", "relative"))
  both = truth["hand_present"].all(-1) & truth["joints_cam_valid"][..., 20].all(-1)
  return np.where(both[:, None, None, None], relative, own)


@pytest.fixture(scope="module")
def result(prediction, truth):
  mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
  evaluate = Evaluator(replay.Replay(), mesh, protocol=Protocol(depth="rootnet"))
  return evaluate(replay.variables(prediction), replay.batches(truth, 16), resamples=0)


def test_the_printed_numbers(case, result):
  for key, name in (("mpjpe/all", "mpjpe_all"), ("mpjpe/single", "mpjpe_sh"), ("mpjpe/interacting", "mpjpe_ih"),
                    ("mrrpe", "mrrpe")):  # fmt: skip
    assert result.metrics[key] == pytest.approx(float(case[name]), abs=1e-4), key
  assert result.metrics["handedness_accuracy"] == pytest.approx(float(case["handness_acc"]), abs=1e-7)
  for key, name in (("all", "all"), ("single", "sh"), ("interacting", "ih")):
    ours = np.array(result.per_joint[f"mpjpe/{key}"]).ravel()
    np.testing.assert_allclose(ours, case[f"per_joint_{name}"], rtol=0, atol=2e-4)


def test_camera_and_picture_joints(case, prediction, lifted):
  np.testing.assert_allclose(lifted.reshape(case["pred_joint_cam"].shape), case["pred_joint_cam"], rtol=0, atol=2e-3)
  joints_img = prediction["joints_img"].reshape(case["pred_joint_2d"].shape)
  np.testing.assert_allclose(joints_img, case["pred_joint_2d"], rtol=0, atol=1e-3)


def test_bones_of_unequal_length(case, truth, lifted, result):
  interacting = truth["hand_present"].all(-1)
  found = bones.asymmetry(lifted)[interacting].mean(0)
  np.testing.assert_allclose(found, case["bone_asymmetry"], rtol=0, atol=1e-3)
  # The metric takes the left wrist from the right one in every picture of two hands, whatever is annotated.
  values = result.examples_values["bone_asymmetry"]
  wrists = truth["joints_cam_valid"][..., 20].all(-1)
  chosen = interacting & wrists
  np.testing.assert_allclose(values[chosen], bones.asymmetry(lifted)[chosen], rtol=0, atol=1e-3)
  assert result.metrics["bone_asymmetry"] == pytest.approx(values[interacting].mean(), rel=1e-5)
