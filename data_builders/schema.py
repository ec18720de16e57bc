"""The record: what every data set built here stores for one picture, and how.

A record is one picture of one camera at one moment with all that is known about it. It is stored before any crop: the
reading side (`jaxhands.data.source`) decodes it, cuts a view out of it and so makes the `Batch` of `jaxhands.schema`.
`RECORD` names every key: shape, dtype, unit, frame. Keys that a `Batch` has too have its name, unit and meaning; those
that a `Batch` has in the `crop` frame are here in the `img` frame, at the picture's own size.

All data sets have the same keys, so that they mix in one batch. What a data set does not know is 0 with its flag False;
a picture that it does not have is `ABSENT`, a black PNG of one pixel, with its flag False.

Pictures are encoded files (dtype `bytes`): JPEG or PNG as the source has them, label maps always PNG. A reader that
wants the arrays calls `tfds.builder_from_directory(FOLDER).as_data_source(SPLIT)`; with
`decoders={key: tfds.decode.SkipDecoding()}` a picture stays encoded and costs nothing.
"""

from __future__ import annotations

import dataclasses
import io
import struct
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from jaxhands.schema import BATCH, HANDS, MAX_RECORD_ID, Field, SchemaError, length

Record = dict[str, Any]

FORMAT = 1  # of the record; part of every build's arguments, so that folders of another format are not continued
ANNOTATION_KINDS = ("rendered", "human", "machine", "human or machine", "fitted")


def _from_batch(key: str, **changes: str) -> Field:
  """The `Batch`'s field without its batch axis."""
  field = BATCH[key]
  return dataclasses.replace(field, **({"shape": " ".join(field.axes[1:])} | changes))


def _picture(doc: str) -> Field:
  return Field("P Q 3", "bytes", "sRGB 0..255", "img", doc)


_SAME_AS_BATCH = (
  "picture_hw", "camera_img", "camera_valid", "box_img",
  "joints_cam", "joints_cam_valid", "joints_img", "joints_img_valid", "joints_visible",
  "hand_present", "hand_present_valid", "root_depth", "root_depth_valid",
  "mano", "mano_valid", "annotations_mano", "parts_valid", "masks_valid", "deoccluded_valid", "removed_valid",
  "subject_id", "scene_id", "camera_id", "frame", "cam_from_world",
)  # fmt: skip

# Axis letters: P Q height and width of the picture, A annotations (any number, also none; all of them exist).
RECORD: dict[str, Field] = {
  "record_id": Field("", "int32", "-", "-", f"Unique in the data set over all splits, 0..{MAX_RECORD_ID}."),
  "source": Field("", "text", "-", "-", "Where the record comes from: the picture's path in the original data set."),
  "annotation_kind": Field("", "text", "-", "-", f"How the joints were found: {', '.join(ANNOTATION_KINDS)}."),
  "hand_model": Field("", "text", "-", "-", "Identity of the hand model that `mano` belongs to; empty without `mano`."),
  "picture": _picture("The original picture, JPEG or PNG."),
  **{key: _from_batch(key) for key in _SAME_AS_BATCH},
  "joints_cam": _from_batch("joints_cam", doc="Joints."),
  "joints_visible": _from_batch("joints_visible", doc=BATCH["joints_visible"].doc + " False where this is unknown."),
  "parts": _from_batch("parts", shape="P Q 1", dtype="bytes", frame="img"),
  "masks": Field(
    "P Q 1",
    "bytes",
    "4 bits",
    "img",
    "Masks by hand and kind (0 amodal, 1 visible): bit 2 hand + kind. `schema.unpack_masks`.",
  ),
  **{f"deoccluded_{hand}": _picture(f"The scene with the {hand} hand drawn in front of everything.") for hand in HANDS},
  **{f"removed_{hand}": _picture(f"The scene with the {hand} hand alone.") for hand in HANDS},
}
PICTURES = tuple(key for key, field in RECORD.items() if field.dtype == "bytes")


def _absent() -> bytes:
  return cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes()


ABSENT = _absent()


def encode_picture(rgb: np.ndarray, quality: int = 95) -> bytes:
  """JPEG of a picture `[P, Q, 3]`, uint8 sRGB. Equal 8 x 8 blocks of two pictures stay equal (no chroma reduction)."""
  flags = [
    cv2.IMWRITE_JPEG_QUALITY, quality,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
  ]  # fmt: skip
  return cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), flags)[1].tobytes()


def encode_labels(labels: np.ndarray) -> bytes:
  """PNG of a label map `[P, Q]`, uint8."""
  # Unfiltered rows of a few labels are as small, and decoded several times as fast.
  flags = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_COMPRESSION, 1]
  return cv2.imencode(".png", labels, flags)[1].tobytes()


def features() -> tfds.features.FeaturesDict:
  """The TFDS features of a record."""

  def feature(field: Field) -> tfds.features.FeatureConnector:
    if field.dtype == "text":
      return tfds.features.Text()
    shape = tuple(map(length, field.axes))
    if field.dtype == "bytes":
      return tfds.features.Image(shape=shape, encoding_format="png" if shape[-1] == 1 else None)
    return tfds.features.Tensor(shape=shape, dtype=np.dtype(field.dtype).type)

  return tfds.features.FeaturesDict({key: feature(field) for key, field in RECORD.items()})


def empty_record() -> Record:
  """A record of which nothing is known; builders fill in what they have."""

  def value(field: Field) -> Any:
    if field.dtype == "text":
      return ""
    if field.dtype == "bytes":
      return ABSENT
    return np.zeros([length(axis) or 0 for axis in field.axes], field.dtype)

  return {key: value(field) for key, field in RECORD.items()}


# Picture or label map -> index into the flag that says whether it is there.
_FLAG_OF = {"parts": ("parts_valid", ())} | {
  f"{kind}_{hand}": (f"{kind}_valid", (index,))
  for kind in ("deoccluded", "removed")
  for index, hand in enumerate(HANDS)
}
# Values that must be 0 where their flag is False.
_FLAGGED = {
  "joints_cam": "joints_cam_valid", "joints_img": "joints_img_valid", "root_depth": "root_depth_valid",
  "mano": "mano_valid", "camera_img": "camera_valid",
}  # fmt: skip


def check_record(record: Mapping[str, Any]) -> None:
  """Checks a record before it is written: keys, shapes, dtypes, finite, and values that agree with their flags.

  Raises:
    SchemaError: the message names the key, what was found and what was expected.
  """
  if set(record) != set(RECORD):
    missing, unknown = sorted(set(RECORD) - set(record)), sorted(set(record) - set(RECORD))
    raise SchemaError(f"the record misses {missing} and has unknown {unknown}")
  for key, field in RECORD.items():
    if field.dtype in ("text", "bytes"):
      expected = str if field.dtype == "text" else bytes
      if not isinstance(record[key], expected):
        raise SchemaError(f"{key!r} is {type(record[key]).__name__}, expected {expected.__name__}")
      continue
    value = np.asarray(record[key])
    if value.dtype != field.dtype:
      raise SchemaError(f"{key!r} has dtype {value.dtype}, expected {field.dtype} ({field.unit})")
    fits = len(value.shape) == len(field.axes) and all(
      length(axis) in (None, size) for axis, size in zip(field.axes, value.shape, strict=True)
    )
    if not fits:
      raise SchemaError(f"{key!r} has shape {value.shape}, expected [{field.shape}]")
    if not np.isfinite(value).all():
      raise SchemaError(f"{key!r} is not finite; store 0 with its flag False for what is unknown")
  for key, flag in _FLAGGED.items():
    value, valid = np.asarray(record[key]), np.asarray(record[flag])
    if value[~valid].any():
      raise SchemaError(f"{key!r} is not 0 where {flag!r} is False")
  _check_pictures(record)
  if not 0 <= int(record["record_id"]) <= MAX_RECORD_ID:
    raise SchemaError(f"'record_id' is {record['record_id']}, expected 0..{MAX_RECORD_ID}")
  if record["annotation_kind"] not in ANNOTATION_KINDS:
    raise SchemaError(f"'annotation_kind' is {record['annotation_kind']!r}, expected one of {ANNOTATION_KINDS}")
  has_mano = bool(np.any(record["mano_valid"])) or len(record["annotations_mano"]) > 0
  if has_mano != bool(record["hand_model"]):
    raise SchemaError(
      f"'hand_model' is {record['hand_model']!r} but there {'are' if has_mano else 'are no'} parameters"
    )


def _check_pictures(record: Mapping[str, Any]) -> None:
  flags = {key: bool(np.asarray(record[flag])[index]) for key, (flag, index) in _FLAG_OF.items()}
  flags |= {"picture": True, "masks": bool(np.any(record["masks_valid"]))}
  for key, valid in flags.items():
    if valid == (record[key] == ABSENT):
      raise SchemaError(f"{key!r} is {'absent' if valid else 'there'}, but its flag says otherwise")
  expected = tuple(int(n) for n in record["picture_hw"])
  if (found := picture_size(record["picture"])) != expected:
    raise SchemaError(f"'picture_hw' is {expected}, but the picture is {found}")


def picture_size(encoded: bytes) -> tuple[int, int]:
  """Height and width of a JPEG or PNG, from its header.

  Raises:
    SchemaError: it is neither.
  """
  if encoded.startswith(b"\x89PNG\r\n\x1a\n") and len(encoded) >= 24:
    width, height = struct.unpack(">II", encoded[16:24])
    return height, width
  at = 2 if encoded.startswith(b"\xff\xd8") else len(encoded)
  while at + 9 <= len(encoded) and encoded[at] == 0xFF:
    marker, length = struct.unpack(">BH", encoded[at + 1 : at + 4])
    if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame's header, not a table
      height, width = struct.unpack(">HH", encoded[at + 5 : at + 9])
      return height, width
    at += 2 + length
  raise SchemaError("'picture' is neither JPEG nor PNG")


def encode_example(record: Mapping[str, Any], of: tfds.features.FeaturesDict) -> dict[str, Any]:
  """What TFDS serialises for a record: the encoded pictures byte for byte."""
  return of.encode_example({k: io.BytesIO(v) if isinstance(v, bytes) else v for k, v in record.items()})
