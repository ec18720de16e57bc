"""Named points on the skin, found on the template by looking outward from a bone: what a pose family lets touch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxhands.hands import anatomy
from jaxhands.hands.settle import Rig


class SkinPoint(NamedTuple):
  """Three vertices and their weights."""

  corners: np.ndarray
  weights: np.ndarray

  def on(self, skin: np.ndarray) -> np.ndarray:
    """Where the point lies on a posed skin [V, 3]."""
    return self.weights @ skin[self.corners]


# name: (bone, place along it, side) for every finger; bone 0 is the nearest to the palm, sides are those of the finger
_ON_FINGER = {
  "pad": (2, 0.55, "palmar"),
  "nail": (2, 0.6, "dorsal"),
  "end": (2, 0.5, "distal"),
  "tip_radial": (2, 0.55, "radial"),
  "tip_ulnar": (2, 0.55, "ulnar"),
  "middle_palmar": (1, 0.5, "palmar"),
  "middle_dorsal": (1, 0.5, "dorsal"),
  "middle_radial": (1, 0.5, "radial"),
  "middle_ulnar": (1, 0.5, "ulnar"),
  "pip_dorsal": (1, 0.0, "dorsal"),
  "pip_palmar": (1, 0.0, "palmar"),
  "root_palmar": (0, 0.6, "palmar"),
  "root_dorsal": (0, 0.55, "dorsal"),
  "root_radial": (0, 0.6, "radial"),
  "root_ulnar": (0, 0.6, "ulnar"),
  "web_ulnar": (0, 0.35, "ulnar"),
  "knuckle": (0, 0.0, "dorsal"),
}
# name: (place from wrist to middle knuckle, place from little to index knuckle, side)
_ON_PALM = {
  "palm": (0.6, 0.45, "palmar"),
  "palm_upper": (0.85, 0.5, "palmar"),
  "heel": (0.2, 0.45, "palmar"),
  "thenar": (0.38, 0.95, "palmar"),
  "hypothenar": (0.35, 0.12, "palmar"),
  "back": (0.6, 0.5, "dorsal"),
  "back_upper": (0.85, 0.5, "dorsal"),
  "back_wrist": (0.1, 0.5, "dorsal"),
  "wrist_palmar": (0.0, 0.5, "palmar"),
  "wrist_back": (-0.1, 0.5, "dorsal"),
  "wrist_radial": (-0.05, 0.5, "radial"),
  "wrist_ulnar": (-0.05, 0.5, "ulnar"),
  "edge": (0.6, 0.2, "ulnar"),
  "edge_radial": (0.75, 0.6, "radial"),
}


def find_sites(rig: Rig) -> dict[str, SkinPoint]:
  """All named points of a hand: `palm`, ..., and `index.pad`, ..."""
  sites = {}
  for finger, base in anatomy.BASE.items():
    frames = rig.anatomy.bone[base : base + 3]
    starts = rig.joints_mm[1 + base : 4 + base]
    for name, (bone, place, side) in _ON_FINGER.items():
      length = np.linalg.norm(starts[bone + 1] - starts[bone]) if bone < 2 else 22.0
      start = starts[bone] + place * length * frames[bone][:, 0]
      sites[f"{finger}.{name}"] = _look(rig, start, _direction(frames[bone], side))
  joints = rig.joints_mm
  along, across = joints[1 + anatomy.BASE["middle"]] - joints[0], joints[1 + anatomy.BASE["index"]]
  across = across - joints[1 + anatomy.BASE["little"]]
  frame = np.stack([along, np.cross(across, along), across], axis=-1)
  frame /= np.linalg.norm(frame, axis=0)
  little = (joints[1 + anatomy.BASE["little"]] - joints[1 + anatomy.BASE["middle"]]) @ frame[:, 2]
  for name, (place, side_place, side) in _ON_PALM.items():
    start = joints[0] + place * along + (little + side_place * np.linalg.norm(across)) * frame[:, 2] * max(place, 0.4)
    start = start + 6.0 * frame[:, 1]  # the joints lie near the back
    sites[name] = _look(rig, start, _direction(frame, side))
  return sites


def _direction(frame: np.ndarray, side: str) -> np.ndarray:
  column, sign = {
    "palmar": (1, 1), "dorsal": (1, -1), "radial": (2, 1), "ulnar": (2, -1), "distal": (0, 1)
  }[side]  # fmt: skip
  return sign * frame[:, column]


def _look(rig: Rig, start: np.ndarray, direction: np.ndarray) -> SkinPoint:
  """Where a ray from inside leaves the skin (Moeller & Trumbore, 1997)."""
  faces = rig.solids.whole.skin_faces
  a, b, c = (rig.template_mm[faces[:, i]] for i in range(3))
  e1, e2 = b - a, c - a
  p = np.cross(direction, e2)
  det = (e1 * p).sum(axis=1)
  det = np.where(np.abs(det) < 1e-9, np.inf, det)
  s = start - a
  u = (s * p).sum(axis=1) / det
  q = np.cross(s, e1)
  v = (q @ direction) / det
  t = (e2 * q).sum(axis=1) / det
  hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
  if not hit.any():
    raise ValueError(f"no skin in direction {direction} from {start}; the template is not the embedded model's")
  face = np.flatnonzero(hit)[np.argmin(t[hit])]
  return SkinPoint(faces[face].astype(np.int64), np.array([1 - u[face] - v[face], u[face], v[face]]))
