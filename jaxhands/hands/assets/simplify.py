"""Mesh simplification by edge collapse, to an exact number of vertices and with triangles of even size."""

from __future__ import annotations

import heapq

import numpy as np
from jaxtyping import Float, Int

_EVENNESS = 0.03  # weight of a vertex's distance to the points it stands for, against that to their planes
_RIM = 30.0  # weight of the planes that hold the open edge
_LEAST_COSINE = 0.3  # between a triangle's normals before and after a collapse


def simplify(
  vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], importance: Float[np.ndarray, " F"], count: int
) -> tuple[Float[np.ndarray, "W 3"], Int[np.ndarray, "G 3"]]:
  """Collapses the cheapest edge, again and again, until `count` vertices are left.

  Garland and Heckbert, "Surface simplification using quadric error metrics", SIGGRAPH 1997; to each vertex's planes
  its own place is added with a small weight, which keeps the triangles even. The open edge stays in its planes. Faces
  of more than common `importance` (1) are kept finer.

  Raises:
    ValueError: no more edges can go without a fold.
  """
  return _Simplifier(vertices, faces, importance).run(count)


class _Simplifier:
  def __init__(self, vertices: np.ndarray, faces: np.ndarray, importance: np.ndarray):
    self.places = vertices.astype(float).copy()
    self.faces: list[list[int] | None] = [[int(corner) for corner in face] for face in faces]
    self.around: list[set[int]] = [set() for _ in vertices]  # faces at each vertex
    for number, face in enumerate(faces):
      for corner in face:
        self.around[corner].add(number)
    self.stamp = np.zeros(len(vertices), int)
    self.alive = np.ones(len(vertices), bool)
    self.quadrics = np.zeros((len(vertices), 4, 4))
    edges = {(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)}
    rim = [edge for edge in edges if edge[::-1] not in edges]
    self.on_rim = np.isin(np.arange(len(vertices)), np.array(rim).ravel())
    for face, weight in zip(faces, importance, strict=True):
      self._add_planes(face, weight, set(rim))
    self.edges = sorted({(min(edge), max(edge)) for edge in edges})

  def _add_planes(self, face: np.ndarray, importance: float, rim: set[tuple[int, int]]) -> None:
    a, b, c = self.places[face]
    normal = np.cross(b - a, c - a)
    area = np.linalg.norm(normal) / 2
    normal = normal / (2 * area)
    weight = importance * area / 3
    self.quadrics[face] += weight * _plane(normal, a)
    for corner in face:
      place = self.places[corner]
      point = np.eye(4)
      point[3, :3] = point[:3, 3] = -place
      point[3, 3] = place @ place
      self.quadrics[corner] += _EVENNESS * weight * point
    for start, end in zip(face, np.roll(face, -1), strict=True):
      if (int(start), int(end)) in rim:
        along = self.places[end] - self.places[start]
        across = np.cross(along, normal)
        for direction in (across, np.cross(across, along)):
          unit = direction / np.linalg.norm(direction)
          self.quadrics[[start, end]] += _RIM * (along @ along) * _plane(unit, self.places[start])

  def run(self, count: int) -> tuple[np.ndarray, np.ndarray]:
    heap = [self._entry(a, b) for a, b in self.edges]
    heapq.heapify(heap)
    left = len(self.places)
    while left > count:
      if not heap:
        raise ValueError(f"{left} vertices are left and none can go; asked for {count}")
      _, a, b, stamp_a, stamp_b = heapq.heappop(heap)
      if not (self.alive[a] and self.alive[b] and (self.stamp[a], self.stamp[b]) == (stamp_a, stamp_b)):
        continue
      place = self._best(a, b)[1]
      if not self._may_collapse(a, b, place):
        continue
      for neighbour in self._collapse(a, b, place):
        heapq.heappush(heap, self._entry(min(a, neighbour), max(a, neighbour)))
      left -= 1
    number = np.cumsum(self.alive) - 1
    kept = np.array([face for face in self.faces if face is not None])
    return self.places[self.alive], number[kept]

  def _best(self, a: int, b: int) -> tuple[float, np.ndarray]:
    quadric = self.quadrics[a] + self.quadrics[b]
    place = np.linalg.solve(quadric[:3, :3], -quadric[:3, 3])
    return float(place @ quadric[:3, 3] + quadric[3, 3]), place

  def _entry(self, a: int, b: int) -> tuple[float, int, int, int, int]:
    return self._best(a, b)[0], a, b, int(self.stamp[a]), int(self.stamp[b])

  def _neighbours(self, vertex: int) -> set[int]:
    return {corner for face in self.around[vertex] for corner in self.faces[face] or ()} - {vertex}

  def _may_collapse(self, a: int, b: int, place: np.ndarray) -> bool:
    shared = self.around[a] & self.around[b]
    of_a, of_b = self._neighbours(a), self._neighbours(b)
    if len(of_a & of_b) != len(shared) or len(of_a | of_b) <= 4:
      return False  # the mesh would pinch, or a tetrahedron fall flat
    if self.on_rim[a] and self.on_rim[b] and len(shared) != 1:
      return False
    for number in (self.around[a] | self.around[b]) - shared:
      face = self.faces[number] or []
      before = _normal(self.places[face])
      after = _normal(np.array([place if corner in (a, b) else self.places[corner] for corner in face]))
      if before @ after < _LEAST_COSINE * np.linalg.norm(before) * np.linalg.norm(after):
        return False
    return True

  def _collapse(self, a: int, b: int, place: np.ndarray) -> list[int]:
    """Merges b into a; returns a's neighbours, whose edges to a have a new cost."""
    for number in self.around[a] & self.around[b]:
      for corner in self.faces[number] or ():
        self.around[corner].discard(number)
      self.faces[number] = None
    for number in self.around[b]:
      self.faces[number] = [a if corner == b else corner for corner in self.faces[number] or ()]
    self.around[a] |= self.around[b]
    self.places[a] = place
    self.quadrics[a] += self.quadrics[b]
    self.on_rim[a] |= self.on_rim[b]
    self.alive[b] = False
    self.stamp[a] += 1
    return sorted(self._neighbours(a))


def _plane(normal: np.ndarray, point: np.ndarray) -> np.ndarray:
  plane = np.append(normal, -normal @ point)
  return np.outer(plane, plane)


def _normal(corners: np.ndarray) -> np.ndarray:
  return np.cross(corners[1] - corners[0], corners[2] - corners[0])
