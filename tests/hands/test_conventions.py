"""Other orders and units: against lists written out here, there and back, and against landmarks of a real picture."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxhands import schema
from jaxhands.hands import conventions, skeleton
from jaxhands.hands.model import HandModel

FINGERS = ("thumb", "index", "middle", "ring", "little")
# As the programs' documents list them.
BASE_TO_TIP = ["wrist", *(f"{finger}{joint}" for finger in FINGERS for joint in (1, 2, 3, 4))]
MANO = [
  "wrist",
  *(f"{finger}{joint}" for finger in ("index", "middle", "little", "ring", "thumb") for joint in (1, 2, 3)),
]
MANO_TIPS = [f"{finger}4" for finger in FINGERS]


@pytest.mark.parametrize(
  ("name", "expected"),
  [
    ("interhand", [f"{finger}{joint}" for finger in FINGERS for joint in (4, 3, 2, 1)] + ["wrist"]),
    ("openpose", BASE_TO_TIP),
    ("mediapipe", BASE_TO_TIP),
    ("freihand", BASE_TO_TIP),
    ("mano", MANO + MANO_TIPS),
    ("mano16", MANO),
  ],
)
def test_orders_are_the_documented_ones(name, expected):
  assert conventions.find(name).joint_names == expected


@given(st.sampled_from(sorted(set(conventions.CONVENTIONS) - {"mano16"})), st.sampled_from([2, 3]), st.integers(0, 99))
def test_there_and_back(name, coordinates, seed):
  joints = np.random.default_rng(seed).normal(size=(4, 2, 21, coordinates)) * 100
  theirs = conventions.from_interhand(joints, name)
  np.testing.assert_allclose(conventions.to_interhand(theirs, name), joints, rtol=1e-12)
  wrist = conventions.find(name).joint_names.index("wrist")
  unit = {"mano": 1e-3, "freihand": 1e-3, "mediapipe": 1e-3}.get(name, 1.0) if coordinates == 3 else 1.0
  np.testing.assert_allclose(theirs[..., wrist, :], joints[..., skeleton.WRIST, :] * unit, rtol=1e-12)


def test_manos_order_is_that_of_the_hand_model():
  """Its joints, mm in the model and metres in MANO's files, and its tips."""
  posed = HandModel.default().forward_mano(np.zeros(schema.MANO_DIM, np.float32), schema.RIGHT)
  theirs = conventions.from_interhand(np.asarray(posed.keypoints), "mano")
  np.testing.assert_allclose(theirs[:16], np.asarray(posed.joints) / 1000, atol=1e-7)


def test_flat_lists_and_wrong_numbers():
  hands = np.arange(2 * 2 * 21 * 3.0).reshape(2, 2, 21, 3)
  np.testing.assert_array_equal(conventions.both_hands(conventions.flat(hands)), hands)
  np.testing.assert_array_equal(conventions.flat(hands)[:, 21:], hands[:, schema.LEFT])
  with pytest.raises(ValueError, match=r"\(2, 42, 3\).*both_hands"):
    conventions.to_interhand(conventions.flat(hands), "interhand")
  with pytest.raises(ValueError, match="has no index4, little4, middle4, ring4, thumb4"):
    conventions.to_interhand(np.zeros((16, 3)), "mano16")
  with pytest.raises(ValueError, match="no convention 'coco'"):
    conventions.from_interhand(hands, "coco")


def test_normalised_landmarks():
  """The middle of the first pixel is half a pixel from the edge."""
  found = conventions.img_from_mediapipe(np.array([[0.5 / 640, 0.5 / 480, 9.0], [1.0, 1.0, 9.0]]), (480, 640))
  np.testing.assert_allclose(found, [[0, 0], [639.5, 479.5]])


def test_landmarks_of_a_real_picture(shared):
  """Each finger's joints come one after the other: in our order every bone is short, in a wrong one it is not."""
  points = json.loads((shared / "samples" / "photos" / "tfjs_hands_keypoints.json").read_text())
  found = [np.array(hand, np.float64) for hand in _lists(points) if np.shape(hand) == (21, 2)]
  assert len(found) == 2
  for theirs in found:
    ours = conventions.to_interhand(theirs, "mediapipe")
    bones = np.linalg.norm(ours[skeleton.BONES[:, 0]] - ours[skeleton.BONES[:, 1]], axis=-1)
    assert bones.max() < 0.6 * np.ptp(ours, axis=0).max()
    assert np.linalg.norm(ours[list(skeleton.TIPS)] - ours[skeleton.WRIST], axis=-1).min() > bones.max()


def _lists(value):
  """Lists of points anywhere in a JSON value."""
  if isinstance(value, dict):
    for inner in value.values():
      yield from _lists(inner)
  elif isinstance(value, list):
    if np.shape(value) == (21, 2):
      yield value
    else:
      for inner in value:
        yield from _lists(inner)
