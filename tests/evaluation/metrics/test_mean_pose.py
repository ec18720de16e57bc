"""The mean pose is the best constant of its kind, streams, and masks."""

import numpy as np
import pytest

from jaxhands.evaluation.metrics import mean_pose
from jaxhands.hands.model import HandModel
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


def test_vertices_are_the_mean_of_posed_hands(monkeypatch, tmp_path):
  monkeypatch.setattr(mean_pose, "_MESHES", 6)  # 16 examples are no multiple
  model, batch = HandModel.default(), scenes.truth(count=16)
  mano = np.random.default_rng(0).normal(0, 0.3, (16, 2, 61)).astype(np.float32)
  valid = batch["hand_present"] & (np.arange(16) != 3)[:, None]
  rows = [{key: value[i : i + 1] for key, value in batch.items()} for i in range(16)]
  meshed = [row | {"mano": mano[i : i + 1], "mano_valid": valid[i : i + 1]} for i, row in enumerate(rows)]
  fitted = mean_pose.MeanPose.fit(meshed, model)
  posed, interacting = model.forward_mano(mano), batch["hand_present"].all(-1)
  relative = posed.vertices - posed.keypoints[:, :, 20:]
  padding = {key: value.copy() for key, value in meshed[0].items()} | {"weight": np.zeros(1, np.float32)}
  padded = mean_pose.MeanPose.fit([*meshed, padding | {"mano": mano[:1] + 1}], model)
  np.testing.assert_array_equal(padded.vertices_rel, fitted.vertices_rel)
  for kind, hand, vertex in ((0, 0, 4), (0, 1, 700), (1, 0, 0), (1, 1, 333)):
    chosen = (interacting == bool(kind)) & valid[:, hand]
    expected = relative[chosen, hand, vertex].mean(0)
    np.testing.assert_allclose(fitted.vertices_rel[kind, hand, vertex], expected, rtol=1e-4, atol=1e-4)
  shown = np.asarray(fitted.predict(batch)["vertices_cam"])[0]
  np.testing.assert_allclose(shown - batch["joints_cam"][0, :, 20:], fitted.vertices_rel[1], atol=1e-2)
  fitted.write(tmp_path / "mean.npy")
  again = mean_pose.MeanPose.read(tmp_path / "mean.npy")
  np.testing.assert_array_equal(again.joints_rel, fitted.joints_rel)
  np.testing.assert_array_equal(again.vertices_rel, fitted.vertices_rel)


def test_without_parameters_there_are_no_vertices(tmp_path):
  batch = scenes.truth()
  nobody = {"mano": np.zeros((8, 2, 61), np.float32), "mano_valid": np.zeros((8, 2), bool)}
  fitted = mean_pose.MeanPose.fit([batch | nobody], HandModel.default())
  assert fitted.vertices_rel is None
  assert set(fitted.predict(batch)) == {"joints_cam"}
  fitted.write(tmp_path / "mean.npy")
  assert mean_pose.MeanPose.read(tmp_path / "mean.npy").vertices_rel is None


def test_nothing_annotated_is_an_error():
  batch = scenes.truth()
  with pytest.raises(ValueError, match="no mean pose"):
    mean_pose.MeanPose.fit([batch | {"joints_cam_valid": np.zeros((8, 2, 21), bool)}])
