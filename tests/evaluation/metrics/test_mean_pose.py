"""The mean pose is the best constant of its kind, streams, and masks."""

import numpy as np
import pytest

from jaxhands.evaluation.metrics import mean_pose
from tests.evaluation.metrics import scenes


def test_means_by_kind_hand_and_joint():
  batch = scenes.truth(count=16)
  fitted = mean_pose.MeanPose.fit([batch])
  relative = batch["joints_cam"] - batch["joints_cam"][:, :, 20:]
  interacting = batch["hand_present"].all(-1)
  for kind, hand, joint in ((0, 0, 4), (0, 1, 7), (1, 0, 0), (1, 1, 19)):
    chosen = (interacting == bool(kind)) & batch["joints_cam_valid"][:, hand, joint]
    np.testing.assert_allclose(fitted.joints_rel[kind, hand, joint], relative[chosen, hand, joint].mean(0), rtol=1e-5)
  np.testing.assert_array_equal(fitted.joints_rel[:, :, 20], 0)


def test_streaming_and_padding_change_nothing():
  batch = scenes.truth(count=16)
  padded = {key: np.concatenate([value[8:], value[:3]]) for key, value in batch.items()}
  padded["weight"] = np.array([1.0] * 8 + [0] * 3, np.float32)
  streamed = mean_pose.MeanPose.fit([{key: value[:8] for key, value in batch.items()}, padded])
  np.testing.assert_allclose(streamed.joints_rel, mean_pose.MeanPose.fit([batch]).joints_rel, rtol=1e-6)


def test_the_prediction_has_the_true_wrist():
  batch = scenes.truth()
  fitted = mean_pose.MeanPose.fit([batch])
  predicted = np.asarray(fitted.predict(batch)["joints_cam"])
  np.testing.assert_allclose(predicted[:, :, 20], batch["joints_cam"][:, :, 20], atol=1e-3)
  np.testing.assert_allclose(predicted[0] - predicted[0, :, 20:], fitted.joints_rel[1], atol=1e-2)
  np.testing.assert_allclose(predicted[1] - predicted[1, :, 20:], fitted.joints_rel[0], atol=1e-2)


def test_a_kind_without_examples_borrows_from_the_other():
  batch = scenes.truth(count=16)
  singles = {key: value[~batch["hand_present"].all(-1)] for key, value in batch.items()}
  fitted = mean_pose.MeanPose.fit([singles])
  np.testing.assert_array_equal(fitted.joints_rel[0], fitted.joints_rel[1])


def test_nothing_annotated_is_an_error():
  batch = scenes.truth()
  with pytest.raises(ValueError, match="no mean pose"):
    mean_pose.MeanPose.fit([batch | {"joints_cam_valid": np.zeros((8, 2, 21), bool)}])
