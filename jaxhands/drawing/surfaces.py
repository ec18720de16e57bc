"""The meshes of both hands laid over a picture: pale, lit from above, the nearer one in front."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from jaxhands.drawing.overlay import HAND_RGB
from jaxhands.render.surface import vertex_normals
from jaxhands.render.zbuffer import NEAR_MM, NOTHING, buffers, rasterize
from jaxhands.schema import HANDS

OPACITY = 0.85
_PALE = 0.4  # share of white in the hand's colour
_TO_LIGHT = np.array([-0.35, -0.65, -0.67])  # camera frame: from above, left, and the camera's side
_AMBIENT, _DIFFUSE, _INSIDE = 0.42, 0.68, 0.45
_FINE_PX = 1600  # a box around the hands of up to this many pixels a side has four samples a pixel


def paint(
  picture: UInt8[np.ndarray, "h w 3"],
  vertices_cam: Float[np.ndarray, "2 V 3"],
  faces: Integer[np.ndarray, "2 F 3"],
  shown: Bool[np.ndarray, " 2"],
  camera_img: Float[np.ndarray, "3 3"],
  opacity: float = OPACITY,
) -> UInt8[np.ndarray, "h w 3"]:
  """A copy of the picture with the meshes over it.

  Args:
    picture: RGB.
    vertices_cam: mm, camera frame; right hand first.
    faces: counter-clockwise from outside.
    shown: which hands to draw.
    camera_img: 3 x 3 from camera to pixels of this picture; an affine of pixels may be part of it.
    opacity: of the hands.
  """
  painted = np.ascontiguousarray(picture).copy()
  camera = camera_img.astype(np.float64)
  points = [_projected(vertices_cam[hand], camera) for hand in range(2)]
  ahead = [points[hand][points[hand][:, 2] > 0, :2] for hand in range(2) if shown[hand]]
  box = _box(np.concatenate(ahead), picture.shape[:2]) if any(map(len, ahead)) else None
  if box is None:
    return painted
  left, top, right, bottom = box
  fine = 2 if max(right - left, bottom - top) <= _FINE_PX else 1
  face_map, nearness = buffers((bottom - top) * fine, (right - left) * fine)
  for hand in map(int, np.flatnonzero(shown)):
    own = points[hand].copy()
    own[:, :2] = (own[:, :2] - (left, top) + 0.5) * fine - 0.5  # integers are centres of pixels
    points[hand] = own
    rasterize(own, faces[hand], face_map, nearness, first_face=hand * len(faces[0]))
  colours = np.zeros((*face_map.shape, 3))
  for hand in map(int, np.flatnonzero(shown)):
    seen = (face_map != NOTHING) & (face_map // len(faces[0]) == hand)
    colours[seen] = _lit(vertices_cam[hand], faces[hand], points[hand], face_map[seen] % len(faces[0]), seen, hand)

  def mean(values: np.ndarray) -> np.ndarray:
    return values.reshape(bottom - top, fine, right - left, fine, -1).mean((1, 3))

  covered, colour = opacity * mean(face_map != NOTHING), opacity * mean(colours)
  under = painted[top:bottom, left:right]
  painted[top:bottom, left:right] = np.rint((1 - covered) * under + colour).astype(np.uint8)
  return painted


def _projected(vertices: np.ndarray, camera: np.ndarray) -> np.ndarray:
  """Pixels and the inverse depth [V, 3], which is 0 of what is not before the camera."""
  whole = vertices.astype(np.float64) @ camera.T
  depth = whole[:, 2:]
  ahead = depth >= NEAR_MM
  return np.where(ahead, np.concatenate([whole[:, :2], np.ones_like(depth)], 1) / np.where(ahead, depth, 1), 0)


def _box(points: np.ndarray, hw: tuple[int, int]) -> tuple[int, int, int, int] | None:
  """Columns and rows of the picture around points: left, top, and behind the last ones; None = outside."""
  limit = np.array(hw[::-1])
  low = np.clip(np.floor(points.min(0)), 0, limit).astype(int)
  high = np.clip(np.ceil(points.max(0)) + 1, 0, limit).astype(int)
  return (*low.tolist(), *high.tolist()) if (high > low).all() else None


def _lit(
  vertices: np.ndarray, faces: np.ndarray, points: np.ndarray, face: np.ndarray, seen: np.ndarray, hand: int
) -> np.ndarray:
  """RGB of the samples `seen`, on whose faces the normal is interpolated."""
  normals = vertex_normals(np.ascontiguousarray(vertices, np.float32), np.ascontiguousarray(faces, np.int32))
  rows, columns = np.nonzero(seen)
  a, b, c = (points[faces[face, corner], :2] for corner in range(3))
  u, v, d = b - a, c - a, np.stack([columns, rows], 1) - a
  area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
  second, third = (d[:, 0] * v[:, 1] - d[:, 1] * v[:, 0]) / area, (u[:, 0] * d[:, 1] - u[:, 1] * d[:, 0]) / area
  shares = np.stack([1 - second - third, second, third], 1)
  normal = np.einsum("pc,pcx->px", shares, normals[faces[face]])
  normal /= np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-9)
  light = _AMBIENT + _DIFFUSE * (normal @ (_TO_LIGHT / np.linalg.norm(_TO_LIGHT))).clip(0)
  light = np.where(area < 0, light, _INSIDE * _AMBIENT)  # y runs down: from the front, areas are negative
  colour = (1 - _PALE) * np.array(HAND_RGB[HANDS[hand]]) + 255 * _PALE
  return (light[:, None] * colour).clip(0, 255)
