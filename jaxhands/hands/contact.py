"""Signed distance to posed hand meshes, and how deep two hands, or the fingers of one, go into each other.

Lengths in mm; positive outside. A `Solid` is a closed surface whose triangles lie in boxes of few neighbours, found
once at rest; only the boxes move with the pose. Which side a point is on is its winding number, so that bent skin that
overlaps itself in a crease is simply inside.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int

from jaxhands.geometry.compiled import kernel
from jaxhands.hands import skeleton

CUTOFF_MM = 20.0  # deeper than half a palm: beyond it a point counts as outside
_BOX_FACES = 10  # triangles in a box: the fastest of 6, 10, 16
_GROUP_BOXES = 16


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
  """Distance of points to a posed solid, negative inside."""
  vertices, points = np.ascontiguousarray(vertices, np.float64), np.ascontiguousarray(points, np.float64)
  return Nearest(*_signed_distance(vertices, solid.faces, solid.starts, points, float(cutoff_mm)))


class Probes(NamedTuple):
  """Points that are looked at: means of three vertices (or of three times one) [n, 3]; the first `vertices` are skin
  vertices, the others centres of faces."""

  corners: np.ndarray
  vertices: int

  def on(self, skin: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "n 3"]:
    """Where the points lie on a posed skin."""
    return _means(np.ascontiguousarray(skin, np.float64), self.corners)

  def coarse(self) -> Probes:
    """The vertices alone."""
    return Probes(self.corners[: self.vertices], self.vertices)


def make_probes(vertices: Int[np.ndarray, " n"], faces: Int[np.ndarray, "m 3"]) -> Probes:
  """Probes at the vertices and in the faces given."""
  return Probes(np.concatenate([np.repeat(vertices[:, None], 3, axis=1), faces]), len(vertices))


@dataclasses.dataclass(frozen=True, eq=False)
class HandSolids:
  """One hand as a solid, and cut into the parts between which self-penetration is measured.

  whole: the hand, closed at the wrist · skin: all of its points · parts: palm, thumb, index, middle, ring, little, each
  closed · probes: for each part, the points that may not be in it.

  A finger begins where the web of skin ends: 45 % along its proximal phalanx (thumb: at the middle of it); the stub
  belongs to the palm. Its points are held against all other fingers, and those beyond its middle joint (thumb: beyond
  its last joint) against the palm as well. Skin pressed together inside a flexed joint, and around the web, is not
  counted: there a skinned mesh overlaps where flesh yields. Within the limits of `anatomy` no finger reaches itself.
  """

  whole: Solid
  skin: Probes
  parts: tuple[Solid, ...]
  probes: tuple[Probes, ...]


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
  finger_of_vertex = np.zeros(len(vertices), int)
  reaches_palm = np.zeros(len(vertices), bool)
  for number, finger in enumerate(skeleton.FINGERS, start=1):
    base = skeleton.MANO_JOINT_NAMES.index(f"{finger}1")
    bone, web = _WEB[finger]
    start = base + bone
    mine = weights[:, base : base + 3].sum(axis=1) > 0.5
    finger_of_vertex[mine & (_along(vertices, joints[start], joints[start + 1]) > web)] = number
    reaches_palm |= mine & (_along(vertices, joints[base + 1], joints[base + 2]) > (1.0 if finger == "thumb" else 0.1))
  of_corners = finger_of_vertex[faces]
  part_of_face = np.where((of_corners == of_corners[:, :1]).all(axis=1), of_corners[:, 0], 0)
  numbers = range(len(skeleton.FINGERS) + 1)
  probed = [faces[(part_of_face > 0) & (part_of_face != number)] for number in numbers]
  probed[0] = faces[(part_of_face > 0) & reaches_palm[faces].all(axis=1)]
  whole = make_solid(faces, vertices)
  return HandSolids(
    whole,
    make_probes(np.arange(len(vertices)), whole.skin_faces),
    tuple(make_solid(faces[part_of_face == number], vertices) for number in numbers),
    tuple(make_probes(np.unique(each), each) for each in probed),
  )


def penetration(
  hand: HandSolids, first: Float[np.ndarray, "V 3"], second: Float[np.ndarray, "V 3"], cutoff_mm: float = CUTOFF_MM
) -> tuple[float, float]:
  """Of two posed hands of one mesh: how deep one goes into the other, and the gap between them, mm.

  Depth is the largest distance to the surface over points of one hand inside the other, both ways, over vertices and
  centres of faces; 0 when there are none. The gap is the least distance of those points, at most `cutoff_mm`, 0 at
  penetration. `second` may be a mirrored hand: orientation is found from the vertices.
  """
  depths, gaps = [], []
  for points_of, surface_of in ((first, second), (second, first)):
    distance = signed_distance(hand.whole, surface_of, hand.skin.on(points_of), cutoff_mm).distance_mm
    depths.append(max(0.0, -distance.min()))
    gaps.append(max(0.0, distance.min()))
  return max(depths), min(gaps)


def self_penetration(hand: HandSolids, vertices: Float[np.ndarray, "V 3"], cutoff_mm: float = CUTOFF_MM) -> float:
  """How deep a finger of one posed hand goes into another finger or the palm, mm (see `HandSolids`)."""
  deepest = 0.0
  for solid, probes in zip(hand.parts, hand.probes, strict=True):
    deepest = max(deepest, -signed_distance(solid, vertices, probes.on(vertices), cutoff_mm).distance_mm.min())
  return deepest


@kernel
@no_type_check
def _means(skin, corners):
  points = np.empty((len(corners), 3))
  for n in range(len(corners)):
    for i in range(3):
      points[n, i] = (skin[corners[n, 0], i] + skin[corners[n, 1], i] + skin[corners[n, 2], i]) / 3.0
  return points


@kernel
@no_type_check
def _closest_on_triangle(x, y, z, a, b, c):
  """Weights of the corners (Ericson, Real-Time Collision Detection, 5.1.5)."""
  abx, aby, abz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
  acx, acy, acz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
  apx, apy, apz = x - a[0], y - a[1], z - a[2]
  d1 = abx * apx + aby * apy + abz * apz
  d2 = acx * apx + acy * apy + acz * apz
  if d1 <= 0 and d2 <= 0:
    return 1.0, 0.0, 0.0
  bpx, bpy, bpz = x - b[0], y - b[1], z - b[2]
  d3 = abx * bpx + aby * bpy + abz * bpz
  d4 = acx * bpx + acy * bpy + acz * bpz
  if d3 >= 0 and d4 <= d3:
    return 0.0, 1.0, 0.0
  vc = d1 * d4 - d3 * d2
  if vc <= 0 and d1 >= 0 and d3 <= 0:
    t = d1 / (d1 - d3)
    return 1.0 - t, t, 0.0
  cpx, cpy, cpz = x - c[0], y - c[1], z - c[2]
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


@kernel
@no_type_check
def _boxes(vertices, faces, starts):
  """Low and high corner of each box, [B, 6]."""
  boxes = np.empty((len(starts) - 1, 6))
  boxes[:, :3], boxes[:, 3:] = 1e30, -1e30
  for k in range(len(boxes)):
    for f in range(starts[k], starts[k + 1]):
      for c in range(3):
        for i in range(3):
          x = vertices[faces[f, c], i]
          boxes[k, i] = min(boxes[k, i], x)
          boxes[k, 3 + i] = max(boxes[k, 3 + i], x)
  return boxes


@kernel
@no_type_check
def _left_of(vertices, i, j, y, z):
  """Whether (y, z) is left of an edge, seen along x; of the two directions of an edge exactly one says yes."""
  swapped = i > j
  if swapped:
    i, j = j, i
  a, b = vertices[i], vertices[j]
  return ((b[1] - a[1]) * (z - a[2]) - (b[2] - a[2]) * (y - a[1]) > 0) != swapped


@kernel
@no_type_check
def _inside(x, y, z, vertices, faces, starts, boxes):
  """Whether the surface winds round a point: signed crossings of a ray along x."""
  winding = 0
  for k in range(len(boxes)):
    if y < boxes[k, 1] or y > boxes[k, 4] or z < boxes[k, 2] or z > boxes[k, 5] or x > boxes[k, 3]:
      continue
    for f in range(starts[k], starts[k + 1]):
      i, j, m = faces[f, 0], faces[f, 1], faces[f, 2]
      left = _left_of(vertices, i, j, y, z)
      if _left_of(vertices, j, m, y, z) != left or _left_of(vertices, m, i, y, z) != left:
        continue
      a, b, c = vertices[i], vertices[j], vertices[m]
      nx = (b[1] - a[1]) * (c[2] - a[2]) - (b[2] - a[2]) * (c[1] - a[1])
      ny = (b[2] - a[2]) * (c[0] - a[0]) - (b[0] - a[0]) * (c[2] - a[2])
      nz = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
      # Beyond the point along x when the plane's height there is: n . (a - p) has the sign of nx.
      height = nx * (a[0] - x) + ny * (a[1] - y) + nz * (a[2] - z)
      if nx > 0 and height > 0:
        winding += 1
      elif nx < 0 and height < 0:
        winding -= 1
  return winding != 0


@kernel
@no_type_check
def _balls(vertices, faces):
  """Centre and radius, a little too large, of a ball round each triangle, [F, 4]."""
  balls = np.zeros((len(faces), 4))
  for f in range(len(faces)):
    for i in range(3):
      balls[f, i] = (vertices[faces[f, 0], i] + vertices[faces[f, 1], i] + vertices[faces[f, 2], i]) / 3.0
    for c in range(3):
      square = 0.0
      for i in range(3):
        square += (vertices[faces[f, c], i] - balls[f, i]) ** 2
      balls[f, 3] = max(balls[f, 3], np.sqrt(square) + 1e-6)
  return balls


@kernel
@no_type_check
def _box_distance(box, x, y, z):
  """Squared distance of a point to a box."""
  dx = max(box[0] - x, x - box[3], 0.0)
  dy = max(box[1] - y, y - box[4], 0.0)
  dz = max(box[2] - z, z - box[5], 0.0)
  return dx * dx + dy * dy + dz * dz


@kernel
@no_type_check
def _signed_distance(vertices, faces, starts, points, cutoff):
  boxes, balls = _boxes(vertices, faces, starts), _balls(vertices, faces)
  count = len(boxes)
  # Boxes in a row are neighbours: most of a group's are ruled out by one look at the box round them all.
  groups = (count + _GROUP_BOXES - 1) // _GROUP_BOXES
  outer = np.empty((groups, 6))
  outer[:, :3], outer[:, 3:] = 1e30, -1e30
  low, high = np.full(3, 1e30), np.full(3, -1e30)
  for k in range(count):
    for i in range(3):
      outer[k // _GROUP_BOXES, i] = min(outer[k // _GROUP_BOXES, i], boxes[k, i])
      outer[k // _GROUP_BOXES, 3 + i] = max(outer[k // _GROUP_BOXES, 3 + i], boxes[k, 3 + i])
      low[i] = min(low[i], boxes[k, i])
      high[i] = max(high[i], boxes[k, 3 + i])
  distance = np.full(len(points), cutoff)
  nearest = np.zeros(len(points), np.int64)
  weights = np.zeros((len(points), 3))
  group_bounds, bounds = np.zeros(groups), np.zeros(_GROUP_BOXES)
  for n in range(len(points)):
    x, y, z = points[n, 0], points[n, 1], points[n, 2]
    outside = max(low[0] - x, x - high[0], 0.0) ** 2
    outside += max(low[1] - y, y - high[1], 0.0) ** 2
    outside += max(low[2] - z, z - high[2], 0.0) ** 2
    if outside >= cutoff * cutoff:
      continue
    first_group = 0
    for g in range(groups):
      group_bounds[g] = _box_distance(outer[g], x, y, z)
      if group_bounds[g] < group_bounds[first_group]:
        first_group = g
    best, reach = cutoff * cutoff, cutoff
    for group_turn in range(-1, groups):
      g = first_group if group_turn < 0 else group_turn
      if group_turn == first_group or group_bounds[g] >= best:
        continue
      begin, end = g * _GROUP_BOXES, min((g + 1) * _GROUP_BOXES, count)
      first = 0
      for k in range(end - begin):
        bounds[k] = _box_distance(boxes[begin + k], x, y, z)
        if bounds[k] < bounds[first]:
          first = k
      for turn in range(-1, end - begin):
        k = first if turn < 0 else turn
        if turn == first or bounds[k] >= best:
          continue
        for f in range(starts[begin + k], starts[begin + k + 1]):
          dx, dy, dz = balls[f, 0] - x, balls[f, 1] - y, balls[f, 2] - z
          if dx * dx + dy * dy + dz * dz > (reach + balls[f, 3]) ** 2:
            continue
          a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
          u, v, w = _closest_on_triangle(x, y, z, a, b, c)
          dx = u * a[0] + v * b[0] + w * c[0] - x
          dy = u * a[1] + v * b[1] + w * c[1] - y
          dz = u * a[2] + v * b[2] + w * c[2] - z
          square = dx * dx + dy * dy + dz * dz
          if square < best:
            best, reach = square, np.sqrt(square)
            nearest[n] = f
            weights[n, 0], weights[n, 1], weights[n, 2] = u, v, w
    if best < cutoff * cutoff:
      inside = outside == 0.0 and _inside(x, y, z, vertices, faces, starts, boxes)
      distance[n] = -np.sqrt(best) if inside else np.sqrt(best)
  return distance, nearest, weights
