"""BVH, read by other means, has the joints of the hand model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from jaxhands import meshes
from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel
from jaxhands.meshes import bvh
from tests.meshes import clips

MODEL = HandModel.default()


def _read(text):
  """[(name, parent, offset, channels)] in the file's order, end sites named "", and the frames."""
  head, motion = text.split("MOTION\n")
  joints, open_ = [], []
  for line in head.splitlines()[1:]:
    words = line.split()
    if words[0] in ("ROOT", "JOINT", "End"):
      joints.append(["" if words[0] == "End" else words[1], open_[-1] if open_ else None, None, []])
    elif words[0] == "{":
      open_.append(len(joints) - 1)
    elif words[0] == "}":
      open_.pop()
    elif words[0] == "OFFSET":
      joints[-1][2] = np.array(words[1:], float)
    else:
      assert words[0] == "CHANNELS"
      assert int(words[1]) == len(words) - 2
      joints[-1][3] = words[2:]
  assert not open_
  frames, time, *rows = motion.splitlines()
  assert int(frames.removeprefix("Frames: ")) == len(rows)
  values = np.array([row.split() for row in rows], float)
  assert values.shape[1] == sum(len(joint[3]) for joint in joints)
  return joints, values, float(time.removeprefix("Frame Time: "))


def _places(joints, frame):
  """Positions by name, and of the end sites by their parent's name and "_end"."""
  at, turns, places, named = 0, [], [], {}
  for name, parent, offset, channels in joints:
    values = dict(zip(channels, frame[at : at + len(channels)], strict=True))
    at += len(channels)
    local = Rotation.identity()
    for channel in channels:  # in the order of the file, each after those before it
      if channel.endswith("rotation"):
        local = local * Rotation.from_euler(channel[0], values[channel], degrees=True)
    shift = offset + [values.get(f"{axis}position", 0) for axis in "XYZ"]
    turns.append(local if parent is None else turns[parent] * local)
    places.append(shift if parent is None else places[parent] + turns[parent].apply(shift))
    named[name or f"{joints[parent][0]}_end"] = places[-1]
  return named


def test_joints_move_as_the_models_do(tmp_path):
  clip = clips.clip(MODEL, 6)
  paths = meshes.write(tmp_path / "a.bvh", clip)
  assert [path.name for path in paths] == ["a_right.bvh", "a_left.bvh"]
  true = clips.in_files(np.asarray(MODEL.forward_mano(clip.mano).joints, float))
  for hand, (path, side) in enumerate(zip(paths, ("right", "left"), strict=True)):
    joints, frames, frame_s = _read(path.read_text())
    assert frame_s == pytest.approx(1 / 12.5)
    assert len(frames) == 6
    for moment, frame in enumerate(frames):
      places = _places(joints, frame)
      found = np.stack([places[f"{side}_{name}"] for name in skeleton.MANO_JOINT_NAMES])
      np.testing.assert_allclose(found, true[moment, hand], atol=5e-6)
    # Interpolated between frames, no joint turns the long way round.
    assert np.abs(np.diff(frames[:, 3:], axis=0)).max() <= 180 + 1e-6


def test_fingers_end_at_their_tips(tmp_path):
  flat = np.zeros((1, 2, 61), np.float32)
  flat[..., 60] = 500
  clip = meshes.Clip(MODEL, flat, np.ones((1, 2), bool), np.zeros(1))
  tips = clips.in_files(np.asarray(MODEL.forward_mano(flat).keypoints, float))[0, :, list(skeleton.TIPS)]
  for hand, path in enumerate(meshes.write(tmp_path / "a.bvh", clip)):
    joints, frames, _ = _read(path.read_text())
    places = _places(joints, frames[0])
    side = ("right", "left")[hand]
    found = [places[f"{side}_{finger}3_end"] for finger in skeleton.FINGERS]
    np.testing.assert_allclose(found, tips[:, hand], atol=5e-6)


def test_a_hand_that_is_gone_keeps_its_last_pose(tmp_path):
  clip = clips.clip(MODEL, 5, gone=[(0, 1), (2, 1), (3, 1)])
  _, left = meshes.write(tmp_path / "a.bvh", clip)
  _, frames, _ = _read(left.read_text())
  assert len(frames) == 5
  np.testing.assert_array_equal(frames[0], frames[1])
  np.testing.assert_array_equal(frames[2:4], frames[[1, 1]])
  assert np.abs(frames[4] - frames[1]).max() > 1


@given(st.lists(st.floats(-3.1, 3.1), min_size=3, max_size=3), st.booleans())
def test_angles_give_the_rotation_back(angles, locked):
  a, b, c = angles
  given_ = Rotation.from_euler("ZXY", [a, np.pi / 2 if locked else b, c])
  x, y, z, w = given_.as_quat()
  found = bvh.zxy_angles(np.array([[[w, x, y, z]]]))[0, 0]
  np.testing.assert_allclose(Rotation.from_euler("ZXY", found).as_matrix(), given_.as_matrix(), atol=5e-6)


@pytest.mark.parametrize("towards", [1, -1])
def test_a_slow_turn_goes_on_beyond_90_degrees(towards):
  """The first joint stands in the pole for a moment; the second one passes it by a hundredth of a degree."""
  middle = towards * np.radians(np.arange(30, 181, 3))
  turns = [
    Rotation.from_euler("ZXY", np.stack([np.full(51, 0.3), middle + off, np.full(51, -0.2)], -1))
    for off in (0, np.radians(0.01))
  ]
  wxyz = np.stack([np.roll(turn.as_quat(), 1, axis=-1) for turn in turns], axis=1)
  found = bvh.zxy_angles(wxyz)
  assert np.abs(np.diff(np.degrees(found), axis=0)).max() < 3.01
  for joint, turn in enumerate(turns):
    back = Rotation.from_euler("ZXY", found[:, joint]).as_matrix()
    np.testing.assert_allclose(back, turn.as_matrix(), atol=5e-6)


@given(st.integers(0, 2**32 - 1))
def test_angles_over_time_give_each_rotation_back(seed):
  rng = np.random.default_rng(seed)
  angles = rng.choice(np.radians([-90, -30, 0, 45, 90, 135, 180]), (8, 3, 3)) + rng.choice([0, 1e-7, 0.1], (8, 3, 1))
  turns = Rotation.from_euler("ZXY", angles.reshape(-1, 3))
  found = bvh.zxy_angles(np.roll(turns.as_quat(), 1, axis=-1).reshape(8, 3, 4))
  back = Rotation.from_euler("ZXY", found.reshape(-1, 3)).as_matrix()
  np.testing.assert_allclose(back, turns.as_matrix(), atol=5e-6)
  assert np.abs(np.diff(found, axis=0)).max() <= np.pi + 1e-6
