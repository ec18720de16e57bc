"""Crop, label maps and targets against DIGIT's data set class, with given augmentation."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands import codecs
from jaxhands.data import augment, host_ops
from jaxhands.geometry import crop
from jaxhands.systems.digit import DIGIT
from tests.parity.cases import Case

SYSTEM = DIGIT(released=True)
MAP_HW = (128, 128)


@dataclasses.dataclass(frozen=True)
class Forced(augment.Augmentation):
  """Always the same draw."""

  chosen: augment.CropDraw = augment.NEUTRAL

  def draw(self, rng, share_of_masks=None):
    return self.chosen


class Sample:
  """One sample of the case, and what our pipeline makes of it."""

  def __init__(self, case: Case, name: str):
    self.case, self.name = case, name
    drawn = case.deterministic_image(int(self["in:image_seed"]), *self["in:label_map"].shape)
    picture = np.round(255 * drawn).astype(np.uint8)
    joints = self["in:joint"].reshape(2, 21, 3)
    valid = self["in:joint_valid"].reshape(2, 21) > 0
    draw = augment.CropDraw(
      translation=tuple(map(float, self["in:translate"])),
      scale=float(self["in:scale"]),
      rotation=float(np.radians(self["in:rotation_deg"])),
      mirror=bool(self["in:flip"]),
    )
    cut = host_ops.Crop(SYSTEM.crop_hw, MAP_HW, augmentation=Forced(chosen=draw))
    record = {
      "view": "pair",
      "reduction": 1,
      "picture": picture,
      "parts": self["in:label_map"],
      "box_img": self["in:bbox_xywh"],
      "joints_img": joints[..., :2],
      "joints_img_valid": valid,
      "joints_cam": joints,  # only z is read
      "joints_cam_valid": valid,
      "hand_present": self["in:hand_type"] > 0,
    }
    self.example = cut(record, np.random.default_rng(0))
    one = {key: jnp.asarray(self.example[key])[None] for key in record if key.startswith(("joints", "hand_"))}
    one["crop_from_img"] = jnp.asarray(self.example["crop_from_img"])[None]
    targets = codecs.encode_pose(one, SYSTEM.joints_codec, SYSTEM.root_codec)
    self.targets = {key: np.asarray(value[0]) for key, value in targets.items()}

  def __getitem__(self, key: str) -> np.ndarray:
    return self.case[f"{self.name}:{key}"]


@pytest.fixture(scope="module")
def samples(goldens) -> list[Sample]:
  case = Case(goldens, "digit_data")
  return [Sample(case, name) for name in sorted({key.split(":")[0] for key in case})]


def test_boxes_and_affines(samples):
  for sample in samples:
    box = crop.process_box(sample["in:bbox_xywh"], SYSTEM.crop_hw)
    np.testing.assert_allclose(box, sample["bbox_processed"], atol=1e-3)
    moved = box[:2] + sample["in:translate"] * box[2:]
    np.testing.assert_allclose(moved, sample["bbox_after"][:2], atol=1e-3)
    reference = sample["trans"]  # of the mirrored picture
    if sample["in:flip"]:
      width = sample["in:label_map"].shape[1]
      reference = crop.compose_affine(reference, np.array([[-1, 0, width - 1], [0, 1, 0]], np.float32))
    corners = np.array([[0, 0], [333, 0], [0, 511], [333, 511]], np.float32)
    ours = crop.apply_affine(sample.example["crop_from_img"], corners)
    np.testing.assert_allclose(ours, crop.apply_affine(reference, corners), atol=2e-3)


def test_pictures(samples):
  """To one grey level: the references' rounding depends on the version of OpenCV."""
  for sample in samples:
    image = np.clip(sample.example["image"] * sample["in:color"], 0, 255).transpose(2, 0, 1) / 255
    error = np.abs(image[:, ::4, ::4] - sample["image"]) * 255
    assert error.mean() < 0.1
    assert np.percentile(error, 99) < 1.3
    np.testing.assert_allclose(image.mean((1, 2)), sample["image_mean"], atol=5e-4)


def test_label_maps(samples):
  """All but a few pixels at borders of classes, where the nearest pixel is a matter of rounding."""
  for sample in samples:
    assert (sample.example["parts"] != sample["segm_target"]).mean() < 2e-3
    assert len(np.unique(sample.example["parts"])) > 5


def test_targets(samples):
  for sample in samples:
    valid = sample["joint_valid"].reshape(2, 21) > 0
    np.testing.assert_array_equal(sample.targets["voxels_valid"], valid)
    expected = sample["joint_coord"].reshape(2, 21, 3)
    np.testing.assert_allclose(sample.targets["voxels"][valid], expected[valid], atol=1e-3)
    np.testing.assert_array_equal(sample.example["hand_present"], sample["hand_type"] > 0)
    assert sample.targets["root_bin_valid"] == (sample["root_valid"][0] > 0)
    if sample["root_valid"][0] > 0:
      assert sample.targets["root_bin"] == pytest.approx(sample["rel_root_depth"][0], abs=1e-3)
