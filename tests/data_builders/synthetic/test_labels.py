"""The stored labels, read back through TFDS, against each other and against oracles of their own."""

import cv2
import numpy as np
import pytest

from jaxhands.geometry import crop
from jaxhands.hands.model import EMBEDDED, HandModel
from jaxhands.schema import LEFT, RIGHT, unpack_masks

HANDS = (RIGHT, LEFT)


@pytest.fixture(scope="module")
def model():
  return HandModel.default()


def projected(points, record):
  homogeneous = points.astype(np.float64) @ record["camera_img"].astype(np.float64).T
  return homogeneous[..., :2] / homogeneous[..., 2:]


def meshes(record, model):
  posed = model.forward_mano(record["mano"])
  return {hand: posed.vertices[hand] for hand in HANDS if record["hand_present"][hand]}


def masks_of(record):
  return unpack_masks(record["masks"][..., 0]).astype(bool)


def test_all_kinds_of_hands_occur(every):
  kinds = {tuple(record["hand_present"].tolist()) for record in every}
  assert kinds == {(True, True), (True, False), (False, True)}


def test_joints_project_onto_joints(every):
  for record in every:
    there = record["hand_present"]
    found = projected(record["joints_cam"][there], record)
    np.testing.assert_allclose(found, record["joints_img"][there], atol=2e-3)
    assert (record["joints_cam"][there][..., 2] > 0).all()


def test_joints_are_the_hand_models_keypoints(every, model):
  for record in every:
    assert record["hand_model"] == EMBEDDED.encode()
    keypoints = model.forward_mano(record["mano"]).keypoints
    there = record["hand_present"]
    np.testing.assert_allclose(record["joints_cam"][there], keypoints[there], atol=0.02)
    np.testing.assert_allclose(record["root_depth"][there], keypoints[there, 20, 2], atol=0.02)


def first_hits(record, vertices, faces, pixels):
  """Depth (mm) of the first triangle of a mesh on the ray through each pixel; infinite without one."""
  rays = np.concatenate([pixels, np.ones((len(pixels), 1))], 1) @ np.linalg.inv(record["camera_img"].astype(float)).T
  a, b, c = (vertices[faces[:, k]].astype(float) for k in range(3))
  edge1, edge2 = b - a, c - a
  cross, q = np.cross(rays[:, None], edge2), np.cross(-a, edge1)
  with np.errstate(divide="ignore", invalid="ignore"):
    determinant = (edge1 * cross).sum(-1)
    u, v = (-a * cross).sum(-1) / determinant, (rays[:, None] * q).sum(-1) / determinant
    depth = (edge2 * q).sum(-1) / determinant
  hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (depth > 0)
  return np.where(hit, depth, np.inf).min(1)


def test_amodal_masks_are_the_projected_meshes(every, model):
  rng, hits, behind_arm = np.random.default_rng(0), 0, 0
  for record in every:
    x, y, width, height = record["box_img"]
    pixels = rng.uniform((x - 10, y - 10), (x + width + 10, y + height + 10), (200, 2)).round().clip(0, 319).astype(int)
    for hand, vertices in meshes(record, model).items():
      hit = np.isfinite(first_hits(record, vertices, model.faces[hand], pixels))
      masked = masks_of(record)[hand, 0][pixels[:, 1], pixels[:, 0]]
      assert not (masked & ~hit).any()
      hits, behind_arm = hits + hit.sum(), behind_arm + (hit & ~masked).sum()
  # What a hand's own arm hides of it is not its mask's; few cameras see that.
  assert hits > 2000
  assert behind_arm < 0.02 * hits


def test_what_is_in_front_is_what_is_visible(every, model):
  rng, compared = np.random.default_rng(1), 0
  for record in every:
    amodal, visible = masks_of(record).swapaxes(0, 1)
    both = np.argwhere(amodal.all(0))
    if not len(both):
      continue
    pixels = both[rng.integers(len(both), size=100)][:, ::-1]
    depth = [
      first_hits(record, vertices, model.faces[hand], pixels) for hand, vertices in meshes(record, model).items()
    ]
    seen = visible[:, pixels[:, 1], pixels[:, 0]]
    clear = (np.abs(depth[0] - depth[1]) > 0.01) & seen.any(0)  # else an arm is in front
    np.testing.assert_array_equal(seen[RIGHT][clear], (depth[0] < depth[1])[clear])
    compared += clear.sum()
  assert compared > 300


def test_visible_masks_lie_in_amodal_ones_and_apart(every):
  hidden = 0
  for record in every:
    amodal, visible = masks_of(record).swapaxes(0, 1)
    assert not (visible & ~amodal).any()
    assert not (visible[RIGHT] & visible[LEFT]).any()
    hidden += (amodal & ~visible).sum()
  assert hidden > 0


def test_parts_are_the_visible_hands(every):
  seen = set()
  for record in every:
    parts, visible = record["parts"][..., 0], masks_of(record)[:, 1]
    np.testing.assert_array_equal((parts > 0) & (parts <= 16), visible[RIGHT])
    np.testing.assert_array_equal(parts >= 17, visible[LEFT])
    assert parts.max() <= 32
    seen |= set(np.unique(parts).tolist())
  assert seen == set(range(33))


def test_parts_are_those_of_the_nearest_vertices(every, model):
  agree = total = 0
  for record in every:
    for hand, vertices in meshes(record, model).items():
      place = np.rint(projected(vertices, record)).astype(int)
      inside = (place >= 0).all(1) & (place < record["picture_hw"][::-1]).all(1)
      place, classes = place[inside], model.parts[hand][inside]
      there = masks_of(record)[hand, 1][place[:, 1], place[:, 0]]
      # Vertices behind the hand itself see another part of it; facing ones are those near the front.
      found = record["parts"][place[:, 1], place[:, 0], 0]
      agree += (found == classes)[there].sum()
      total += there.sum()
  assert agree / total > 0.55


def test_boxes_are_the_joints_with_a_tenth_on_each_side(every):
  for record in every:
    points = record["joints_img"][record["joints_img_valid"]]
    low, size = points.min(0), np.ptp(points, axis=0)
    np.testing.assert_allclose(record["box_img"], [*(low - 0.1 * size), *(1.2 * size)], atol=1e-3)
    assert 89.9 <= max(size) <= 280.1
    assert low.min() >= 0
    assert (low + size <= record["picture_hw"][::-1] - 1).all()


def test_boxes_of_masks_are_as_large(every):
  """So that what a segmentation finds, and pictures with masks alone, have boxes of the same meaning."""
  ratios = []
  for record in every:
    for hand in np.flatnonzero(record["hand_present"]):
      (_, _, *size), _ = crop.box_of_mask(masks_of(record)[hand, 0])
      ratios.append(max(size) / np.ptp(record["joints_img"][hand], axis=0).max())
  assert abs(np.median(ratios) / crop.JOINT_BOX_MARGIN - 1) < 0.1


def test_an_absent_hand_leaves_no_trace(every):
  for record in every:
    for hand in HANDS:
      name = ("right", "left")[hand]
      flags = ("joints_cam_valid", "joints_img_valid", "root_depth_valid", "mano_valid", "removed_valid")
      for flag in (*flags, "deoccluded_valid"):
        assert (record[flag][hand] == record["hand_present"][hand]).all()
      if record["hand_present"][hand]:
        continue
      for key in ("joints_cam", "joints_img", "joints_visible", "root_depth", "mano"):
        assert not record[key][hand].any()
      assert not masks_of(record)[hand].any()
      for kind in ("deoccluded", "removed"):
        assert record[f"{kind}_{name}"].shape == (1, 1, 3)
    assert record["masks_valid"].all()
    assert record["parts_valid"]
    assert record["camera_valid"]
    assert record["hand_present_valid"]


def test_visible_joints_are_within_12_mm_of_what_is_seen(every, model):
  compared = hidden = 0
  for record in every:
    there = record["joints_cam_valid"]
    joints, flags = record["joints_cam"][there], record["joints_visible"][there]
    pixels = np.rint(record["joints_img"][there])
    column, row = pixels.astype(int).T
    depth = np.min([first_hits(record, v, model.faces[hand], pixels) for hand, v in meshes(record, model).items()], 0)
    behind = joints[:, 2] - depth
    # Arms are stored nowhere: judge where a hand is what is seen, and not on the very limit.
    on_hand = masks_of(record)[:, 1].any(0)[row, column] & np.isfinite(depth) & (np.abs(behind - 12) > 0.1)
    np.testing.assert_array_equal(flags[on_hand], behind[on_hand] <= 12)
    assert not flags[np.isfinite(depth) & (behind > 12.1)].any()
    compared, hidden = compared + on_hand.sum(), hidden + (~flags[on_hand]).sum()
  assert compared > 500
  assert hidden > 50


def blocks(mask):
  """Which of a picture's 8 x 8 blocks, the unit of JPEG, lie wholly inside a mask."""
  return mask.reshape(mask.shape[0] // 8, 8, mask.shape[1] // 8, 8).all((1, 3))


def same_blocks(one, other):
  return blocks((one == other).all(-1))


def test_a_hand_in_front_looks_as_it_does_where_it_is_seen(every):
  compared = 0
  for record in every:
    for hand, name in enumerate(("right", "left")):
      if record["hand_present"].all():
        visible = masks_of(record)[hand, 1].astype(np.uint8)
        # Blur carries the neighbourhood of a pixel into it.
        inner = blocks(cv2.erode(visible, np.ones((13, 13), np.uint8)).astype(bool))
        same = same_blocks(record["picture"], record[f"deoccluded_{name}"])
        assert same[inner].all()
        compared += inner.sum()
  assert compared > 300


def test_what_was_hidden_is_shown(every):
  checked = 0
  for record in every:
    for hand, name in enumerate(("right", "left")):
      amodal, visible = masks_of(record)[hand]
      hidden = blocks(amodal & ~visible & masks_of(record)[1 - hand, 1])
      if record["hand_present"].all() and hidden.sum() > 3:
        for kind in ("deoccluded", "removed"):
          same = same_blocks(record["picture"], record[f"{kind}_{name}"])
          assert same[hidden].mean() < 0.2
        checked += 1
  assert checked > 3


def test_removing_a_hand_removes_it_and_keeps_the_background(every):
  for record in every:
    if not record["hand_present"].all():
      continue
    masks = masks_of(record)
    for hand, name in enumerate(("right", "left")):
      removed = record[f"removed_{name}"]
      gone = blocks(masks[1 - hand, 1] & ~masks[hand, 0])
      same = same_blocks(record["picture"], removed)
      if gone.sum() > 10:
        assert same[gone].mean() < 0.1
      # The other hand's arm goes too; what neither picture's hands cover stays.
      assert same.mean() > 0.2


def test_with_one_hand_every_picture_is_the_picture(every):
  for record in every:
    for hand, name in enumerate(("right", "left")):
      if record["hand_present"][hand] and not record["hand_present"].all():
        np.testing.assert_array_equal(record[f"removed_{name}"], record["picture"])
        np.testing.assert_array_equal(record[f"deoccluded_{name}"], record["picture"])


def test_the_camera_is_a_rigid_motion(every):
  for record in every:
    rotation = record["cam_from_world"][:, :3].astype(float)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
    assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-5)
    assert record["picture"].shape[:2] == tuple(record["picture_hw"]) == (320, 320)
    assert record["picture"].std() > 2
