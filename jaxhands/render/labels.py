"""Labels from the z-buffer: parts with smooth borders, masks of both hands, which joints are seen.

Labels are of the hands themselves: forearm and sleeve hide them, but belong to no mask and no part (as with MANO's
meshes in the real data sets).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int32, Integer, UInt8

from jaxhands.geometry.compiled import HAVE_NUMBA, kernel
from jaxhands.hands import parts
from jaxhands.render import zbuffer
from jaxhands.schema import RIGHT

VISIBLE_WITHIN_MM = 12.0


@dataclasses.dataclass(frozen=True, eq=False)
class HandLabels:
  """Labels at a picture's size; integer coordinates are pixel centres."""

  depth_mm: Float32[np.ndarray, "h w"]  # of everything drawn; infinite where there is nothing
  face_map: Int32[np.ndarray, "h w"]  # hand x F + face of the hand's mesh; -1 where no hand is seen
  parts: UInt8[np.ndarray, "h w"]  # schema.NUM_PARTS classes
  masks: UInt8[np.ndarray, "2 2 h w"]  # hand; amodal, visible


class DrawnHand(NamedTuple):
  """One hand in a z-buffer of its own; its first `num_hand` faces are the hand, others only hide."""

  face_map: Int32[np.ndarray, "h w"]
  inverse_depth: Float32[np.ndarray, "h w"]
  points_img: Float64[np.ndarray, "N 3"]
  faces: Integer[np.ndarray, "M 3"]
  num_hand: int
  weights: Float[np.ndarray, "V 16"]


def label_hands(
  vertices_cam: Float[np.ndarray, "2 V 3"],
  present: Bool[np.ndarray, " 2"],
  faces: Integer[np.ndarray, "2 F 3"],
  weights: Float[np.ndarray, "2 V 16"],
  camera_img: Float[np.ndarray, "3 3"],
  height: int,
  width: int,
) -> HandLabels:
  """Masks, parts and z-buffer of posed hand meshes, such as a data set's MANO fits.

  Args:
    vertices_cam: right and left hand, mm; those of a missing hand are not read.
    present: which hands there are.
    faces: of both hands; inner sides are drawn, too, so that the open wrist is no hole in the mask.
    weights: skinning weights, which tell the parts.
    camera_img: intrinsics of the picture; integer coordinates are pixel centres.
    height, width: of the picture.
  """
  drawn = {}
  for side in np.flatnonzero(present):
    points = zbuffer.project(vertices_cam[side], camera_img)
    face_map, inverse_depth = zbuffer.buffers(height, width)
    zbuffer.rasterize(points, faces[side], face_map, inverse_depth)
    drawn[int(side)] = DrawnHand(face_map, inverse_depth, points, faces[side], len(faces[side]), weights[side])
  return combine(drawn, height, width)


def combine(drawn: Mapping[int, DrawnHand], height: int, width: int) -> HandLabels:
  """Labels of the hands drawn (0 right, 1 left); the right hand wins where both are equally near."""
  size = (height, width)
  masks, part_map = np.zeros((2, 2, *size), np.uint8), np.zeros(size, np.uint8)
  face_map, nearest = np.full(size, zbuffer.NOTHING, np.int32), np.zeros(size, np.float32)
  for side, hand in drawn.items():
    amodal = (hand.face_map >= 0) & (hand.face_map < hand.num_hand)
    visible = amodal.copy()
    if 1 - side in drawn:
      other = drawn[1 - side].inverse_depth
      visible &= hand.inverse_depth >= other if side == RIGHT else hand.inverse_depth > other
    masks[side] = amodal, visible
    face_map[visible] = hand.face_map[visible] + side * hand.num_hand
    part_labels(hand.face_map, visible, hand.points_img, hand.faces, hand.weights, side, part_map)
    nearest = np.maximum(nearest, hand.inverse_depth)
  return HandLabels(zbuffer.depth_mm(nearest), face_map, part_map, masks)


def joints_visible(
  depth_mm: Float[np.ndarray, "h w"],
  joints_cam: Float[np.ndarray, "*b 3"],
  camera_img: Float[np.ndarray, "3 3"],
) -> Bool[np.ndarray, "*b"]:
  """Which joints are seen: nothing lies more than 12 mm in front of them.

  The one rule of all data sets: the z-buffer of both hands there is within 12 mm of the joint, about a finger's
  radius. Where nothing is drawn, nothing hides the joint.

  Args:
    depth_mm: z-buffer of everything that hides, at the size of the picture; infinite or 0 where nothing is.
    joints_cam: joints in mm.
    camera_img: intrinsics of that picture; integer coordinates are pixel centres.
  Returns:
    False also for joints outside the picture or behind the camera.
  """
  height, width = depth_mm.shape
  z = joints_cam[..., 2]
  ahead = z > 0
  safe = np.where(ahead, z, 1.0)
  projected = (joints_cam / safe[..., None]) @ camera_img.T
  column, row = np.rint(projected[..., 0]), np.rint(projected[..., 1])
  inside = ahead & (column >= 0) & (column < width) & (row >= 0) & (row < height)
  there = depth_mm[np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)]
  return inside & ((there <= 0) | (z - there <= VISIBLE_WITHIN_MM))


def part_labels(
  face_map: Int32[np.ndarray, "h w"],
  seen: Bool[np.ndarray, "h w"],
  points_img: Float64[np.ndarray, "N 3"],
  faces: Integer[np.ndarray, "F 3"],
  weights: Float[np.ndarray, "V 16"],
  hand: int,
  labels: UInt8[np.ndarray, "h w"],
) -> None:
  """Writes the part classes of one hand's seen pixels into `labels`.

  Skinning weights are interpolated over the triangle and the largest wins in each pixel, so that borders between parts
  are smooth lines and not the edges of triangles.
  """
  fill = _fill_parts if HAVE_NUMBA else fill_parts_numpy
  fill(face_map, seen, points_img, faces, weights, parts.CLASS_FROM_JOINT[hand], labels)


@kernel
def _fill_parts(face_map, seen, points, faces, weights, classes, labels):
  owner = np.zeros(weights.shape[0], np.int64)
  for vertex in range(weights.shape[0]):
    for joint in range(1, weights.shape[1]):
      if weights[vertex, joint] > weights[vertex, owner[vertex]]:
        owner[vertex] = joint
  for y in range(face_map.shape[0]):
    for x in range(face_map.shape[1]):
      if not seen[y, x]:
        continue
      a, b, c = faces[face_map[y, x], 0], faces[face_map[y, x], 1], faces[face_map[y, x], 2]
      if owner[a] == owner[b] == owner[c]:  # largest at all corners is largest between them
        labels[y, x] = classes[owner[a]]
        continue
      ux, uy = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1]
      vx, vy = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1]
      dx, dy = x - points[a, 0], y - points[a, 1]
      area = ux * vy - uy * vx
      w1 = (dx * vy - dy * vx) / area
      w2 = (ux * dy - uy * dx) / area
      w0 = (1.0 - w1 - w2) * points[a, 2]
      w1 *= points[b, 2]
      w2 *= points[c, 2]
      best, highest = 0, -1.0
      for joint in range(weights.shape[1]):
        weight = w0 * weights[a, joint] + w1 * weights[b, joint] + w2 * weights[c, joint]
        if weight > highest:
          best, highest = joint, weight
      labels[y, x] = classes[best]


def fill_parts_numpy(
  face_map: Int32[np.ndarray, "h w"],
  seen: Bool[np.ndarray, "h w"],
  points: Float64[np.ndarray, "N 3"],
  faces: Integer[np.ndarray, "F 3"],
  weights: Float[np.ndarray, "V 16"],
  classes: UInt8[np.ndarray, " 16"],
  labels: UInt8[np.ndarray, "h w"],
) -> None:
  """The twin of the compiled loop."""
  y, x = np.nonzero(seen)
  corner = faces[face_map[y, x]]
  a, b, c = (points[corner[:, k]] for k in range(3))
  u, v, d = b - a, c - a, np.stack([x, y], axis=1) - a[:, :2]
  area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
  w1 = (d[:, 0] * v[:, 1] - d[:, 1] * v[:, 0]) / area
  w2 = (u[:, 0] * d[:, 1] - u[:, 1] * d[:, 0]) / area
  share = np.stack([(1.0 - w1 - w2) * a[:, 2], w1 * b[:, 2], w2 * c[:, 2]], axis=1)
  weight = sum(share[:, k, None] * weights[corner[:, k]].astype(np.float64) for k in range(3))
  labels[y, x] = classes[np.argmax(weight, axis=1)]
