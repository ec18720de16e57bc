"""Parameters from joints: hands that are known are found again, and what is wrong with joints is said."""

import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from jaxhands import schema
from jaxhands.geometry import camera
from jaxhands.hands import fit, skeleton
from jaxhands.hands.model import HandModel, mirror_mano
from jaxhands.hands.pose_bank import PAIR, default_bank
from tests.hands import synthetic_mano

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens" / "mano"
PICTURES = 8
CAMERA = np.array([[1400, 3, 500], [0, 1350, 520], [0, 0, 1]], np.float32)


@pytest.fixture(scope="module")
def model():
  return HandModel.default()


def _pairs(model, seed=0):
  """`mano` [8, 2, 61] of the bank's test families, of any shapes, half a metre away."""
  rng, bank, made = np.random.default_rng(seed), default_bank(), []
  for _ in range(PICTURES):
    shape = rng.standard_normal(10).clip(-2, 2)
    draw = bank.sample(rng, "test", PAIR, shape=shape)
    wrist = draw.wrist_mm + [20, -30, 500] - model.rest_joints(np.tile(shape, (2, 1)))[:, 0]
    made.append(np.concatenate([draw.pose, np.tile(shape, (2, 1)), wrist], axis=1))
  return np.stack(made).astype(np.float32)


@pytest.fixture(scope="module")
def joints(model):
  return np.asarray(model.forward_mano(_pairs(model)).keypoints)


@pytest.fixture(scope="module")
def exact(model, joints):
  return fit.fit(model, joints)


def _distance(a, b):
  return np.linalg.norm(np.asarray(a) - b, axis=-1)


def test_exact_joints_are_met_to_a_millimetre(model, joints, exact):
  assert exact.valid.all()
  assert exact.converged.all()
  assert exact.hand_model == model.identity
  assert _distance(exact.joints_cam, joints).mean(-1).max() < 1
  assert np.abs(exact.mano[..., schema.MANO_SHAPE]).max() < 4, "no hand is stretched to meet its joints"


def test_what_is_said_of_the_fit_is_what_the_parameters_give(model, joints, exact):
  keypoints = model.forward_mano(exact.mano).keypoints
  np.testing.assert_allclose(exact.joints_cam, keypoints, atol=0.01)
  np.testing.assert_allclose(exact.error_mm, _distance(keypoints, joints), atol=0.01)
  np.testing.assert_allclose(exact.residual_mm, exact.error_mm.mean(-1), rtol=1e-5)
  assert not exact.error_px.any()
  assert not exact.residual_px.any()


def test_a_model_with_pose_correctives_and_a_left_hand_of_its_own(tmp_path):
  model = HandModel.from_mano(synthetic_mano.write_pair(GOLDENS, tmp_path))
  rng = np.random.default_rng(0)
  mano = np.zeros((PICTURES, 2, schema.MANO_DIM), np.float32)
  mano[..., schema.MANO_POSE] = rng.normal(0, 0.25, (PICTURES, 2, 48))
  mano[..., :3] = Rotation.random(2 * PICTURES, rng=rng).as_rotvec().reshape(PICTURES, 2, 3)
  mano[..., 3:48] += model.hands_mean
  mano[..., schema.MANO_TRANSLATION] = [30, 0, 700]
  joints = np.asarray(model.forward_mano(mano).keypoints)
  found = fit.fit(model, joints)
  assert found.hand_model == model.identity
  assert _distance(model.forward_mano(found.mano).keypoints, joints).mean(-1).max() < 1


def test_hands_that_are_moved_are_found_moved(model, joints, exact):
  turn = Rotation.from_rotvec([0.4, -2.0, 1.1]).as_matrix().astype(np.float32)
  moved = fit.fit(model, joints @ turn.T + np.float32([100, -50, 300]))
  np.testing.assert_allclose(moved.joints_cam, exact.joints_cam @ turn.T + [100, -50, 300], atol=0.1)
  np.testing.assert_allclose(moved.mano[..., 3:58], exact.mano[..., 3:58], atol=0.02)


def test_hands_in_a_mirror_are_the_other_hands(model, joints, exact):
  mirrored = fit.fit(model, np.ascontiguousarray((joints * np.float32([-1, 1, 1]))[:, ::-1]))
  expected = mirror_mano(exact.mano)[:, ::-1]
  vertices = [model.forward_mano(mano).vertices for mano in (mirrored.mano, expected)]
  np.testing.assert_allclose(*vertices, atol=0.2)


def test_one_joint_far_away_is_left_there(model, joints):
  wrong = joints.copy()
  wrong[:, :, skeleton.TIPS[1]] += np.float32([0, 120, 0])
  found = fit.fit(model, wrong)
  others = np.delete(np.arange(21), skeleton.TIPS[1])
  assert _distance(found.joints_cam, joints)[..., others].mean(-1).max() < 2
  assert found.error_mm[..., skeleton.TIPS[1]].min() > 60
  assert found.error_mm.argmax(-1).tolist() == [[skeleton.TIPS[1]] * 2] * PICTURES


def test_joints_without_a_flag_are_not_looked_at(model, joints):
  valid = np.random.default_rng(3).random(joints.shape[:-1]) < 0.6
  found = fit.fit(model, joints, valid)
  rubbish = np.where(valid[..., None], joints, np.float32(1e7))
  again = fit.fit(model, rubbish, valid)
  for name in ("mano", "joints_cam", "error_mm", "residual_mm"):
    np.testing.assert_array_equal(getattr(found, name), getattr(again, name))
  assert _distance(found.joints_cam, joints)[valid].mean() < 1
  assert not found.error_mm[~valid].any()
  nan = fit.fit(model, np.where(valid[..., None], joints, np.float32(np.nan)), valid)
  np.testing.assert_array_equal(nan.mano, found.mano)


def test_confidence_says_whom_to_believe(model, joints):
  """Two joints that contradict the rest: with little confidence they hardly move the hand."""
  wrong, sure = joints.copy(), np.ones(joints.shape[:-1], np.float32)
  wrong[:, :, [4, 8]] += np.float32([0, 0, 15])
  sure[:, :, [4, 8]] = 0.01
  error = [_distance(fit.fit(model, wrong, confidence=c).joints_cam, joints)[..., [4, 8]].mean() for c in (None, sure)]
  assert error[1] < 0.3 * error[0]


def test_next_to_no_confidence_is_none(model, joints, exact):
  """Numbers whose products with others are 0 left the hand where its palm was not."""
  found = fit.fit(model, joints, confidence=np.full(joints.shape[:-1], 1e-40))
  assert not found.valid.any()
  assert not found.mano.any()
  wrong, sure = joints.copy(), np.ones(joints.shape[:-1], np.float32)
  wrong[:, :, 8], sure[:, :, 8] = 1e4, 1e-40
  known = np.arange(21) != 8
  without = fit.fit(model, joints, np.broadcast_to(known, sure.shape))
  np.testing.assert_allclose(fit.fit(model, wrong, confidence=sure).joints_cam, without.joints_cam, atol=0.01)


def test_hands_that_joints_do_not_determine_are_zero_and_flagged(model, joints):
  valid = np.ones(joints.shape[:-1], bool)
  valid[0] = False
  valid[1, 0] = np.arange(21) < 2
  straight = joints.copy()
  straight[2, 1] = np.linspace([0, 0, 400], [100, 20, 430], 21)
  found = fit.fit(model, straight, valid)
  expected = np.ones((PICTURES, 2), bool)
  expected[0], expected[1, 0], expected[2, 1] = False, False, False
  np.testing.assert_array_equal(found.valid, expected)
  for name in ("mano", "joints_cam", "error_mm", "residual_mm", "converged"):
    assert not getattr(found, name)[~expected].any(), name
  assert len(fit.fit(model, joints[:0]).mano) == 0


def _of_one_person(model, seed=0):
  """Pairs of which all right hands have one shape, and all left ones another."""
  mano, rng = _pairs(model, seed), np.random.default_rng(seed + 1)
  mano[..., schema.MANO_SHAPE] = rng.standard_normal((2, 10)).clip(-1.5, 1.5)
  return mano


def test_one_person_has_one_shape(model):
  """Each picture alone takes noise for shape; together they tell bones and flesh better."""
  mano = _of_one_person(model)
  truth = model.forward_mano(mano)
  joints = np.asarray(truth.keypoints)
  noisy = (joints + np.random.default_rng(5).normal(0, 4, joints.shape)).astype(np.float32)
  how = fit.How(joint_mm=4.0)
  each, one = (fit.fit(model, noisy, how=how, one_shape=together) for together in (False, True))
  shapes = one.mano[..., schema.MANO_SHAPE]
  np.testing.assert_array_equal(shapes, np.broadcast_to(shapes[:1], shapes.shape))
  assert one.converged.all()

  def off(found):
    """Of the unposed bones, and of the unposed mesh, about its wrist."""
    made = []
    for shape in (found.mano, mano):
      still = np.zeros_like(mano)
      still[..., schema.MANO_SHAPE] = shape[..., schema.MANO_SHAPE]
      posed = model.forward_mano(still)
      made.append([np.asarray(each) - np.asarray(posed.joints)[..., :1, :] for each in (posed.joints, posed.vertices)])
    return [_distance(a, b).mean() for a, b in zip(*made, strict=True)]

  (bones_each, mesh_each), (bones_one, mesh_one) = off(each), off(one)
  assert bones_one < 0.7 * bones_each
  assert mesh_one < 0.9 * mesh_each


def test_what_two_pictures_say_of_one_shape_counts_twice(model, joints):
  """The same joints twice and one prior of the shape are the joints once and half of the prior."""
  noisy = (joints[:1] + np.random.default_rng(6).normal(0, 3, joints[:1].shape)).astype(np.float32)
  twice = fit.fit(model, np.repeat(noisy, 2, 0), one_shape=True)
  once = fit.fit(model, noisy, how=fit.How(shape=0.05))
  np.testing.assert_allclose(twice.mano[..., schema.MANO_SHAPE][:1], once.mano[..., schema.MANO_SHAPE], atol=0.02)
  np.testing.assert_allclose(twice.joints_cam[:1], once.joints_cam, atol=0.1)


def test_pictures_that_do_not_show_a_hand_have_no_say_in_its_shape(model):
  joints = np.asarray(model.forward_mano(_of_one_person(model)[:4]).keypoints)
  valid = np.ones(joints.shape[:-1], bool)
  valid[2:, 0] = False
  found = fit.fit(model, np.where(valid[..., None], joints, 1e5).astype(np.float32), valid, one_shape=True)
  fewer = fit.fit(model, joints[:2], one_shape=True)
  assert found.valid.tolist() == [[True, True]] * 2 + [[False, True]] * 2
  np.testing.assert_allclose(found.mano[:2, 0], fewer.mano[:, 0], atol=0.02)
  assert not found.mano[2:, 0].any()
  nobody = fit.fit(model, joints, np.zeros(valid.shape, bool), one_shape=True)
  assert not nobody.mano.any()
  assert len(fit.fit(model, joints[:0], one_shape=True).mano) == 0


def test_from_pixels_alone(model, joints):
  """The hand lies on its pixels; how far away it is follows from its size, which is taken to be usual."""
  cameras = np.tile(CAMERA, (PICTURES, 1, 1))
  pixels = np.asarray(camera.project(joints, CAMERA))
  found = fit.fit(model, joints_img=pixels, camera_img=cameras)
  assert found.valid.all()
  assert np.median(found.residual_px) < 2
  assert not found.residual_mm.any()
  np.testing.assert_allclose(found.error_px, _distance(camera.project(found.joints_cam, CAMERA), pixels), atol=0.05)
  ratio = found.joints_cam[..., 2].mean(-1) / joints[..., 2].mean(-1)
  assert np.median(np.abs(ratio - 1)) < 0.2


def test_pixels_help_where_space_is_unsure(model, joints):
  """Joints whose depth is noisy, with exact pixels: hands lie nearer to their pixels than without these."""
  rng = np.random.default_rng(0)
  noisy = joints + rng.normal(0, [6, 6, 12], joints.shape).astype(np.float32)
  cameras, pixels = np.tile(CAMERA, (PICTURES, 1, 1)), np.asarray(camera.project(joints, CAMERA))
  how = fit.How(joint_mm=8.0)
  both = fit.fit(model, noisy, joints_img=pixels, camera_img=cameras, how=how)
  alone = fit.fit(model, noisy, how=how)
  assert _distance(both.joints_cam, joints).mean() < 0.8 * _distance(alone.joints_cam, joints).mean()
  assert both.residual_px.max() < 3


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 1.0, 1e3, 1e8]))
def test_anything_gives_finite_numbers_with_flags(seed, size):
  rng = np.random.default_rng(seed)
  model, shape = HandModel.default(), (3, 2, 21)
  joints = (rng.normal(size=(*shape, 3)) * size).astype(np.float32)
  pixels = (rng.normal(size=(*shape, 2)) * size).astype(np.float32)
  flags = rng.random((2, *shape)) < rng.random((2, 3, 2, 1))
  found = fit.fit(model, joints, flags[0], pixels, flags[1], np.tile(CAMERA, (3, 1, 1)), rng.random(shape))
  for name in ("mano", "joints_cam", "error_mm", "error_px", "residual_mm", "residual_px"):
    assert np.isfinite(getattr(found, name)).all(), name
    assert not getattr(found, name)[~found.valid].any(), name
  assert not (found.converged & ~found.valid).any()


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"joints_cam": None}, "there are no joints"),
    ({"joints_cam": np.zeros((1, 2, 20, 3))}, r"joints_cam has shape \(1, 2, 20, 3\), expected \(1, 2, 21, 3\)"),
    ({"joints_cam": np.full((1, 2, 21, 3), np.nan)}, r"joints_cam\[0, 0, 0\] is valid but not finite"),
    ({"joints_img": np.zeros((1, 2, 21, 2))}, "needs camera_img"),
    ({"joints_img": np.zeros((1, 2, 21, 2)), "camera_img": np.zeros((1, 3, 3))}, "focal lengths must be positive"),
    ({"confidence": np.full((1, 2, 21), -1.0)}, "not negative"),
  ],
)
def test_what_cannot_be_is_named(model, change, message):
  given = {"joints_cam": np.zeros((1, 2, 21, 3)), **change}
  with pytest.raises(ValueError, match=message):
    fit.fit(model, **given)


@pytest.mark.parametrize("field", ["joint_mm", "joint_px", "robust", "pose", "shape"])
@pytest.mark.parametrize("value", [-1.0, 0.0, 1e-12, 1e20, float("nan")])
def test_beliefs_are_numbers_with_which_hands_move(field, value):
  """Squares of 1e20 overflow, and no step would be better than none."""
  with pytest.raises(ValueError, match=re.escape(f"{field}={value}: it must be a number from ")):
    fit.How(**{field: value})


def test_with_the_least_and_the_most_of_robust_hands_are_found(model, joints):
  for value in (1.0, 1e6):
    assert np.median(_distance(fit.fit(model, joints, how=fit.How(robust=value)).joints_cam, joints)) < 1
  with pytest.raises(ValueError, match=re.escape("robust=0.5: it must be a number from 1 to 1e+06")):
    fit.How(robust=0.5)


_MANY = """
import numpy as np
from jaxhands.hands import fit
from jaxhands.hands.model import HandModel

mano = np.random.default_rng(0).normal(0, 0.2, (128, 2, 61)).astype(np.float32)
found = fit.fit(HandModel.default(), np.asarray(HandModel.default().forward_mano(mano).keypoints))
assert found.valid.all()
"""


def test_many_hands_are_fitted_at_once_without_waiting_for_ever():
  """In a process of its own, which is ended if it hangs, as XLA did on two cores."""
  subprocess.run([sys.executable, "-c", _MANY], check=True, timeout=300)
