"""What lies between two poses, joints that move together, hands that part; and draws of the bank made of it."""

import dataclasses
import itertools

import numpy as np
import pytest

from jaxhands import schema
from jaxhands.geometry import rotations
from jaxhands.hands import anatomy, contact, vary
from jaxhands.hands.pose_bank import MAX_PENETRATION_MM, PAIR, SINGLE, SPLITS, default_bank
from jaxhands.hands.settle import vertices_of


def _pairs(count=6):
  bank = default_bank()
  entries = [entry for entry in range(len(bank.family)) if bank.is_pair(entry)]
  return bank, [bank.placed(entry) for entry in entries[:: len(entries) // count]]


def test_ends_are_the_poses_and_the_middle_is_as_far_from_both():
  _, placed = _pairs()
  for one, other in itertools.pairwise(placed):
    for share, expected in ((0.0, one), (1.0, other)):
      found = vary.between(one, other, share)
      np.testing.assert_allclose(found.angles_deg, expected.angles_deg)
      for ours, theirs in zip(vary.left_from_right(found), vary.left_from_right(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    turns = [vary.left_from_right(vary.between(one, other, share))[0] for share in (0.0, 0.5, 1.0)]
    first, second = (np.linalg.norm(rotations.axis_angle_from_matrix(b @ a.T)) for a, b in itertools.pairwise(turns))
    assert first == pytest.approx(second, abs=1e-5)


def test_a_pair_seen_from_elsewhere_is_at_no_distance():
  _, placed = _pairs()
  turn = rotations.matrix_from_axis_angle(np.array([0.3, -1.0, 0.4]))
  moved = [dataclasses.replace(p, rotation=turn @ p.rotation, wrist_mm=p.wrist_mm @ turn.T + 5) for p in placed]
  turns, places = (np.stack(x) for x in zip(*map(vary.left_from_right, [*placed, *moved]), strict=True))
  distance = vary.placement_distance_mm(turns, places)
  count = len(placed)
  assert np.diag(distance[:count, count:]).max() < 1  # arccos near 1 knows no better
  assert distance[:count, :count][~np.eye(count, dtype=bool)].min() > 5
  np.testing.assert_allclose(distance, distance.T, atol=1e-6)


def test_joints_of_a_finger_move_together_within_their_limits():
  start = np.tile(np.mean(anatomy.LIMITS, axis=-1), (2, 1, 1))
  rng = np.random.default_rng(0)
  steps = np.stack([vary.shaken(rng, start, 0.5) - start for _ in range(400)])
  flexion = steps[:, 0, :, anatomy.FLEXION]
  index, middle = (anatomy.BASE[finger] for finger in ("index", "middle"))
  assert np.corrcoef(flexion[:, index + 1], flexion[:, index + 2])[0, 1] > 0.9
  assert 0.1 < np.corrcoef(flexion[:, index + 1], flexion[:, middle + 1])[0, 1] < 0.6
  assert 3 < flexion[:, index + 1].std() < 8
  wild = vary.shaken(rng, start, 30.0)
  assert (wild >= anatomy.LIMITS[..., 0]).all()
  assert (wild <= anatomy.LIMITS[..., 1]).all()
  np.testing.assert_array_equal(vary.shaken(rng, start, 0.0), start)


def test_hands_that_part_are_apart():
  bank, placed = _pairs()
  for each in placed:
    apart = vary.moved_apart(bank.rig, each, 20.0, np.zeros(3))
    skins = vertices_of(bank.rig, apart)
    assert contact.penetration(bank.rig.solids, skins[0], skins[1])[0] < 3.5
    assert np.linalg.norm(apart.wrist_mm[schema.LEFT] - each.wrist_mm[schema.LEFT]) >= 20 - 1e-6
    np.testing.assert_array_equal(apart.wrist_mm[schema.RIGHT], each.wrist_mm[schema.RIGHT])


@pytest.mark.parametrize("kind", [SINGLE, PAIR])
def test_draws_are_many_hold_their_bounds_and_stay_in_their_split(kind):
  bank, rng = default_bank(), np.random.default_rng(4)
  for split in SPLITS:
    assert all(bank.splits[bank.family[n]] == split for e in bank._others for n in bank._others[e]
               if bank.splits[bank.family[e]] == split)  # fmt: skip
    for _ in range(8):
      draw = bank.sample(rng, split, kind)
      assert draw.penetration_mm <= MAX_PENETRATION_MM
      assert bank.splits[bank.families.index(draw.family)] == split
      for hand in np.flatnonzero(draw.present):
        angles = anatomy.angles_from_pose(bank.rig.anatomy, draw.pose[hand, 3:], int(hand))
        assert not anatomy.complaints(angles)
