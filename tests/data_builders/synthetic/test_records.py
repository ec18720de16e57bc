"""Records as functions of seed, split and index; what splits, variants and cameras have in common and what not."""

import dataclasses
import itertools
import os

import cv2
import numpy as np
import pytest

from data_builders import schema
from data_builders.shards import BuildError
from data_builders.synthetic import SyntheticConfig
from data_builders.synthetic import moment as moment_module
from data_builders.synthetic import records as made
from data_builders.synthetic.config import SPLITS
from data_builders.synthetic.moment import Stream, moment, stream, subject
from data_builders.synthetic.records import make_record
from data_builders.synthetic.viewpoint import draw_view
from jaxhands.geometry.camera import to_world
from jaxhands.hands.pose_bank import PAIR, PoseDraw
from jaxhands.hands.skeleton import MCPS, WRIST
from jaxhands.render.backgrounds import FAMILIES
from tests.data_builders.synthetic.conftest import CONFIG

INPUT = SyntheticConfig(pictures="input")


def assert_same(one, other, but=()):
  for key in set(schema.RECORD) - set(but):
    np.testing.assert_array_equal(one[key], other[key], err_msg=key)


def test_a_record_depends_on_nothing_that_came_before():
  straight = [make_record(INPUT, "train", index) for index in range(3)]
  for index in (2, 0, 1):
    assert_same(make_record(INPUT, "train", index), straight[index])
  assert_same(make_record(dataclasses.replace(INPUT, train=3, test=0), "train", 2), straight[2])


def test_the_pictures_asked_for_change_nothing_else():
  more = [f"{kind}_{rest}" for kind in ("deoccluded", "removed") for rest in ("right", "left", "valid")]
  for index in range(3):
    one = make_record(INPUT, "val", index)
    assert_same(one, make_record(dataclasses.replace(INPUT, pictures="all"), "val", index), but=more)
    assert not one["removed_valid"].any()
    assert one["removed_right"] == schema.ABSENT


def test_seed_split_and_index_all_matter():
  base = make_record(INPUT, "train", 0)
  others = [make_record(INPUT, "test", 0), make_record(INPUT, "train", 1)]
  others.append(make_record(dataclasses.replace(INPUT, seed=1), "train", 0))
  for other in others:
    assert base["picture"] != other["picture"]
    assert not np.array_equal(base["joints_cam"], other["joints_cam"])


def test_streams_share_nothing():
  keys = itertools.product((0, 1), Stream, SPLITS, (0, 1))
  draws = [stream(SyntheticConfig(seed=seed), purpose, split, n).integers(2**62) for seed, purpose, split, n in keys]
  assert len(set(draws)) == len(draws)


def test_identities_are_unique_over_all_splits(records):
  ids = [record["record_id"] for split in records.values() for record in split]
  assert len(set(ids)) == len(ids)
  places = [record["source"].decode().split("/")[:2] for record in records["val"]]
  assert places == [["val", str(index)] for index in range(len(places))]


def test_people_poses_and_backgrounds_of_splits_are_disjoint(records):
  families = {split: {record["source"].split(b"/")[2] for record in records[split]} for split in SPLITS}
  people = {split: {record["subject_id"] for record in records[split]} for split in SPLITS}
  for one, other in itertools.combinations(SPLITS, 2):
    assert not people[one] & people[other]
    assert not families[one] & families[other]
    assert not set(FAMILIES[one]) & set(FAMILIES[other])
    assert not set(FAMILIES["other"]) & set(FAMILIES[one])
  shapes = [subject(CONFIG, split, number).shape for split in SPLITS for number in range(20)]
  assert len({shape.tobytes() for shape in shapes}) == len(shapes)


def test_one_person_has_one_shape(records):
  shapes = {}
  for split in records.values():
    for record in split:
      for hand in np.flatnonzero(record["hand_present"]):
        known = shapes.setdefault(record["subject_id"], record["mano"][hand, 48:58])
        np.testing.assert_array_equal(record["mano"][hand, 48:58], known)


def test_three_in_five_pictures_show_two_hands(monkeypatch):
  class Bank:
    """Draws nothing but the kind and the side, at once."""

    def sample(self, rng, split, kind, shape, from_behind):
      present = np.array([True, kind == PAIR])[:: rng.choice([1, -1])]
      return PoseDraw(np.zeros((2, 48)), np.zeros((2, 3)), present, "none", 0, 0.0)

  monkeypatch.setattr(moment_module, "default_bank", Bank)
  config = dataclasses.replace(INPUT, seed=5)
  present = np.array([moment(config, "train", number).present for number in range(400)])
  assert present.any(1).all()
  assert present.all(1).mean() == pytest.approx(0.6, abs=0.08)
  assert (present[:, 0] & ~present[:, 1]).mean() == pytest.approx(0.2, abs=0.06)
  moment.cache_clear()


@pytest.mark.parametrize(("hands", "count"), [("single", 1), ("pair", 2)])
def test_pictures_of_one_or_two_hands_alone_can_be_had(hands, count):
  config = dataclasses.replace(INPUT, hands=hands)
  for index in range(6):
    assert moment(config, "train", index).present.sum() == count


def test_every_scene_has_a_pose_of_its_own(records):
  fingers = np.concatenate([record["mano"][record["hand_present"], 3:48] for record in records["train"]])
  apart = np.abs(fingers[:, None] - fingers).max(-1)
  assert apart[~np.eye(len(fingers), dtype=bool)].min() > 0.05  # rad
  assert len({int(record["scene_id"]) for record in records["train"]}) == len(records["train"])


def turns(record):
  """Angles (degrees) between the camera and the front of the upright hands, and of its whole turn from there."""
  rotation = record["cam_from_world"][:, :3].astype(np.float64)
  return np.degrees(np.arccos(np.clip([rotation[2, 2], (np.trace(rotation) - 1) / 2], -1, 1)))


def test_hands_of_the_demo_are_upright():
  demo = [make_record(SyntheticConfig(variant="demo"), "train", index) for index in range(40)]
  assert not any(record["removed_valid"].any() for record in demo)
  upright = np.array([turns(record) for record in demo])
  assert (upright < 60.05).all()
  assert (upright.max(0) > 50).all()
  assert (upright[:, 1] - upright[:, 0]).max() > 10
  # Single hands of the bank point up, so those of the demo do so in the picture.
  for record in demo:
    if not record["hand_present"].all():
      joints = record["joints_img"][record["hand_present"]][0]
      fingers = joints[MCPS[2]] - joints[WRIST]
      assert abs(np.degrees(np.arctan2(fingers[0], -fingers[1]))) < 90


def test_most_hands_are_upright_and_some_anyhow():
  views = [draw_view(INPUT, "train", scene, 0) for scene in range(120)]
  turned = np.array([turns({"cam_from_world": view.cam_from_world})[1] for view in views])
  assert 0.45 < np.mean(turned < 60) < 0.75
  assert 0.04 < np.mean(turned > 90) < 0.25


def test_size_tells_about_depth_and_not_about_the_focal_length():
  views = [draw_view(INPUT, "train", scene, 0) for scene in range(120)]
  joints = [moment(INPUT, "train", scene) for scene in range(120)]
  seen = [view.to_cam(now.joints_world[now.present].reshape(-1, 3)) for view, now in zip(views, joints, strict=True)]
  depth = np.array([points[:, 2].mean() for points in seen])
  focal = np.array([view.camera_img[0, 0] for view in views])
  size = np.array([max(np.ptp(points[:, :2] / points[:, 2:], axis=0)) for points in seen]) * focal
  assert abs(np.corrcoef(np.log(focal), np.log(size))[0, 1]) < 0.5
  assert np.corrcoef(np.log(size), np.log(depth))[0, 1] < -0.15


@pytest.mark.parametrize(("variant", "focal_px", "depth_mm"), [("studio", (1200, 1340), (850, 1250)),
                                                               ("phone", (220, 560), (120, 850))])  # fmt: skip
def test_cameras_of_variants(variant, focal_px, depth_mm):
  for index in range(3):
    record = make_record(SyntheticConfig(variant=variant, pictures="input"), "val", index)
    assert focal_px[0] <= record["camera_img"][0, 0] <= focal_px[1]
    depth = record["root_depth"][record["hand_present"]]
    assert (depth > depth_mm[0]).all()
    assert (depth < depth_mm[1]).all()


def test_cameras_of_a_scene_see_one_moment():
  config = SyntheticConfig(cameras=3, pictures="input")
  for first in (0, 3):
    views = [make_record(config, "train", first + k) for k in range(3)]
    assert [int(view["camera_id"]) for view in views] == [0, 1, 2]
    assert len({int(view["scene_id"]) for view in views}) == 1
    assert len({int(view["frame"]) for view in views}) == 1
    there = views[0]["hand_present"]
    in_world = [to_world(view["joints_cam"][there], view["cam_from_world"][None]) for view in views]
    for other in in_world[1:]:
      np.testing.assert_allclose(in_world[0], other, atol=0.01)
    for one, other in itertools.combinations(views, 2):
      assert np.abs(one["cam_from_world"] - other["cam_from_world"]).max() > 0.1
      assert one["picture"] != other["picture"]
      np.testing.assert_array_equal(one["mano"][:, 3:58], other["mano"][:, 3:58])
  one, other = make_record(config, "train", 0), make_record(config, "train", 3)
  assert (one["scene_id"], one["frame"]) != (other["scene_id"], other["frame"])


def test_cameras_of_other_stand_where_those_of_full_never_do():
  near = [make_record(SyntheticConfig(variant="other", pictures="input"), "test", i)["root_depth"] for i in range(12)]
  far = [make_record(INPUT, "test", i)["root_depth"] for i in range(12)]
  assert max(depth.max() for depth in near) < 600
  assert np.median([depth.max() for depth in near]) < min(depth[depth > 0].min() for depth in far)


@pytest.fixture
def photos(tmp_path):
  for i in range(40):
    cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((64, 64, 3), (0, 255, i), np.uint8))
  return tmp_path


def test_photos_join_the_backgrounds(photos):
  config = dataclasses.replace(INPUT, background_dir=str(photos))
  green = 0
  for index in range(24):
    bgr = cv2.imdecode(np.frombuffer(make_record(config, "train", index)["picture"], np.uint8), cv2.IMREAD_COLOR)
    blue, is_green, red = np.median(bgr.reshape(-1, 3), axis=0)
    green += is_green > 2 * max(blue, red, 1)
  assert 2 <= green <= 16


def test_photos_may_have_names_that_are_not_utf8(photos):
  renamed = {path.rename(photos / os.fsdecode(b"caf\xe9 " + path.name.encode())) for path in list(photos.iterdir())}
  (photos / os.fsdecode(b"caf\xe9.jpg")).write_text("no picture")
  assert renamed == {path for split in FAMILIES for path in made.photos(str(photos), split)}


def test_a_broken_photo_is_named(photos):
  for path in photos.iterdir():
    path.write_bytes(path.read_bytes()[:60])
  config = dataclasses.replace(INPUT, background_dir=str(photos))
  with pytest.raises(BuildError, match=rf"cannot read the photo {photos}"):
    [make_record(config, "train", index) for index in range(30)]


def test_half_of_the_hands_are_turned_back_for_palm_but_none_of_those_that_stay_near_upright():
  anywhere, upright = (SyntheticConfig(pictures="input", hands="single", upright_deg=deg) for deg in (180, 60))
  turned = []
  for scene in range(12):
    full, near = (moment(config, "train", scene).joints_world for config in (anywhere, upright))
    same = np.abs(full - near).max() < 1e-3
    assert same or np.abs(full * (-1, 1, -1) - near).max() < 1e-3
    turned.append(not same)
  assert 0 < sum(turned) < len(turned)


def test_whole_pictures_show_hands_of_any_size_anywhere_or_none():
  wide = SyntheticConfig(variant="wide")
  records = [make_record(wide, "train", index) for index in range(60)]
  assert_same(make_record(wide, "train", 7), records[7])
  empty = [record for record in records if not record["hand_present"].any()]
  assert 6 <= len(empty) <= 26
  for record in empty:
    height, width = record["picture_hw"]
    np.testing.assert_array_equal(record["box_img"], [-0.5, -0.5, width, height])
    for key in ("joints_img_valid", "joints_cam_valid", "mano_valid", "joints_cam", "mano"):
      assert not record[key].any(), key
    labels = cv2.imdecode(np.frombuffer(record["parts"], np.uint8), cv2.IMREAD_GRAYSCALE)
    assert labels.shape == (height, width)
    assert not labels.any()
  shown = [record for record in records if record["hand_present"].any()]
  sizes = np.array([record["box_img"][2:].max() / 1.2 for record in shown])
  assert sizes.min() < 35
  assert sizes.max() > 180
  middles = np.array([(r["box_img"][:2] + r["box_img"][2:] / 2) / r["picture_hw"][::-1] for r in shown])
  assert (middles.min(0) < 0.3).all()
  assert (middles.max(0) > 0.7).all()
  assert len({tuple(record["picture_hw"]) for record in records}) == 3


def test_hands_apart_are_those_of_the_labels():
  """Joints, parameters and pixels of both hands move together."""
  wide = SyntheticConfig(variant="wide", hands="pair")
  gaps = []
  for index in range(12):
    now = moment(wide, "train", index)
    model = moment_module.hand_model()
    np.testing.assert_allclose(model.forward_mano(now.mano_world).keypoints, now.joints_world, atol=0.02)
    for side, hand in enumerate(now.hands):
      assert hand is not None
      reach = np.linalg.norm(hand.vertices_world - now.joints_world[side].mean(0), axis=-1)
      assert reach.max() < 250
    gaps.append(np.linalg.norm(np.diff(now.joints_world.mean(1), axis=0)))
  assert min(gaps) < 120
  assert max(gaps) > 250
