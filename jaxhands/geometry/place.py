"""Where a hand is: its wrist's position from pixels and what is known of its form, in closed form.

All functions act on the last axes, serve NumPy and JAX, and are differentiable where they are determined.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from jaxhands.geometry import camera
from jaxhands.geometry.arrays import Array, namespace


def place(
  joints_rel: Float[Array, "*b N 3"],
  joints_img: Float[Array, "*b N 2"],
  camera_img: Float[Array, "*#b 3 3"],
  weight: Float[Array, "*b N"],
) -> tuple[Float[Array, "*b 3"], Bool[Array, "*b"]]:
  """The translation that brings root-relative joints onto their pixels, by weighted linear least squares.

  With rays (a, b, 1), each joint asks that X + Tx = a (Z + Tz) and Y + Ty = b (Z + Tz); the squared deviations, lengths
  in mm at the joint's depth, are minimised over T.

  Args:
    joints_rel: metric joints (mm) relative to the root, camera frame.
    joints_img: their pixels.
    camera_img: pinhole intrinsics.
    weight: of each joint, not negative.
  Returns:
    T (mm), and whether it is determined: the joints have weight, do not share one ray, and all with weight end up in
    front of the camera. Elsewhere T is 0.
  """
  xp = namespace(joints_rel, joints_img, camera_img, weight)
  rays = xp.stack(camera.rays(joints_img, camera_img), axis=-1)
  offset = rays * joints_rel[..., 2:] - joints_rel[..., :2]  # T[:2] - rays Tz = offset
  total = weight.sum(-1)[..., None]
  share = weight / xp.where(total > 0, total, 1)
  mean_ray, mean_offset = ((share[..., None] * values).sum(-2) for values in (rays, offset))
  ray_part, offset_part = rays - mean_ray[..., None, :], offset - mean_offset[..., None, :]
  spread = (share * (ray_part * ray_part).sum(-1)).sum(-1)
  depth = -(share * (ray_part * offset_part).sum(-1)).sum(-1) / xp.where(spread > 0, spread, 1)
  root = xp.concatenate([mean_offset + mean_ray * depth[..., None], depth[..., None]], axis=-1)
  behind = (weight > 0) & (joints_rel[..., 2] + depth[..., None] <= 0)
  valid = xp.asarray((spread > 0) & ~behind.any(-1))
  return xp.where(valid[..., None], root, 0).astype(joints_rel.dtype), valid


def at_one_depth(wrists_cam: Float[Array, "*b 2 3"]) -> Float[Array, "*b 2 3"]:
  """Two wrists that were placed one by one, moved along their rays to the geometric mean of their depths.

  Hands that interact are about as far away; what is wrong in their sizes puts them far apart.

  Args:
    wrists_cam: mm.
  Returns:
    The same; where one of the two is not in front of the camera, both are where they were.
  """
  xp = namespace(wrists_cam)
  depth = wrists_cam[..., 2]
  in_front = (depth > 0).all(-1, keepdims=True)
  depth = xp.where(in_front, depth, 1)
  return wrists_cam * (xp.sqrt(depth.prod(-1, keepdims=True)) / depth)[..., None]


def root_depth_from_bones(
  joints_img: Float[Array, "*b N 2"],
  joints_rel_depth: Float[Array, "*b N"],
  camera_img: Float[Array, "*#b 3 3"],
  bones: np.ndarray,
  bone_lengths_mm: Float[Array, "*#b K"],
  weight: Float[Array, "*b N"],
) -> tuple[Float[Array, "*b"], Bool[Array, "*b"]]:
  """Depth of the root of a 2.5D hand whose bones have known lengths (after Iqbal et al., ECCV 2018, over all bones).

  Back-projected joints move apart as the root's depth grows. The depth at which the weighted sum of squared bone
  lengths is the known one solves a quadratic equation; the larger root has the hand in front of the camera.

  Args:
    joints_img: pixels.
    joints_rel_depth: mm from the root.
    camera_img: pinhole intrinsics.
    bones: [K, 2] joints at the ends of each bone.
    bone_lengths_mm: their lengths.
    weight: of each joint, not negative; a bone has the product of its ends'.
  Returns:
    Depth (mm), and whether it is determined: bones have weight and length in the picture, and a depth fits. Else 0.
  """
  xp = namespace(joints_img, joints_rel_depth, camera_img, weight)
  x, y = camera.rays(joints_img, camera_img)
  rays = xp.stack([x, y, xp.ones_like(x)], axis=-1)
  points = rays * joints_rel_depth[..., None]
  ray_difference, difference = (values[..., bones[:, 0], :] - values[..., bones[:, 1], :] for values in (rays, points))
  share = weight[..., bones[:, 0]] * weight[..., bones[:, 1]]
  total = share.sum(-1)
  share = share / xp.where(total > 0, total, 1)[..., None]

  def summed(values: Any) -> Any:
    return (share * values).sum(-1)

  a = summed((ray_difference * ray_difference).sum(-1))
  b = summed((ray_difference * difference).sum(-1))
  c = summed((difference * difference).sum(-1) - bone_lengths_mm * bone_lengths_mm)
  discriminant = b * b - a * c
  solvable = (a > 0) & (discriminant > 0)
  depth = (xp.sqrt(xp.where(solvable, discriminant, 1)) - b) / xp.where(a > 0, a, 1)
  valid = xp.asarray(solvable & (depth > 0))
  return xp.where(valid, depth, 0).astype(joints_rel_depth.dtype), valid
