"""The hand model against the equations written out joint by joint, and against what must hold of any hand."""

import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from jaxhands import schema
from jaxhands.geometry import camera, rotations
from jaxhands.hands import model as hand_model
from jaxhands.hands import parts, skeleton
from jaxhands.hands.model import HandModel, mirror_mano
from tests.hands import synthetic_mano

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens" / "mano"
ATOL_MM = 1e-3


@pytest.fixture(scope="module")
def embedded():
  return HandModel.default()


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
  return HandModel.from_mano(synthetic_mano.write_pair(GOLDENS, tmp_path_factory.mktemp("mano")))


@pytest.fixture(scope="module", params=["embedded", "synthetic"])
def model(request):
  return request.getfixturevalue(request.param)


def random_mano(seed, *batch):
  rng = np.random.default_rng(seed)
  mano = rng.normal(size=(*batch, 2, schema.MANO_DIM)) * 0.4
  mano[..., :3] *= 4
  mano[..., schema.MANO_TRANSLATION] *= 500
  return mano.astype(np.float32)


def oracle(model, hand, mano):
  """One hand in float64, joint by joint: vertices and joints."""
  mano, field = mano.astype(np.float64), lambda name: getattr(model, name)[hand].astype(np.float64)
  turns = Rotation.from_rotvec(mano[:48].reshape(16, 3)).as_matrix()
  shape, translation = mano[48:58], mano[58:]
  vertices = field("v_template") + field("shapedirs") @ shape
  rest = field("joints_template") + field("joints_shapedirs") @ shape
  if model.posedirs is not None:
    vertices = vertices + field("posedirs") @ (turns[1:] - np.eye(3)).ravel()
  chain = []
  for joint, parent in enumerate(skeleton.MANO_PARENTS):
    own = np.eye(4)
    own[:3, :3] = turns[joint]
    own[:3, 3] = rest[joint] - (rest[parent] if joint else 0)
    chain.append(chain[parent] @ own if joint else own)
  posed = np.zeros_like(vertices)
  for joint, transform in enumerate(chain):
    moved = (vertices - rest[joint]) @ transform[:3, :3].T + transform[:3, 3]
    posed += model.weights[hand][:, joint : joint + 1] * moved
  return posed + translation, np.stack([transform[:3, 3] for transform in chain]) + translation


@pytest.mark.parametrize("seed", range(3))
def test_matches_the_equations(model, seed):
  mano = random_mano(seed)
  posed = model.forward_mano(mano)
  for hand in (schema.RIGHT, schema.LEFT):
    vertices, joints = oracle(model, hand, mano[hand])
    np.testing.assert_allclose(posed.vertices[hand], vertices, atol=ATOL_MM)
    np.testing.assert_allclose(posed.joints[hand], joints, atol=ATOL_MM)
    np.testing.assert_array_equal(posed.transforms[hand][:, :3, 3], posed.joints[hand])
    np.testing.assert_array_equal(posed.transforms[hand][:, 3], np.tile([0, 0, 0, 1], (16, 1)))


def test_keypoints_are_joints_and_tips_in_interhands_order(model):
  posed = model.forward_mano(random_mano(0, 3))
  for hand in (schema.RIGHT, schema.LEFT):
    keypoints = dict(zip(skeleton.JOINT_NAMES, np.moveaxis(posed.keypoints[:, hand], 1, 0), strict=True))
    for joint, name in enumerate(skeleton.MANO_JOINT_NAMES):
      np.testing.assert_array_equal(keypoints[name], posed.joints[:, hand, joint])
    for finger, vertex in zip(skeleton.FINGERS, model.tip_vertices[hand], strict=True):
      np.testing.assert_array_equal(keypoints[finger + "4"], posed.vertices[:, hand, vertex])


def test_one_hand_is_its_half_of_two(model):
  mano = random_mano(1, 2, 3)
  both = model.forward_mano(mano)
  for hand in (schema.RIGHT, schema.LEFT):
    one = model.forward_mano(mano[..., hand, :], hand)
    for alone, together in zip(one, both, strict=True):
      np.testing.assert_allclose(alone, together[:, :, hand], atol=ATOL_MM)


def test_many_pictures_are_posed_some_at_a_time(model, monkeypatch):
  monkeypatch.setattr(hand_model, "_AT_ONCE", 3)
  mano = np.random.default_rng(0).normal(0, 0.3, (7, 2, 61)).astype(np.float32)
  np.testing.assert_allclose(model.vertices_of(mano), model.forward_mano(mano).vertices, atol=ATOL_MM)
  assert model.vertices_of(mano[:0]).shape == (0, *model.v_template.shape)


def test_tips_only_gives_the_same_keypoints(model):
  mano = random_mano(2, 2)
  tips = model.tips_only()
  assert tips.v_template.shape == (2, 5, 3)
  np.testing.assert_allclose(tips.forward_mano(mano).keypoints, model.forward_mano(mano).keypoints, atol=ATOL_MM)


def test_pose_in_every_form(model):
  mano = random_mano(3, 2)
  pose, shape, translation = mano[..., :48].reshape(2, 2, 16, 3), mano[..., 48:58], mano[..., 58:]
  matrices = rotations.matrix_from_axis_angle(pose)
  expected = model.forward(pose, shape, translation).vertices
  for form in (matrices, rotations.rotation_6d_from_matrix(matrices)):
    np.testing.assert_allclose(model.forward(form, shape, translation).vertices, expected, atol=ATOL_MM)
  with pytest.raises(ValueError, match=r"pose has shape \(2, 2, 15, 3\)"):
    model.forward(pose[..., 1:, :], shape, translation)
  with pytest.raises(ValueError, match="hand is 2"):
    model.forward(pose[:, 0], shape[:, 0], translation[:, 0], hand=2)


def test_wrong_shapes_are_named(model):
  mano = random_mano(5, 2)
  pose, shape, translation = mano[..., :48].reshape(2, 2, 16, 3), mano[..., 48:58], mano[..., 58:]
  with pytest.raises(ValueError, match=r"^shape has shape \(2, 2, 9\); expected \[\.\.\., 2, 10\]$"):
    model.forward(pose, shape[..., 1:], translation)
  with pytest.raises(ValueError, match=r"^translation_mm has shape \(2, 2, 2\)"):
    model.forward(pose, shape, translation[..., 1:])
  with pytest.raises(ValueError, match=r"^mano has shape \(2, 2, 58\); expected \[\.\.\., 2, 61\]$"):
    model.forward_mano(mano[..., :58])
  with pytest.raises(ValueError, match=r"^mano has shape \(3, 61\); expected \[\.\.\., 2, 61\]$"):
    model.forward_mano(np.zeros((3, 61), np.float32))
  with pytest.raises(ValueError, match=r"of one hand$"):
    model.forward_mano(mano[0, 0, :58], hand=0)


def test_one_shape_and_place_for_many_poses(model):
  mano = random_mano(7, 3)
  pose, shape, translation = mano[..., :48].reshape(3, 2, 16, 3), mano[0, :, 48:58], mano[0, :, 58:]
  many = model.forward(pose, shape, translation)
  for index in range(3):
    for one, value in zip(model.forward(pose[index], shape, translation), many, strict=True):
      np.testing.assert_allclose(value[index], one, atol=ATOL_MM)


@given(seed=st.integers(0, 2**16))
def test_translation_moves_everything_alike(model, seed):
  mano = random_mano(seed)
  moved = mano.copy()
  moved[:, schema.MANO_TRANSLATION] += [10, -20, 300]
  for before, after in zip(model.forward_mano(mano)[:2], model.forward_mano(moved)[:2], strict=True):
    np.testing.assert_allclose(after - before, np.broadcast_to([10, -20, 300], before.shape), atol=ATOL_MM)


@given(seed=st.integers(0, 2**16))
def test_global_rotation_turns_about_the_wrist(model, seed):
  mano = random_mano(seed)
  unturned = mano.copy()
  unturned[:, :3] = 0
  turned, rest = model.forward_mano(mano), model.forward_mano(unturned)
  wrist = rest.joints[:, :1]
  turn = Rotation.from_rotvec(mano[:, :3]).as_matrix()
  expected = (rest.vertices - wrist) @ turn.swapaxes(-1, -2) + wrist
  np.testing.assert_allclose(turned.vertices, expected, atol=ATOL_MM)
  np.testing.assert_allclose(turned.joints[:, 0], wrist[:, 0], atol=ATOL_MM)


@given(seed=st.integers(0, 2**16))
def test_left_is_the_mirror_of_right(model, seed):
  mano = random_mano(seed)
  exchanged = mirror_mano(mano[::-1])
  posed, mirrored = model.forward_mano(mano), model.forward_mano(exchanged)
  for value, image in ((posed.vertices, mirrored.vertices), (posed.keypoints, mirrored.keypoints)):
    np.testing.assert_allclose(image, value[::-1] * [-1, 1, 1], atol=ATOL_MM)
  np.testing.assert_array_equal(mirror_mano(mirror_mano(mano)), mano)


def test_mirrored_arrays_agree_with_each_other(model):
  np.testing.assert_array_equal(model.faces[1], model.faces[0][:, ::-1])
  flip = np.tile([1, -1, -1], 15)
  np.testing.assert_allclose(model.hands_mean[1], model.hands_mean[0] * flip, atol=1e-6)
  np.testing.assert_allclose(model.hands_components[1], model.hands_components[0] * flip, atol=1e-6)


def test_jax_gives_what_numpy_gives(model):
  mano = random_mano(4, 3)
  expected = model.forward_mano(mano)
  assert all(isinstance(value, np.ndarray) and value.dtype == np.float32 for value in expected)
  for found in (
    jax.jit(HandModel.forward_mano)(model, mano),
    jax.jit(jax.vmap(model.forward_mano))(mano),
  ):
    for ours, theirs in zip(found, expected, strict=True):
      assert isinstance(ours, jax.Array)
      np.testing.assert_allclose(ours, theirs, atol=ATOL_MM)


def test_gradient_is_the_difference_quotient(model):
  mano = random_mano(5)
  towards = np.random.default_rng(0).normal(size=mano.shape).astype(np.float32)
  weight = np.random.default_rng(1).normal(size=model.v_template.shape)
  # In metres, so that all parameters count.
  towards[:, schema.MANO_TRANSLATION] *= 100

  def loss(values):
    return (model.forward_mano(values).vertices * weight).sum() / 1e3

  gradient = jax.jit(jax.grad(loss))(jnp.asarray(mano))
  step = 1e-4
  # float64 NumPy path: float32 differences drown in rounding.
  difference = (loss(mano + np.float64(step) * towards) - loss(mano - np.float64(step) * towards)) / (2 * step)
  np.testing.assert_allclose((gradient * towards).sum(), difference, rtol=2e-3)


def test_gradient_is_finite_at_the_flat_hand(model):
  gradient = jax.jit(jax.grad(lambda mano: (model.forward_mano(mano).keypoints ** 2).sum()))(jnp.zeros((2, 61)))
  assert np.isfinite(gradient).all()
  assert (np.abs(gradient[:, 3:48]) > 0).any()


def test_is_a_pytree_that_keeps_its_identity(model):
  leaves, tree = jax.tree.flatten(model)
  assert all(hasattr(leaf, "shape") for leaf in leaves)
  again = jax.tree.unflatten(tree, leaves)
  assert again.identity == model.identity
  shapes = jax.eval_shape(lambda m: m, model)
  assert shapes.v_template.shape == model.v_template.shape
  paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(model)]
  assert ".v_template" in paths


def test_parameters_of_another_model_are_refused(embedded, synthetic):
  embedded.check_identity("embedded-v1")
  with pytest.raises(hand_model.HandModelMismatch, match="'mano' cannot pose 'embedded-v1'"):
    embedded.check_identity("mano")
  assert synthetic.identity not in ("mano", "embedded-v1")


def test_mean_pose_is_added_to_the_fingers_alone(model):
  mano = random_mano(6, 2)
  added = model.add_mean_pose(mano) - mano
  np.testing.assert_allclose(added[..., 3:48], np.broadcast_to(model.hands_mean, (2, 2, 45)), atol=1e-6)
  np.testing.assert_array_equal(added[..., [0, 1, 2, *range(48, 61)]], 0)


def test_components_span_the_fingers(model):
  coefficients = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
  flat = model.fingers_from_components(coefficients, schema.LEFT, add_mean=False)
  assert flat.shape == (3, 15, 3)
  expected = coefficients @ model.hands_components[1, :6]
  np.testing.assert_allclose(flat.reshape(3, 45), expected, atol=1e-6)
  mean = model.fingers_from_components(np.zeros((1, 1), np.float32), schema.LEFT)
  np.testing.assert_allclose(mean.reshape(45), model.hands_mean[1], atol=1e-6)


@given(seed=st.integers(0, 2**16))
def test_parameters_move_to_the_camera_as_the_mesh_does(model, seed):
  rng = np.random.default_rng(seed)
  mano = random_mano(seed, 3)
  turn, place = Rotation.random(rng=rng).as_matrix(), rng.normal(size=3) * 300
  cam_from_world = camera.cam_from_world(turn, place).astype(np.float32)
  world = model.forward_mano(mano).vertices
  expected = camera.to_camera(world, cam_from_world)
  moved = model.mano_to_camera(mano, cam_from_world)
  np.testing.assert_allclose(model.forward_mano(moved).vertices, expected, atol=5e-3)
  np.testing.assert_array_equal(moved[..., 3:58], mano[..., 3:58])


def test_numpy_path_needs_no_device():
  """Worker processes pose hands in NumPy: asking for a backend that does not exist would fail there."""
  code = (
    "import numpy as np; from jaxhands.hands.model import HandModel;"
    "posed = HandModel.default().forward_mano(np.zeros((2, 61), np.float32)); assert posed.vertices.ndim == 3"
  )
  environment = os.environ | {"JAX_PLATFORMS": "no_such_platform"}
  done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("fine", [False, True])
def test_embedded_model_is_a_hand(fine):
  model = HandModel.default(fine)
  assert model.identity == "embedded-v1"
  vertices = model.v_template.shape[1]
  assert vertices == 778 or fine
  np.testing.assert_allclose(model.weights.sum(-1), 1, atol=1e-5)
  assert model.faces.min() == 0
  assert model.faces.max() == vertices - 1
  rest = model.forward_mano(np.zeros((2, 61), np.float32)).keypoints
  length = np.linalg.norm(rest[:, skeleton.TIPS[2]] - rest[:, skeleton.WRIST], axis=-1)
  assert ((length > 160) & (length < 210)).all()  # wrist to middle fingertip of adults, mm
  assert set(model.parts[0]) == set(range(1, 17))
  assert set(model.parts[1]) == set(range(17, 33))
  assert 0 < (model.nail > 0.5).mean() < 0.2


def test_fine_model_has_the_same_skeleton(embedded):
  fine = HandModel.default(fine=True)
  assert fine.v_template.shape[1] > embedded.v_template.shape[1]
  mano = random_mano(0) * np.float32(0.3)
  np.testing.assert_allclose(fine.forward_mano(mano).joints, embedded.forward_mano(mano).joints, atol=ATOL_MM)
  distance = np.linalg.norm(fine.forward_mano(mano).keypoints - embedded.forward_mano(mano).keypoints, axis=-1)
  assert distance.max() < 3  # the tip vertices are not quite the same


def test_parts_move_with_their_joint(embedded):
  """Each part's vertices are moved mostly by the joint that the class stands for."""
  for hand in (schema.RIGHT, schema.LEFT):
    for joint in range(16):
      members = embedded.parts[hand] == parts.CLASS_FROM_JOINT[hand, joint]
      assert (embedded.weights[hand][members].argmax(-1) == joint).all()
