"""Records against what is known of the made-up download, read back as every reader does."""

import json

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders.interhand26m import InterHandConfig, build
from jaxhands.geometry import crop
from jaxhands.hands.model import HandModel
from jaxhands.schema import HANDS, unpack_masks
from tests.data_builders.interhand26m import download as made_up

SINGLE_FIRST = (33, 99, 45, 12, 70)  # ids as the annotations list them: one hand, then two


def read(folder, split="test"):
  return list(tfds.builder_from_directory(folder).as_data_source(split))


@pytest.fixture(scope="module")
def records(pristine, mano_folder, tmp_path_factory):
  """By annotation id, with MANO."""
  out, _ = build(InterHandConfig(str(pristine[0]), mano=str(mano_folder)), tmp_path_factory.mktemp("built"), jobs=1)
  return dict(zip(SINGLE_FIRST, read(out), strict=True))


@pytest.fixture(scope="module")
def plain(pristine, tmp_path_factory):
  """By annotation id, without MANO."""
  out, _ = build(InterHandConfig(str(pristine[0])), tmp_path_factory.mktemp("built"), jobs=1)
  return dict(zip(SINGLE_FIRST, read(out), strict=True))


def each(records, pristine):
  for id_, capture, _, frame, camera, hand_type in made_up.PICTURES:
    present = np.array([hand_type in (hand, "interacting") for hand in HANDS])
    yield records[id_], pristine[1][capture, frame], camera, present


def test_single_hands_come_first_in_the_files_order(records):
  expected = {id_: f"test/Capture{c}/{s}/cam{cam}/image{f}.jpg" for id_, c, s, f, cam, _ in made_up.PICTURES}
  assert [record["source"].decode() for record in records.values()] == [expected[id_] for id_ in SINGLE_FIRST]


def test_ids(records):
  first = 2 * 2**27
  assert {id_: int(r["record_id"]) - first for id_, r in records.items()} == {12: 0, 33: 1, 45: 2, 70: 3, 99: 4}
  scene = {id_: int(r["scene_id"]) - 2_000_000 for id_, r in records.items()}
  assert scene == {45: 0, 33: 0, 99: 1, 12: 2, 70: 2}  # (capture, sequence) in their order
  for id_, capture, _, frame, camera, _ in made_up.PICTURES:
    record = records[id_]
    assert (record["subject_id"], record["frame"], record["camera_id"]) == (capture + 3, frame, camera)
    assert record["annotation_kind"] == b"human or machine"


def test_joints_and_cameras(plain, pristine):
  for record, true, camera, present in each(plain, pristine):
    rotation, position = made_up.camera_of(camera)
    expected = (true.joints_world.astype(np.float64) - position) @ rotation.T
    np.testing.assert_array_equal(record["hand_present"], present)
    assert record["hand_present_valid"]
    for flags in (record["joints_cam_valid"], record["joints_img_valid"]):
      np.testing.assert_array_equal(flags, np.repeat(present, 21).reshape(2, 21))
    np.testing.assert_array_equal(record["root_depth_valid"], present)
    np.testing.assert_allclose(record["joints_cam"][present], expected[present], atol=1e-3)
    np.testing.assert_allclose(record["root_depth"][present], expected[present, 20, 2], atol=1e-3)
    x = expected[..., 0] / expected[..., 2] * made_up.FOCAL + made_up.WIDTH / 2 + 1
    y = expected[..., 1] / expected[..., 2] * (made_up.FOCAL + 1) + made_up.HEIGHT / 2 - 1
    np.testing.assert_allclose(record["joints_img"][present], np.stack([x, y], -1)[present], atol=1e-3)
    np.testing.assert_allclose(record["camera_img"][:2, 2], [made_up.WIDTH / 2 + 1, made_up.HEIGHT / 2 - 1])
    world = (record["joints_cam"] - record["cam_from_world"][:, 3]) @ record["cam_from_world"][:, :3]
    np.testing.assert_allclose(world[present], true.joints_world[present], atol=1e-2)
    np.testing.assert_allclose(record["box_img"], [20.5, 30.25, 70, 60])


def test_boxes_of_the_real_frames_are_the_joints_with_a_tenth_on_each_side(real, tmp_path):
  """What `box_img` means in every data set is what InterHand2.6M annotates."""
  out, _ = build(InterHandConfig(str(real)), tmp_path / "out", jobs=1)
  found = read(out)
  assert len(found) == 4
  for record in found:
    around = crop.box_around(record["joints_img"].reshape(42, 2), record["joints_img_valid"].reshape(42))
    np.testing.assert_allclose(record["box_img"], around, atol=0.05)


def test_pictures_stay_the_bytes_that_they_were(pristine, tmp_path):
  out, _ = build(InterHandConfig(str(pristine[0])), tmp_path / "out", jobs=1)
  skip = {"picture": tfds.decode.SkipDecoding()}
  for record in tfds.builder_from_directory(out).as_data_source("test", decoders=skip):
    assert record["picture"] == (pristine[0] / "images" / record["source"].decode()).read_bytes()
    assert tuple(record["picture_hw"]) == (made_up.HEIGHT, made_up.WIDTH)


def test_without_mano_nothing_is_claimed_that_needs_it(plain):
  for record in plain.values():
    assert not record["mano_valid"].any()
    assert not record["parts_valid"]
    assert not record["masks_valid"].any()
    assert not record["joints_visible"].any()
    assert record["hand_model"] == b""


def test_parameters_pose_the_annotated_hand_with_the_mean_included(records, pristine, mano_folder):
  model, embedded = HandModel.from_mano(mano_folder), HandModel.default()
  for record, true, _, present in each(records, pristine):
    assert record["hand_model"].decode() == model.identity
    np.testing.assert_array_equal(record["mano_valid"], present)
    posed = embedded.forward_mano(record["mano"])
    np.testing.assert_allclose(posed.keypoints[present], record["joints_cam"][present], atol=0.02)
    # Fingers and shape do not depend on the camera, and a flat hand is 0.
    np.testing.assert_allclose(record["mano"][present, 3:58], true.mano_world[present, 3:58], atol=1e-5)


def test_masks_and_parts_are_where_the_hands_are(records, pristine):
  embedded = HandModel.default()
  for record, _, _, present in each(records, pristine):
    masks = unpack_masks(record["masks"][..., 0]).astype(bool)
    parts = record["parts"][..., 0]
    assert record["masks_valid"].all()
    assert record["parts_valid"]
    vertices = embedded.forward_mano(record["mano"]).vertices
    for hand in (0, 1):
      if not present[hand]:
        assert not masks[hand].any()
        continue
      homogeneous = vertices[hand] @ record["camera_img"].T
      points = (homogeneous[:, :2] / homogeneous[:, 2:]).astype(np.float32)
      hull = np.zeros(parts.shape, np.uint8)
      cv2.fillConvexPoly(hull, cv2.convexHull(points).round().astype(np.int32), 1)
      assert masks[hand, 0].any()
      assert not (masks[hand, 0] & ~cv2.dilate(hull, np.ones((3, 3), np.uint8)).astype(bool)).any()
      inside = ((points >= 1) & (points <= np.array(parts.shape[::-1]) - 2)).all(-1)
      near = cv2.dilate(masks[hand, 0].astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
      column, row = points[inside].round().astype(int).T
      assert near[row, column].all()
      assert not (masks[hand, 1] & ~masks[hand, 0]).any()
      np.testing.assert_array_equal(masks[hand, 1], (parts > 16 * hand) & (parts <= 16 * hand + 16))
    assert record["joints_visible"][present].any()
    assert not record["joints_visible"][~present].any()


def test_of_a_hand_whose_other_has_no_fit_only_the_amodal_mask_is_known(download, mano_folder, tmp_path):
  path = download / "annotations" / "test" / "InterHand2.6M_test_MANO_NeuralAnnot.json"
  content = json.loads(path.read_text())
  content["1"]["12"]["left"] = None
  path.write_text(json.dumps(content))
  out, problems = build(InterHandConfig(str(download), mano=str(mano_folder)), tmp_path / "out", jobs=1)
  assert problems == []
  (*_, record) = read(out)
  np.testing.assert_array_equal(record["mano_valid"], [True, False])
  np.testing.assert_array_equal(record["masks_valid"], [[True, False], [False, False]])
  assert not record["parts_valid"]
  assert not record["joints_visible"].any()
