"""The z-buffer: which triangle is seen in each pixel, and how far away it is.

Two twins give the same face map and the same depth, bit for bit: a Numba loop, and a vectorised NumPy version that is
used where Numba is not installed. Both interpolate the inverse depth, which is linear in the picture (so depth is
perspective-correct), count a pixel whose centre lies on an edge as inside, and let the lower face win a tie.
A triangle with a vertex nearer than `NEAR_MM` (or behind the camera) is left out whole.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Integer

from jaxhands.geometry.compiled import HAVE_NUMBA, kernel

NEAR_MM = 1.0
NOTHING = -1  # in a face map
_MIN_AREA = 1e-9  # px^2, twice the triangle's area
# Barycentric and px: keep rounding from opening a shared edge or corner.
_EDGE, _SLACK = -1e-9, 1e-7
_WIDE = 6.0  # px, from which on it pays to look where a row of a triangle begins
_FLAT = 1e-7  # per px
_PAIRS_AT_ONCE = 1 << 20


def project(points_cam: Float[np.ndarray, "N 3"], camera_img: Float[np.ndarray, "3 3"]) -> Float64[np.ndarray, "N 3"]:
  """Pinhole projection: x, y in pixels and the inverse depth in 1/mm, which is 0 for points nearer than `NEAR_MM`."""
  points = points_cam.astype(np.float64)
  z = points[:, 2]
  ahead = z >= NEAR_MM
  inverse = np.where(ahead, 1.0, 0.0) / np.where(ahead, z, 1.0)
  camera = camera_img.astype(np.float64)
  x, y = points[:, 0] * inverse, points[:, 1] * inverse
  return np.stack(
    [camera[0, 0] * x + camera[0, 1] * y + camera[0, 2], camera[1, 1] * y + camera[1, 2], inverse], axis=1
  )


def buffers(height: int, width: int) -> tuple[Int32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
  """An empty face map (`NOTHING`) and inverse depth (0)."""
  return np.full((height, width), NOTHING, np.int32), np.zeros((height, width), np.float32)


def rasterize(
  points_img: Float64[np.ndarray, "N 3"],
  faces: Integer[np.ndarray, "F 3"],
  face_map: Int32[np.ndarray, "h w"],
  inverse_depth: Float32[np.ndarray, "h w"],
  first_face: int = 0,
  pixel_centre: float = 0.0,
  cull: bool = False,
) -> None:
  """Draws triangles into buffers that may hold others already.

  Args:
    points_img: x, y in pixels and a nearness that is linear in the picture (1/z, see `project`); a triangle with a
      nearness of 0 or less is left out.
    faces: vertex indices.
    face_map: number of the face seen, `NOTHING` where none is; changed in place.
    inverse_depth: its nearness, 0 where none is; changed in place.
    first_face: the number that `faces[0]` gets in `face_map`.
    pixel_centre: where pixel (0, 0) is sampled: 0 = integer coordinates are pixel centres (OpenCV, ours), 0.5 = OpenGL.
    cull: leave out triangles seen from behind, that is whose vertices do not run counter-clockwise on the screen; of a
      closed mesh they are hidden anyway.
  Raises:
    IndexError: a face names a vertex that is not there.
  """
  if faces.size and (faces.min() < 0 or faces.max() >= len(points_img)):
    raise IndexError(f"faces name vertices {faces.min()}..{faces.max()}, but there are {len(points_img)}")
  fill = _fill if HAVE_NUMBA else fill_numpy
  fill(np.ascontiguousarray(points_img), faces, face_map, inverse_depth, first_face, pixel_centre, cull)


def depth_mm(inverse_depth: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
  """Depth in mm, infinite where nothing is."""
  with np.errstate(divide="ignore"):
    return np.float32(1.0) / inverse_depth


@kernel
def _fill(points, faces, face_map, inverse_depth, first_face, pixel_centre, cull):
  height, width = face_map.shape
  for face in range(faces.shape[0]):
    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
    qa, qb, qc = points[a, 2], points[b, 2], points[c, 2]
    if not (qa > 0.0 and qb > 0.0 and qc > 0.0):
      continue
    ax, ay = points[a, 0] - pixel_centre, points[a, 1] - pixel_centre
    bx, by = points[b, 0] - pixel_centre, points[b, 1] - pixel_centre
    cx, cy = points[c, 0] - pixel_centre, points[c, 1] - pixel_centre
    ux, uy, vx, vy = bx - ax, by - ay, cx - ax, cy - ay
    area = ux * vy - uy * vx
    # y runs down: an area seen from the front is negative.
    if not abs(area) > _MIN_AREA or (cull and area > 0.0):
      continue
    x0, x1 = max(0.0, np.ceil(min(ax, bx, cx) - _SLACK)), min(width - 1.0, np.floor(max(ax, bx, cx) + _SLACK))
    y0, y1 = max(0.0, np.ceil(min(ay, by, cy) - _SLACK)), min(height - 1.0, np.floor(max(ay, by, cy) + _SLACK))
    if x0 > x1 or y0 > y1:
      continue
    per_area = 1.0 / area
    # How each barycentric coordinate changes along a row, to begin and end wide rows near the triangle.
    s1, s2 = vy * per_area, -uy * per_area
    s0 = -s1 - s2
    wide = x1 - x0 > _WIDE
    for y in range(int(y0), int(y1) + 1):
      dy = y - ay
      first, last = x0, x1
      if wide:
        w1 = ((x0 - ax) * vy - dy * vx) * per_area
        w2 = (ux * dy - uy * (x0 - ax)) * per_area
        for w, slope in ((1.0 - w1 - w2, s0), (w1, s1), (w2, s2)):
          if slope > _FLAT and w < 0.0:
            first = max(first, x0 + np.floor(-w / slope) - 1.0)
          elif slope < -_FLAT:
            last = min(last, x0 + np.ceil(-w / slope) + 1.0)
      entered = False
      for x in range(int(first), int(last) + 1):
        dx = x - ax
        w1 = (dx * vy - dy * vx) * per_area
        w2 = (ux * dy - uy * dx) * per_area
        w0 = 1.0 - w1 - w2
        if w0 >= _EDGE and w1 >= _EDGE and w2 >= _EDGE:
          nearness = np.float32(w0 * qa + w1 * qb + w2 * qc)
          if nearness > inverse_depth[y, x]:
            inverse_depth[y, x] = nearness
            face_map[y, x] = first_face + face
          entered = True
        elif entered:
          break


def fill_numpy(
  points: Float64[np.ndarray, "N 3"],
  faces: Integer[np.ndarray, "F 3"],
  face_map: Int32[np.ndarray, "h w"],
  inverse_depth: Float32[np.ndarray, "h w"],
  first_face: int,
  pixel_centre: float,
  cull: bool,
) -> None:
  """The twin of the compiled loop: lists all pairs of triangle and pixel of its bounding box, keeps the nearest."""
  height, width = face_map.shape
  corners = points[faces]  # [F, 3, 3]
  xy, nearness = corners[..., :2] - pixel_centre, corners[..., 2]
  origin, u, v = xy[:, 0], xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0]
  area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
  with np.errstate(invalid="ignore", divide="ignore"):
    per_area = 1.0 / area
    low = np.maximum(0.0, np.ceil(xy.min(1) - _SLACK))
    high = np.minimum((width - 1.0, height - 1.0), np.floor(xy.max(1) + _SLACK))
    solid = (np.abs(area) > _MIN_AREA) & ~(cull & (area > 0))
    drawn = np.flatnonzero((nearness > 0).all(1) & solid & (low <= high).all(1))
  x0, y0 = low[drawn].astype(np.int64).T
  columns, rows = (high[drawn] - low[drawn]).astype(np.int64).T + 1
  for part in _chunks(columns * rows):
    pairs = np.repeat(part, (columns * rows)[part])
    start = np.cumsum((columns * rows)[part]) - (columns * rows)[part]
    inside_box = np.arange(len(pairs)) - np.repeat(start, (columns * rows)[part])
    x, y = x0[pairs] + inside_box % columns[pairs], y0[pairs] + inside_box // columns[pairs]
    face = drawn[pairs]
    dx, dy = x - origin[face, 0], y - origin[face, 1]
    w1 = (dx * v[face, 1] - dy * v[face, 0]) * per_area[face]
    w2 = (u[face, 0] * dy - u[face, 1] * dx) * per_area[face]
    w0 = 1.0 - w1 - w2
    q = (w0 * nearness[face, 0] + w1 * nearness[face, 1] + w2 * nearness[face, 2]).astype(np.float32)
    covered = (w0 >= _EDGE) & (w1 >= _EDGE) & (w2 >= _EDGE)
    pixel, q, face = (y * width + x)[covered], q[covered], face[covered]
    before = inverse_depth.ravel()
    best = before.copy()
    np.maximum.at(best, pixel, q)
    wins = (q == best[pixel]) & (q > before[pixel])
    lowest = np.full(height * width, np.iinfo(np.int32).max, np.int32)
    np.minimum.at(lowest, pixel[wins], (first_face + face[wins]).astype(np.int32))
    changed = best > before
    face_map[...] = np.where(changed, lowest, face_map.ravel()).reshape(height, width)
    inverse_depth[...] = best.reshape(height, width)


def _chunks(sizes: Integer[np.ndarray, " D"]) -> list[np.ndarray]:
  """Consecutive index ranges of about `_PAIRS_AT_ONCE` pairs."""
  bounds = np.searchsorted(np.cumsum(sizes), np.arange(_PAIRS_AT_ONCE, int(sizes.sum()), _PAIRS_AT_ONCE))
  return [part for part in np.split(np.arange(len(sizes)), bounds) if len(part)]
