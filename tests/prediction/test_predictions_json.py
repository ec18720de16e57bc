"""What a distribution says besides its mode, in `predictions.json`."""

import json

import numpy as np

from jaxhands.prediction import predictions_json
from jaxhands.prediction.hands import Hands


def _hands(raw, placed=(True, False)):
  joints = np.random.default_rng(0).normal(0, 50, (1, 2, 21, 3)).astype(np.float32) + np.float32([0, 0, 500])
  return Hands(
    hand_prob=np.ones((1, 2), np.float32), present=np.ones((1, 2), bool), joints_img=joints[..., :2],
    confidence=np.ones((1, 2, 21), np.float32), joints_cam=joints, joints_cam_valid=np.array([placed]),
    reprojection_px=np.zeros((1, 2, 21), np.float32), camera_img=np.eye(3, dtype=np.float32)[None], scale=("metric",),
    box_img=np.zeros((1, 2, 4), np.float32), crop_from_img=np.zeros((1, 2, 2, 3), np.float32), raw=raw,
  )  # fmt: skip


def _written(raw, samples):
  result = predictions_json.PictureResult("a.jpg", None, (10, 10), "given", _hands(raw))
  about = predictions_json.About("run", "handflow", False, samples)
  return json.loads(json.dumps(predictions_json.as_json([result], [], [], about), allow_nan=False))["pictures"][0][
    "hands"
  ]


def test_samples_and_deviations_of_hands_that_are_placed():
  samples = np.random.default_rng(1).normal([0, 0, 500], [3, 4, 30], (1, 8, 2, 21, 3)).astype(np.float32)
  right, left = _written({"samples": samples}, 3)
  np.testing.assert_allclose(right["samples_cam_mm"], samples[0, :3, 0], atol=0.06)
  for key, poses in (
    ("deviation_cam_mm", samples[0, :, 0]),
    ("deviation_mm", samples[0, :, 0] - samples[0, :, 0, 20:]),
  ):
    expected = [np.sqrt(sum(np.var(poses[:, joint, axis]) for axis in range(3))) for joint in range(21)]
    np.testing.assert_allclose(right[key], expected, atol=0.01)
  assert right["deviation_mm"][20] == 0
  assert not {"samples_cam_mm", "deviation_mm", "deviation_cam_mm"} & set(left), "nobody knows where it is"


def test_of_what_was_not_fitted_nothing_is_said_to_have_ended():
  """Parameters of the system's own, then fitted ones of a search that did not come to an end."""
  mano = np.ones((1, 2, 61), np.float32)
  raw = {"mano": mano, "mano_residual_mm": np.float32([[0, 3]]), "mano_converged": np.zeros((1, 2), bool)}
  result = predictions_json.PictureResult("a.jpg", None, (10, 10), "given", _hands(raw, (True, True)))
  content = predictions_json.as_json([result], [], [], predictions_json.About("run", "intershape", False))
  own, fitted = content["pictures"][0]["hands"]
  assert own["mano"] is not None
  assert (own["mano_residual_mm"], own["mano_converged"]) == (None, None)
  assert (fitted["mano_residual_mm"], fitted["mano_converged"]) == (3, False)
  nowhere = _written(raw, 0)[1]
  assert (nowhere["mano"], nowhere["mano_converged"]) == (None, None)


def test_without_samples_nothing_is_said_of_them():
  assert not any("deviation" in key or "samples" in key for key in _written({}, 20)[0])
  samples = np.zeros((1, 2, 2, 21, 3), np.float32)
  assert "samples_cam_mm" not in _written({"samples": samples}, 0)[0]
