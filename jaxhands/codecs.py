"""What a network regresses, in one place: encoding of targets and decoding of outputs, each pair in one object.

Coordinates of a grid ("voxels") are x, y in cells and z in depth bins, with whole numbers at cell centres. As in
InterNet, DIGIT and their kin, crop pixel 0 is cell 0 and the wrist lies at the middle bin; a cell is thus
`crop / grid` pixels wide. Encoding and decoding serve NumPy and JAX; what reads whole heatmaps is for JAX.

Heatmaps are laid out `[*b, rows, columns, joints, depth bins]`, as the last convolution of a head gives them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxhands import schema
from jaxhands.geometry import crop
from jaxhands.geometry.arrays import Array, namespace
from jaxhands.hands import skeleton

_TINY = 1e-6  # DetNet's, added to lengths that are divided by


@dataclasses.dataclass(frozen=True)
class HeatmapCodec:
  """Joints (crop px, mm from the own wrist) <-> voxels <-> 3D heatmaps.

  Attributes:
    crop_hw: height and width of the network's input, px.
    grid_hw: rows and columns of the heatmap.
    depth_bins: of the heatmap.
    depth_range_mm: that the bins cover, half of it on each side of the wrist.
    sigma: of the target's Gaussian, in cells and bins.
    peak: height of the target's Gaussian (InterNet's paper writes 1, its release has 255).
  """

  crop_hw: tuple[int, int] = (256, 256)
  grid_hw: tuple[int, int] = (64, 64)
  depth_bins: int = 64
  depth_range_mm: float = 400.0
  sigma: float = 2.5
  peak: float = 255.0

  def encode(self, joints_crop: Float[Array, "*b 2"], joints_rel_depth: Float[Array, "*b"]) -> Float[Array, "*b 3"]:
    """Voxels (x, y, z) of joints at crop pixels and mm from their wrist."""
    x = joints_crop[..., 0] * (self.grid_hw[1] / self.crop_hw[1])
    y = joints_crop[..., 1] * (self.grid_hw[0] / self.crop_hw[0])
    z = (joints_rel_depth / self.depth_range_mm + 0.5) * self.depth_bins
    return namespace(x).stack([x, y, z], axis=-1)

  def decode(self, voxels: Float[Array, "*b 3"]) -> tuple[Float[Array, "*b 2"], Float[Array, "*b"]]:
    """Crop pixels and mm from the wrist of voxels; undoes `encode`."""
    x = voxels[..., 0] * (self.crop_hw[1] / self.grid_hw[1])
    y = voxels[..., 1] * (self.crop_hw[0] / self.grid_hw[0])
    rel_depth = (voxels[..., 2] / self.depth_bins - 0.5) * self.depth_range_mm
    return namespace(x).stack([x, y], axis=-1), rel_depth

  def inside_range(self, voxels: Float[Array, "*b 3"]) -> Bool[Array, "*b"]:
    """Whether z lies in the depth range; never for what is not finite."""
    return (voxels[..., 2] >= 0) & (voxels[..., 2] < self.depth_bins)


@dataclasses.dataclass(frozen=True)
class RootDepthCodec:
  """Depth of the left wrist minus that of the right (mm) <-> bin <-> scores of all bins.

  Attributes:
    bins: number of scores.
    range_mm: that the bins cover, half of it on each side of equal depths.
  """

  bins: int = 64
  range_mm: float = 400.0

  def encode(self, rel_root_depth: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Bin (a fraction) of a depth difference in mm."""
    return (rel_root_depth / self.range_mm + 0.5) * self.bins

  def decode(self, bin_index: Float[Array, "*b"]) -> Float[Array, "*b"]:
    """Depth difference in mm of a bin; undoes `encode`."""
    return (bin_index / self.bins - 0.5) * self.range_mm

  def inside(self, bin_index: Float[Array, "*b"]) -> Bool[Array, "*b"]:
    """Whether the bins cover the value; never for what is not finite."""
    return (bin_index >= 0) & (bin_index < self.bins)


@dataclasses.dataclass(frozen=True)
class HandednessCodec:
  """Presence of the right and the left hand <-> targets 0 | 1 <-> scores."""

  def encode(self, hand_present: Bool[Array, "*b 2"]) -> Float[Array, "*b 2"]:
    """Targets of the two probabilities."""
    return hand_present.astype("float32")

  def decode(self, scores: Float[Array, "*b 2"]) -> Float[Array, "*b 2"]:
    """Probabilities of the two hands, of each on its own (both may be there)."""
    xp = namespace(scores)
    return xp.exp(xp.minimum(scores, 0)) / (1 + xp.exp(-abs(scores)))  # the exponents are negative: nothing overflows


@dataclasses.dataclass(frozen=True)
class BoneCodec:
  """Joints (mm) of one hand <-> multiples of the length of one of its bones, and directions of all bones (DetNet).

  Attributes:
    parents: of each joint; the root of the skeleton is its own.
    root: joint that locations are relative to.
    bone: joints at the ends of the bone that is the unit of length.
  """

  parents: tuple[int, ...]
  root: int
  bone: tuple[int, int]

  def encode(self, joints: Float[Array, "*b j 3"]) -> tuple[Float[Array, "*b j 3"], Float[Array, "*b j 3"]]:
    """Locations, and unit vectors from each joint's parent to it, 0 for the root of the skeleton."""
    xp = namespace(joints)
    rel = joints - joints[..., self.root : self.root + 1, :]
    location = rel / (self._length(joints)[..., None, None] + _TINY)
    bones = location - location[..., np.array(self.parents), :]
    return location, bones / (xp.sqrt((bones * bones).sum(-1, keepdims=True)) + _TINY)

  def decode(self, location: Float[Array, "*b j 3"], bone_mm: float) -> Float[Array, "*b j 3"]:
    """Joints in mm from the root, of a hand whose bone has this length; undoes `encode`."""
    return location * bone_mm

  def _length(self, joints: Float[Array, "*b j 3"]) -> Float[Array, "*b"]:
    difference = joints[..., self.bone[0], :] - joints[..., self.bone[1], :]
    return namespace(joints).sqrt((difference * difference).sum(-1))


def pasted_gaussian(
  cells: Float[Array, "*b j 2"], grid_hw: tuple[int, int], sigma: float
) -> tuple[Float[Array, "*b h j"], Float[Array, "*b w j"], Bool[Array, "*b j"]]:
  """DetNet's targets: of each joint a window of 6 sigma + 1 samples of a Gaussian, pasted around its whole cell.

  As released: rounding towards zero moves the peak by one cell where the window begins left of or above the grid and
  3 sigma is not whole.

  Args:
    cells: whole (x, y), as floats.
    grid_hw: rows and columns.
    sigma: of the Gaussian, in cells.
  Returns:
    Factors along rows and columns, whose product is the target, and for which joints the window meets the grid.
  """
  xp = namespace(cells)
  reach = 3 * sigma
  first, end = xp.trunc(cells - reach), xp.trunc(cells + reach + 1)
  middle = first + float(int(2 * reach + 1) // 2)

  def factor(axis: int, size: int) -> Array:
    at = xp.arange(size, dtype=cells.dtype)[:, None]
    inside = (at >= first[..., None, :, axis]) & (at < end[..., None, :, axis])
    return xp.where(inside, xp.exp(-0.5 * ((at - middle[..., None, :, axis]) / sigma) ** 2), 0)

  size = np.array(grid_hw[::-1], np.float32)
  meets = ((first < size) & (end >= 0)).all(-1)
  return factor(1, grid_hw[0]), factor(0, grid_hw[1]), meets


def encode_pose(batch: schema.Batch, joints: HeatmapCodec, root: RootDepthCodec) -> dict[str, Any]:
  """What a network of `joints` and `root` is compared with, as InterNet's and DIGIT's releases build and mask it.

  Args:
    batch: with the joints in picture and space, hands present and the crop's affine.
    joints: gives the voxels.
    root: gives the bin of the depth between the wrists.
  Returns:
    "voxels" [B, 2, 21, 3]; "voxels_valid" [B, 2, 21]: in the crop and in the depth range, with depth and wrist
    annotated; "cells_valid" [B, 2, 21]: x and y are annotated and in the crop; "root_bin" [B] and
    "root_bin_valid" [B]: both hands there, both wrists in the crop, the difference in range.
  """
  joints_crop = crop.apply_affine(batch["crop_from_img"], batch["joints_img"])
  depth, depth_valid = batch["joints_cam"][..., 2], batch["joints_cam_valid"]
  wrist = skeleton.WRIST
  voxels = joints.encode(joints_crop, depth - depth[..., wrist : wrist + 1])
  cells_valid = batch["joints_img_valid"] & crop.inside(joints_crop, joints.crop_hw)
  with_depth = depth_valid & depth_valid[..., wrist : wrist + 1] & joints.inside_range(voxels)
  voxels_valid = cells_valid & with_depth
  root_bin = root.encode(depth[:, schema.LEFT, wrist] - depth[:, schema.RIGHT, wrist])
  both = voxels_valid[..., wrist].all(-1) & batch["hand_present"].all(-1)
  return {
    "voxels": voxels,
    "voxels_valid": voxels_valid,
    "cells_valid": cells_valid,
    "root_bin": root_bin,
    "root_bin_valid": both & root.inside(root_bin),
  }


def gaussian_factors(
  voxels: Float[Array, "*b j 3"], grid: tuple[int, int, int], sigma: float
) -> tuple[Float[Array, "*b h j"], Float[Array, "*b w j"], Float[Array, "*b j d"]]:
  """The three factors whose product over rows, columns and bins is a Gaussian of height 1 around each voxel.

  Args:
    voxels: centres (x, y, z).
    grid: rows, columns, bins.
    sigma: in cells and bins.
  """
  xp = namespace(voxels)
  rows, columns, bins = (xp.arange(size, dtype=voxels.dtype) for size in grid)
  x, y, z = voxels[..., 0], voxels[..., 1], voxels[..., 2]
  factor = -0.5 / sigma**2
  along_rows = xp.exp(factor * (rows[:, None] - y[..., None, :]) ** 2)
  along_columns = xp.exp(factor * (columns[:, None] - x[..., None, :]) ** 2)
  along_bins = xp.exp(factor * (bins - z[..., None]) ** 2)
  return along_rows, along_columns, along_bins


def gaussian_planes(
  cells: Float[Array, "*b j c"], valid: Bool[Array, "*b j"], grid_hw: tuple[int, int], sigma: float
) -> Float[Array, "*b j h w"]:
  """Heatmaps of height 1 around x, y of each joint, 0 where it is not valid; `cells` may have depth bins besides."""
  xp = namespace(cells)
  planar = xp.where(valid[..., None], cells[..., :2], 0)
  voxels = xp.concatenate([planar, xp.zeros_like(planar[..., :1])], axis=-1)
  rows, columns, _ = gaussian_factors(voxels, (*grid_hw, 1), sigma)
  planes = xp.einsum("...hj,...wj->...jhw", rows, columns)
  return xp.where(valid[..., None, None], planes, 0)


def argmax_3d(heatmaps: Float[jax.Array, "*b h w j d"]) -> tuple[Float[jax.Array, "*b j 3"], Float[jax.Array, "*b j"]]:
  """Voxel (x, y, z) of the largest value of each joint, and that value.

  InterNet's release takes the maximum over depth, then over rows, then over columns, the first of equal ones each
  time: ties go to the lowest x, then the lowest y for that x, then the lowest z.
  """
  lead, (h, w, j, d) = heatmaps.shape[:-4], heatmaps.shape[-4:]
  volumes = heatmaps.reshape(-1, h, w, j, d)
  # Maxima of whole volumes, positions of single rows only: XLA's argmax of a volume is many times slower.
  over_z = volumes.max(-1)
  over_y = over_z.max(1)
  x = over_y.argmax(1)  # [b, j]
  example, joint = jnp.arange(len(volumes))[:, None], jnp.arange(j)
  y = over_z[example, :, x, joint].argmax(-1)
  z = volumes[example, y, x, joint].argmax(-1)
  voxels = jnp.stack([x, y, z], axis=-1).astype(jnp.float32)
  return voxels.reshape(*lead, j, 3), over_y.max(1).astype(jnp.float32).reshape(*lead, j)


def softmax_3d(
  heatmaps: Float[jax.Array, "*b h w j d"], beta: Float[jax.Array, "*b j"] | float = 1.0
) -> Float[jax.Array, "*b h w j d"]:
  """Softmax of `beta` x heatmap over all voxels of a joint, in float32."""
  sharp = jnp.broadcast_to(jnp.asarray(beta, jnp.float32), (*heatmaps.shape[:-4], heatmaps.shape[-2]))
  return jax.nn.softmax(heatmaps.astype(jnp.float32) * sharp[..., None, None, :, None], axis=(-4, -3, -1))


def expected_voxel(weights: Float[jax.Array, "*b h w j d"]) -> Float[jax.Array, "*b j 3"]:
  """Mean voxel (x, y, z) under `weights` that sum to one over rows, columns and bins."""
  xy = expected_cell(weights.sum(-1))
  z = _expected_index(weights.sum((-4, -3)))
  return jnp.concatenate([xy, z[..., None]], axis=-1)


def expected_cell(weights: Float[jax.Array, "*b h w j"]) -> Float[jax.Array, "*b j 2"]:
  """Mean cell (x, y) under `weights` that sum to one over rows and columns."""
  x = _expected_index(weights.sum(-3).swapaxes(-1, -2))
  y = _expected_index(weights.sum(-2).swapaxes(-1, -2))
  return jnp.stack([x, y], axis=-1)


def confidence_of_spread(
  weights: Float[jax.Array, "*b h w j"], cells: Float[jax.Array, "*b j 2"], sigma: float
) -> Float[jax.Array, "*b j"]:
  """Variance of a Gaussian of `sigma` cells over that of `weights` around their mean `cells`, at most 1."""
  rows, columns = (jnp.arange(size, dtype=jnp.float32) for size in weights.shape[-3:-1])
  x, y = cells[..., 0], cells[..., 1]
  across = (weights.sum(-3) * (columns[:, None] - x[..., None, :]) ** 2).sum(-2)
  down = (weights.sum(-2) * (rows[:, None] - y[..., None, :]) ** 2).sum(-2)
  return jnp.clip(2 * sigma**2 / jnp.maximum(across + down, 1e-6), 0, 1)


def soft_argmax_1d(scores: Float[jax.Array, "*b n"]) -> Float[jax.Array, "*b"]:
  """Mean index under the softmax of `scores`."""
  return _expected_index(jax.nn.softmax(scores.astype(jnp.float32), axis=-1))


def _expected_index(weights: jax.Array) -> jax.Array:
  indices = jnp.arange(weights.shape[-1], dtype=jnp.float32)
  return jnp.einsum("...n,n->...", weights, indices, precision="highest")
