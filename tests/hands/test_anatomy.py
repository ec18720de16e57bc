"""Anatomical angles: back and forth, their directions on the mesh, and what the checks of limits and couplings say."""

import dataclasses
import functools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from jaxhands import schema
from jaxhands.hands import anatomy, skeleton
from jaxhands.hands.model import HandModel

MODEL = HandModel.default()


@functools.cache
def _frames() -> anatomy.Anatomy:
  return anatomy.make_anatomy(MODEL)


def _keypoints(angles: np.ndarray, hand: int = schema.RIGHT) -> np.ndarray:
  """The 21 keypoints at anatomical angles, wrist at the origin."""
  pose = np.concatenate([np.zeros(3), anatomy.pose_from_angles(_frames(), angles, hand)]).reshape(16, 3)
  points = MODEL.forward(pose.astype(np.float32), np.zeros(10, np.float32), np.zeros(3, np.float32), hand).keypoints
  return np.asarray(points - points[skeleton.WRIST], float)


def _bone(points: np.ndarray, finger: str, number: int) -> np.ndarray:
  """Unit vector of the bone that ends at joint 4 (tip), 3 or 2 of a finger."""
  end = 4 * skeleton.FINGERS.index(finger) + 4 - number
  bone = points[end] - points[end + 1]
  return bone / np.linalg.norm(bone)


@pytest.mark.parametrize("hand", [schema.RIGHT, schema.LEFT])
@hypothesis.given(st.integers(0, 10_000))
def test_angles_come_back(hand, seed):
  rng = np.random.default_rng(seed)
  angles = rng.uniform(anatomy.LIMITS[..., 0], anatomy.LIMITS[..., 1], (3, 15, 3))
  pose = anatomy.pose_from_angles(_frames(), angles, hand)
  np.testing.assert_allclose(anatomy.angles_from_pose(_frames(), pose, hand), angles, atol=1e-6)


def test_at_zero_fingers_are_straight_and_side_by_side():
  points = _keypoints(np.zeros((15, 3)))
  for finger in anatomy.LONG_FINGERS:
    for number in (2, 3):
      assert _bone(points, finger, number)[0] < -0.999, (finger, number)  # fingers along -x


@pytest.mark.parametrize("finger", anatomy.LONG_FINGERS)
@pytest.mark.parametrize("joint", [0, 1, 2])
def test_flexion_bends_to_the_palm(finger, joint):
  angles = np.zeros((15, 3))
  angles[anatomy.BASE[finger] + joint, anatomy.FLEXION] = 60.0
  points = _keypoints(angles)
  palmar = -_bone(points, finger, 2 + joint)[1]  # the palm looks to -y
  assert palmar == pytest.approx(np.sin(np.radians(60)), abs=0.16)


@pytest.mark.parametrize("finger", anatomy.LONG_FINGERS)
def test_abduction_turns_to_the_thumb(finger):
  angles = np.zeros((15, 3))
  angles[anatomy.BASE[finger], anatomy.ABDUCTION] = 15.0
  assert _bone(_keypoints(angles), finger, 2)[2] > 0.2  # the thumb side is +z


def test_the_thumb_moves_in_and_out_of_the_palms_plane():
  thumb = anatomy.BASE["thumb"]
  angles = np.zeros((15, 3))
  angles[thumb, anatomy.FLEXION] = -45.0
  aside = _bone(_keypoints(angles), "thumb", 2)
  assert aside[2] > 0.6
  assert abs(aside[1]) < 0.05
  angles[thumb, anatomy.ABDUCTION] = 45.0
  assert _bone(_keypoints(angles), "thumb", 2)[1] == pytest.approx(-np.sin(np.radians(45)), abs=0.03)


def test_opposed_thumb_shows_its_pad_to_the_fingers():
  """Nail of the thumb: to the side when it is stretched away, away from the palm when it opposes the fingers."""
  thumb, nail = anatomy.BASE["thumb"], MODEL.nail[schema.RIGHT] > 0.5
  owner = MODEL.weights[schema.RIGHT].argmax(axis=1)
  faces = MODEL.faces[schema.RIGHT]
  on_nail = faces[(nail & (owner == thumb + 3))[faces].all(axis=1)]

  def nail_normal(flexion: float, palmar: float) -> np.ndarray:
    angles = np.zeros((15, 3))
    angles[thumb] = flexion, palmar, anatomy.pronation(flexion)
    pose = np.concatenate([np.zeros(3), anatomy.pose_from_angles(_frames(), angles)]).reshape(16, 3)
    skin = MODEL.forward(pose.astype(np.float32), np.zeros(10, np.float32), np.zeros(3, np.float32), 0).vertices
    a, b, c = (skin[on_nail[:, i]] for i in range(3))
    normal = np.cross(b - a, c - a).sum(axis=0)
    return normal / np.linalg.norm(normal)

  assert nail_normal(-45.0, 10.0)[2] > 0.5  # to the thumb side
  assert nail_normal(0.0, 48.0)[1] < -0.4  # the way the palm looks


def test_the_left_hand_is_the_mirror_image():
  angles = np.random.default_rng(3).uniform(anatomy.LIMITS[..., 0], anatomy.LIMITS[..., 1])
  right, left = _keypoints(angles), _keypoints(angles, schema.LEFT)
  np.testing.assert_allclose(left, right * [-1, 1, 1], atol=1e-3)


def test_models_without_nails_are_refused():
  with pytest.raises(ValueError, match="nails"):
    anatomy.make_anatomy(dataclasses.replace(MODEL, nail=np.zeros_like(MODEL.nail)))


def test_complaints_name_what_is_wrong():
  angles = np.zeros((15, 3))
  assert anatomy.complaints(angles) == []
  angles[anatomy.BASE["index"] + 1, anatomy.FLEXION] = 130.0
  angles[anatomy.BASE["middle"] + 2, anatomy.FLEXION] = 60.0
  angles[anatomy.BASE["ring"], anatomy.FLEXION] = 80.0
  text = "; ".join(anatomy.complaints(angles))
  assert "index2 flexion is 130.0" in text
  assert "middle DIP is 60 degrees at PIP 0" in text
  assert "ring MCP is 80 degrees" in text


def test_limits_hold_the_couplings():
  """A finger at the end of its range obeys the rule that ties its last joint to the middle one."""
  for finger in anatomy.LONG_FINGERS:
    pip, dip = anatomy.LIMITS[anatomy.BASE[finger] + 1 : anatomy.BASE[finger] + 3, anatomy.FLEXION, 1]
    assert abs(dip - anatomy.dip_from_pip(pip)) < anatomy.DIP_FREEDOM_DEG
  flexion = anatomy.LIMITS[anatomy.BASE["thumb"], anatomy.FLEXION]
  twist = anatomy.LIMITS[anatomy.BASE["thumb"], anatomy.TWIST]
  assert twist[0] <= anatomy.pronation(flexion[0]) + 3
  assert anatomy.pronation(flexion[1]) <= twist[1]
