"""The example's one affine from the original picture to the network's input, and what follows from it.

`crop_from_img` [2, 3] maps pixels of the original picture to pixels of the crop. It holds the box, the augmentation
and the mirror, so that host warp, codecs and the predictor's inverse cannot disagree. Integer coordinates are pixel
centres. Everything serves NumPy and JAX; `warp` is the device's twin of the host's `cv2.warpAffine`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Shaped

from jaxhands.geometry.arrays import Array, namespace

BOX_FACTOR = 1.25  # InterNet's enlargement of the annotated box
# InterHand2.6M's enlargement of the tight box of the joints, and so that of every `box_img`. The tight box of a hand's
# whole mask is about as large: 1.24 times that of the joints in the median of embedded hands.
JOINT_BOX_MARGIN = 1.2


def box_around(
  points: Float[Array, "*b n 2"], valid: Bool[Array, "*b n"], margin: float = JOINT_BOX_MARGIN
) -> Float[Array, "*b 4"]:
  """Tight box [x, y, width, height] of the valid points, enlarged about its centre; all 0 without a valid point."""
  xp = namespace(points, valid)
  some = xp.any(valid, -1, keepdims=True)
  low = xp.where(some, xp.where(valid[..., None], points, xp.inf).min(-2), 0)
  high = xp.where(some, xp.where(valid[..., None], points, -xp.inf).max(-2), 0)
  size = (high - low) * margin
  return xp.concatenate([(low + high - size) / 2, size], axis=-1).astype(points.dtype)


def box_of_mask(mask: Shaped[Array, "*b h w"]) -> tuple[Float[Array, "*b 4"], Bool[Array, "*b"]]:
  """Tight box [x, y, width, height] of the pixels that are not 0, and whether there are any; else all 0.

  From the first to the last pixel's centre, so that one pixel has no width (HDR's release).
  """
  xp = namespace(mask)
  ends = []
  for axis in (-1, -2):
    some = (mask != 0).any(-2 if axis == -1 else -1)
    size = some.shape[-1]
    at = xp.arange(size)
    ends.append((xp.where(some, at, size).min(-1), xp.where(some, at, -1).max(-1)))
  (left, right), (top, bottom) = ends
  there = xp.asarray(right >= 0)
  box = xp.stack([left, top, right - left, bottom - top], axis=-1).astype(np.float32)
  return xp.where(there[..., None], box, 0), there


def clip_box(box: Float[Array, "*b 4"], picture_hw: Any) -> Float[Array, "*b 4"]:
  """RootNet's box: the part of `box` [x, y, width, height] between the centres of the picture's outermost pixels.

  As released, a box that begins before the picture keeps its width from the picture's edge on, and any loses one pixel
  of width and height. A box without area in the picture, which the release drops, is kept as it is.
  """
  xp = namespace(box)
  height, width = picture_hw
  x, y = xp.maximum(box[..., 0], 0), xp.maximum(box[..., 1], 0)
  right = xp.minimum(x + xp.maximum(box[..., 2] - 1, 0), width - 1)
  bottom = xp.minimum(y + xp.maximum(box[..., 3] - 1, 0), height - 1)
  some = (right > x) & (bottom > y)
  return xp.where(some[..., None], xp.stack([x, y, right - x, bottom - y], axis=-1), box).astype(box.dtype)


def process_box(
  box: Float[Array, "*b 4"], crop_hw: tuple[int, int], factor: float = BOX_FACTOR
) -> Float[Array, "*b 4"]:
  """The box that fills the crop: the shorter side grows to the crop's aspect, then both by `factor`; centre kept.

  No clipping to the picture (InterNet's released behaviour; in place there, a copy here).
  """
  xp = namespace(box)
  x, y, width, height = (box[..., i] for i in range(4))
  aspect = crop_hw[1] / crop_hw[0]
  full_width, full_height = xp.maximum(width, aspect * height), xp.maximum(height, width / aspect)
  new_width, new_height = full_width * factor, full_height * factor
  centre_x, centre_y = x + width / 2, y + height / 2
  corners = [centre_x - new_width / 2, centre_y - new_height / 2, new_width, new_height]
  return xp.stack(corners, axis=-1).astype(box.dtype)


def crop_affine(
  box: Float[Array, "*b 4"],
  crop_hw: tuple[int, int],
  translation: Any = (0.0, 0.0),
  scale: Any = 1.0,
  rotation: Any = 0.0,
  mirror: Any = False,
) -> Float[Array, "*b 2 3"]:
  """`crop_from_img` of a processed box: InterNet's steps 1 to 3 with the mirror inside.

  The order is theirs: the box moves, the picture is mirrored, the box is turned and scaled. The mirror x -> W - 1 - x
  moves box and picture alike, so that the picture's width W drops out.

  Args:
    box: x, y, width, height in picture pixels, already square (`process_box`).
    crop_hw: height and width of the crop in pixels.
    translation: of the box in x and y, shares of its width and height.
    scale: of the box; above 1 shows more of the scene.
    rotation: of the box in rad, clockwise on the screen.
    mirror: the crop shows the mirrored scene.
  """
  xp = namespace(box, translation, scale, rotation, mirror)
  exact = box.astype(np.float64) if xp is np else box
  translation = xp.asarray(translation)
  width, height = exact[..., 2], exact[..., 3]
  centre_x = exact[..., 0] + (0.5 + translation[..., 0]) * width
  centre_y = exact[..., 1] + (0.5 + translation[..., 1]) * height
  sign = 1.0 - 2.0 * xp.asarray(mirror)
  cos, sin = xp.cos(xp.asarray(rotation)), xp.sin(xp.asarray(rotation))
  per_x, per_y = crop_hw[1] / (width * scale), crop_hw[0] / (height * scale)
  a, b = per_x * cos * sign, per_x * sin
  c, d = -per_y * sin * sign, per_y * cos
  rows = (
    (a, b, crop_hw[1] / 2 - a * centre_x - b * centre_y),
    (c, d, crop_hw[0] / 2 - c * centre_x - d * centre_y),
  )
  return xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2).astype(box.dtype)


def invert_affine(affine: Float[Array, "*b 2 3"]) -> Float[Array, "*b 2 3"]:
  """The inverse map, e.g. `img_from_crop`; the map must not be singular."""
  xp = namespace(affine)
  exact = affine.astype(np.float64) if xp is np else affine
  (a, b, x), (c, d, y) = (tuple(exact[..., row, i] for i in range(3)) for row in range(2))
  determinant = a * d - b * c
  rows = ((d, -b, b * y - d * x), (-c, a, c * x - a * y))
  inverse = xp.stack([xp.stack(row, axis=-1) for row in rows], axis=-2)
  return (inverse / determinant[..., None, None]).astype(affine.dtype)


def compose_affine(outer: Float[Array, "*b 2 3"], inner: Float[Array, "*b 2 3"]) -> Float[Array, "*b 2 3"]:
  """`outer` after `inner`."""
  xp = namespace(outer, inner)
  exact_outer, exact_inner = (m.astype(np.float64) if xp is np else m for m in (outer, inner))
  # Sums of products, not `matmul`: accelerators would round pixel coordinates to bfloat16 or TF32.
  columns = [
    exact_outer[..., 0] * exact_inner[..., :1, i] + exact_outer[..., 1] * exact_inner[..., 1:, i] for i in range(3)
  ]
  columns[2] = columns[2] + exact_outer[..., 2]
  return xp.stack(columns, axis=-1).astype(inner.dtype)


def apply_affine(affine: Float[Array, "*b 2 3"], points: Float[Array, "*p 2"]) -> Float[Array, "*p 2"]:
  """Maps points whose leading axes begin with the affine's, e.g. [B, 2, 3] and [B, 2, 21, 2]."""
  xp = namespace(affine, points)
  extra = points.ndim + 1 - affine.ndim
  spread = affine.reshape(affine.shape[:-2] + (1,) * extra + (2, 3))
  x, y = points[..., 0], points[..., 1]
  return xp.stack(
    [spread[..., row, 0] * x + spread[..., row, 1] * y + spread[..., row, 2] for row in range(2)], axis=-1
  )


def resize_affine(
  crop_from_img: Float[Array, "*b 2 3"], crop_hw: tuple[int, int], map_hw: tuple[int, int]
) -> Float[Array, "*b 2 3"]:
  """The affine to a map that covers the crop at another size: map pixel i is crop pixel i * crop / map.

  A label map of half the size so holds every even row and column (DIGIT), and heatmap cells are crop / 4 (InterNet).
  """
  factors = np.array([[map_hw[1] / crop_hw[1]], [map_hw[0] / crop_hw[0]]], crop_from_img.dtype)
  return crop_from_img * factors


def inside(points_crop: Float[Array, "*b 2"], crop_hw: tuple[int, int]) -> Bool[Array, "*b"]:
  """0 <= x < width and 0 <= y < height, as InterNet masks its targets."""
  x, y = points_crop[..., 0], points_crop[..., 1]
  return namespace(points_crop).asarray((x >= 0) & (x < crop_hw[1]) & (y >= 0) & (y < crop_hw[0]))


def view_rotation(crop_from_img: Float[Array, "*b 2 3"]) -> Float[Array, "*b 3 3"]:
  """The crop's turn about the optical axis: `joints_view = joints_cam @ rotation.T` looks as the crop does.

  `joints_cam` is already mirrored where the crop is, so that only the turn is left; its transpose turns back.
  """
  xp = namespace(crop_from_img)
  linear = crop_from_img[..., :2]
  determinant = linear[..., 0, 0] * linear[..., 1, 1] - linear[..., 0, 1] * linear[..., 1, 0]
  rows = linear / xp.sqrt((linear * linear).sum(-1, keepdims=True))
  zero, one = xp.zeros_like(determinant), xp.ones_like(determinant)
  sign = xp.where(determinant < 0, -one, one)
  turn = [
    xp.stack([rows[..., 0, 0] * sign, rows[..., 0, 1], zero], axis=-1),
    xp.stack([rows[..., 1, 0] * sign, rows[..., 1, 1], zero], axis=-1),
    xp.stack([zero, zero, one], axis=-1),
  ]
  return xp.stack(turn, axis=-2)


def warp(
  picture: Shaped[jax.Array, "P Q *c"], out_from_picture: Float[jax.Array, "2 3"], out_hw: tuple[int, int]
) -> Float[jax.Array, "H W *c"]:
  """Bilinear warp on the device, 0 outside; float output in the picture's range, not rounded.

  Equal to OpenCV 5's `warpAffine(INTER_LINEAR, BORDER_CONSTANT)` on float pictures. Works under `vmap`.
  """
  height, width = picture.shape[:2]
  inverse = invert_affine(out_from_picture)
  columns, rows = jnp.meshgrid(jnp.arange(out_hw[1], dtype=jnp.float32), jnp.arange(out_hw[0], dtype=jnp.float32))
  at = apply_affine(inverse, jnp.stack([columns, rows], axis=-1))
  low = jnp.floor(at)
  fraction = at - low
  corner = low.astype(jnp.int32)
  channels = (1,) * (picture.ndim - 2)
  out = jnp.zeros((*out_hw, *picture.shape[2:]), jnp.float32)
  for dy in (0, 1):
    for dx in (0, 1):
      x, y = corner[..., 0] + dx, corner[..., 1] + dy
      weight = (fraction[..., 0] if dx else 1 - fraction[..., 0]) * (fraction[..., 1] if dy else 1 - fraction[..., 1])
      within = (x >= 0) & (x < width) & (y >= 0) & (y < height)
      values = picture[jnp.clip(y, 0, height - 1), jnp.clip(x, 0, width - 1)].astype(jnp.float32)
      out = out + jnp.where(within, weight, 0).reshape(weight.shape + channels) * values
  return out


def warp_smoothly(
  picture: Shaped[jax.Array, "P Q *c"],
  out_from_picture: Float[jax.Array, "2 3"],
  out_hw: tuple[int, int],
  oversampling: int = 1,
) -> Float[jax.Array, "H W *c"]:
  """`warp` whose pixels are means of `oversampling` samples in each direction: where it shrinks, few are skipped."""
  if oversampling == 1:
    return warp(picture, out_from_picture, out_hw)
  height, width = out_hw
  # Pixel i is the mean of the fine pixels from i * oversampling on.
  offset = np.array([[0, 0, 1], [0, 0, 1]], np.float32) * (oversampling - 1) / 2
  fine = warp(picture, oversampling * out_from_picture + offset, (height * oversampling, width * oversampling))
  return fine.reshape(height, oversampling, width, oversampling, *picture.shape[2:]).mean((1, 3))
