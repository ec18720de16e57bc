import json

import numpy as np

from jaxhands import schema
from jaxhands.hands import parts, skeleton


def test_classes_are_a_permutation_per_hand():
  assert sorted(parts.CLASS_FROM_JOINT[schema.RIGHT]) == list(range(1, 17))
  assert sorted(parts.CLASS_FROM_JOINT[schema.LEFT]) == list(range(17, schema.NUM_PARTS))


def test_order_is_digits():
  by_class = {int(c): name for c, name in zip(parts.CLASS_FROM_JOINT[0], skeleton.MANO_JOINT_NAMES, strict=True)}
  assert [by_class[c] for c in (1, 2, 3, 4, 5, 6, 7, 8)] == [
    "ring1", "index2", "little1", "middle1", "middle3", "ring3", "little3", "thumb1",
  ]  # fmt: skip
  assert [by_class[c] for c in (9, 10, 11, 12, 13, 14, 15, 16)] == [
    "wrist", "thumb2", "index1", "index3", "thumb3", "little2", "middle2", "ring2",
  ]  # fmt: skip


def test_labels_follow_the_largest_weight():
  weights = np.eye(16, dtype=np.float32) * 0.6 + 0.025
  np.testing.assert_array_equal(parts.vertex_parts(weights, schema.LEFT), parts.CLASS_FROM_JOINT[1])


def test_labels_agree_with_digits_own_on_the_names(shared):
  """DIGIT's published vertex labels cannot be compared without MANO; its part names can."""
  names = json.loads((shared / "samples" / "digit" / "mano_parts.json").read_text())["part_names"]
  ours = [name.replace("little", "pinky") for name in parts.PART_JOINTS]
  levels = {"1": "proximal", "2": "middle", "3": "distal"}
  thumb = {"1": "metacarpal", "2": "proximal", "3": "distal"}
  for theirs, joint in zip(names, ours, strict=True):
    level = (thumb if joint.startswith("thumb") else levels).get(joint[-1])
    assert theirs == ("palm" if joint == "wrist" else f"{joint[:-1]}_{level}")
