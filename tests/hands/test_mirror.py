"""Mirroring as an involution, consistent with projection and with the hand model; views."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands import schema
from jaxhands.hands import mirror
from jaxhands.hands.model import HandModel


def random_values(fields, seed=0, lead=()):
  """Values of every key, without the batch axis, with `lead` axes instead."""
  rng = np.random.default_rng(seed)
  sizes = {"A": 3, "S": 4, "V": 6, "h": 5, "w": 6, "u": 4, "v": 3, "H": 8, "W": 9, "P": 7, "Q": 10, "K": 2}
  values = {}
  for key, field in fields.items():
    shape = lead + tuple(sizes.get(axis) or schema.length(axis) for axis in field.axes[1:])
    if field.dtype == "bool":
      values[key] = rng.random(shape) < 0.5
    elif field.dtype == "uint8":
      values[key] = rng.integers(0, 33, shape, dtype=np.uint8)
    else:
      values[key] = rng.uniform(-50, 50, shape).astype(field.dtype)
  return values


@pytest.mark.parametrize("fields", [schema.BATCH, schema.PREDICTION], ids=["batch", "prediction"])
@pytest.mark.parametrize("lead", [(), (2,)])
def test_mirroring_twice_changes_nothing(fields, lead):
  values = random_values(fields, lead=lead)
  twice = mirror.mirror(mirror.mirror(values))
  for key, value in values.items():
    np.testing.assert_array_equal(twice[key], value, err_msg=key)
    assert twice[key].dtype == value.dtype, key


def test_values_without_a_hand_axis_stay():
  stays = {
    "image",
    "crop_from_img",
    "box_img",
    "picture",
    "picture_hw",
    "example_id",
    "weight",
    "frame",
    "log_prob",
    "boxes",
  }
  for fields in (schema.BATCH, schema.PREDICTION):
    values = random_values(fields)
    mirrored = mirror.mirror(values)
    for key in stays & set(values):
      assert mirrored[key] is values[key], key


@pytest.mark.parametrize("key", ["joints_img", "joints_img_valid", "hand_prob", "confidence", "masks", "heatmaps"])
def test_hands_change_places_and_nothing_else(key):
  field = (schema.BATCH | schema.PREDICTION)[key]
  value = random_values({key: field})[key]
  np.testing.assert_array_equal(mirror.mirror({key: value})[key], value[::-1])


def test_the_sides_of_boxes_change_places():
  value = random_values({"boxes_prob": schema.PREDICTION["boxes_prob"]})["boxes_prob"]
  np.testing.assert_array_equal(mirror.mirror({"boxes_prob": value})["boxes_prob"], value[:, ::-1])


def test_mirrored_joints_still_land_on_their_pixels():
  rng = np.random.default_rng(1)
  camera = np.array([[500, 0, 160], [0, 480, 120], [0, 0, 1]], np.float32)
  joints = rng.uniform(-100, 100, (2, 21, 3)).astype(np.float32) + [0, 0, 600]
  turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
  cam_from_world = np.concatenate([turn, rng.normal(size=(3, 1))], 1)

  def project(joints_cam, camera_img):
    points = joints_cam @ camera_img.T
    return points[..., :2] / points[..., 2:]

  values = {"joints_cam": joints, "camera_img": camera, "joints_img": project(joints, camera)}
  mirrored = mirror.mirror(values | {"cam_from_world": cam_from_world})
  np.testing.assert_allclose(project(mirrored["joints_cam"], mirrored["camera_img"]), mirrored["joints_img"], rtol=1e-5)
  world = rng.normal(size=3)
  seen, other = (m[:, :3] @ world + m[:, 3] for m in (cam_from_world, mirrored["cam_from_world"]))
  np.testing.assert_allclose(other, seen * [-1, 1, 1])


def test_mirrored_parameters_pose_the_mirrored_hands():
  model = HandModel.default()
  rng = np.random.default_rng(2)
  mano = np.concatenate([rng.normal(0, 0.3, (2, 58)), [[30, -20, 500], [-60, 10, 600]]], 1).astype(np.float32)
  joints = model.forward_mano(mano).keypoints
  mirrored = mirror.mirror({"mano": mano, "joints_cam": joints})
  np.testing.assert_allclose(model.forward_mano(mirrored["mano"]).keypoints, mirrored["joints_cam"], atol=1e-3)


def test_parts_change_sides_and_background_stays():
  parts = np.array([[0, 1, 16], [17, 32, 0]], np.uint8)
  np.testing.assert_array_equal(mirror.mirror({"parts": parts})["parts"], [[0, 17, 32], [1, 16, 0]])


def test_relative_depth_changes_sign():
  values = {"root_depth": np.array([500.0, 530]), "rel_root_depth": np.array(30.0)}
  mirrored = mirror.mirror(values)
  assert mirrored["root_depth"][1] - mirrored["root_depth"][0] == mirrored["rel_root_depth"]


def test_left_view_is_the_right_view_of_the_mirrored_scene():
  values = random_values(schema.BATCH)
  left, right = mirror.view(values, "left"), mirror.view(mirror.mirror(values), "right")
  for key in values:
    np.testing.assert_array_equal(left[key], right[key], err_msg=key)


def test_hand_views_know_of_one_hand_only_but_see_both():
  values = random_values(schema.BATCH, lead=(2,))
  left = mirror.view(values, "left")
  assert not left["joints_cam_valid"][:, 1].any()
  assert not left["joints_cam"][:, 1].any()
  assert not left["annotations_mano"][:, :, 1].any()
  np.testing.assert_array_equal(left["joints_cam"][:, 0], values["joints_cam"][:, 1] * [-1, 1, 1])
  np.testing.assert_array_equal(left["joints_img"][:, 0], values["joints_img"][:, 1])
  np.testing.assert_array_equal(left["masks"], values["masks"][:, ::-1])
  np.testing.assert_array_equal(left["hand_present"], values["hand_present"][:, ::-1])
  np.testing.assert_array_equal(mirror.view(values, "right")["mano"][:, 0], values["mano"][:, 0])


def test_pair_view_is_the_record_itself():
  values = random_values(schema.BATCH)
  assert mirror.view(values, "pair") == values


def test_jax_and_jit():
  values = {"joints_cam": np.ones((2, 21, 3), np.float32), "parts": np.full((3, 3), 4, np.uint8)}
  mirrored = jax.jit(mirror.mirror)({key: jnp.asarray(value) for key, value in values.items()})
  for key, value in mirror.mirror(values).items():
    np.testing.assert_array_equal(mirrored[key], value)
    assert mirrored[key].dtype == value.dtype


def test_errors_name_the_bad_value():
  with pytest.raises(ValueError, match="joint_cam"):
    mirror.mirror({"joint_cam": np.zeros(3)})
  with pytest.raises(ValueError, match="both"):
    mirror.view({}, "both")
