"""The stored labels of both parts, read back through TFDS, against each other."""

import cv2
import numpy as np
import pytest

from data_builders.aih.paste import MOST_HIDDEN
from jaxhands.geometry.camera import project
from jaxhands.hands.model import HandModel
from jaxhands.schema import HANDS, unpack_masks


def masks_of(record):
  return unpack_masks(record["masks"][..., 0]).astype(bool)


def target_of(record):
  """The hand below, of AIH_Syn."""
  (target,) = np.flatnonzero(record["removed_valid"])
  return int(target)


def blocks(mask):
  """Which of a picture's 8 x 8 blocks, the unit of JPEG, lie wholly inside a mask."""
  rows, columns = (size - size % 8 for size in mask.shape)
  return mask[:rows, :columns].reshape(rows // 8, 8, columns // 8, 8).all((1, 3))


def same(one, other):
  return blocks((one == other).all(-1))


@pytest.mark.parametrize("part", ["render", "syn"])
def test_every_record_shows_two_hands_with_all_masks(part, request):
  for record in request.getfixturevalue(part):
    assert record["hand_present"].all()
    assert record["hand_present_valid"]
    assert record["masks_valid"].all()
    assert record["parts_valid"]
    assert record["source"].startswith(part.encode())


@pytest.mark.parametrize("part", ["render", "syn"])
def test_visible_masks_lie_in_amodal_ones_and_apart_and_are_the_parts(part, request):
  for record in request.getfixturevalue(part):
    amodal, visible = masks_of(record).swapaxes(0, 1)
    assert not (visible & ~amodal).any()
    assert not visible.all(0).any()
    parts = record["parts"][..., 0]
    np.testing.assert_array_equal((parts > 0) & (parts <= 16), visible[0])
    np.testing.assert_array_equal(parts >= 17, visible[1])


@pytest.mark.parametrize("part", ["render", "syn"])
def test_hands_in_front_look_as_the_picture_where_nothing_hides_them(part, request):
  """But for gaps between fingers that are narrower than a pixel of the masks, through which the rest is seen."""
  compared = differing = 0
  for record in request.getfixturevalue(part):
    masks = masks_of(record)
    for hand, name in enumerate(HANDS):
      seen = blocks(cv2.erode(masks[hand, 1].astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool))
      for kind in ("deoccluded", "removed"):
        if record[f"{kind}_valid"][hand]:
          agree = same(record["picture"], record[f"{kind}_{name}"])
          compared, differing = compared + seen.sum(), differing + (~agree[seen]).sum()
  assert compared > 300
  assert differing < 0.01 * compared


def test_of_pasted_hands_the_one_below_is_partly_hidden(syn):
  hidden = []
  for record in syn:
    target, masks = target_of(record), masks_of(record)
    np.testing.assert_array_equal(masks[1 - target, 0], masks[1 - target, 1])
    np.testing.assert_array_equal(masks[target, 1], masks[target, 0] & ~masks[1 - target, 0])
    hidden.append(1 - masks[target, 1].sum() / masks[target, 0].sum())
  assert min(hidden) > 0
  assert max(hidden) < MOST_HIDDEN + 0.05
  assert np.std(hidden) > 0.05


def test_without_the_pasted_hand_only_its_pixels_change(syn):
  for record in syn:
    target, masks = target_of(record), masks_of(record)
    near = cv2.dilate(masks[1 - target, 0].astype(np.uint8), np.ones((7, 7), np.uint8)).astype(bool)
    removed = record[f"removed_{HANDS[target]}"]
    assert same(record["picture"], removed)[blocks(~near)].all()
    inner = blocks(masks[1 - target, 0])
    assert same(record["picture"], removed)[inner].mean() < 0.3


def test_the_hand_below_in_front_changes_what_was_hidden_of_it(syn):
  for record in syn:
    target, masks = target_of(record), masks_of(record)
    front, removed = record[f"deoccluded_{HANDS[target]}"], record[f"removed_{HANDS[target]}"]
    inner = cv2.erode(masks[target, 0].astype(np.uint8), np.ones((13, 13), np.uint8)).astype(bool)
    assert same(front, removed)[blocks(inner)].all()
    # The pasted hand's soft outline also falls on pixels that it does not hide.
    other, own = (cv2.dilate(masks[hand, 0].astype(np.uint8), np.ones((9, 9))) for hand in (1 - target, target))
    assert same(front, record["picture"])[blocks((other & own) == 0)].all()


def test_the_pasted_hand_in_front_is_the_picture(syn):
  for record in syn:
    above = 1 - target_of(record)
    np.testing.assert_array_equal(record[f"deoccluded_{HANDS[above]}"], record["picture"])
    assert record[f"removed_{HANDS[above]}"].shape == (1, 1, 3)


def test_both_hands_are_pasted_and_pasted_onto(syn):
  assert {target_of(record) for record in syn} == {0, 1}


def test_joints_and_parameters_are_those_of_the_hand_below(syn):
  model = HandModel.default()
  for record in syn:
    target = target_of(record)
    only = np.arange(2) == target
    for flag in ("mano_valid", "root_depth_valid"):
      np.testing.assert_array_equal(record[flag], only)
    for flag in ("joints_cam_valid", "joints_img_valid"):
      np.testing.assert_array_equal(record[flag], np.repeat(only[:, None], 21, 1))
    posed = model.forward_mano(record["mano"]).keypoints[target]
    np.testing.assert_allclose(record["joints_cam"][target], posed, atol=0.02)
    projected = project(record["joints_cam"][target], record["camera_img"])
    np.testing.assert_allclose(record["joints_img"][target], projected, atol=2e-3)


def test_most_joints_lie_in_the_amodal_mask(syn, render):
  inside = []
  for record in syn + render:
    masks = masks_of(record)
    for hand in range(2):
      column, row = np.rint(record["joints_img"][hand][record["joints_img_valid"][hand]]).astype(int).T
      inside += masks[hand, 0][row, column].tolist()
  assert np.mean(inside) > 0.9


def test_covered_joints_are_not_visible(syn):
  covered = 0
  for record in syn:
    target, masks = target_of(record), masks_of(record)
    column, row = np.rint(record["joints_img"][target]).astype(int).T
    under = masks[1 - target, 0][row, column]
    assert not record["joints_visible"][target][under].any()
    assert not record["joints_visible"][1 - target].any()
    covered += under.sum()
  assert covered > 20


def test_boxes_hold_both_hands(syn):
  for record in syn:
    x, y, width, height = record["box_img"]
    points = record["joints_img"][target_of(record)]
    assert (points >= np.array([x, y]) - 1e-3).all()
    assert (points <= np.array([x + width, y + height]) + 1e-3).all()
    masks = masks_of(record)
    for hand in range(2):
      rows, columns = np.nonzero(masks[hand, 0])
      middle = np.median(columns), np.median(rows)
      assert x < middle[0] < x + width
      assert y < middle[1] < y + height


def test_rendered_hands_have_every_picture_and_every_label(render):
  for record in render:
    for kind in ("deoccluded", "removed", "mano", "root_depth"):
      assert record[f"{kind}_valid"].all()
    assert record["joints_cam_valid"].all()
    for kind in ("deoccluded", "removed"):
      for name in HANDS:
        assert record[f"{kind}_{name}"].shape == record["picture"].shape
  overlap = [masks_of(record)[:, 0].all(0).any() for record in render]
  assert np.mean(overlap) > 0.5
