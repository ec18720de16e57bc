"""One function that mirrors everything known about a picture of hands, one that shows it from a view.

Mirroring the scene across the camera's x = 0 plane exchanges the hands and negates x. Pictures are not touched: the
example's `crop_from_img` mirrors the crop, and pixels of the original picture (`img`) stay where they are. The camera
keeps projecting correctly, as its focal length along x becomes negative: the mirrored `joints_cam` still land on
`joints_img`. Both functions act on the last axes and leave any leading ones (batch, annotations, samples) alone; they
serve records, `Batch` and `Prediction`, NumPy and JAX. `schema.Field` says of each key where the hands are and how its
values change; arrays in the crop's frame keep their pixels, as the crop's affine holds the mirror.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxhands.geometry.arrays import namespace
from jaxhands.hands.model import mirror_mano
from jaxhands.schema import FIELDS, VIEWS, Field

_MIRROR_X = np.array([-1, 1, 1], np.float32)


def _exchange_parts(parts: Any) -> Any:
  return namespace(parts).where(parts > 16, parts - 16, namespace(parts).where(parts > 0, parts + 16, parts))


# By `schema.Field.mirror`.
_CHANGES: dict[str, Callable[[Any], Any]] = {
  "": lambda values: values,
  "x": lambda points: points * _MIRROR_X,
  "sign": lambda values: -values,
  "first row": lambda matrix: matrix * _MIRROR_X[:, None],
  "mano": mirror_mano,
  "parts": _exchange_parts,
}


def mirror(values: Mapping[str, Any]) -> dict[str, Any]:
  """The mirrored scene: right and left change places, x and turns about y and z are negated.

  An involution. Swapping hands is all that happens to arrays of the `img` and `crop` frames.

  Raises:
    ValueError: a key that is in neither schema.
  """
  unknown = sorted(set(values) - set(FIELDS))
  if unknown:
    raise ValueError(f"no rule for mirroring {unknown}; known keys are {sorted(FIELDS)}")
  return {key: _mirrored(FIELDS[key], value) for key, value in values.items()}


def _mirrored(field: Field, value: Any) -> Any:
  exchanged = value if field.hand_axis is None else namespace(value).flip(value, field.hand_axis)
  return _CHANGES[field.mirror](exchanged)


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
  shown = mirror(values) if name == "left" else values
  return {key: _of_first_hand(FIELDS.get(key), value) for key, value in shown.items()}


def _of_first_hand(field: Field | None, value: Any) -> Any:
  if field is None or field.hand_axis is None or field.of_both:
    return value
  keep = np.array([True, False]).reshape((2,) + (1,) * (-field.hand_axis - 1))
  return namespace(value).where(keep, value, np.zeros((), value.dtype))
