"""Marks lie where the joints are, in the hand's colour, and only where joints are valid."""

import itertools

import numpy as np
import pytest

from jaxhands.drawing import overlay
from jaxhands.hands.skeleton import BONES, WRIST

SIZE = 4.0


def joints(seed=0):
  return np.random.default_rng(seed).uniform(10, 190, (2, 21, 2)).astype(np.float32)


def everything():
  return np.ones((2, 21), bool)


def flat(marks):
  return [mark for group in marks for mark in group]


def test_the_lines_are_the_bones():
  found = {(child, parent) for chain in overlay.CHAINS for parent, child in itertools.pairwise(chain)}
  assert found == {tuple(bone) for bone in BONES}


def test_every_joint_has_a_dot_of_its_hand():
  points = joints()
  dots = [mark for mark in flat(overlay.skeleton(points, everything(), SIZE)) if len(mark.points) == 1]
  for hand, kind in enumerate(("right", "left")):
    found = {tuple(mark.points[0]) for mark in dots if mark.kind == kind}
    assert found == {tuple(point) for point in points[hand]}


@pytest.mark.parametrize("missing", [0, 1, 3, WRIST])
def test_lines_stop_at_joints_that_are_not_valid(missing):
  points, valid = joints(), everything()
  valid[0, missing] = False
  marks = overlay.skeleton(points, valid, SIZE)
  bones = [(tuple(a), tuple(b)) for mark in flat(marks) for a, b in itertools.pairwise(mark.points)]
  expected = {
    (tuple(points[hand, parent]), tuple(points[hand, child]))
    for hand in (0, 1)
    for child, parent in BONES
    if valid[hand, child] and valid[hand, parent]
  }
  assert set(bones) == expected
  assert len(bones) == len(expected)
  assert tuple(points[0, missing]) not in {tuple(point) for mark in flat(marks) for point in mark.points}


def test_an_absent_hand_leaves_no_mark():
  valid = everything()
  valid[1] = False
  assert {mark.kind for mark in flat(overlay.skeleton(joints(), valid, SIZE))} == {"right"}
  assert overlay.skeleton(joints(), np.zeros((2, 21), bool), SIZE) == []


def test_nearer_fingers_come_later():
  depth = np.zeros((2, 21), np.float32)
  depth[0, 4:8], depth[1, 8:12] = -50, 50
  marks = overlay.skeleton(joints(), everything(), SIZE, depth=depth)
  assert (marks[0][0].kind, marks[0][0].finger) == ("left", 2)
  assert (marks[-1][0].kind, marks[-1][0].finger) == ("right", 1)


def test_confidence_is_the_size_and_hidden_joints_are_rings():
  confidence = np.zeros((2, 21), np.float32)
  confidence[0, 0], confidence[0, 1] = 1.0, 0.5
  visible = everything()
  visible[0, 0] = False
  marks = overlay.skeleton(joints(), everything(), SIZE, confidence, visible)
  tip, next_one, third = (
    mark for mark in reversed(marks[0]) if len(mark.points) == 1 and mark.points[0][0] in joints()[0, :3, 0]
  )
  assert tip.size > next_one.size > third.size == SIZE
  assert [tip.filled, next_one.filled] == [False, True]


def test_painting_leaves_the_picture_alone_and_shows_the_hands():
  picture = np.full((200, 200, 3), 40, np.uint8)
  points, valid = joints(), everything()
  points[0, 0] = [4, 4]
  painted = overlay.paint(picture, overlay.skeleton(points, valid, SIZE))
  assert (picture == 40).all()
  valid[1] = False
  right_only = overlay.paint(picture, overlay.skeleton(points, valid, SIZE))
  assert tuple(right_only[4, 4]) == overlay.FINGER_RGB["right"][0]
  colours = {tuple(colour) for colour in painted.reshape(-1, 3)}
  assert set(overlay.FINGER_RGB["left"]) <= colours
  assert not set(overlay.FINGER_RGB["left"]) & {tuple(colour) for colour in right_only.reshape(-1, 3)}


def test_joints_far_outside_are_harmless():
  points = joints()
  points[0, 0] = 1e30
  overlay.paint(np.zeros((50, 50, 3), np.uint8), overlay.skeleton(points, everything(), SIZE))


def test_masks_are_filled_where_visible_and_outlined_where_whole():
  masks = np.zeros((2, 2, 20, 30), np.uint8)
  masks[0, 0, 5:15, 5:20] = 1
  masks[0, 1, 5:15, 5:10] = 1
  picture = np.full((20, 30, 3), 100, np.uint8)
  painted = overlay.paint_masks(picture, masks)
  right = np.array(overlay.HAND_RGB["right"])
  np.testing.assert_array_equal(painted[10, 7], 50 + right // 2)
  np.testing.assert_array_equal(painted[10, 14], 100)  # hidden: inside the outline, not filled
  np.testing.assert_array_equal(painted[5, 14], right)
  np.testing.assert_array_equal(painted[10, 25], 100)
  assert (picture == 100).all()


def test_words_darken_a_strip_and_leave_the_rest():
  picture = np.full((40, 120, 3), 90, np.uint8)
  written = overlay.write_words(picture, "parts", line=1)
  assert written is picture
  assert (picture[:13] == 90).all()
  assert (picture[30:] == 90).all()
  assert picture[13:30].min() == 30
  assert picture[13:30].max() > 200  # the letters
