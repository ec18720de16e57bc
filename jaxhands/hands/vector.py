"""Both hands as one vector, as HandFlow's distributions have them (Wang et al., VMV 2022, section 3.1).

Of each hand, the right one first: 16 rotations as 6D, the global one first, 10 shape parameters, the wrist's place in
the crop (-1..1 from edge to edge), and its scale, the logarithm of the crop's pixels per mm at the wrist. That is 109
numbers a hand. The frame is that of the crop: turned as it is, so that a vector follows from what the crop shows.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxhands import schema
from jaxhands.geometry import camera, crop, rotations
from jaxhands.geometry.arrays import Array, matmul, namespace
from jaxhands.hands.model import NUM_ROTATIONS, HandModel

ROTATIONS, SHAPE, WRIST, SCALE = slice(0, 96), slice(96, 106), slice(106, 108), slice(108, 109)
HAND_SIZE = 109
SIZE = 2 * HAND_SIZE
_WIDTHS_MM = (2500.0, 50.0)  # that a crop of hands can show, at the wrists: two arms spread, a wrist


class Decoded(NamedTuple):
  """In the camera's frame: rotations [*b, 2, 16, 3, 3], shape [*b, 2, 10], translation and wrist (mm) [*b, 2, 3]."""

  rotations: Any
  shape: Any
  translation_mm: Any
  wrist_cam: Any


@dataclasses.dataclass(frozen=True)
class HandsVector:
  """From parameters of both hands to the vector, and back.

  Attributes:
    crop_hw: size of the crop in px.
  """

  crop_hw: tuple[int, int]

  @property
  def scales(self) -> tuple[float, float]:
    """Least and largest logarithm of a scale that a decoded hand has."""
    least, largest = (math.log(max(self.crop_hw) / width) for width in _WIDTHS_MM)
    return least, largest

  def encode(
    self,
    mano: Float[Array, "b s 2 61"],
    model: HandModel,
    crop_from_img: Float[Array, "b 2 3"],
    camera_img: Float[Array, "b 3 3"],
  ) -> tuple[Float[Array, "b s 218"], Bool[Array, "b s"]]:
    """Vectors, and which of them there are: wrists behind the camera have no scale; their vectors are 0.

    Args:
      mano: parameters of `model`.
      model: the hand model.
      crop_from_img: of the examples.
      camera_img: intrinsics; a mirrored view's focal length is negative.
    """
    xp = namespace(mano, crop_from_img)
    shape = mano[..., schema.MANO_SHAPE]
    wrist_cam = model.rest_joints(shape)[..., 0, :] + mano[..., schema.MANO_TRANSLATION]
    ahead = xp.asarray(wrist_cam[..., 2] > 1)
    wrist_cam = xp.where(ahead[..., None], wrist_cam, xp.asarray([0, 0, 1], mano.dtype))
    turns = rotations.matrix_from_axis_angle(mano[..., schema.MANO_POSE].reshape(mano.shape[:-1] + (NUM_ROTATIONS, 3)))
    turns = _turned(turns, crop.view_rotation(crop_from_img))
    places = self._places(camera.project(wrist_cam, camera_img[:, None]), crop_from_img)
    scale = xp.log(self._focal_crop(crop_from_img, camera_img)[:, None, None] / wrist_cam[..., 2])
    flat = rotations.rotation_6d_from_matrix(turns).reshape(mano.shape[:-1] + (6 * NUM_ROTATIONS,))
    hands = xp.concatenate([flat, shape, places, scale[..., None]], axis=-1)
    there = xp.asarray(ahead.all(-1))
    return xp.where(there[..., None], hands.reshape(mano.shape[:2] + (SIZE,)), 0), there

  def decode(
    self,
    vectors: Float[Array, "b s 218"],
    model: HandModel,
    crop_from_img: Float[Array, "b 2 3"],
    camera_img: Float[Array, "b 3 3"],
  ) -> Decoded:
    """Hands of vectors, which need not be any hands': rotations are made orthonormal, scales kept within `scales`."""
    xp = namespace(vectors, crop_from_img)
    hands = vectors.reshape(vectors.shape[:2] + (2, HAND_SIZE))
    turns = rotations.matrix_from_6d(hands[..., ROTATIONS].reshape(hands.shape[:-1] + (NUM_ROTATIONS, 6)))
    turns = _turned(turns, crop.view_rotation(crop_from_img).swapaxes(-1, -2))
    shape = hands[..., SHAPE]
    depth = self._focal_crop(crop_from_img, camera_img)[:, None, None] * xp.exp(-xp.clip(hands[..., 108], *self.scales))
    size = np.array(self.crop_hw[::-1], np.float32)
    wrist_crop = (hands[..., WRIST] + 1) * size / 2
    wrist_img = crop.apply_affine(crop.invert_affine(crop_from_img), wrist_crop)
    wrist_cam = camera.back_project(wrist_img, depth, camera_img[:, None])
    return Decoded(turns, shape, wrist_cam - model.rest_joints(shape)[..., 0, :], wrist_cam)

  def normalised(self, joints_crop: Float[Array, "*b 2"]) -> Float[Array, "*b 2"]:
    """Places in the crop (px) as the vector has them, -1..1."""
    return 2 * joints_crop / np.array(self.crop_hw[::-1], np.float32) - 1

  def _places(self, points_img: Any, crop_from_img: Any) -> Any:
    return self.normalised(crop.apply_affine(crop_from_img, points_img))

  @staticmethod
  def _focal_crop(crop_from_img: Float[Array, "b 2 3"], camera_img: Float[Array, "b 3 3"]) -> Float[Array, " b"]:
    """Focal length in pixels of the crop."""
    xp = namespace(crop_from_img, camera_img)
    a, b, c, d = (crop_from_img[..., row, column] for row in (0, 1) for column in (0, 1))
    return xp.sqrt(xp.abs(a * d - b * c) * xp.abs(camera_img[..., 0, 0] * camera_img[..., 1, 1]))


def orthonormality(vectors: Float[Array, "*b 218"]) -> Float[Array, "*b"]:
  """Mean over all rotations and entries of (A^T A - I)^2 of what stands for rotations (ProHMR; the paper sums)."""
  hands = vectors.reshape(vectors.shape[:-1] + (2, HAND_SIZE))[..., ROTATIONS]
  penalty = rotations.orthonormality(hands.reshape(hands.shape[:-1] + (NUM_ROTATIONS, 6)))
  return penalty.mean((-1, -2, -3, -4))


def _turned(turns: Float[Array, "b s 2 16 3 3"], view: Float[Array, "b 3 3"]) -> Any:
  """Poses whose global rotation is followed by another."""
  first = matmul(view[:, None, None], turns[..., 0, :, :])[..., None, :, :]
  return namespace(turns, view).concatenate([first, turns[..., 1:, :, :]], axis=-3)
