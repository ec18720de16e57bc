"""Operations on triangle meshes that the build of the embedded model needs; vertices [V, 3], faces [F, 3]."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float, Int

_SNAP = 0.0015  # vertices so near to a cutting plane are put on it


def face_normals(vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]) -> Float[np.ndarray, "F 3"]:
  """Normals whose length is twice the triangle's area."""
  a, b, c = vertices[faces.T]
  return np.cross(b - a, c - a)


def depths_along(
  vertices: Float[np.ndarray, "V 3"],
  faces: Int[np.ndarray, "F 3"],
  point: Float[np.ndarray, " 3"],
  direction: Float[np.ndarray, " 3"],
) -> tuple[float, float]:
  """Signed distances from an inner point to the skin behind and ahead of it along a unit direction.

  Raises:
    ValueError: the line does not leave the mesh on both sides.
  """
  a, b, c = vertices[faces.T]
  across = np.cross(direction, c - a)
  det = ((b - a) * across).sum(axis=1)
  det = np.where(np.abs(det) < 1e-15, np.inf, det)
  u = ((point - a) * across).sum(axis=1) / det
  along = np.cross(point - a, b - a)
  v = along @ direction / det
  distance = ((c - a) * along).sum(axis=1) / det
  hits = distance[(u >= 0) & (v >= 0) & (u + v <= 1) & np.isfinite(det)]
  if not ((hits < 0).any() and (hits > 0).any()):
    raise ValueError(f"the point {point} is not inside the mesh along {direction}")
  return float(hits[hits < 0].max()), float(hits[hits > 0].min())


def cotangent_laplacian(
  vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> tuple[Any, Float[np.ndarray, " V"]]:
  """Positive semi-definite stiffness matrix (sparse, V x V) and the area that belongs to each vertex."""
  count = len(vertices)
  stiffness = scipy.sparse.csr_array((count, count))
  for corner in range(3):
    i, j, k = (faces[:, (corner + step) % 3] for step in range(3))
    u, v = vertices[j] - vertices[i], vertices[k] - vertices[i]
    cotangent = (u * v).sum(axis=1) / np.maximum(np.linalg.norm(np.cross(u, v), axis=1), 1e-12)
    half = np.clip(cotangent, 0.05, 20) / 2
    stiffness += scipy.sparse.csr_array((half, (j, j)), (count, count))
    stiffness += scipy.sparse.csr_array((half, (k, k)), (count, count))
    stiffness -= scipy.sparse.csr_array((half, (j, k)), (count, count))
    stiffness -= scipy.sparse.csr_array((half, (k, j)), (count, count))
  third = np.repeat(np.linalg.norm(face_normals(vertices, faces), axis=1) / 6, 3)
  return stiffness, np.bincount(faces.ravel(), third, count)


def relaxation(faces: Int[np.ndarray, "F 3"], amount: Float[np.ndarray, " V"], steps: int) -> Any:
  """Sparse V x V that moves each vertex, `steps` times, `amount` (0..1) of the way to the mean of its neighbours."""
  count = len(amount)
  pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
  pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
  share = amount[pairs[:, 0]] / np.bincount(pairs[:, 0], minlength=count)[pairs[:, 0]]
  step = scipy.sparse.csr_array((share, tuple(pairs.T)), (count, count)) + scipy.sparse.diags_array(1 - amount)
  operator = scipy.sparse.eye_array(count)
  for _ in range(steps):
    operator = step @ operator
  return operator


def cut_behind(
  vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], x: float
) -> tuple[Float[np.ndarray, "W 3"], Int[np.ndarray, "G 3"], Any]:
  """What lies before the plane x = const, with a clean edge on it; the third result makes new vertices of old ones."""
  vertices = vertices.copy()
  vertices[np.abs(vertices[:, 0] - x) < _SNAP, 0] = x
  side = np.sign(vertices[:, 0] - x)
  rows: list[tuple[int, int, float]] = [(vertex, vertex, 0.0) for vertex in range(len(vertices))]
  crossing: dict[tuple[int, int], int] = {}

  def cross(inner: int, outer: int) -> int:
    key = (min(inner, outer), max(inner, outer))
    if key not in crossing:
      crossing[key] = len(rows)
      share = (x - vertices[inner, 0]) / (vertices[outer, 0] - vertices[inner, 0])
      rows.append((inner, outer, share))
    return crossing[key]

  kept: list[list[int]] = []
  for face in faces:
    polygon = []
    for corner, following in zip(face, np.roll(face, -1), strict=True):
      if side[corner] <= 0:
        polygon.append(int(corner))
      if side[corner] * side[following] < 0:
        polygon.append(cross(*sorted((int(corner), int(following)), key=lambda vertex: side[vertex])))
    if (side[face] < 0).any():
      kept += [[polygon[0], polygon[k], polygon[k + 1]] for k in range(1, len(polygon) - 1)]
  used, new_faces = np.unique(np.array(kept), return_inverse=True)
  inner, outer, share = (np.array(column)[used] for column in zip(*rows, strict=True))
  index = np.arange(len(used))
  take = scipy.sparse.csr_array((1 - share, (index, inner)), (len(used), len(vertices)))
  take += scipy.sparse.csr_array((share, (index, outer)), (len(used), len(vertices)))
  return take @ vertices, new_faces.reshape(-1, 3), take


def barycentric_on(
  points: Float[np.ndarray, "P 3"], vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"]
) -> Any:
  """Sparse P x V: the nearest point of the mesh to each point, as a mean of the corners of its triangle."""
  a, b, c = vertices[faces.T]
  rows, columns, values = [], [], []
  for row, point in enumerate(points):
    share = _nearest_in_triangles(point, a, b, c)
    nearest = (share[:, :, None] * np.stack([a, b, c], axis=1)).sum(axis=1)
    face = int(((nearest - point) ** 2).sum(axis=1).argmin())
    rows += [row] * 3
    columns += faces[face].tolist()
    values += share[face].tolist()
  return scipy.sparse.csr_array((values, (rows, columns)), (len(points), len(vertices)))


def _nearest_in_triangles(point: np.ndarray, a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
  """Barycentric coordinates [F, 3] of the nearest point of each triangle."""
  u, v, w = b - a, c - a, point - a
  uu, uv, vv = (u * u).sum(axis=1), (u * v).sum(axis=1), (v * v).sum(axis=1)
  wu, wv = (w * u).sum(axis=1), (w * v).sum(axis=1)
  det = np.maximum(uu * vv - uv**2, 1e-30)
  s, t = (vv * wu - uv * wv) / det, (uu * wv - uv * wu) / det
  inside = np.stack([1 - s - t, s, t], axis=1)
  candidates = [inside]
  for i, j in ((0, 1), (1, 2), (2, 0)):
    start, edge = (a, b, c)[i], (a, b, c)[j] - (a, b, c)[i]
    share = np.clip(((point - start) * edge).sum(axis=1) / np.maximum((edge**2).sum(axis=1), 1e-30), 0, 1)
    on_edge = np.zeros_like(inside)
    on_edge[:, i], on_edge[:, j] = 1 - share, share
    candidates.append(on_edge)
  stacked = np.stack(candidates)
  places = stacked[..., 0, None] * a + stacked[..., 1, None] * b + stacked[..., 2, None] * c
  distance = ((places - point) ** 2).sum(axis=-1)
  distance[0] = np.where((inside >= 0).all(axis=1), distance[0], np.inf)
  return stacked[distance.argmin(axis=0), np.arange(len(a))]
