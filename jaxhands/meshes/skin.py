"""One hand of a clip as tools of animation have it: a mesh at rest, joints, weights, and what moves them.

They have plain linear blend skinning with four joints a vertex, and a mesh that does not change while it moves. Of the
hand model this leaves out:

* the shape, which is predicted for each moment: the file has the mean over the moments, and every wrist where it was;
* pose correctives (MANO's `posedirs`; the embedded model has none): their mean is part of the mesh at rest, so that a
  picture's are exact. What differs from it in a clip goes into morph targets, the fewest whose rest is under 0.05 mm;
* weights beyond the four largest of a vertex, which are made to sum to 1 again.

`Skin.difference_mm` is measured: how far the file's vertices are from the hand model's at most.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Int32, Integer, UInt8

from jaxhands import schema
from jaxhands.geometry import rotations
from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel
from jaxhands.meshes.clip import Clip, from_camera, quaternion_from_camera
from jaxhands.render.surface import vertex_normals

INFLUENCES = 4
_CLOSE_MM = 0.05  # what morph targets may leave out
_MOST_TARGETS = 32
_AT_ONCE = 256  # moments whose vertices are in memory together


@dataclasses.dataclass(frozen=True, eq=False)
class Skin:
  """One hand in the frame of the files; K moments at which it is there, V vertices, M morph targets.

  Attributes:
    name: "right" or "left".
    vertices, normals: [V, 3], at rest, that is with all joints unturned.
    faces: [F, 3], counter-clockwise from outside.
    joints: [16, 3], at rest, in MANO's order (`skeleton.MANO_JOINT_NAMES`).
    tips: [5, 3], ends of thumb .. little finger at rest.
    influences: [V, 4], joints that move a vertex; 0 where the weight is 0.
    weights: [V, 4], which sum to 1.
    rows: [K], moments of the clip.
    turns: [K, 16, 4], rotation of each joint in its parent's frame as x, y, z, w; neighbours in time have like signs.
    wrist: [K, 3], where the wrist is.
    targets: [M, V, 3], added to the vertices by `strengths` [K, M], 0..1.
    difference_mm: the largest distance of a vertex from the hand model's.
  """

  name: str
  vertices: Float[np.ndarray, "V 3"]
  normals: Float[np.ndarray, "V 3"]
  faces: Int32[np.ndarray, "F 3"]
  joints: Float[np.ndarray, "16 3"]
  tips: Float[np.ndarray, "5 3"]
  influences: UInt8[np.ndarray, "V 4"]
  weights: Float[np.ndarray, "V 4"]
  rows: Integer[np.ndarray, " K"]
  turns: Float[np.ndarray, "K 16 4"]
  wrist: Float[np.ndarray, "K 3"]
  targets: Float[np.ndarray, "M V 3"]
  strengths: Float[np.ndarray, "K M"]
  difference_mm: float = 0.0

  def posed(self, some: slice = slice(None)) -> Float[np.ndarray, "k V 3"]:
    """The vertices at some of the K moments as whoever reads the file computes them; m."""
    local = rotations.matrix_from_quaternion(np.roll(self.turns[some].astype(np.float64), 1, axis=-1))
    turns, places = [local[:, 0]], [self.wrist[some].astype(np.float64)]
    for joint in range(1, len(self.joints)):
      parent = skeleton.MANO_PARENTS[joint]
      places.append(places[parent] + turns[parent] @ (self.joints[joint] - self.joints[parent]))
      turns.append(turns[parent] @ local[:, joint])
    turn, place = np.stack(turns, 1), np.stack(places, 1)
    rest = self.vertices + np.einsum("km,mvc->kvc", self.strengths[some], self.targets)
    found = np.zeros(rest.shape)
    for slot in range(INFLUENCES):
      joint = self.influences[:, slot]
      moved = (turn[:, joint] @ (rest - self.joints[joint])[..., None])[..., 0] + place[:, joint]
      found += self.weights[:, slot, None] * moved
    return found


def skins(clip: Clip) -> list[Skin]:
  """Those of the hands that are there at any moment of a clip, right before left."""
  return [_skin(clip, hand) for hand in range(2) if clip.present[:, hand].any()]


def _skin(clip: Clip, hand: int) -> Skin:
  model, rows = clip.model, np.flatnonzero(clip.present[:, hand])
  mano = clip.mano[rows, hand].astype(np.float64)
  shapes = mano[:, schema.MANO_SHAPE]
  shape = shapes.mean(0)
  turns = np.asarray(rotations.quaternion_from_axis_angle(mano[:, schema.MANO_POSE].reshape(len(rows), -1, 3)))
  vertices = model.v_template[hand] + model.shapedirs[hand] @ shape
  joints = model.joints_template[hand] + model.joints_shapedirs[hand] @ shape
  wrist = model.joints_template[hand, 0] + shapes @ model.joints_shapedirs[hand, 0].T
  always, targets, strengths = _correctives(model, hand, np.asarray(rotations.matrix_from_quaternion(turns)))
  vertices = from_camera(vertices + always).astype(np.float32)
  faces = np.ascontiguousarray(model.faces[hand], np.int32)
  influences, weights = _strongest(np.asarray(model.weights[hand], np.float64))
  skin = Skin(
    name=schema.HANDS[hand],
    vertices=vertices,
    normals=_unit(vertex_normals(vertices, faces)),
    faces=faces,
    joints=from_camera(joints).astype(np.float32),
    tips=vertices[np.asarray(model.tip_vertices[hand])],
    influences=influences,
    weights=weights,
    rows=rows,
    turns=quaternion_from_camera(_alike(turns)).astype(np.float32),
    wrist=from_camera(wrist + mano[:, schema.MANO_TRANSLATION]).astype(np.float32),
    targets=from_camera(targets).astype(np.float32),
    strengths=strengths.astype(np.float32),
  )
  return dataclasses.replace(skin, difference_mm=_difference_mm(skin, model, mano.astype(np.float32), hand))


def _difference_mm(skin: Skin, model: HandModel, mano: np.ndarray, hand: int) -> float:
  largest = 0.0
  for start in range(0, len(mano), _AT_ONCE):
    some = slice(start, start + _AT_ONCE)
    true = from_camera(np.asarray(model.forward_mano(mano[some], hand).vertices, np.float64))
    largest = max(largest, float(np.linalg.norm(skin.posed(some) - true, axis=-1).max()))
  return largest * 1e3


def _correctives(model: HandModel, hand: int, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Pose correctives of rotations [K, 16, 3, 3]: what is always added [V, 3], targets [M, V, 3] and strengths [K, M].

  Principal components over the moments, shifted and scaled so that all strengths are from 0 to 1, which some tools ask
  for.
  """
  count, vertices = len(turns), len(model.v_template[hand])
  if model.posedirs is None:
    return np.zeros((vertices, 3)), np.zeros((0, vertices, 3)), np.zeros((count, 0))
  directions = np.asarray(model.posedirs[hand], np.float64).reshape(3 * vertices, -1).T
  features = (turns[:, 1:] - np.eye(3)).reshape(count, -1)
  mean = features.mean(0)
  features = features - mean
  # The correctives' components are those of features times the root of the directions' products, which are far fewer.
  values, vectors = np.linalg.eigh(directions @ directions.T)
  root = vectors * np.sqrt(values.clip(0))
  left, sizes, _ = np.linalg.svd(features @ root, full_matrices=False)
  rest = (features @ directions).reshape(count, vertices, 3)
  always, used = (mean @ directions).reshape(vertices, 3), 0
  components = np.zeros((0, vertices, 3))
  while used < min(_MOST_TARGETS, len(sizes)) and np.linalg.norm(rest, axis=-1).max() > _CLOSE_MM:
    own = left[:, used]
    component = ((own @ features) @ directions).reshape(vertices, 3)
    rest = rest - own[:, None, None] * component
    components = np.concatenate([components, component[None]])
    used += 1
  low = left[:, :used].min(0)
  span = left[:, :used].max(0) - low
  always = always + np.einsum("m,mvc->vc", low, components)
  return always, components * span[:, None, None], (left[:, :used] - low) / span


def _strongest(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The four joints with the largest weights [V, 16] of each vertex, and these as float32 that sum to 1."""
  order = np.argsort(-weights, axis=1, kind="stable")[:, :INFLUENCES]
  chosen = np.take_along_axis(weights, order, axis=1).clip(0)
  chosen = (chosen / chosen.sum(1, keepdims=True)).astype(np.float32)
  chosen[:, 0] = 1 - chosen[:, 1:].sum(1, dtype=np.float32)
  return np.where(chosen > 0, order, 0).astype(np.uint8), chosen


def _alike(quaternions: np.ndarray) -> np.ndarray:
  """Of rotations [K, J, 4] over time, each with the sign that is nearer to the one before."""
  with_last = (quaternions[1:] * quaternions[:-1]).sum(-1, keepdims=True)
  signs = np.cumprod(np.where(with_last < 0, -1.0, 1.0), axis=0)
  return np.concatenate([quaternions[:1], quaternions[1:] * signs])


def _unit(normals: np.ndarray) -> np.ndarray:
  """Normals of length 1, as glTF asks for also where a vertex belongs to no face."""
  normals = np.asarray(normals, np.float64)
  length = np.linalg.norm(normals, axis=-1, keepdims=True)
  return np.where(length > 0, normals / np.where(length > 0, length, 1), [0, 0, 1]).astype(np.float32)
