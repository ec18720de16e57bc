"""Annotations, box, affine, warp, mirror and targets against InterHand2.6M's public data set class.

The four real pictures may not be redistributed: they are read from the shared folder, together with the golden arrays.
"""

import dataclasses
import json
import pathlib

import cv2
import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from jax.sharding import AxisType

from data_builders.interhand26m import InterHandConfig, build
from jaxhands import codecs, schema
from jaxhands.data import augment, host_ops
from jaxhands.data.records import RootDepths
from jaxhands.evaluation.evaluator import Evaluator
from jaxhands.evaluation.metrics import handedness, poses
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.geometry import camera, crop
from tests import replay
from tests.parity.cases import Case

CROP_HW = (256, 256)
GRID = 64  # voxels on each axis
DEPTH_RANGE_MM = 400


@dataclasses.dataclass(frozen=True)
class Forced(augment.Augmentation):
  """Always the same draw."""

  chosen: augment.CropDraw = augment.NEUTRAL

  def draw(self, rng, share_of_masks=None):
    return self.chosen


@pytest.fixture(scope="module")
def case(shared) -> Case:
  return Case(shared / "parity", "interhand_data")


@pytest.fixture(scope="module")
def samples(shared) -> pathlib.Path:
  return shared / "samples" / "interhand"


@pytest.fixture(scope="module")
def boxes(samples) -> dict[int, np.ndarray]:
  """Frame -> annotated box."""
  data = json.loads(next((samples / "mini_dataset" / "annotations" / "test").glob("*_data.json")).read_text())
  frames = {image["id"]: image["frame_idx"] for image in data["images"]}
  return {frames[a["image_id"]]: np.array(a["bbox"], np.float32) for a in data["annotations"]}


@pytest.fixture(scope="module")
def built(samples, tmp_path_factory) -> pathlib.Path:
  """The four frames as `data_builders.interhand26m` builds them."""
  folder, problems = build(InterHandConfig(str(samples / "mini_dataset")), tmp_path_factory.mktemp("built"), jobs=1)
  assert problems == []
  return folder


@pytest.fixture(scope="module")
def records(built) -> list[dict]:
  return list(tfds.builder_from_directory(built).as_data_source("test"))


def test_records_are_what_the_reference_reads(case, records):
  """Its order of the list, validity, joints, boxes, depths and cameras."""
  np.testing.assert_array_equal([record["frame"] for record in records], case["frame"])
  for index, record in enumerate(records):
    valid = case["joint_valid_annotation"][index].reshape(2, 21) > 0
    np.testing.assert_array_equal(record["joints_cam_valid"], valid)
    np.testing.assert_array_equal(record["joints_img_valid"], valid)
    for key, name, size in (("joints_cam", "joint_cam", 3), ("joints_img", "joint_img", 2)):
      np.testing.assert_allclose(record[key][valid], case[name][index].reshape(2, 21, size)[valid], atol=1e-3)
    box = crop.process_box(record["box_img"], CROP_HW)
    np.testing.assert_allclose(box, case["bbox_processed"][index], atol=1e-3)
    there = record["root_depth_valid"]
    np.testing.assert_array_equal(there, valid[:, 20])
    np.testing.assert_allclose(record["root_depth"][there], case["abs_depth_gt"][index][there], atol=1e-3)
    np.testing.assert_array_equal(record["hand_present"], case["test_hand_type"][index] > 0)
    assert bool(record["hand_present_valid"]) == bool(case["test_hand_type_valid"][index])
    expected = camera.intrinsics(case["focal"][index], case["princpt"][index])
    np.testing.assert_allclose(record["camera_img"], expected, rtol=1e-7)
    assert record["picture"].shape == tuple(case["image_shape"][index])


def test_rootnet_depths_are_found_by_example(case, built, records):
  depths = RootDepths.read(built / "root_depths-test.npz")
  assert len(depths) == len(records)
  for index, record in enumerate(records):
    depth_mm, valid = depths.of(int(record["record_id"]), int(schema.record_hash(record["source"], record["box_img"])))
    np.testing.assert_allclose(depth_mm, case["abs_depth_rootnet"][index], rtol=1e-6)
    assert valid.all()


def record(case, samples, boxes, index) -> dict:
  """What a data builder stores for sample `index`; garbage of absent joints is kept, as the reference has it."""
  frame = int(case["frame"][index])
  valid = case["joint_valid_annotation"][index].reshape(2, 21) > 0
  return {
    "record_id": index,
    "view": "pair",
    "picture": next((samples / "mini_dataset" / "images").rglob(f"image{frame}.jpg")).read_bytes(),
    "box_img": boxes[frame],
    "joints_img": case["joint_img"][index].reshape(2, 21, 2),
    "joints_img_valid": valid,
    "joints_cam": case["joint_cam"][index].reshape(2, 21, 3),
    "joints_cam_valid": valid,
    "hand_present": case["test_hand_type"][index] > 0,
  }


def draw_of(case, mode, index) -> augment.CropDraw:
  if mode == "test":
    return augment.NEUTRAL
  return augment.CropDraw(
    translation=tuple(case["aug_trans"][index]),
    scale=float(case["aug_scale"][index]),
    rotation=float(np.radians(case["aug_rot"][index])),
    mirror=bool(case["aug_flip"][index]),
  )


def examples(case, samples, boxes, mode):
  for index in range(len(case["frame"])):
    given = record(case, samples, boxes, index)
    draw = draw_of(case, mode, index)
    ops = host_ops.crop_ops(CROP_HW, augmentation=Forced(chosen=draw))
    example = dict(given)
    for op in ops:
      example = op(example, np.random.default_rng(0))
    yield index, given, draw, example


def colours(case, mode, index):
  return case["aug_color"][index] if mode == "train" else np.ones(3)


def test_boxes_and_decoder(case, samples, boxes):
  for index in range(len(case["frame"])):
    given = record(case, samples, boxes, index)
    ours = crop.process_box(given["box_img"], CROP_HW)
    np.testing.assert_allclose(ours, case["bbox_processed"][index], atol=1e-3)
    picture = host_ops.decode_picture(given["picture"])
    assert picture.shape == tuple(case["image_shape"][index])
    np.testing.assert_allclose(picture.mean((0, 1)), case["image_channel_mean"][index], atol=0.05)


@pytest.mark.parametrize("mode", ["test", "train"])
def test_affine(case, samples, boxes, mode):
  for index, _, draw, example in examples(case, samples, boxes, mode):
    reference = case[f"{mode}_inv_trans"][index]  # crop to the mirrored picture
    if draw.mirror:
      width = case["image_shape"][index][1]
      reference = crop.compose_affine(np.array([[-1, 0, width - 1], [0, 1, 0]], np.float32), reference)
    corners = np.array([[0, 0], [255, 0], [0, 255], [255, 255]], np.float32)
    ours = crop.apply_affine(crop.invert_affine(example["crop_from_img"]), corners)
    np.testing.assert_allclose(ours, crop.apply_affine(reference, corners), atol=1e-3)


@pytest.mark.parametrize("mode", ["test", "train"])
def test_pictures(case, samples, boxes, mode):
  for index, given, _, example in examples(case, samples, boxes, mode):
    picture = host_ops.decode_picture(given["picture"]).astype(np.float32)
    factors = colours(case, mode, index).astype(np.float32)
    exact = np.clip(host_ops.warp(picture, example["crop_from_img"], CROP_HW) * factors, 0, 255) / 255
    error = np.abs(exact[::8, ::8] - case[f"{mode}_image_slice"][index].transpose(1, 2, 0))
    assert error.max() < 0.02
    assert error.mean() < 1e-3
    np.testing.assert_allclose(exact.mean((0, 1)), case[f"{mode}_image_channel_mean"][index], atol=1e-3)
    # What is shipped is rounded to whole grey levels.
    assert np.abs(np.clip(example["image"] * factors, 0, 255) / 255 - exact).max() < 0.51 / 255 * factors.max()


@pytest.mark.parametrize("mode", ["test", "train"])
def test_targets(case, samples, boxes, mode):
  """The arrays from which the codec makes its targets hold InterNet's targets."""
  for index, _, _, example in examples(case, samples, boxes, mode):
    points = crop.apply_affine(example["crop_from_img"], example["joints_img"])
    depth = example["joints_cam"][..., 2]
    rel_depth = depth - depth[:, 20:]
    z = (rel_depth / (DEPTH_RANGE_MM / 2) + 1) / 2 * GRID
    ours = np.concatenate([points * (GRID / CROP_HW[0]), z[..., None]], -1)
    valid = example["joints_img_valid"] & crop.inside(points, CROP_HW) & (z >= 0) & (z < GRID)
    reference_valid = case[f"{mode}_joint_valid"][index].reshape(2, 21) > 0
    np.testing.assert_array_equal(valid, reference_valid)
    reference = case[f"{mode}_joint_coord"][index].reshape(2, 21, 3)
    np.testing.assert_allclose(ours[valid], reference[valid], atol=1e-3)
    np.testing.assert_array_equal(example["hand_present"], case[f"{mode}_hand_type"][index] > 0)
    both = example["hand_present"].all() and example["joints_cam_valid"][:, 20].all()
    bins = ((depth[1, 20] - depth[0, 20]) / (DEPTH_RANGE_MM / 2) + 1) / 2 * GRID
    assert bool(case[f"{mode}_root_valid"][index, 0]) == bool(both and 0 <= bins < GRID)
    if both:
      assert bins == pytest.approx(case[f"{mode}_rel_root_depth"][index, 0], abs=1e-3)


def test_demo_crop(case, samples):
  picture = host_ops.decode_picture((samples / "demo_input.jpg").read_bytes())
  box = crop.process_box(np.array([69, 137, 165, 153], np.float64), CROP_HW)
  np.testing.assert_allclose(box, case["demo_bbox_processed"], atol=1e-9)
  affine = crop.crop_affine(box.astype(np.float32), CROP_HW)
  np.testing.assert_allclose(affine, case["demo_trans"], atol=1e-4)
  np.testing.assert_allclose(crop.invert_affine(affine), case["demo_inv_trans"], atol=1e-4)
  image = cv2.warpAffine(picture.astype(np.float32), affine.astype(float), CROP_HW[::-1]) / 255
  error = np.abs(image[::8, ::8] - case["demo_image_slice"].transpose(1, 2, 0))
  assert error.max() < 0.02
  assert error.mean() < 1e-3


def test_evaluation_of_the_samples(case):
  """The routine's results on given predictions, RootNet's depths, and boxes as RootNet's file has them."""
  voxels = case["eval_in_joint_coord"].reshape(-1, 2, 21, 3)
  joints_crop, rel_depth = codecs.HeatmapCodec().decode(voxels)
  affine = crop.crop_affine(case["bbox_processed"], CROP_HW)
  count = len(voxels)
  prediction = {
    "joints_img": crop.apply_affine(crop.invert_affine(affine), joints_crop),
    "joints_rel_depth": rel_depth,
    "rel_root_depth": codecs.RootDepthCodec().decode(case["eval_in_rel_root_depth"]),
    "hand_prob": case["eval_in_hand_type"],
    "confidence": np.ones((count, 2, 21), np.float32),
    "scale_known": np.ones(count, bool),
  }
  truth = {
    "joints_cam": case["joint_cam"].reshape(-1, 2, 21, 3),
    "joints_cam_valid": case["joint_valid_annotation"].reshape(-1, 2, 21) > 0,
    "joints_img": case["joint_img"].reshape(-1, 2, 21, 2),
    "joints_img_valid": case["joint_valid_annotation"].reshape(-1, 2, 21) > 0,
    "hand_present": case["test_hand_type"] > 0,
    "hand_present_valid": case["test_hand_type_valid"] > 0,
    "camera_img": camera.intrinsics(case["focal"], case["princpt"]),
    "camera_valid": np.ones(count, bool),
    "root_depth_estimated": case["abs_depth_rootnet"].astype(np.float32),
    "root_depth_estimated_valid": np.ones((count, 2), bool),
  }
  mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:1])
  protocol = Protocol(depth="rootnet")
  evaluator = Evaluator(replay.Replay(), mesh, (*poses(protocol), handedness.accuracy()), protocol)
  result = evaluator(replay.variables(prediction), replay.batches(truth, count), resamples=0)
  for key, name in (
    ("mpjpe/all", "mpjpe_all"),
    ("mpjpe/single", "mpjpe_sh"),
    ("mpjpe/interacting", "mpjpe_ih"),
    ("mrrpe", "mrrpe"),
    ("handedness_accuracy", "handedness_accuracy"),
  ):
    assert result.metrics[key] == pytest.approx(float(case[f"eval_{name}"]), rel=1e-5), key
