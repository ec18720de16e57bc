"""The record: it survives TFDS, and a wrong one is refused with the key's name."""

import cv2
import numpy as np
import pytest

from data_builders import schema
from jaxhands.schema import BATCH, SchemaError, pack_masks, unpack_masks


@pytest.fixture
def record():
  record = schema.empty_record()
  picture = np.zeros((24, 41, 3), np.uint8)
  picture[4:, :20] = (200, 30, 10)
  record |= {
    "picture": schema.encode_picture(picture),
    "picture_hw": np.array([24, 41], np.int32),
    "annotation_kind": "rendered",
    "record_id": np.int32(7),
  }
  return record


def test_shared_keys_mean_what_the_batch_says():
  for key in set(schema.RECORD) & set(BATCH):
    mine, theirs = schema.RECORD[key], BATCH[key]
    assert mine.unit == theirs.unit or key == "masks"
    if mine.dtype != "bytes":
      assert (mine.shape, mine.dtype) == (" ".join(theirs.axes[1:]), theirs.dtype)
      assert mine.frame == theirs.frame
    else:
      assert mine.frame == "img"


def test_every_quantity_of_the_batch_has_a_key():
  derived = {"image", "crop_from_img", "example_id", "weight", "annotations_valid", "record_hash"}
  from_elsewhere = {"root_depth_estimated", "root_depth_estimated_valid"}
  by_hand = {"deoccluded", "removed"}
  assert set(BATCH) - derived - from_elsewhere - by_hand <= set(schema.RECORD)
  assert {f"{key}_{hand}" for key in by_hand for hand in ("right", "left")} <= set(schema.RECORD)


def test_an_empty_record_with_a_picture_is_a_record(record):
  schema.check_record(record)


def test_colours_are_rgb(record):
  bgr = cv2.imdecode(np.frombuffer(record["picture"], np.uint8), cv2.IMREAD_COLOR)
  assert np.abs(bgr[15, 5].astype(int) - (10, 30, 200)).max() < 5


def test_equal_blocks_of_two_jpegs_stay_equal():
  rng = np.random.default_rng(0)
  one = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
  other = one.copy()
  other[:16, :16] = 0
  decoded = [cv2.imdecode(np.frombuffer(schema.encode_picture(p), np.uint8), cv2.IMREAD_COLOR) for p in (one, other)]
  differs = (decoded[0] != decoded[1]).any(-1)
  assert differs[:16, :16].any()
  differs[:16, :16] = False
  assert not differs.any()


def test_masks_share_one_label_map():
  masks = np.random.default_rng(1).integers(0, 2, (2, 2, 5, 7), dtype=np.uint8)
  packed = pack_masks(masks)
  assert packed.dtype == np.uint8
  assert packed.shape == (5, 7)
  assert packed.max() < 16
  np.testing.assert_array_equal(unpack_masks(packed), masks)
  only_left_visible = np.zeros_like(masks)
  only_left_visible[1, 1] = 1
  assert (pack_masks(only_left_visible) == 8).all()


@pytest.mark.parametrize("flags", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 4]])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("size", [(1, 1), (300, 77), (12, 4000)])
def test_sizes_are_read_from_headers(size, suffix, flags):
  encoded = cv2.imencode(suffix, np.zeros((*size, 3), np.uint8), flags if suffix == ".jpg" else [])[1].tobytes()
  assert schema.picture_size(encoded) == size


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"joints_cam": np.zeros((2, 21, 3))}, "'joints_cam' has dtype float64"),
    ({"joints_cam": np.zeros((42, 3), np.float32)}, r"'joints_cam' has shape \(42, 3\)"),
    ({"box_img": np.array([0, 0, np.nan, 1], np.float32)}, "'box_img' is not finite"),
    ({"joints_cam": np.ones((2, 21, 3), np.float32)}, "'joints_cam' is not 0 where 'joints_cam_valid' is False"),
    ({"mano": np.ones((2, 61), np.float32)}, "'mano' is not 0"),
    ({"picture": schema.ABSENT}, "'picture' is absent"),
    ({"picture": b"no picture"}, "neither JPEG nor PNG"),
    ({"picture": b"\xff\xd8\xff\xe0\x00"}, "neither JPEG nor PNG"),
    ({"picture_hw": np.array([41, 24], np.int32)}, "'picture_hw' is"),
    ({"parts_valid": np.True_}, "'parts' is absent"),
    ({"removed_left": schema.encode_picture(np.zeros((8, 8, 3), np.uint8))}, "'removed_left' is there"),
    ({"removed_valid": np.array([False, True])}, "'removed_left' is absent"),
    ({"hand_model": "embedded-v1"}, "'hand_model' is 'embedded-v1' but there are no parameters"),
    ({"mano_valid": np.array([True, False])}, "'hand_model' is '' but there are parameters"),
    ({"annotation_kind": "guessed"}, "'annotation_kind' is 'guessed'"),
    ({"record_id": np.int32(-1)}, "'record_id' is -1"),
    ({"source": b"path"}, "'source' is bytes, expected str"),
    ({"joints": np.zeros(3)}, r"unknown \['joints'\]"),
  ],
)
def test_a_wrong_record_is_refused(record, change, message):
  with pytest.raises(SchemaError, match=message):
    schema.check_record(record | change)
