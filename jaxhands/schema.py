"""The two dictionaries that everything speaks: `Batch` and `Prediction`.

One entry per key: named axes, dtype, unit, frame, and how a mirror changes it. Arrays only, leading batch axis, fixed
shapes. Whatever mirrors, shows one hand or maps predictions to the picture reads it here: a new key is one line.

Conventions (they hold everywhere in jaxhands):

* The hand axis has length two: right hand 0, left hand 1 (`RIGHT`, `LEFT`).
* Joints are InterHand2.6M's, thumb tip to base, index, middle, ring, little, wrist last (`hands.skeleton`).
* Millimetres, pixels, radians. Frames: `cam` x right, y down, z forward; `img` pixels of the original
  picture; `crop` pixels of the network's input; `world` any fixed frame shared by the cameras of a scene.
* Integer pixel coordinates are pixel centres.
* An absent hand or an unknown quantity is stored as 0 with its flag False, never as NaN.

This module imports nothing of ours.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

RIGHT, LEFT = 0, 1
HANDS = ("right", "left")
NUM_JOINTS = 21
MANO_DIM = 61  # 48 axis-angle (global first, mean pose included), 10 shape, 3 translation (mm)
MANO_POSE, MANO_SHAPE, MANO_TRANSLATION = slice(0, 48), slice(48, 58), slice(58, 61)
NUM_PARTS = 33  # 0 background, 1..16 right hand, 17..32 left hand

Batch = Mapping[str, Any]
Prediction = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Field:
  """One key of a dictionary.

  Attributes:
    shape: names its axes, as "B hand joint 3": `AXES` have fixed lengths, numbers are exact, letters are shared.
    dtype: of NumPy.
    unit: of the values.
    frame: that they belong to; "a -> b" of a map from one to the other.
    doc: what the key is.
    required: every dictionary has it.
    mirror: what a mirror does besides exchanging the hands, see `hands.mirror`; "" = nothing.
    of_both: an example that shows one hand keeps the values of the other one, too, for they say what distracts.
  """

  shape: str
  dtype: str
  unit: str
  frame: str
  doc: str
  required: bool = False
  mirror: Literal["", "x", "sign", "first row", "mano", "parts"] = ""
  of_both: bool = False

  @property
  def axes(self) -> tuple[str, ...]:
    return tuple(self.shape.split())

  @property
  def hand_axis(self) -> int | None:
    """The axis of right and left hand, counted from the end; None = the key has none."""
    return self.axes.index("hand") - len(self.axes) if "hand" in self.axes else None


_f = Field  # so that a key is one line
AXES = {"hand": len(HANDS), "joint": NUM_JOINTS, "kind": 2}  # the last: of a mask, amodal or visible

View = Literal["pair", "right", "left"]
VIEWS: tuple[View, ...] = ("pair", "right", "left")  # of a record; each is an example
IDS_OF_RECORD = 4  # views, rounded up
MAX_RECORD_ID = 2**31 // IDS_OF_RECORD - 1  # example_id has 32 bits, as JAX keeps no more by default

# Other axes: B batch, H W network input, P Q original picture (padded), h w label maps, u v heatmaps, A annotations,
# S samples, V vertices, D depth bins, K candidates.
BATCH: dict[str, Field] = {
  "image": _f("B H W 3", "uint8", "sRGB 0..255", "crop", "The network's input."),
  "crop_from_img": _f(
    "B 2 3", "float32", "px", "img -> crop", "Affine of the example; includes mirror and augmentation."
  ),
  "camera_img": _f("B 3 3", "float32", "px", "img", "Pinhole intrinsics of the original picture.", mirror="x"),
  "camera_valid": _f("B", "bool", "-", "-", "Intrinsics are known."),
  "box_img": _f("B 4", "float32", "px", "img", "x, y of the corner, width, height; tight around all joints, x 1.2."),
  "picture": _f("B P Q 3", "uint8", "sRGB 0..255", "img", "The original picture, padded below and right."),
  "picture_hw": _f("B 2", "int32", "px", "img", "Its true height and width."),
  "joints_cam": _f(
    "B hand joint 3", "float32", "mm", "cam", "Joints; mirrored with the view, never augmented.", mirror="x"
  ),
  "joints_cam_valid": _f("B hand joint", "bool", "-", "-", "The joint's 3D position is annotated."),
  "joints_img": _f("B hand joint 2", "float32", "px", "img", "Projected or annotated joints."),
  "joints_img_valid": _f("B hand joint", "bool", "-", "-", "The joint's 2D position is annotated."),
  "joints_visible": _f("B hand joint", "bool", "-", "-", "The z-buffer of both hands is within 12 mm of the joint."),
  "hand_present": _f("B hand", "bool", "-", "-", "The hand is in the picture.", of_both=True),
  "hand_present_valid": _f("B", "bool", "-", "-", "Handedness is annotated."),
  "root_depth": _f("B hand", "float32", "mm", "cam", "True z of the wrists."),
  "root_depth_valid": _f("B hand", "bool", "-", "-", "The wrist's depth is annotated."),
  "root_depth_estimated": _f("B hand", "float32", "mm", "cam", "z of the wrists as RootNet estimates it."),
  "root_depth_estimated_valid": _f("B hand", "bool", "-", "-", "An estimate exists."),
  "mano": _f(
    "B hand 61", "float32", "rad | 1 | mm", "cam", "Pose 48 (flat hand = 0), shape 10, translation 3.", mirror="mano"
  ),
  "mano_valid": _f("B hand", "bool", "-", "-", "The hand has model parameters."),
  "annotations_mano": _f(
    "B A hand 61", "float32", "rad | 1 | mm", "cam", "Plausible annotations of one picture.", mirror="mano"
  ),
  "annotations_valid": _f("B A", "bool", "-", "-", "The annotation exists."),
  "parts": _f(
    "B h w", "uint8", "class 0..32", "crop", "Part labels: 0 background, 1..16 right, 17..32 left.", mirror="parts"
  ),
  "parts_valid": _f("B", "bool", "-", "-", "Part labels are annotated."),
  "masks": _f(
    "B hand kind h w", "uint8", "0 | 1", "crop", "Masks by hand and kind (0 amodal, 1 visible).", of_both=True
  ),
  "masks_valid": _f("B hand kind", "bool", "-", "-", "The mask is annotated.", of_both=True),
  "deoccluded": _f(
    "B hand H W 3", "uint8", "sRGB 0..255", "crop", "Per hand: drawn in front of everything.", of_both=True
  ),
  "deoccluded_valid": _f("B hand", "bool", "-", "-", "The de-occluded picture exists.", of_both=True),
  "removed": _f(
    "B hand H W 3", "uint8", "sRGB 0..255", "crop", "Per hand: the scene with this hand alone.", of_both=True
  ),
  "removed_valid": _f("B hand", "bool", "-", "-", "The distractor-free picture exists.", of_both=True),
  "example_id": _f("B", "int32", "-", "-", "(record, view), stable across runs.", True),
  "weight": _f("B", "float32", "-", "-", "1, or 0 for padding.", True),
  "record_hash": _f("B", "int32", "-", "-", "Of the record's source and box: tells equal ids of two data sets apart."),
  "subject_id": _f("B", "int32", "-", "-", "Person, or synthetic hand shape."),
  "scene_id": _f("B", "int32", "-", "-", "Pictures that depend on each other: of a sequence, or of a synthetic pose."),
  "camera_id": _f("B", "int32", "-", "-", "Camera within the scene."),
  "frame": _f("B", "int32", "-", "-", "Moment within the scene; several cameras may see it."),
  "cam_from_world": _f("B 3 4", "float32", "1 | mm", "world -> cam", "Rotation and translation.", mirror="first row"),
}

PREDICTION: dict[str, Field] = {
  "joints_img": _f("B hand joint 2", "float32", "px", "img", "Joints in the original picture."),
  "joints_rel_depth": _f("B hand joint", "float32", "mm", "cam", "Depth from the hand's own wrist."),
  "rel_root_depth": _f("B", "float32", "mm", "cam", "Left wrist depth minus right wrist depth.", mirror="sign"),
  "hand_prob": _f("B hand", "float32", "0..1", "-", "Probability that the hand is in the picture."),
  "confidence": _f("B hand joint", "float32", "0..1", "-", "Per joint."),
  "scale_known": _f("B", "bool", "-", "-", "Depths are metric, not up to the hand's scale."),
  "joints_cam": _f(
    "B hand joint 3", "float32", "mm", "cam", "Absolute joints, where the system gives them.", mirror="x"
  ),
  "hands_together": _f("B", "bool", "-", "-", "`joints_cam` has both hands as one body; else each is placed alone."),
  "root_cam": _f("B hand 3", "float32", "mm", "cam", "Wrists.", mirror="x"),
  "root_cam_valid": _f("B hand", "bool", "-", "-", "The wrist's position is known; without this key, all are."),
  "vertices_cam": _f("B hand V 3", "float32", "mm", "cam", "Hand meshes.", mirror="x"),
  "mano": _f("B hand 61", "float32", "rad | 1 | mm", "cam", "Model parameters.", mirror="mano"),
  "samples": _f(
    "B S hand joint 3", "float32", "mm", "cam", "Pose hypotheses: absolute joints, as `joints_cam`.", mirror="x"
  ),
  "log_prob": _f("B S", "float32", "nat", "-", "Their log density."),
  "annotations_log_prob": _f("B A", "float32", "nat", "-", "Log density of the batch's annotations; 0 of none."),
  "masks": _f("B hand kind h w", "float32", "0..1", "crop", "Probabilities by hand and kind (amodal, visible)."),
  "parts": _f("B h w", "uint8", "class 0..32", "crop", "Most likely part.", mirror="parts"),
  "recovered": _f(
    "B hand H W 3", "float32", "0..1", "crop", "Per hand: occluded parts filled, the other hand removed."
  ),
  "hand_crops": _f("B hand H W 3", "float32", "0..1", "hand crop", "Each hand's crop; left hands are mirrored."),
  "hand_crop_from_img": _f(
    "B hand 2 3", "float32", "px", "img -> hand crop", "Where it is given, `recovered` lies in these crops, too."
  ),
  "joints_img_unrecovered": _f("B hand joint 2", "float32", "px", "img", "Joints without recovering crops first."),
  "boxes": _f("B K 4", "float32", "px", "crop", "Boxes that may hold a hand, likeliest first, each as `box_img`."),
  "boxes_prob": _f("B K hand", "float32", "0..1", "-", "Probabilities that a box holds a right hand, and a left one."),
  "heatmaps": _f("B hand joint u v", "float32", "-", "crop", "2D heatmaps, of any size; they cover the crop."),
}
# A pose: a prediction has all of these keys, or none where a system predicts only wrists, masks or pictures.
POSE = frozenset({"joints_img", "joints_rel_depth", "rel_root_depth", "hand_prob", "confidence", "scale_known"})


FIELDS = PREDICTION | BATCH  # a key of both has the same axes and the same mirror; only the batch shows one hand


def length(axis: str) -> int | None:
  """Length of a fixed axis; None for any other."""
  return int(axis) if axis.isdigit() else AXES.get(axis)


def example_id(record_id: Any, view: View) -> Any:
  """Identity of examples: of each of `record_id` (an int or an integer array), as shown from one of `VIEWS`."""
  return IDS_OF_RECORD * record_id + VIEWS.index(view)


def record_hash(source: bytes | str, box_img: np.ndarray) -> np.int32:
  """Stands for what a record shows: which picture (`source`) and which part of it (`box_img` [4], as stored)."""
  name = source.encode() if isinstance(source, str) else source
  return np.uint32(zlib.crc32(np.asarray(box_img, "<f4").tobytes(), zlib.crc32(name))).view(np.int32)


def record_and_view(example_id: int) -> tuple[int, View]:
  """Undoes `example_id`."""
  return example_id // IDS_OF_RECORD, VIEWS[example_id % IDS_OF_RECORD]


class SchemaError(ValueError):
  """A dictionary does not fit the schema; the message names the key, what was found and what was expected."""


def _dtype_name(value: Any) -> str:
  name = str(value.dtype)
  return "float32" if name == "bfloat16" else name


def check(
  values: Mapping[str, Any],
  fields: Mapping[str, Field] = BATCH,
  needs: Iterable[str] = (),
  dims: Mapping[str, int] | None = None,
) -> dict[str, int]:
  """Checks keys, shapes and dtypes of a `Batch` (default) or a `Prediction` (`fields=PREDICTION`).

  Works on NumPy arrays, JAX arrays and `jax.ShapeDtypeStruct`. A prediction has all keys of `POSE` or none.

  Args:
    values: the dictionary.
    fields: `BATCH` or `PREDICTION`.
    needs: keys that must be there besides the required ones.
    dims: sizes of named axes already known, e.g. `{"B": 16}`.
  Returns:
    The sizes of all named axes that occurred.
  Raises:
    SchemaError: unknown or missing key, wrong rank, size or dtype.
  """
  sizes = dict(dims or {})
  wanted = {key for key, field in fields.items() if field.required} | set(needs)
  if fields is PREDICTION and POSE & set(values):
    wanted |= POSE
  missing = sorted(wanted - set(values))
  if missing:
    raise SchemaError(f"missing keys {missing}; the dictionary has {sorted(values)}")
  for key, value in values.items():
    if key not in fields:
      raise SchemaError(f"unknown key {key!r}; the schema has {sorted(fields)}")
    field = fields[key]
    shape = tuple(value.shape)
    if len(shape) != len(field.axes):
      raise SchemaError(f"{key!r} has shape {shape}, expected {len(field.axes)} axes [{field.shape}]")
    if _dtype_name(value) != field.dtype:
      raise SchemaError(f"{key!r} has dtype {value.dtype}, expected {field.dtype} ({field.unit})")
    for axis, size in zip(field.axes, shape, strict=True):
      expected = length(axis) or sizes.setdefault(axis, size)
      if size != expected:
        raise SchemaError(f"{key!r} has shape {shape}, expected [{field.shape}] with {axis}={expected}")
  return sizes


def check_finite(values: Mapping[str, Any]) -> None:
  """Raises `SchemaError` naming the first key that holds a NaN or an infinity (host arrays)."""
  for key, value in values.items():
    array = np.asarray(value)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
      bad = np.argwhere(~np.isfinite(array))[0]
      raise SchemaError(f"{key!r} is not finite at index {tuple(int(i) for i in bad)}")


def pack_masks(masks: np.ndarray) -> np.ndarray:
  """The four masks of a record `[2, 2, P, Q]` (hand, amodal | visible) in one label map `[P, Q]`: bit 2 hand + kind."""
  bits = (masks != 0).view(np.uint8)
  return bits[0, 0] | bits[0, 1] << 1 | bits[1, 0] << 2 | bits[1, 1] << 3


def unpack_masks(packed: np.ndarray) -> np.ndarray:
  """The masks `[2, 2, P, Q]`, uint8 0 | 1, of a label map `[P, Q]` that `pack_masks` made."""
  return np.right_shift(packed, np.arange(4, dtype=np.uint8).reshape(2, 2, 1, 1)) & np.uint8(1)
