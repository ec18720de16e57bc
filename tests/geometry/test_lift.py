"""Lifting exact predictions gives the true joints, from every source of depth; what is unknown is 0 and invalid."""

import jax
import numpy as np
import pytest

from jaxhands.geometry import camera, crop, lift
from jaxhands.hands import mirror, skeleton

SIZE_HW = np.array([480, 640], np.int32)


def scene(seed=0, count=3):
  """Truth, the prediction that says it exactly, and a batch."""
  rng = np.random.default_rng(seed)
  joints = rng.uniform(-80, 80, (count, 2, 21, 3)).astype(np.float32)
  joints += rng.uniform([-100, -80, 500], [100, 80, 900], (count, 2, 1, 3)).astype(np.float32)
  intrinsics = np.repeat(np.float32([[[800, 0, 320], [0, 790, 240], [0, 0, 1]]]), count, 0)
  roots = joints[:, :, 20, 2]
  prediction = {
    "joints_img": camera.project(joints, intrinsics[:, None]),
    "joints_rel_depth": joints[..., 2] - roots[..., None],
    "rel_root_depth": roots[:, 1] - roots[:, 0],
    "hand_prob": np.ones((count, 2), np.float32),
    "confidence": np.ones((count, 2, 21), np.float32),
    "scale_known": np.ones(count, bool),
  }
  batch = {
    "camera_img": intrinsics,
    "camera_valid": np.ones(count, bool),
    "picture_hw": np.repeat(SIZE_HW[None], count, 0),
    "root_depth": roots,
    "root_depth_valid": np.ones((count, 2), bool),
    "root_depth_estimated": roots + np.float32([10, -20]),
    "root_depth_estimated_valid": np.ones((count, 2), bool),
  }
  return joints, prediction, batch


def bones_of(joints):
  lengths = np.linalg.norm(joints[skeleton.BONES[:, 0]] - joints[skeleton.BONES[:, 1]], axis=-1)
  return lift.Bones(skeleton.BONES, lengths)


@pytest.mark.parametrize("source", ["gt", "predicted", "place"])
def test_exact_predictions_give_the_truth(source):
  joints, prediction, batch = scene()
  if source != "gt":
    prediction["joints_cam"] = joints if source == "predicted" else joints - [5, 6, 70]
  lifted = lift.lift(prediction, batch, source)
  assert lifted.valid.all()
  np.testing.assert_allclose(lifted.joints_cam, joints, rtol=1e-3, atol=0.1)


def test_place_of_2d_and_depths_uses_the_bones():
  joints, prediction, batch = scene(count=1)
  for hand in (0, 1):
    lifted = lift.lift(prediction, batch, "place", bones=bones_of(joints[0, hand]))
    np.testing.assert_allclose(lifted.joints_cam[0, hand], joints[0, hand], rtol=1e-3, atol=0.5)


def _moved_hands(joints):
  """Both as they lie, far from where they are; and noise of their pixels, by which each alone lies elsewhere."""
  rng = np.random.default_rng(7)
  return joints - np.float32([5, 6, 70]), rng.normal(0, 2, (*joints.shape[:3], 2)).astype(np.float32)


def test_hands_that_belong_together_are_placed_as_one_body():
  joints, prediction, batch = scene()
  prediction["joints_cam"], noise = _moved_hands(joints)
  prediction["joints_img"] = prediction["joints_img"] + noise
  alone = lift.lift(prediction, batch, "place").joints_cam
  prediction["hands_together"] = np.array([True, True, False])
  prediction["hand_prob"][1, 1] = 0.4
  found = lift.lift(prediction, batch, "place")
  assert found.valid.all()
  np.testing.assert_array_equal(found.joints_cam[1:], alone[1:])  # one hand is not seen, or they are not together
  shift = found.joints_cam[0] - joints[0]
  np.testing.assert_allclose(shift, np.broadcast_to(shift[0, 0], shift.shape), atol=1e-2)
  assert np.abs(alone[0] - joints[0] - (alone[0] - joints[0])[0, 0]).max() > 3
  # What the pixels ask for, by brute force over all joints of both hands, with lengths at the joint's depth.
  rays = (prediction["joints_img"][0] - [320, 240]) / [800, 790]
  rel = prediction["joints_cam"][0].astype(float)
  rows = [[axis == 0, axis == 1, -rays[h, j, axis]] for h in range(2) for j in range(21) for axis in range(2)]
  offsets = [
    rays[h, j, axis] * rel[h, j, 2] - rel[h, j, axis] for h in range(2) for j in range(21) for axis in range(2)
  ]
  by = np.linalg.lstsq(np.array(rows, float), np.array(offsets), rcond=None)[0]
  np.testing.assert_allclose(found.joints_cam[0], rel + by, atol=0.5)


def test_a_hand_without_weight_does_not_hold_the_other():
  joints, prediction, batch = scene()
  prediction["joints_cam"], _ = _moved_hands(joints)
  prediction["hands_together"] = np.ones(len(joints), bool)
  prediction["confidence"][0, 1] = 0
  found = lift.lift(prediction, batch, "place")
  assert found.valid.tolist() == [[True, False], [True, True], [True, True]]
  np.testing.assert_allclose(found.joints_cam[found.valid], joints[found.valid], rtol=1e-3, atol=0.1)


def test_rootnet_moves_each_hand_to_its_estimate():
  joints, prediction, batch = scene()
  lifted = lift.lift(prediction, batch, "rootnet")
  np.testing.assert_allclose(lifted.joints_cam[..., 2], joints[..., 2] + np.float32([[10], [-20]]), rtol=1e-5)
  np.testing.assert_allclose(
    camera.project(lifted.joints_cam, batch["camera_img"][:, None]), prediction["joints_img"], atol=1e-2
  )


def test_left_wrist_relative_to_the_right_one():
  joints, prediction, batch = scene()
  prediction["hand_prob"][0, 0] = 0.4
  always = lift.lift(prediction, batch, "rootnet", "relative").joints_cam[:, 1, 20, 2] - joints[:, 1, 20, 2]
  np.testing.assert_allclose(always, 10, atol=1e-2)
  if_seen = lift.lift(prediction, batch, "rootnet", "relative_if_seen").joints_cam[:, 1, 20, 2] - joints[:, 1, 20, 2]
  np.testing.assert_allclose(if_seen, [-20, 10, 10], atol=1e-2)


def test_unknown_depths_and_cameras_are_zero_and_invalid():
  _, prediction, batch = scene()
  batch["root_depth_valid"][0, 1] = False
  batch["camera_valid"][2] = False
  batch["camera_img"][2] = 0
  lifted = lift.lift(prediction, batch, "gt")
  np.testing.assert_array_equal(lifted.valid, [[True, False], [True, True], [False, False]])
  assert np.isfinite(lifted.joints_cam).all()
  assert not lifted.joints_cam[~lifted.valid].any()
  relative = lift.lift(prediction, batch, "gt", "relative")
  np.testing.assert_array_equal(relative.valid, [[True, True], [True, True], [False, False]])


def test_normalised_intrinsics_need_no_camera():
  joints, prediction, batch = scene(count=1)
  assumed = lift.normalised_camera(batch["picture_hw"])
  np.testing.assert_allclose(assumed[0], [[800, 0, 319.5], [0, 800, 239.5], [0, 0, 1]])
  prediction["joints_img"] = camera.project(joints, assumed[:, None])
  prediction["joints_cam"] = joints - [0, 0, 100]
  lifted = lift.lift(prediction, {"picture_hw": batch["picture_hw"]}, "normalised")
  np.testing.assert_allclose(lifted.joints_cam, joints, rtol=1e-3, atol=0.1)


def test_an_unknown_camera_is_mirrored_as_the_scene_is():
  _, _, batch = scene(count=3)
  batch["camera_valid"][:2] = False
  plain = crop.crop_affine(np.array([10, 20, 300, 300], np.float32), (64, 64), rotation=2.0)
  turned = crop.crop_affine(np.array([10, 20, 300, 300], np.float32), (64, 64), rotation=2.0, mirror=True)
  batch["crop_from_img"] = np.stack([plain, turned, turned])
  found = lift.any_camera(batch)
  assumed = lift.normalised_camera(batch["picture_hw"])
  np.testing.assert_array_equal(found[0], assumed[0])
  np.testing.assert_array_equal(found[1], mirror.mirror({"camera_img": assumed[1]})["camera_img"])
  np.testing.assert_array_equal(found[2], batch["camera_img"][2])
  np.testing.assert_allclose(jax.jit(lift.any_camera)(batch), found, rtol=1e-6)


def test_lifting_both_as_one_commutes_with_mirroring():
  joints, prediction, batch = scene()
  prediction["joints_cam"], noise = _moved_hands(joints)
  prediction |= {"joints_img": prediction["joints_img"] + noise, "hands_together": np.ones(len(joints), bool)}
  there = lift.lift(mirror.mirror(prediction), mirror.mirror(batch), "place").joints_cam
  back = mirror.mirror({"joints_cam": there})["joints_cam"]
  np.testing.assert_allclose(back, lift.lift(prediction, batch, "place").joints_cam, rtol=1e-3, atol=0.1)


def test_lifting_commutes_with_mirroring():
  joints, prediction, batch = scene()
  lifted = lift.lift(mirror.mirror(prediction), mirror.mirror(batch), "gt")
  mirrored = mirror.mirror({"joints_cam": joints})["joints_cam"]
  np.testing.assert_allclose(lifted.joints_cam, mirrored, rtol=1e-4, atol=0.05)


def test_jit_gives_the_same():
  _, prediction, batch = scene()
  host = lift.lift(prediction, batch, "rootnet", "relative_if_seen")
  device = jax.jit(lambda p, b: lift.lift(p, b, "rootnet", "relative_if_seen"))(prediction, batch)
  np.testing.assert_allclose(device.joints_cam, host.joints_cam, rtol=1e-4, atol=1e-2)
  np.testing.assert_array_equal(device.valid, host.valid)


def test_messages_say_what_is_missing():
  _, prediction, batch = scene()
  with pytest.raises(ValueError, match="root_depth_estimated"):
    lift.lift(prediction, {"camera_img": batch["camera_img"]}, "rootnet")
  with pytest.raises(ValueError, match="joints_cam"):
    lift.lift(prediction, batch, "predicted")
  with pytest.raises(ValueError, match="bones"):
    lift.lift(prediction, batch, "place")


def test_a_hand_that_keeps_its_shape_has_the_lifted_wrist():
  joints, prediction, batch = scene()
  prediction["joints_cam"] = joints - np.float32([5, 6, 70])
  batch["root_depth_estimated_valid"][0, 1] = False
  lifted = lift.lift(prediction, batch, "rootnet")
  found = lift.keep_shape(prediction, lifted)
  np.testing.assert_array_equal(found.valid, lifted.valid)
  assert not found.joints_cam[0, 1].any()
  valid = lifted.valid
  np.testing.assert_allclose(found.joints_cam[valid][:, 20], lifted.joints_cam[valid][:, 20], atol=1e-3)
  shapes = (joints - joints[:, :, 20:])[valid]
  np.testing.assert_allclose(found.joints_cam[valid] - found.joints_cam[valid][:, 20:], shapes, atol=1e-3)
  together = prediction | {"hands_together": np.ones(3, bool), "hand_prob": np.ones((3, 2), np.float32)}
  body = lift.keep_shape(together, lifted)
  whole = valid.all(-1)
  assert whole.any()
  assert not whole.all()
  apart = (joints[:, 1] - joints[:, 0])[whole]
  np.testing.assert_allclose((body.joints_cam[:, 1] - body.joints_cam[:, 0])[whole], apart, atol=1e-3)
  np.testing.assert_allclose(body.joints_cam[whole, 0], found.joints_cam[whole, 0], atol=1e-3)
  np.testing.assert_array_equal(body.joints_cam[~whole], found.joints_cam[~whole])


def test_samples_and_wrists_go_along():
  joints, prediction, _ = scene()
  rng = np.random.default_rng(1)
  prediction |= {"joints_cam": joints, "samples": joints[:, None] + rng.normal(0, 9, (3, 5, 2, 21, 3))}
  prediction["root_cam"] = joints[:, :, 20]
  by = rng.normal(0, 30, (3, 2, 1, 3))
  valid = np.array([[True, True], [True, False], [False, True]])
  moved = lift.move_meshes(prediction, lift.Lifted(joints + by, valid))
  assert set(moved) == {"samples", "root_cam"}
  np.testing.assert_allclose(moved["root_cam"], (joints + by)[:, :, 20] * valid[..., None], atol=1e-3)
  expected = (prediction["samples"] + by[:, None]) * valid[:, None, :, None, None]
  np.testing.assert_allclose(moved["samples"], expected, atol=1e-3)
