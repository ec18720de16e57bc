"""Pinhole cameras: project, back-project, world to camera. Millimetres and pixels; integer pixels are centres."""

from __future__ import annotations

from jaxtyping import Float

from jaxhands.geometry.arrays import Array, matmul, namespace


def intrinsics(focal_px: Float[Array, "*b 2"], center_px: Float[Array, "*b 2"]) -> Float[Array, "*b 3 3"]:
  """Camera matrix of two focal lengths and a principal point."""
  xp = namespace(focal_px, center_px)
  fx, fy, cx, cy = focal_px[..., 0], focal_px[..., 1], center_px[..., 0], center_px[..., 1]
  zero, one = xp.zeros_like(fx), xp.ones_like(fx)
  rows = xp.stack([fx, zero, cx, zero, fy, cy, zero, zero, one], axis=-1)
  return rows.reshape(fx.shape + (3, 3))


def project(points_cam: Float[Array, "*b N 3"], camera_img: Float[Array, "*#b 3 3"]) -> Float[Array, "*b N 2"]:
  """Pixels of points in the camera frame; finite also where a point (an absent hand's) lies at the origin."""
  xp = namespace(points_cam, camera_img)
  depth = points_cam[..., 2:]
  rays = points_cam[..., :2] / xp.where(depth == 0, 1, depth)
  return matmul(rays, camera_img[..., :2, :2].swapaxes(-1, -2)) + camera_img[..., None, :2, 2]


def back_project(
  points_img: Float[Array, "*b N 2"], depth_mm: Float[Array, "*b N"], camera_img: Float[Array, "*#b 3 3"]
) -> Float[Array, "*b N 3"]:
  """Points (mm) in the camera frame from pixels and depths: the inverse of `project`."""
  x, y = rays(points_img, camera_img)
  return namespace(points_img, depth_mm, camera_img).stack([x * depth_mm, y * depth_mm, depth_mm], axis=-1)


def rays(
  points_img: Float[Array, "*b N 2"], camera_img: Float[Array, "*#b 3 3"]
) -> tuple[Float[Array, "*b N"], Float[Array, "*b N"]]:
  """x and y of pixels at depth 1."""
  offset = points_img - camera_img[..., None, :2, 2]
  y = offset[..., 1] / camera_img[..., None, 1, 1]
  return (offset[..., 0] - camera_img[..., None, 0, 1] * y) / camera_img[..., None, 0, 0], y


def cam_from_world(rotation: Float[Array, "*b 3 3"], position_mm: Float[Array, "*b 3"]) -> Float[Array, "*b 3 4"]:
  """[R | -R C] of a camera that stands at C in the world (InterHand2.6M's `camrot` and `campos`)."""
  shift = -matmul(rotation, position_mm[..., None])
  return namespace(rotation, position_mm).concatenate([rotation, shift], axis=-1)


def to_camera(points_world: Float[Array, "*b N 3"], cam_from_world: Float[Array, "*#b 3 4"]) -> Float[Array, "*b N 3"]:
  """World points (mm) in the camera frame."""
  return matmul(points_world, cam_from_world[..., :3].swapaxes(-1, -2)) + cam_from_world[..., None, :, 3]


def to_world(points_cam: Float[Array, "*b N 3"], cam_from_world: Float[Array, "*#b 3 4"]) -> Float[Array, "*b N 3"]:
  """Camera points (mm) in the world: the inverse of `to_camera`."""
  return matmul(points_cam - cam_from_world[..., None, :, 3], cam_from_world[..., :3])
