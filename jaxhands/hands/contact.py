"""Signed distance to posed hand meshes, and how deep two hands, or the fingers of one, go into each other.

Lengths in mm; positive outside. A `Solid` is a closed surface whose triangles lie in boxes of few neighbours, found
once at rest; only the boxes move with the pose. Which side a point is on is its winding number, where far boxes count as one
dipole (Barill et al., "Fast winding numbers for soups and clouds", SIGGRAPH 2018); bent skin that overlaps itself in a
crease is therefore simply inside.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, no_type_check

import numba
import numpy as np
from jaxtyping import Float, Int

from jaxhands.hands import skeleton

CUTOFF_MM = 20.0  # deeper than half a palm: beyond it a point counts as outside
_BOX_FACES = 12  # triangles in a box: the fastest of 6, 12, 24
_FAR = 2.0  # in radii of a box: from there it counts as one dipole (error of the winding number below 0.02)


class Nearest(NamedTuple):
  """Per point: signed distance [P] (`cutoff_mm` where nothing is nearer), triangle [P], its corner weights [P, 3]."""

  distance_mm: np.ndarray
  face: np.ndarray
  weights: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Solid:
  """A closed surface on the vertices of a mesh.

  faces [F, 3] in the order of the boxes, outward · starts [B + 1] first face of each box · surface: how many of `faces`
  are skin, not caps, is told by `is_skin` [F].
  """

  faces: Int[np.ndarray, "F 3"]
  starts: Int[np.ndarray, " boxes"]
  is_skin: np.ndarray

  @property
  def skin_faces(self) -> np.ndarray:
    return self.faces[self.is_skin]


def boundary_loops(faces: Int[np.ndarray, "F 3"]) -> list[np.ndarray]:
  """Open edges of a mesh as closed loops of vertices, each running the way that a cap over it must.

  Raises:
    ValueError: a vertex where two openings meet.
  """
  edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
  present = {(int(a), int(b)) for a, b in edges}
  following: dict[int, int] = {}
  for a, b in present:
    if (b, a) not in present:
      if b in following:
        raise ValueError(f"two openings of the mesh meet at vertex {b}; separate them before closing it")
      following[b] = a
  loops = []
  while following:
    start, vertex = following.popitem()
    loop = [start]
    while vertex != start:
      loop.append(vertex)
      vertex = following.pop(vertex)
    loops.append(np.array(loop))
  return loops


def close(faces: Int[np.ndarray, "F 3"], vertices: Float[np.ndarray, "V 3"]) -> Int[np.ndarray, "G 3"]:
  """The same faces and flat caps over every opening, [G, 3] with the caps last.

  A cap is cut off ear by ear, the shortest new edge first, so that it needs no new vertex.
  """
  caps = []
  for loop in boundary_loops(faces):
    ring = list(loop)
    while len(ring) > 3:
      points = vertices[ring]
      k = int(np.argmin(np.linalg.norm(np.roll(points, 1, 0) - np.roll(points, -1, 0), axis=1)))
      caps.append([ring[k - 1], ring[k], ring[(k + 1) % len(ring)]])
      del ring[k]
    caps.append(ring)
  return np.concatenate([faces, np.array(caps, faces.dtype).reshape(-1, 3)])


def make_solid(faces: Int[np.ndarray, "F 3"], vertices: Float[np.ndarray, "V 3"]) -> Solid:
  """Closes a mesh and sorts its triangles into boxes, by where they lie in `vertices` (the rest pose)."""
  closed = close(faces, vertices)
  centres = vertices[closed].mean(axis=1)
  boxes: list[np.ndarray] = []
  waiting = [np.arange(len(closed))]
  while waiting:
    ids = waiting.pop()
    if len(ids) <= _BOX_FACES:
      boxes.append(ids)
      continue
    axis = np.ptp(centres[ids], axis=0).argmax()
    ids = ids[np.argsort(centres[ids, axis], kind="stable")]
    waiting += [ids[: len(ids) // 2], ids[len(ids) // 2 :]]
  order = np.concatenate(boxes)
  starts = np.cumsum([0] + [len(box) for box in boxes])
  return Solid(closed[order].astype(np.int64), starts.astype(np.int64), order < len(faces))


def signed_distance(
  solid: Solid,
  vertices: Float[np.ndarray, "V 3"],
  points: Float[np.ndarray, "P 3"],
  cutoff_mm: float = CUTOFF_MM,
) -> Nearest:
  """Distance of points to a posed solid, negative inside; about 3 us a point near the surface."""
  vertices, points = np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(points, np.float64)
  return Nearest(*_signed_distance(vertices, solid.faces, solid.starts, points, float(cutoff_mm)))


def sample_points(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "P 3"]:
  """All vertices, then the centre of each face: where penetration is looked for."""
  return np.concatenate([vertices, vertices[faces].mean(axis=1)])


def penetration(solid: Solid, first: Float[np.ndarray, "V 3"], second: Float[np.ndarray, "V 3"]) -> tuple[float, float]:
  """Of two posed hands with the same triangles: how deep one goes into the other, and the gap between them, mm.

  Depth is the largest distance to the surface over points of one hand inside the other, both ways, over vertices and
  centres of faces; 0 when there are none. The gap is the least distance of those points, at most `CUTOFF_MM`, 0 at
  penetration. `second` may be a mirrored hand: orientation is found from the vertices.
  """
  depths, gaps = [], []
  for points_of, surface_of in ((first, second), (second, first)):
    distance = signed_distance(solid, surface_of, sample_points(points_of, solid.skin_faces)).distance_mm
    depths.append(max(0.0, -distance.min()))
    gaps.append(max(0.0, distance.min()))
  return max(depths), min(gaps)


@dataclasses.dataclass(frozen=True, eq=False)
class HandSolids:
  """One hand as a solid, and cut into the parts between which self-penetration is measured.

  whole: the hand, closed at the wrist · parts: palm, thumb, index, middle, ring, little, each closed · whole_corners,
  probe_corners: three vertices (or three times one) whose mean is a point that is looked at, of the hand and of the
  fingers · probe_part: its finger, 1 to 5 · probe_palm: whether it is held against the palm.

  A finger begins where the web of skin ends: 45 % along its proximal phalanx (thumb: at the middle of it); the stub
  belongs to the palm. Its points are probed against all other fingers, and those beyond its middle joint (thumb: beyond
  its last joint) against the palm as well. Skin pressed together inside a flexed joint, and around the web, is not
  counted: there a skinned mesh overlaps where flesh yields.
  """

  whole: Solid
  whole_corners: Int[np.ndarray, "m 3"]
  parts: tuple[Solid, ...]
  probe_corners: Int[np.ndarray, "n 3"]
  probe_part: Int[np.ndarray, " n"]
  probe_palm: np.ndarray

  def probes(self, part: int) -> np.ndarray:
    """Which probed points are held against a part."""
    return self.probe_palm if part == 0 else self.probe_part != part


_WEB = {"thumb": (1, 0.5), "index": (0, 0.45), "middle": (0, 0.45), "ring": (0, 0.45), "little": (0, 0.45)}


def _along(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
  """Position of points along a bone: 0 at its start, 1 at its end."""
  return (points - start) @ (end - start) / ((end - start) @ (end - start))


def make_hand_solids(
  vertices: Float[np.ndarray, "V 3"],
  faces: Int[np.ndarray, "F 3"],
  weights: Float[np.ndarray, "V 16"],
  joints: Float[np.ndarray, "16 3"],
) -> HandSolids:
  """Cuts a hand at rest (right hand, MANO's joint order, mm) into `HandSolids`."""
  part_of_vertex = np.zeros(len(vertices), int)
  reaches_palm = np.zeros(len(vertices), bool)
  for number, finger in enumerate(skeleton.FINGERS, start=1):
    base = skeleton.MANO_JOINT_NAMES.index(f"{finger}1")
    bone, fraction = _WEB[finger]
    start = base + bone
    mine = weights[:, base : base + 3].sum(axis=1) > 0.5
    part_of_vertex[mine & (_along(vertices, joints[start], joints[start + 1]) > fraction)] = number
    reaches_palm |= mine & (_along(vertices, joints[base + 1], joints[base + 2]) > (1.0 if finger == "thumb" else 0.1))
  part_of_face = part_of_vertex[faces]
  part_of_face = np.where((part_of_face == part_of_face[:, :1]).all(axis=1), part_of_face[:, 0], 0)
  parts = tuple(make_solid(faces[part_of_face == part], vertices) for part in range(len(skeleton.FINGERS) + 1))
  on_finger = np.unique(faces[part_of_face > 0])
  corners = np.concatenate([np.repeat(on_finger[:, None], 3, axis=1), faces[part_of_face > 0]])
  part = np.concatenate([part_of_vertex[on_finger], part_of_face[part_of_face > 0]])
  whole = make_solid(faces, vertices)
  all_corners = np.concatenate([np.repeat(np.arange(len(vertices))[:, None], 3, axis=1), whole.skin_faces])
  return HandSolids(whole, all_corners, parts, corners, part, np.all(reaches_palm[corners], axis=1))


def self_penetration(hand: HandSolids, vertices: Float[np.ndarray, "V 3"]) -> float:
  """How deep a finger of one posed hand goes into another finger or the palm, mm (see `HandSolids`)."""
  points = vertices[hand.probe_corners].mean(axis=1)
  deepest = 0.0
  for part, solid in enumerate(hand.parts):
    deepest = max(deepest, -signed_distance(solid, vertices, points[hand.probes(part)]).distance_mm.min())
  return deepest


@numba.njit(cache=True)
@no_type_check
def _closest_on_triangle(p, a, b, c):
  """Weights of the corners (Ericson, Real-Time Collision Detection, 5.1.5)."""
  abx, aby, abz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
  acx, acy, acz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
  apx, apy, apz = p[0] - a[0], p[1] - a[1], p[2] - a[2]
  d1 = abx * apx + aby * apy + abz * apz
  d2 = acx * apx + acy * apy + acz * apz
  if d1 <= 0 and d2 <= 0:
    return 1.0, 0.0, 0.0
  bpx, bpy, bpz = p[0] - b[0], p[1] - b[1], p[2] - b[2]
  d3 = abx * bpx + aby * bpy + abz * bpz
  d4 = acx * bpx + acy * bpy + acz * bpz
  if d3 >= 0 and d4 <= d3:
    return 0.0, 1.0, 0.0
  vc = d1 * d4 - d3 * d2
  if vc <= 0 and d1 >= 0 and d3 <= 0:
    t = d1 / (d1 - d3)
    return 1.0 - t, t, 0.0
  cpx, cpy, cpz = p[0] - c[0], p[1] - c[1], p[2] - c[2]
  d5 = abx * cpx + aby * cpy + abz * cpz
  d6 = acx * cpx + acy * cpy + acz * cpz
  if d6 >= 0 and d5 <= d6:
    return 0.0, 0.0, 1.0
  vb = d5 * d2 - d1 * d6
  if vb <= 0 and d2 >= 0 and d6 <= 0:
    t = d2 / (d2 - d6)
    return 1.0 - t, 0.0, t
  va = d3 * d6 - d5 * d4
  if va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
    t = (d4 - d3) / (d4 - d3 + d5 - d6)
    return 0.0, 1.0 - t, t
  total = va + vb + vc
  if total <= 0:
    return 1.0, 0.0, 0.0  # a triangle without area
  return va / total, vb / total, vc / total


@numba.njit(cache=True)
@no_type_check
def _solid_angle(p, a, b, c):
  """Signed solid angle / (4 pi) of a triangle (Van Oosterom & Strackee, IEEE Trans. Biomed. Eng. 1983)."""
  ax, ay, az = a[0] - p[0], a[1] - p[1], a[2] - p[2]
  bx, by, bz = b[0] - p[0], b[1] - p[1], b[2] - p[2]
  cx, cy, cz = c[0] - p[0], c[1] - p[1], c[2] - p[2]
  la = np.sqrt(ax * ax + ay * ay + az * az)
  lb = np.sqrt(bx * bx + by * by + bz * bz)
  lc = np.sqrt(cx * cx + cy * cy + cz * cz)
  triple = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
  dot_ab, dot_bc, dot_ca = ax * bx + ay * by + az * bz, bx * cx + by * cy + bz * cz, cx * ax + cy * ay + cz * az
  return np.arctan2(triple, la * lb * lc + dot_ab * lc + dot_bc * la + dot_ca * lb) / (2 * np.pi)


@numba.njit(cache=True)
@no_type_check
def _boxes(vertices, faces, starts):
  """Per box: low corner, high corner, centre of area, sum of area vectors (3 each), radius: [B, 13]."""
  count = len(starts) - 1
  boxes = np.zeros((count, 13))
  for k in range(count):
    box = boxes[k]
    box[0:3] = 1e30
    box[3:6] = -1e30
    total = 0.0
    for f in range(starts[k], starts[k + 1]):
      a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
      for i in range(3):
        box[i] = min(box[i], a[i], b[i], c[i])
        box[3 + i] = max(box[3 + i], a[i], b[i], c[i])
      nx = 0.5 * ((b[1] - a[1]) * (c[2] - a[2]) - (b[2] - a[2]) * (c[1] - a[1]))
      ny = 0.5 * ((b[2] - a[2]) * (c[0] - a[0]) - (b[0] - a[0]) * (c[2] - a[2]))
      nz = 0.5 * ((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))
      area = np.sqrt(nx * nx + ny * ny + nz * nz)
      for i in range(3):
        box[6 + i] += area * (a[i] + b[i] + c[i]) / 3
      box[9] += nx
      box[10] += ny
      box[11] += nz
      total += area
    for i in range(3):
      box[6 + i] /= max(total, 1e-30)
    far = 0.0
    for i in range(3):
      far += max(box[3 + i] - box[6 + i], box[6 + i] - box[i]) ** 2
    box[12] = np.sqrt(far)
  return boxes


@numba.njit(cache=True)
@no_type_check
def _winding(p, vertices, faces, starts, boxes):
  total = 0.0
  for k in range(len(starts) - 1):
    box = boxes[k]
    dx, dy, dz = box[6] - p[0], box[7] - p[1], box[8] - p[2]
    square = dx * dx + dy * dy + dz * dz
    if square > (_FAR * box[12]) ** 2:
      total += (dx * box[9] + dy * box[10] + dz * box[11]) / (4 * np.pi * square * np.sqrt(square))
    else:
      for f in range(starts[k], starts[k + 1]):
        total += _solid_angle(p, vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]])
  return total


@numba.njit(cache=True)
@no_type_check
def _signed_distance(vertices, faces, starts, points, cutoff):
  boxes = _boxes(vertices, faces, starts)
  count = len(boxes)
  low, high = np.full(3, 1e30), np.full(3, -1e30)
  for k in range(count):
    for i in range(3):
      low[i] = min(low[i], boxes[k, i])
      high[i] = max(high[i], boxes[k, 3 + i])
  distance = np.full(len(points), cutoff)
  nearest = np.zeros(len(points), np.int64)
  weights = np.zeros((len(points), 3))
  bounds = np.zeros(count)
  for n in range(len(points)):
    p = points[n]
    outside = 0.0
    for i in range(3):
      outside += max(low[i] - p[i], p[i] - high[i], 0.0) ** 2
    if outside >= cutoff * cutoff:
      continue
    first = 0
    for k in range(count):
      bound = 0.0
      for i in range(3):
        bound += max(boxes[k, i] - p[i], p[i] - boxes[k, 3 + i], 0.0) ** 2
      bounds[k] = bound
      if bound < bounds[first]:
        first = k
    best = cutoff * cutoff
    for turn in range(-1, count):
      k = first if turn < 0 else turn
      if (turn == first) or bounds[k] >= best:
        continue
      for f in range(starts[k], starts[k + 1]):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        u, v, w = _closest_on_triangle(p, a, b, c)
        square = 0.0
        for i in range(3):
          square += (u * a[i] + v * b[i] + w * c[i] - p[i]) ** 2
        if square < best:
          best = square
          nearest[n] = f
          weights[n, 0], weights[n, 1], weights[n, 2] = u, v, w
    if best < cutoff * cutoff:
      inside = outside == 0.0 and abs(_winding(p, vertices, faces, starts, boxes)) > 0.5
      distance[n] = -np.sqrt(best) if inside else np.sqrt(best)
  return distance, nearest, weights
