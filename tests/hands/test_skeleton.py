"""Joint orders: named joints and the tree, checked against each other."""

import numpy as np

from jaxhands.hands import skeleton


def test_parents_follow_the_names():
  names = skeleton.JOINT_NAMES
  for child, parent in skeleton.BONES:
    finger, number = names[child][:-1], int(names[child][-1])
    assert names[parent] == (f"{finger}{number - 1}" if number > 1 else "wrist")
  assert skeleton.PARENTS[skeleton.WRIST] == -1
  assert [names[i][-1] for i in skeleton.TIPS] == ["4"] * 5
  assert [names[i][-1] for i in skeleton.MCPS] == ["1"] * 5


def test_mano_order_maps_by_name():
  tips = tuple(f"{finger}4" for finger in skeleton.FINGERS)
  mano21 = np.array(skeleton.MANO_JOINT_NAMES + tips)
  assert list(mano21[skeleton.INTERHAND_FROM_MANO21]) == list(skeleton.JOINT_NAMES)
  assert list(np.array(skeleton.JOINT_NAMES)[skeleton.MANO21_FROM_INTERHAND]) == list(mano21)
  snap = np.array(skeleton.JOINT_NAMES)[skeleton.SNAP_FROM_INTERHAND]
  assert list(snap[:5]) == ["wrist", "thumb1", "thumb2", "thumb3", "thumb4"]
  assert snap[9] == "middle1"
  assert list(snap[skeleton.INTERHAND_FROM_SNAP]) == list(skeleton.JOINT_NAMES)


def test_mano_levels_go_from_parents_to_children():
  seen = {-1}
  for level in skeleton.MANO_LEVELS:
    assert all(skeleton.MANO_PARENTS[j] in seen for j in level)
    seen |= set(level)
  assert seen == set(range(-1, 16))
