"""Both hands as one vector: there and back, and that it follows what the crop shows."""

import numpy as np
import pytest

from jaxhands.geometry import camera, crop, rotations
from jaxhands.hands import mirror, vector
from jaxhands.hands.model import HandModel

MODEL = HandModel.default()
CODE = vector.HandsVector((224, 192))
CAMERA = np.float32([[[700, 0, 330], [0, 690, 250], [0, 0, 1]]] * 3)


def _mano(seed=0, samples=4):
  rng = np.random.default_rng(seed)
  mano = rng.normal(0, 0.3, (3, samples, 2, 61)).astype(np.float32)
  mano[..., 58:] = [[-70, 0, 500], [60, 10, 620]] + rng.normal(0, 40, (3, samples, 2, 3))
  return mano


def _affines(rotation=0.7):
  boxes = np.float32([[100, 80, 300, 350], [200, 150, 200, 233], [10, 20, 500, 583]])
  return np.asarray(crop.crop_affine(boxes, CODE.crop_hw, rotation=rotation))


def _joints(decoded):
  return MODEL.forward(decoded.rotations, decoded.shape, decoded.translation_mm).keypoints


@pytest.mark.parametrize("rotation", [0.0, 0.7, -2.0])
def test_there_and_back(rotation):
  mano, affines = _mano(), _affines(rotation)
  vectors, there = CODE.encode(mano, MODEL, affines, CAMERA)
  assert there.all()
  assert vectors.shape == (3, 4, vector.SIZE) == (3, 4, 218)
  decoded = CODE.decode(vectors, MODEL, affines, CAMERA)
  np.testing.assert_allclose(_joints(decoded), MODEL.forward_mano(mano).keypoints, atol=0.05)  # mm
  np.testing.assert_allclose(decoded.wrist_cam, MODEL.forward_mano(mano).keypoints[..., 20, :], atol=0.05)
  np.testing.assert_allclose(decoded.shape, mano[..., 48:58], atol=1e-6)
  again, _ = CODE.encode(mano, MODEL, affines, CAMERA)
  np.testing.assert_array_equal(again, vectors)


def test_meaning_of_the_numbers():
  """A flat hand in front of the camera, its wrist in the middle of an unturned crop of the picture's own scale."""
  mano = np.zeros((1, 1, 2, 61), np.float32)
  mano[..., 58:] = np.array([0, 0, 500]) - MODEL.rest_joints(np.zeros((2, 10), np.float32))[:, 0]
  affine = np.float32([[[1, 0, 96 - 330], [0, 1, 112 - 250]]])
  vectors, _ = CODE.encode(mano, MODEL, affine, CAMERA[:1])
  hands = np.asarray(vectors).reshape(2, 109)
  np.testing.assert_allclose(hands[:, :96].reshape(2, 16, 6), np.tile([1, 0, 0, 0, 1, 0], (2, 16, 1)), atol=1e-6)
  np.testing.assert_allclose(hands[:, 106:108], 0, atol=1e-5)
  np.testing.assert_allclose(hands[:, 108], np.log(np.sqrt(700 * 690) / 500), rtol=1e-5)


def test_a_turned_crop_turns_the_vector_and_nothing_else():
  """What a crop shows decides: turning the camera about its axis and the crop back leaves the vector as it is."""
  mano, angle = _mano(samples=1), 0.6
  about_z = np.asarray(rotations.matrix_from_axis_angle(np.float32([0, 0, angle])))
  turned = MODEL.mano_to_camera(mano, np.concatenate([about_z, np.zeros((3, 1), np.float32)], axis=1))
  square = np.float32([[[700, 0, 330], [0, 700, 250], [0, 0, 1]]] * 3)
  affines = _affines(0.0)
  # Pixels of the turned camera to those of the first one, then into the crop.
  back = np.eye(3)
  back[:2, :2] = about_z[:2, :2].T
  centre = np.array([[1, 0, 330], [0, 1, 250], [0, 0, 1]])
  first_from_turned = (centre @ back @ np.linalg.inv(centre))[:2].astype(np.float32)
  seen = np.asarray(crop.compose_affine(affines, np.repeat(first_from_turned[None], 3, 0)))
  expected, _ = CODE.encode(mano, MODEL, affines, square)
  found, _ = CODE.encode(np.asarray(turned), MODEL, seen, square)
  np.testing.assert_allclose(found, expected, atol=2e-4)


def test_a_mirrored_scene_in_a_mirrored_crop():
  """Hands change places, and every wrist stays where the crop shows it."""
  mano = _mano()
  boxes = np.float32([[100, 80, 300, 350]] * 3)
  plain = np.asarray(crop.crop_affine(boxes, CODE.crop_hw))
  flipped = np.asarray(crop.crop_affine(boxes, CODE.crop_hw, mirror=True))
  scene = mirror.mirror({"annotations_mano": mano, "camera_img": CAMERA})
  vectors, _ = CODE.encode(mano, MODEL, plain, CAMERA)
  mirrored, _ = CODE.encode(scene["annotations_mano"], MODEL, flipped, scene["camera_img"])
  hands, others = (np.asarray(v).reshape(3, 4, 2, 109) for v in (vectors, mirrored))
  np.testing.assert_allclose(others[..., ::-1, 108], hands[..., 108], atol=1e-5)
  np.testing.assert_allclose(others[..., ::-1, 107], hands[..., 107], atol=1e-5)
  # Between both pictures lie the edges of a pixel: x -> W - 1 - x of the crop's own columns.
  joints = MODEL.forward_mano(mano).keypoints.reshape(3, -1, 3)
  there = crop.apply_affine(flipped, camera.project(joints, CAMERA))
  decoded = CODE.decode(mirrored, MODEL, flipped, scene["camera_img"])
  own = _joints(decoded)[..., ::-1, :, :].reshape(3, -1, 3)
  np.testing.assert_allclose(crop.apply_affine(flipped, camera.project(own, scene["camera_img"])), there, atol=0.05)


def test_what_is_behind_the_camera_is_not_there():
  mano = _mano(samples=2)
  mano[:, 1] = 0
  vectors, there = CODE.encode(mano, MODEL, _affines(), CAMERA)
  np.testing.assert_array_equal(there, [[True, False]] * 3)
  assert not vectors[:, 1].any()
  assert np.isfinite(vectors).all()


def test_any_numbers_are_hands():
  vectors = np.random.default_rng(0).normal(0, 30, (3, 5, vector.SIZE)).astype(np.float32)
  assert np.isfinite(_joints(CODE.decode(vectors, MODEL, _affines(), CAMERA))).all()


@pytest.mark.parametrize(("scale", "width_mm"), [(-20.0, 2500), (20.0, 50)])
def test_a_crop_shows_hands_and_neither_a_finger_nor_a_street(scale, width_mm):
  """At the wrists it is at most as wide as two arms, at least as a wrist; so no hand is further or nearer."""
  vectors = np.zeros((3, 1, 2, 109), np.float32)
  vectors[..., vector.SCALE] = scale
  decoded = CODE.decode(vectors.reshape(3, 1, vector.SIZE), MODEL, _affines(), CAMERA)
  focal = CODE._focal_crop(_affines(), CAMERA)
  expected = focal * width_mm / max(CODE.crop_hw)
  np.testing.assert_allclose(decoded.wrist_cam[:, 0, :, 2], np.repeat(expected[:, None], 2, 1), rtol=1e-4)


def test_orthonormality_is_that_of_all_rotations():
  vectors = np.random.default_rng(0).normal(size=(2, vector.SIZE)).astype(np.float32)
  expected = []
  for one in vectors:
    for hand in one.reshape(2, 109):
      for six in hand[:96].reshape(16, 6):
        a = six.reshape(2, 3).T
        expected.append(((a.T @ a - np.eye(2)) ** 2).mean())
  found = vector.orthonormality(vectors)
  np.testing.assert_allclose(found, np.reshape(expected, (2, 32)).mean(1), rtol=1e-5)
