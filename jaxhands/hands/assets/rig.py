"""Joints, skinning weights and the flat zero pose of the embedded hand model.

MakeHuman's finger joints lie close to the back of the fingers and its knuckles as far out as the webs. Here they are
put where they turn and where InterHand2.6M annotates them: inside the finger, knuckles about half a proximal phalanx
behind the web. All arrays are in metres; bones are numbered by the joint at their base, in MANO's order.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from jaxtyping import Float, Int

from jaxhands.hands import skeleton
from jaxhands.hands.assets import mesh

THUMB_BASE = 13
_FINGER_BASES = {"thumb": 13, "index": 1, "middle": 4, "ring": 10, "little": 7}
TAIL_OF_BONE = {15: 16, 3: 17, 6: 18, 12: 19, 9: 20}  # row of a last bone's tail among the 21 ends
CHILD = {j: j + 1 for j in range(1, 16) if j % 3} | TAIL_OF_BONE
# Along a bone: share of the way from MakeHuman's joint to the joint named.
_ALONG = {
  1: (0, 0.15), 4: (0, 0.125), 10: (0, 0.135), 7: (0, 0.135),
  3: (17, 0.08), 6: (18, 0.09), 12: (19, 0.09), 9: (20, 0.05), 8: (7, 0.05),
  13: (0, 0.08), 14: (15, 0.10),
}  # fmt: skip
_FROM_BACK = 0.42  # depth of a finger's joint, share of its thickness, from the side of the nail
_KNUCKLE_FROM_BACK = 0.36
_TAIL_REACH = 0.7  # where on the last bone its middle line is measured
# Flat hand: angle of a finger in the plane of the palm, towards the thumb; of the thumb's bones also below that plane.
_SPREAD_DEG = {"index": 6.0, "middle": -2.0, "ring": -10.0, "little": -20.0}
_THUMB_DEG = ((50.0, 25.0), (38.0, 22.0), (28.0, 20.0))
# MakeHuman's fingers are thinner than people's (measures: docs/hand_model.md): factors across a finger, through it, and
# of the lengths of its bones; the palm's along, through and across.
_BREADTH = {"thumb": 1.13, "index": 1.10, "middle": 1.10, "ring": 1.12, "little": 1.20}
_THICKNESS = {"thumb": 1.06, "index": 1.05, "middle": 1.05, "ring": 1.07, "little": 1.15}
_LENGTH = {7: 1.03, 8: 1.20, 9: 1.04, 4: 1.02}
_PALM = (1.0, 1.0, 1.03)
_WRIST = (1.10, 1.17)  # through and across the wrist, reached from `_WRIST_FROM` to the joint
_WRIST_FROM = -0.045
_HEAT = 1.0  # of bone heat: the larger, the narrower the blend between bones
_DROPPED = 0.02
_INFLUENCES = 4


def canonical_frame(ends: Float[np.ndarray, "21 3"]) -> Float[np.ndarray, "3 3"]:
  """Rows x, y, z of the model's frame: the middle finger's knuckle on -x, index minus little in the plane of +z."""
  x = _unit(ends[0] - ends[4])
  z = ends[1] - ends[7]
  z = _unit(z - (z @ x) * x)
  return np.stack([x, np.cross(z, x), z])


def flat_directions() -> Float[np.ndarray, "16 3"]:
  """Unit vectors of the bones of the flat hand; row 0 is not a bone."""
  directions = np.zeros((16, 3))
  for finger, base in _FINGER_BASES.items():
    for bone in range(3):
      around, below = np.radians(_THUMB_DEG[bone] if finger == "thumb" else (_SPREAD_DEG[finger], 0.0))
      directions[base + bone] = [
        -np.cos(below) * np.cos(around),
        -np.sin(below),
        np.cos(below) * np.sin(around),
      ]
  return directions


def nail_directions(
  vertices: Float[np.ndarray, "V 3"],
  faces: Int[np.ndarray, "F 3"],
  ends: Float[np.ndarray, "21 3"],
  nail: Float[np.ndarray, " V"],
) -> Float[np.ndarray, "5 3"]:
  """Unit vectors that the nails face, thumb .. little."""
  normals = mesh.face_normals(vertices, faces) * nail[faces].mean(axis=1)[:, None]
  nearest = np.linalg.norm(vertices[faces].mean(axis=1)[:, None] - ends[16:], axis=2).argmin(axis=1)
  return np.stack([_unit(normals[nearest == finger].sum(axis=0)) for finger in range(5)])


def place_joints(
  vertices: Float[np.ndarray, "V 3"],
  faces: Int[np.ndarray, "F 3"],
  ends: Float[np.ndarray, "21 3"],
  nail: Float[np.ndarray, " V"],
) -> Float[np.ndarray, "21 3"]:
  """Joints and tails inside the hand, from MakeHuman's, all in the model's frame and MakeHuman's pose."""
  placed = ends.copy()
  for joint, (towards, share) in _ALONG.items():
    placed[joint] += share * (ends[towards] - ends[joint])
  for back, (finger, base) in zip(nail_directions(vertices, faces, ends, nail), _FINGER_BASES.items(), strict=True):
    tail = CHILD[base + 2]
    placed[tail] = placed[base + 2] + _TAIL_REACH * (ends[tail] - placed[base + 2])
    for joint in (base + 1, base + 2, tail):
      before = ends[joint - 1 if joint != tail else base + 2]
      along = _unit(ends[joint] - before)
      out = _unit(back - (back @ along) * along)
      placed[joint] = _middle(vertices, faces, placed[joint], np.cross(along, out), 0.5)
      placed[joint] = _middle(vertices, faces, placed[joint], -out, _FROM_BACK)
    if finger != "thumb":
      placed[base] = _middle(vertices, faces, placed[base], np.array([0.0, -1.0, 0.0]), _KNUCKLE_FROM_BACK)
  return placed


def _middle(
  vertices: np.ndarray, faces: np.ndarray, point: np.ndarray, direction: np.ndarray, share: float
) -> np.ndarray:
  behind, ahead = mesh.depths_along(vertices, faces, point, direction)
  return point + direction * (behind + share * (ahead - behind))


def regressor(vertices: Float[np.ndarray, "V 3"], points: Float[np.ndarray, "J 3"]) -> Float[np.ndarray, "J V"]:
  """Rows that sum to 1 and give each point from the vertices round it, so that it follows the shape of the hand."""
  rows = np.zeros((len(points), len(vertices)))
  for row, point in zip(rows, points, strict=True):
    squared = ((vertices - point) ** 2).sum(axis=1)
    near = np.exp(-squared / (2 * (1.2 * np.sqrt(squared.min()) + 0.003) ** 2))
    near /= near.sum()
    system = np.concatenate([vertices - point, np.ones((len(vertices), 1))], axis=1)
    wanted = np.array([0.0, 0.0, 0.0, 1.0]) - system.T @ near
    row[:] = near + near * (system @ np.linalg.solve(system.T @ (near[:, None] * system), wanted))
  return rows


def bone_heat(
  vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], ends: Float[np.ndarray, "21 3"]
) -> Float[np.ndarray, "V 16"]:
  """Skinning weights [V, 16], rows sum to 1: each bone warms the skin nearest to it, and the skin spreads the heat.

  Baran and Popovic, "Automatic rigging and animation of 3D characters", SIGGRAPH 2007, without the visibility test: the
  fingers are apart.
  """
  segments = [(0, ends[0] + [0.06, 0, 0], ends[0])]
  segments += [(0, ends[0], ends[knuckle]) for knuckle in (1, 4, 7, 10)] + [(0, ends[0], ends[THUMB_BASE])]
  segments += [(bone, ends[bone], ends[child]) for bone, child in CHILD.items()]
  distance = np.full((len(vertices), 16), np.inf)
  for bone, start, end in segments:
    share = np.clip(
      (vertices - start) @ (end - start) / ((end - start) ** 2).sum(), 0, None if bone in TAIL_OF_BONE else 1
    )
    away = np.linalg.norm(vertices - start - share[:, None] * (end - start), axis=1)
    distance[:, bone] = np.minimum(distance[:, bone], away)
  nearest = distance.min(axis=1)
  owner = distance <= nearest[:, None] * 1.0001
  source = owner / owner.sum(axis=1, keepdims=True)
  stiffness, area = mesh.cotangent_laplacian(vertices, faces)
  heat = _HEAT * area / nearest**2
  solve = scipy.sparse.linalg.factorized((stiffness + scipy.sparse.diags_array(heat)).tocsc())
  weights = np.stack([solve(heat * source[:, bone]) for bone in range(16)], axis=1)
  return tidy(weights)


def tidy(weights: Float[np.ndarray, "V 16"]) -> Float[np.ndarray, "V 16"]:
  """At most four influences, none below 2 %, rows sum to 1."""
  weights = np.clip(weights, 0, None)
  smallest_kept = np.sort(weights, axis=1)[:, -_INFLUENCES, None]
  weights = np.where(
    (weights >= smallest_kept) & (weights >= _DROPPED * weights.sum(axis=1, keepdims=True)), weights, 0
  )
  return weights / weights.sum(axis=1, keepdims=True)


def webs(weights: Float[np.ndarray, "V 16"]) -> Float[np.ndarray, " V"]:
  """How much each vertex hangs between two fingers, 0..1."""
  fingers = weights[:, 1:].reshape(-1, 5, 3).sum(axis=2)
  both = (fingers.sum(axis=1) ** 2 - (fingers**2).sum(axis=1)) / 2
  return np.clip((both - 0.06) / 0.14, 0, 1)


@dataclasses.dataclass(frozen=True)
class Flattening:
  """Turns hands in MakeHuman's pose into flat hands of human proportions.

  turns [16, 3, 3]: rotation of each bone of the mean hand, in the model's frame · frames [16, 3, 3]: columns along each
  flat bone, across the finger, out of its back.
  """

  turns: Float[np.ndarray, "16 3 3"]
  frames: Float[np.ndarray, "16 3 3"]

  @classmethod
  def of(cls, ends: Float[np.ndarray, "21 3"], backs: Float[np.ndarray, "5 3"]) -> Flattening:
    """For a mean hand whose joints and `nail_directions` are given in the model's frame."""
    directions = flat_directions()
    turns, frames = np.tile(np.eye(3), (2, 16, 1, 1))
    for back, base in zip(backs, _FINGER_BASES.values(), strict=True):
      for bone in range(base, base + 3):
        before = turns[skeleton.MANO_PARENTS[bone]]
        turns[bone] = _least_turn(before @ _unit(ends[CHILD[bone]] - ends[bone]), directions[bone]) @ before
      for bone in range(base, base + 3):
        across = _unit(np.cross(turns[base + 2] @ back, directions[bone]))
        frames[bone] = np.stack([directions[bone], across, np.cross(directions[bone], across)], axis=1)
    return cls(turns, frames)

  def apply(
    self,
    vertices: Float[np.ndarray, "V 3"],
    ends: Float[np.ndarray, "21 3"],
    weights: Float[np.ndarray, "V 16"],
    finger_scale: Float[np.ndarray, " 5"],
    palm_scale: Float[np.ndarray, " 3"],
  ) -> tuple[Float[np.ndarray, "V 3"], Float[np.ndarray, "16 3"]]:
    """Flat vertices and joints of one hand, wrist at the origin.

    `finger_scale` of the lengths of thumb .. little and `palm_scale` along x, y, z are this person's, beyond the
    corrections that all hands get.
    """
    frame = canonical_frame(ends)
    vertices, ends = (vertices - ends[0]) @ frame.T, (ends - ends[0]) @ frame.T
    vertices, ends = _widen_wrist(vertices), _widen_wrist(ends)
    linear = np.tile(np.diag(palm_scale * _PALM), (16, 1, 1))
    joints = np.zeros((21, 3))
    for (finger, base), longer in zip(_FINGER_BASES.items(), finger_scale, strict=True):
      for bone in range(base, base + 3):
        parent = skeleton.MANO_PARENTS[bone]
        joints[bone] = joints[parent] + linear[parent] @ (ends[bone] - ends[parent])
        offset = _unit(ends[CHILD[bone]] - ends[bone])
        turn = _least_turn(self.turns[bone] @ offset, self.frames[bone, :, 0]) @ self.turns[bone]
        scale = [longer * _LENGTH.get(bone, 1.0), _BREADTH[finger], _THICKNESS[finger]]
        linear[bone] = (self.frames[bone] * scale) @ self.frames[bone].T @ turn
    moved = np.einsum("bij,vbj->vbi", linear, vertices[:, None] - ends[:16]) + joints[:16]
    return (weights[:, :, None] * moved).sum(axis=1), joints[:16]


def _widen_wrist(points: np.ndarray) -> np.ndarray:
  share = np.clip(1 - points[:, :1] / _WRIST_FROM, 0, 1)
  share = share**2 * (3 - 2 * share)
  return points * np.concatenate([np.ones_like(share), 1 + share * (np.array(_WRIST) - 1)], axis=1)


def _least_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
  """The smallest rotation that takes one unit vector to another."""
  axis, cosine = np.cross(start, end), start @ end
  skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
  return np.eye(3) + skew + skew @ skew / (1 + cosine)


def _unit(vector: np.ndarray) -> np.ndarray:
  return vector / np.linalg.norm(vector)
