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


def test_faces_of_mano_have_the_published_counts():
  found = parts.mano_face_parts()
  counts = [71, 60, 60, 60, 92, 112, 112, 69, 378, 52, 84, 92, 112, 60, 80, 60]
  np.testing.assert_array_equal(np.bincount(found), counts)
  assert {parts.PART_JOINTS[part] for part in found[parts.NUM_MANO_FACES :]} == {"wrist"}  # what closes it
  np.testing.assert_array_equal(parts.face_classes(schema.LEFT), parts.face_classes(schema.RIGHT) + 16)


def test_a_closed_wrist_has_no_open_edge():
  rng = np.random.default_rng(0)
  vertices = rng.normal(size=(778, 3))
  faces = np.zeros((parts.NUM_MANO_FACES, 3), np.int32)
  closed, all_faces = parts.sealed(vertices, faces)
  np.testing.assert_allclose(closed[778], vertices[parts.SEAL_RING].mean(0))
  fan = all_faces[parts.NUM_MANO_FACES :]
  assert (fan[:, 2] == 778).all()
  np.testing.assert_array_equal(fan[0, :2], [120, 108])  # as the release begins
  np.testing.assert_array_equal(fan[-1, :2], [119, 120])
  spokes = np.sort(np.concatenate([fan[:, [0, 2]], fan[:, [1, 2]]]), axis=1)
  assert (np.unique(spokes, axis=0, return_counts=True)[1] == 2).all()


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
