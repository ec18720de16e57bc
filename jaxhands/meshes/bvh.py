"""BVH: the joints of one hand and how they move, as motion capture has it.

A file holds one hand, as most readers take one root. Channels are angles in degrees, turned by in the order Z, X, Y;
lengths are metres. There is no format for absence: a hand that is not there keeps its last pose, or before its first
one that.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from jaxhands.geometry import rotations
from jaxhands.hands import skeleton
from jaxhands.meshes.clip import Clip
from jaxhands.meshes.skin import Skin, skins
from jaxhands.runs import folder as files

_STILL_S = 0.04  # of a frame where there is only one
_LOCKED = 1e-6  # cosine of the middle angle below which the outer two turn about one axis


def write(path: pathlib.Path, clip: Clip) -> list[pathlib.Path]:
  """Writes `NAME_right.bvh` and `NAME_left.bvh` of the hands that are there; see `meshes.write`."""
  written = []
  for skin in skins(clip):
    own = path.with_name(f"{path.stem}_{skin.name}{path.suffix}")
    with files.written(own) as file:
      file.write(as_text(clip, skin).encode("ascii"))
    written.append(own)
  return written


def as_text(clip: Clip, skin: Skin) -> str:
  """The content of one hand's file."""
  order = list(_depth_first(0))
  angles = np.degrees(zxy_angles(np.roll(skin.turns.astype(np.float64), 1, axis=-1)))
  moving = np.concatenate([skin.wrist, *(angles[:, joint] for joint in order)], axis=1)
  # What was seen last, at each moment of the clip.
  last = np.searchsorted(skin.rows, np.arange(len(clip.mano)), side="right") - 1
  frames = moving[last.clip(0)]
  frame_s = float(np.diff(clip.time_s).mean()) if len(clip.mano) > 1 else _STILL_S
  lines = ["HIERARCHY", *_joint(skin, 0), "MOTION", f"Frames: {len(frames)}", f"Frame Time: {frame_s:.6f}"]
  lines += [" ".join(f"{value:.6f}" for value in frame) for frame in frames]
  return "\n".join(lines) + "\n"


def zxy_angles(wxyz: Float[np.ndarray, "K J 4"]) -> Float[np.ndarray, "K J 3"]:
  """Angles a, b, c (rad) of rotations Rz(a) Rx(b) Ry(c) over time, each as near as may be to the one before.

  So b goes on beyond 90 degrees where a turn does, instead of all three coming back from there by half a turn.
  """
  matrix = rotations.matrix_from_quaternion(wxyz)
  sine = matrix[..., 2, 1].clip(-1, 1)
  locked = np.sqrt(1 - sine * sine) < _LOCKED
  first = np.where(
    locked, np.arctan2(matrix[..., 1, 0], matrix[..., 0, 0]), np.arctan2(-matrix[..., 0, 1], matrix[..., 1, 1])
  )
  last = np.where(locked, 0.0, np.arctan2(-matrix[..., 2, 0], matrix[..., 2, 2]))
  angles = np.stack([first, np.arcsin(sine), last], axis=-1)
  poles = np.where(locked, np.sign(sine), 0.0)
  for moment in range(1, len(angles)):
    angles[moment] = _next(angles[moment - 1], angles[moment], poles[moment])
  return angles


def _next(
  before: Float[np.ndarray, "J 3"], angles: Float[np.ndarray, "J 3"], pole: Float[np.ndarray, " J"]
) -> Float[np.ndarray, "J 3"]:
  """Of all triples (rad) that give the rotations of `angles`, those nearest to the ones before.

  Where `pole` is 1 or -1, only a + c or a - c is known, which `angles` has as its a: c stays.
  """
  kept = np.stack([angles[:, 0] - pole * before[:, 2], angles[:, 1], before[:, 2]], axis=-1)
  angles = np.where(pole[:, None] != 0, kept, angles)
  both = np.stack([angles, np.pi + angles * [1, -1, 1]])  # one rotation: (a, b, c), (a + 180, 180 - b, c + 180)
  both += 2 * np.pi * np.round((before - both) / (2 * np.pi))
  nearer = ((both - before) ** 2).sum(-1).argmin(0)
  return np.take_along_axis(both, nearer[None, :, None], axis=0)[0]


def _children(joint: int) -> list[int]:
  return np.flatnonzero(np.equal(skeleton.MANO_PARENTS, joint)).tolist()


def _depth_first(joint: int) -> Iterator[int]:
  """The joints in the order of the file."""
  yield joint
  for child in _children(joint):
    yield from _depth_first(child)


def _joint(skin: Skin, joint: int) -> list[str]:
  """Lines of a joint and of those beyond it."""
  name = f"{skin.name}_{skeleton.MANO_JOINT_NAMES[joint]}"
  turned = "Zrotation Xrotation Yrotation"
  if joint == 0:
    kind, offset, channels = "ROOT", np.zeros(3), f"6 Xposition Yposition Zposition {turned}"
  else:
    kind, offset = "JOINT", skin.joints[joint] - skin.joints[skeleton.MANO_PARENTS[joint]]
    channels = f"3 {turned}"
  inside = [_offset(offset), f"CHANNELS {channels}"]
  for child in _children(joint):
    inside += _joint(skin, child)
  if not _children(joint):
    finger = skeleton.FINGERS.index(skeleton.MANO_JOINT_NAMES[joint][:-1])
    inside += ["End Site", "{", f"  {_offset(skin.tips[finger] - skin.joints[joint])}", "}"]
  return [f"{kind} {name}", "{", *(f"  {line}" for line in inside), "}"]


def _offset(metres: np.ndarray) -> str:
  return "OFFSET " + " ".join(f"{value:.6f}" for value in metres)
