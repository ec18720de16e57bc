"""What the renderer knows about the skin of one hand of a hand model, whatever pose and shape it has.

Skin coordinates: the template's vertices in mm, from the wrist, x towards the middle finger's knuckle, y towards the
thumb, z out of the palm, for both hands alike. Everything that sticks to the skin is looked up there.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Integer

from jaxhands.geometry.compiled import kernel
from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel
from jaxhands.render.marks import SkinMarks, draw_marks
from jaxhands.render.nails import nail_places
from jaxhands.schema import RIGHT

_BLOBS = 48  # spheres that stand for the hand where it shades itself or the other one
_FLUSH_RADIUS_MM = 8.0
# How red the skin over a joint is, by its place on the finger (base, middle, end) and at the tip.
_FLUSH = (0.5, 0.8, 0.4)
_FLUSH_TIP = 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class HandSurface:
  """Constants of one side of a hand model; `rim` is the open wrist's boundary in order."""

  hand: int
  faces: Int32[np.ndarray, "F 3"]  # counter-clockwise from outside
  skin_mm: Float32[np.ndarray, "V 3"]  # skin coordinates
  weights: Float32[np.ndarray, "V 16"]
  palm: Float32[np.ndarray, " V"]  # 1 palm side, 0 back
  nail: Float32[np.ndarray, "V 2"]  # place on the finger's nail, see `nails`
  flush: Float32[np.ndarray, " V"]
  rim: Int32[np.ndarray, " R"]
  blob_from_vertex: Float32[np.ndarray, "K V"]  # rows sum to 1
  blob_radius_mm: Float32[np.ndarray, " K"]
  rest_occlusion: Float32[np.ndarray, " V"]
  marks: SkinMarks


def hand_surfaces(model: HandModel) -> tuple[HandSurface, HandSurface]:
  """The surfaces of the right and the left hand of `model`; make them once."""
  return (hand_surface(model, 0), hand_surface(model, 1))


def hand_surface(model: HandModel, hand: int) -> HandSurface:
  """The surface of one hand (0 right, 1 left) of `model`.

  Raises:
    ValueError: the mesh is not open at the wrist by exactly one loop.
  """
  vertices, joints = np.asarray(model.v_template[hand]), np.asarray(model.joints_template[hand])
  weights = np.asarray(model.weights[hand], np.float32)
  skin = skin_coordinates(vertices, joints, hand)
  skin_joints = skin_coordinates(joints, joints, hand)
  # Skin coordinates of the left hand are a mirror image: turn its faces so that they face outwards there, too.
  faces = np.ascontiguousarray(model.faces[hand], np.int32)
  outwards = faces if _volume(vertices, faces) > 0 else np.ascontiguousarray(faces[:, ::-1])
  mirrored = _volume(skin, outwards) < 0
  normals = vertex_normals(skin, np.ascontiguousarray(outwards[:, ::-1]) if mirrored else outwards)
  tips = finger_tips(skin, skin_joints, weights)
  blobs, radius = _blobs(skin)
  return HandSurface(
    hand=hand,
    faces=outwards,
    skin_mm=skin,
    weights=weights,
    palm=_smooth_step(normals[:, 2], -0.35, 0.35),
    nail=nail_places(skin, normals, outwards, np.asarray(model.nail[hand]), weights, tips, skin_joints),
    flush=_flush(skin, skin_joints, tips),
    rim=boundary_loop(outwards),
    blob_from_vertex=blobs,
    blob_radius_mm=radius,
    rest_occlusion=occlusion(skin, normals, blobs @ skin, radius),
    marks=draw_marks(skin, skin_joints, tips),
  )


def skin_coordinates(
  points_mm: Float[np.ndarray, "N 3"], joints_mm: Float[np.ndarray, "16 3"], hand: int
) -> Float32[np.ndarray, "N 3"]:
  """Points of the rest pose in skin coordinates; `joints_mm` in MANO's order, in the same frame."""
  joint = dict(zip(skeleton.MANO_JOINT_NAMES, joints_mm, strict=True))
  along = joint["middle1"] - joint["wrist"]
  along = along / np.linalg.norm(along)
  across = joint["index1"] - joint["little1"]
  across = across - (across @ along) * along
  across = across / np.linalg.norm(across)
  out_of_palm = np.cross(along, across) * (-1 if hand == RIGHT else 1)
  return ((points_mm - joint["wrist"]) @ np.stack([along, across, out_of_palm], axis=1)).astype(np.float32)


def boundary_loop(faces: Integer[np.ndarray, "F 3"]) -> Int32[np.ndarray, " R"]:
  """The one open boundary of a mesh, as vertices in order.

  Raises:
    ValueError: the mesh is closed, or has several boundaries.
  """
  edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
  known = {(int(a), int(b)) for a, b in edges}
  following = {a: b for a, b in known if (b, a) not in known}
  if not following:
    raise ValueError("the hand mesh is closed; the renderer expects MANO's layout, open at the wrist")
  loop = [min(following)]
  while len(loop) < len(following) and following.get(loop[-1], loop[0]) != loop[0]:
    loop.append(following[loop[-1]])
  if len(set(loop)) != len(following) or following.get(loop[-1]) != loop[0]:
    raise ValueError(
      f"the boundary of the hand mesh ({len(following)} vertices) is not one loop round the wrist: starting at vertex "
      f"{loop[0]} it closes, ends or crosses itself after {len(set(loop))}"
    )
  return np.array(loop, np.int32)


def finger_tips(
  skin_mm: Float[np.ndarray, "V 3"], joints_mm: Float[np.ndarray, "16 3"], weights: Float[np.ndarray, "V 16"]
) -> Float[np.ndarray, "5 3"]:
  """The skin farthest from each finger's last joint: index, middle, little, ring, thumb (MANO's order)."""
  owner = weights.argmax(1)
  tips = []
  for joint in skeleton.MANO_LEVELS[3]:
    own: Bool[np.ndarray, " V"] = owner == joint
    distance = np.where(own, np.linalg.norm(skin_mm - joints_mm[joint], axis=1), -1.0)
    tips.append(skin_mm[distance.argmax()])
  return np.stack(tips)


@kernel
def vertex_normals(vertices, faces):
  """Unit normals [N, 3], float32: the mean of the faces around each vertex, weighted by area; 0 for loose vertices."""
  normals = np.zeros((vertices.shape[0], 3), np.float32)
  for face in range(faces.shape[0]):
    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
    ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
    vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
    x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    for corner in (a, b, c):
      normals[corner, 0] += x
      normals[corner, 1] += y
      normals[corner, 2] += z
  for vertex in range(vertices.shape[0]):
    length = np.sqrt(normals[vertex, 0] ** 2 + normals[vertex, 1] ** 2 + normals[vertex, 2] ** 2)
    if length > 0:
      for axis in range(3):
        normals[vertex, axis] /= length
  return normals


@kernel
def occlusion(points, normals, centres, radii):
  """How much of the sky above each surface point [N] is hidden by spheres: the sum over spheres of cos r^2 / d^2."""
  hidden = np.zeros(points.shape[0], np.float32)
  for point in range(points.shape[0]):
    total = 0.0
    for sphere in range(centres.shape[0]):
      x = centres[sphere, 0] - points[point, 0]
      y = centres[sphere, 1] - points[point, 1]
      z = centres[sphere, 2] - points[point, 2]
      squared = x * x + y * y + z * z + 1e-6
      facing = x * normals[point, 0] + y * normals[point, 1] + z * normals[point, 2]
      if facing > 0.0:
        total += facing / np.sqrt(squared) * min(1.0, radii[sphere] * radii[sphere] / squared)
    hidden[point] = total
  return hidden


def _volume(vertices: np.ndarray, faces: np.ndarray) -> float:
  a, b, c = (vertices[faces[:, corner]] - vertices.mean(0) for corner in range(3))
  return float(np.einsum("fi,fi->", np.cross(a, b), c))


def _smooth_step(x: np.ndarray, low: float, high: float) -> np.ndarray:
  t = np.clip((x - low) / (high - low), 0, 1)
  return (t * t * (3 - 2 * t)).astype(np.float32)


def _flush(skin: np.ndarray, joints: np.ndarray, tips: np.ndarray) -> Float32[np.ndarray, " V"]:
  centres = [*tips, *(joints[j] for level in skeleton.MANO_LEVELS[1:] for j in level)]
  strength = [_FLUSH_TIP] * 5 + [s for s in _FLUSH for _ in range(5)]
  squared = ((skin[:, None] - np.stack(centres)) ** 2).sum(-1)
  near = np.exp(-squared / (2 * _FLUSH_RADIUS_MM**2 * 2)) * np.array(strength)
  return near.max(1).astype(np.float32)


def _blobs(skin: np.ndarray) -> tuple[Float32[np.ndarray, "K V"], Float32[np.ndarray, " K"]]:
  """Groups of neighbouring vertices (seeds spread by farthest point) and the spheres that they span."""
  seeds = [int(np.argmax(skin[:, 0]))]
  distance = np.linalg.norm(skin - skin[seeds[0]], axis=1)
  while len(seeds) < _BLOBS:
    seeds.append(int(np.argmax(distance)))
    distance = np.minimum(distance, np.linalg.norm(skin - skin[seeds[-1]], axis=1))
  owner = np.linalg.norm(skin[:, None] - skin[seeds], axis=2).argmin(1)
  members = (owner == np.arange(_BLOBS)[:, None]).astype(np.float32)
  mean = members / members.sum(1, keepdims=True)
  radius = np.sqrt(mean @ (skin**2).sum(1) - ((mean @ skin) ** 2).sum(1))
  return mean.astype(np.float32), np.maximum(radius, 3.0).astype(np.float32)
