"""From record to example: pixels follow the joints through crop, mirror and views; only what is needed is made."""

import cv2
import numpy as np
import pytest

from jaxhands import schema
from jaxhands.data import augment, host_ops
from jaxhands.geometry import camera, crop
from tests.data.conftest import PICTURE_HW, make_record

CROP_HW, MAP_HW = (32, 32), (16, 16)
MIRRORED = augment.Augmentation(mirror_probability=1.0)
PLAIN = augment.Augmentation(mirror_probability=0.0)


def example_of(index=2, view="pair", augmentation=None, seed=0, clip=False, **changes):
  example = make_record("train", index) | {"view": view} | changes
  for op in host_ops.crop_ops(CROP_HW, MAP_HW, augmentation, clip=clip):
    example = op(example, np.random.default_rng(seed))
  return example


def dots(points, value):
  """A picture with a bright spot at every point."""
  rows, columns = np.mgrid[: PICTURE_HW[0], : PICTURE_HW[1]]
  spots = sum(np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 2) for x, y in points)
  return np.clip(spots * value, 0, 255)


CASES = [("pair", None), ("pair", PLAIN), ("pair", MIRRORED), ("right", None), ("left", None), ("left", PLAIN)]


@pytest.mark.parametrize(("view", "augmentation"), CASES)
def test_pixels_follow_the_joints(view, augmentation):
  """Spots drawn at the right hand's joints (red) and the left's (green) are found where the affine says."""
  joints = np.zeros((2, 21, 2), np.float32)
  joints[0], joints[1] = [22, 17], [39, 30]
  picture = np.stack([dots(joints[0, :1], 255), dots(joints[1, :1], 255), np.zeros(PICTURE_HW)], -1).astype(np.uint8)
  encoded = cv2.imencode(".png", picture[..., ::-1])[1].tobytes()
  example = example_of(view=view, augmentation=augmentation, joints_img=joints, picture=encoded)
  points = crop.apply_affine(example["crop_from_img"], example["joints_img"])[:, 0]
  swapped = view == "left" or augmentation is MIRRORED
  for hand in (0, 1) if view == "pair" else (0,):
    channel = example["image"][..., 1 - hand if swapped else hand].astype(float)
    rows, columns = np.mgrid[: CROP_HW[0], : CROP_HW[1]]
    found = [(columns * channel).sum() / channel.sum(), (rows * channel).sum() / channel.sum()]
    if crop.inside(points, CROP_HW)[hand]:
      np.testing.assert_allclose(found, points[hand], atol=0.3)


def test_spot_test_sees_inside_points():
  """The test above looks at a joint in every case."""
  for view, augmentation in CASES:
    joints = np.zeros((2, 21, 2), np.float32)
    joints[0], joints[1] = [22, 17], [39, 30]
    example = example_of(view=view, augmentation=augmentation, joints_img=joints)
    assert crop.inside(crop.apply_affine(example["crop_from_img"], example["joints_img"]), CROP_HW)[0, 0]


@pytest.mark.parametrize(("view", "augmentation"), CASES)
def test_camera_still_projects_the_joints(view, augmentation):
  example = example_of(view=view, augmentation=augmentation)
  valid = example["joints_cam_valid"]
  projected = camera.project(example["joints_cam"], example["camera_img"][None])
  np.testing.assert_allclose(projected[valid], example["joints_img"][valid], atol=1e-3)


def test_augmentation_leaves_camera_joints_alone():
  plain, augmented = example_of(), example_of(augmentation=PLAIN)
  assert not np.array_equal(plain["crop_from_img"], augmented["crop_from_img"])
  for key in ("joints_cam", "joints_img", "root_depth", "camera_img", "hand_present"):
    np.testing.assert_array_equal(plain[key], augmented[key])


def test_mirrored_labels_name_the_other_side():
  plain, mirrored = example_of(), example_of(augmentation=augment.Augmentation(0.0, 0.0, 0.0, 0.0, 1.0))
  np.testing.assert_array_equal(mirrored["masks"][0, 0] > 0, mirrored["parts"] == 4)
  np.testing.assert_array_equal(mirrored["masks"][1, 0] > 0, mirrored["parts"] == 19)
  np.testing.assert_array_equal(plain["masks"][0, 0] > 0, plain["parts"] == 3)
  np.testing.assert_array_equal(plain["masks"][1, 0] > 0, plain["parts"] == 20)
  assert (plain["masks"].sum((2, 3)) > 0).all()
  # Column c of the mirrored map shows what column width - c of the plain one does, but for rounding at edges.
  same = mirrored["masks"][..., 1:] == plain["masks"][::-1, ..., 1:][..., ::-1]
  assert same.mean() > 0.95


def test_label_maps_cover_the_crop():
  """Every map pixel shows the label under the crop's even pixel."""
  example = example_of(2)
  ops = host_ops.crop_ops(CROP_HW, CROP_HW)
  large = make_record("train", 2) | {"view": "pair"}
  for op in ops:
    large = op(large, np.random.default_rng(0))
  np.testing.assert_array_equal(example["parts"], large["parts"][::2, ::2])
  np.testing.assert_array_equal(example["masks"], large["masks"][..., ::2, ::2])


def test_a_crop_elsewhere_shows_no_joint_and_says_so():
  moved = 0
  for seed in range(40):
    joints = np.random.default_rng(seed).uniform(10, 30, (2, 21, 2)).astype(np.float32)
    record = make_record("train", 2) | {"view": "pair", "joints_img": joints}
    record["picture"] = np.zeros((300, 400, 3), np.uint8)
    record["box_img"] = np.array([10, 10, 20, 20], np.float32)
    record["joints_img_valid"] = np.ones((2, 21), bool)
    plain, example = dict(record), dict(record)
    rng = np.random.default_rng(seed)
    for op in host_ops.crop_ops(CROP_HW, MAP_HW, augment.Augmentation(), elsewhere=0.5):
      example = op(example, rng)
    if example["hand_present"].any():
      np.testing.assert_array_equal(example["box_img"], plain["box_img"])
      continue
    moved += 1
    assert not example["joints_img_valid"].any()
    assert not example["joints_cam_valid"].any()
    x, y = np.moveaxis(crop.apply_affine(example["crop_from_img"], joints.reshape(-1, 2)), -1, 0)
    assert not ((x > 0) & (x < CROP_HW[1]) & (y > 0) & (y < CROP_HW[0])).any()
  assert 10 < moved < 30
  # Without room for it the picture stays as it is.
  example = make_record("train", 2) | {"view": "pair", "picture": np.zeros((20, 20, 3), np.uint8)}
  example["joints_img"] = np.full((2, 21, 2), 10, np.float32)
  example["joints_img_valid"] = np.ones((2, 21), bool)
  for op in host_ops.crop_ops(CROP_HW, MAP_HW, augment.Augmentation(), elsewhere=1.0):
    example = op(example, np.random.default_rng(0))
  assert example["hand_present"].any()


def test_hand_views_have_their_own_box_and_id():
  pair, right, left = (example_of(view=view) for view in ("pair", "right", "left"))
  assert [int(e["example_id"]) for e in (pair, right, left)] == [8, 9, 10]
  record = make_record("train", 2)
  for example, hand in ((right, 0), (left, 1)):
    expected = crop.box_around(record["joints_img"][hand], record["joints_img_valid"][hand])
    np.testing.assert_allclose(example["box_img"], expected)
    assert not example["joints_img_valid"][1].any()
    assert example["hand_present"].all()
  np.testing.assert_array_equal(pair["box_img"], record["box_img"])


def test_records_know_which_picture_and_box_they_are():
  hashes = {(split, row): example_hash(split, row) for split in ("train", "val") for row in range(5)}
  assert len(set(hashes.values())) == 10
  assert {example_hash("train", 2, view) for view in schema.VIEWS} == {hashes["train", 2]}
  record = make_record("train", 2)
  assert schema.record_hash(record["source"].encode(), record["box_img"]) == hashes["train", 2]
  assert schema.record_hash(record["source"], record["box_img"] + 1) != hashes["train", 2]


def example_hash(split, row, view="pair"):
  example = make_record(split, row) | {"view": view}
  return int(host_ops.ToView()(example, np.random.default_rng(0))["record_hash"])


def test_a_box_may_be_cut_at_the_pictures_edges():
  box = np.float32([-10, 5, 60, 80])
  cut = example_of(clip=True, box_img=box)
  expected = crop.crop_affine(crop.process_box(crop.clip_box(box, (48, 64)), CROP_HW), CROP_HW)
  np.testing.assert_allclose(cut["crop_from_img"], expected, rtol=1e-5)
  assert not np.allclose(cut["crop_from_img"], example_of(box_img=box)["crop_from_img"])


def test_hand_views_are_never_mirrored_again():
  with pytest.raises(ValueError, match="mirror_probability=0"):
    example_of(view="left", augmentation=MIRRORED)


def test_pictures_of_the_hands_are_cropped_alike():
  record = make_record("train", 2)
  pictures = {f"removed_{hand}": record["picture"] for hand in schema.HANDS}
  example = example_of(**pictures)
  np.testing.assert_array_equal(example["removed"][0], example["image"])
  assert example["removed"].shape == (2, *CROP_HW, 3)


@pytest.mark.parametrize("side", [100, 200, 400, 900])
def test_smaller_decoding_keeps_the_geometry(side):
  """A JPEG decoded at half or a quarter of its size gives nearly the same crop."""
  rows, columns = np.mgrid[:900, :900] / 900
  picture = np.stack([255 * rows, 255 * columns, 255 * (1 - rows)], -1).astype(np.uint8)
  record = {
    "record_id": 1, "view": "pair", "picture": cv2.imencode(".jpg", picture)[1].tobytes(),
    "box_img": np.array([3, 5, side, side], np.float32) * np.float32([1, 1, 0.8, 0.8]),
    "joints_img": np.zeros((2, 21, 2), np.float32), "joints_img_valid": np.zeros((2, 21), bool),
  }  # fmt: skip
  crops, reductions = [], []
  for shrink in (False, True):
    example = dict(record)
    to_view, decode, cut = host_ops.crop_ops((96, 96), augmentation=PLAIN, shrink=shrink)
    example = decode(to_view(example, np.random.default_rng(0)), np.random.default_rng(0))
    reductions.append(example["reduction"])
    crops.append(cut(example, np.random.default_rng(0))["image"].astype(int))
  assert reductions == [1, {100: 1, 200: 2, 400: 4, 900: 4}[side]]
  inside = (crops[0] > 8).all(-1) & (crops[1] > 8).all(-1)
  assert abs(crops[0] - crops[1])[inside].max() <= 6


def test_select_gives_the_schema_and_nothing_else():
  example = example_of()
  needs = {"image", "joints_cam", "root_depth_estimated", "root_depth_estimated_valid", "parts"}
  chosen = host_ops.select(example, needs)
  assert set(chosen) == needs | {"example_id", "weight"}
  schema.check({key: value[None] for key, value in chosen.items()}, needs=needs)
  assert not chosen["root_depth_estimated_valid"].any()
  with pytest.raises(ValueError, match=r"\['heat'\]"):
    host_ops.select(example, {"heat"})


def test_only_needed_keys_are_read():
  keys = host_ops.record_keys({"image", "masks", "example_id"})
  assert keys == {"picture", "masks", "record_id", "box_img", "joints_img", "joints_img_valid"}
  assert {"removed_right", "removed_left"} <= host_ops.record_keys({"removed"})


def test_padded_picture_is_the_original():
  ops = (host_ops.ToView(), host_ops.Decode(), host_ops.PadPicture((50, 80)), host_ops.Crop(CROP_HW, MAP_HW))
  example = make_record("train", 2) | {"view": "pair"}
  for op in ops:
    example = op(example, np.random.default_rng(0))
  original = host_ops.decode_picture(make_record("train", 2)["picture"])
  np.testing.assert_array_equal(example["picture"][: PICTURE_HW[0], : PICTURE_HW[1]], original)
  assert not example["picture"][PICTURE_HW[0] :].any()
  np.testing.assert_array_equal(example["image"], example_of(2)["image"])
  too_small = {"picture": original, "reduction": 1}
  with pytest.raises(ValueError, match="enlarge picture_hw"):
    host_ops.PadPicture((20, 20))(too_small, np.random.default_rng(0))


def test_annotations_are_padded_and_chosen():
  given = np.arange(5 * 2 * 61, dtype=np.float32).reshape(5, 2, 61)
  rng = np.random.default_rng(0)
  padded = host_ops.PadAnnotations(7, random=False)({"annotations_mano": given}, rng)
  np.testing.assert_array_equal(padded["annotations_mano"][:5], given)
  assert padded["annotations_valid"].tolist() == [True] * 5 + [False] * 2
  first = host_ops.PadAnnotations(3, random=False)({"annotations_mano": given}, rng)
  np.testing.assert_array_equal(first["annotations_mano"], given[:3])
  chosen = [host_ops.PadAnnotations(3, random=True)({"annotations_mano": given}, rng) for _ in range(20)]
  assert {tuple(c["annotations_mano"][:, 0, 0]) for c in chosen} != {tuple(given[:3, 0, 0])}
  assert all(c["annotations_valid"].all() and len(np.unique(c["annotations_mano"][:, 0, 0])) == 3 for c in chosen)


def test_one_annotation_of_an_example_is_always_the_first():
  given = np.arange(9 * 2 * 61, dtype=np.float32).reshape(9, 2, 61)
  op = host_ops.PadAnnotations(4, random=True, keeps_one=True)
  firsts = set()
  for example_id in range(12):
    rng = np.random.default_rng(example_id)
    drawn = [op({"annotations_mano": given, "example_id": example_id}, rng)["annotations_mano"] for _ in range(10)]
    assert len({rows[0, 0, 0] for rows in drawn}) == 1
    assert len({tuple(rows[:, 0, 0]) for rows in drawn}) > 1
    assert all(len(set(rows[:, 0, 0])) == 4 for rows in drawn)
    firsts.add(drawn[0][0, 0, 0])
  assert len(firsts) > 4
  few = op({"annotations_mano": given[:2], "example_id": 3}, np.random.default_rng(0))
  assert few["annotations_valid"].tolist() == [True, True, False, False]
  none = op({"annotations_mano": given[:0], "example_id": 3}, np.random.default_rng(0))
  assert not none["annotations_valid"].any()


def test_bytes_that_are_no_picture_are_an_error():
  with pytest.raises(ValueError, match="cannot be decoded"):
    host_ops.decode_picture(b"no picture")
  with pytest.raises(ValueError, match="cannot be decoded"):
    host_ops.decode_labels(b"no labels")


def test_windows_are_chosen_by_the_share_that_is_hand():
  """What the augmentation is told about a crop is what the crop then shows."""
  told = []

  class Asking(augment.Zoom):
    def draw(self, rng, share_of_masks=None):
      found = super().draw(rng, share_of_masks)
      told.append(share_of_masks(found))
      return found

  for seed in range(12):
    example = example_of(augmentation=Asking(0.6, 1.8), seed=seed)
    assert told[-1] == pytest.approx(example["masks"].mean(), abs=0.05)
  assert max(told) - min(told) > 0.1
