"""One function that mirrors everything known about a picture of hands, one that shows it from a view.

Mirroring the scene across the camera's x = 0 plane exchanges the hands and negates x. Pictures are not touched: the
example's `crop_from_img` mirrors the crop, and pixels of the original picture (`img`) stay where they are. The camera
keeps projecting correctly, as its focal length along x becomes negative: the mirrored `joints_cam` still land on
`joints_img`. Both functions act on the last axes and leave any leading ones (batch, annotations, samples) alone; they
serve records, `Batch` and `Prediction`, NumPy and JAX.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxhands.geometry.arrays import namespace
from jaxhands.hands.model import mirror_mano
from jaxhands.schema import VIEWS

_MIRROR_X = np.array([-1, 1, 1], np.float32)


@dataclasses.dataclass(frozen=True)
class _Rule:
  """How a key changes: `hand_axis` (from the end) is reversed, then `values` is applied; None = untouched."""

  hand_axis: int | None = None
  values: Any = None


def _negate_x(points: Any) -> Any:
  return points * _MIRROR_X


def _negate_first_row(matrix: Any) -> Any:
  return matrix * _MIRROR_X[:, None]


def _exchange_parts(parts: Any) -> Any:
  return namespace(parts).where(parts > 16, parts - 16, namespace(parts).where(parts > 0, parts + 16, parts))


# Arrays in the crop's frame keep their pixels, as the crop's affine holds the mirror; only hands change places.
_RULES: dict[str, _Rule] = {
  "joints_cam": _Rule(-3, _negate_x),
  "joints_cam_valid": _Rule(-2),
  "joints_img": _Rule(-3),
  "joints_img_valid": _Rule(-2),
  "joints_visible": _Rule(-2),
  "joints_rel_depth": _Rule(-2),
  "hand_present": _Rule(-1),
  "hand_prob": _Rule(-1),
  "confidence": _Rule(-2),
  "root_depth": _Rule(-1),
  "root_depth_valid": _Rule(-1),
  "root_depth_estimated": _Rule(-1),
  "root_depth_estimated_valid": _Rule(-1),
  "rel_root_depth": _Rule(None, lambda depth: -depth),
  "root_cam": _Rule(-2, _negate_x),
  "root_cam_valid": _Rule(-1),
  "vertices_cam": _Rule(-3, _negate_x),
  "samples": _Rule(-3, _negate_x),
  "mano": _Rule(-2, mirror_mano),
  "mano_valid": _Rule(-1),
  "annotations_mano": _Rule(-2, mirror_mano),
  "parts": _Rule(None, _exchange_parts),
  "masks": _Rule(-4),
  "masks_valid": _Rule(-2),
  "deoccluded": _Rule(-4),
  "deoccluded_valid": _Rule(-1),
  "removed": _Rule(-4),
  "removed_valid": _Rule(-1),
  "recovered": _Rule(-4),
  "hand_crops": _Rule(-4),
  "hand_crop_from_img": _Rule(-3),
  "joints_img_unrecovered": _Rule(-3),
  "boxes_prob": _Rule(-1),
  "heatmaps": _Rule(-4),
  "camera_img": _Rule(None, _negate_x),
  "cam_from_world": _Rule(None, _negate_first_row),
} | dict.fromkeys(
  (
    "image", "crop_from_img", "camera_valid", "box_img", "picture", "picture_hw", "hand_present_valid", "parts_valid",
    "annotations_valid", "example_id", "weight", "record_hash", "subject_id", "scene_id", "camera_id", "frame",
    "scale_known", "hands_together", "log_prob", "annotations_log_prob",
  ),
  _Rule(),
)  # fmt: skip

# What a hand view knows of hand 0 only. Masks, pictures and presence of the other hand stay: they say what distracts.
_ANNOTATIONS = {
  "joints_cam": -3, "joints_cam_valid": -2, "joints_img": -3, "joints_img_valid": -2, "joints_visible": -2,
  "root_depth": -1, "root_depth_valid": -1, "root_depth_estimated": -1, "root_depth_estimated_valid": -1,
  "mano": -2, "mano_valid": -1, "annotations_mano": -2,
}  # fmt: skip


def mirror(values: Mapping[str, Any]) -> dict[str, Any]:
  """The mirrored scene: right and left change places, x and turns about y and z are negated.

  An involution. Swapping hands is all that happens to arrays of the `img` and `crop` frames.

  Raises:
    ValueError: a key that is in neither schema.
  """
  unknown = sorted(set(values) - set(_RULES))
  if unknown:
    raise ValueError(f"no rule for mirroring {unknown}; known keys are {sorted(_RULES)}")
  return {key: _mirrored(_RULES[key], value) for key, value in values.items()}


def _mirrored(rule: _Rule, value: Any) -> Any:
  if rule.hand_axis is not None:
    value = namespace(value).flip(value, rule.hand_axis)
  return value if rule.values is None else rule.values(value)


def view(values: Mapping[str, Any], name: str) -> dict[str, Any]:
  """The scene as one view shows it.

  `pair` is the scene itself. `right` keeps the annotations of the right hand alone; `left` mirrors the scene first, so
  that hand 0 is the left hand as a right one. Both leave `hand_present`, `masks` and pictures of hand 1 in place.

  Raises:
    ValueError: an unknown view.
  """
  if name not in VIEWS:
    raise ValueError(f"view is {name!r}, expected one of {VIEWS}")
  if name == "pair":
    return dict(values)
  seen = mirror(values) if name == "left" else dict(values)
  return {
    key: _first_hand_only(value, _ANNOTATIONS[key]) if key in _ANNOTATIONS else value for key, value in seen.items()
  }


def _first_hand_only(value: Any, hand_axis: int) -> Any:
  keep = np.array([True, False]).reshape((2,) + (1,) * (-hand_axis - 1))
  return namespace(value).where(keep, value, np.zeros((), value.dtype))
