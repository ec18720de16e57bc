"""One record of AIH_Syn: a hand of one picture pasted onto the picture of another hand, by split and number.

The hand below is the target: its labels are those of its own picture. The pasted hand has masks and part labels only,
as no camera sees both hands where they are; what is behind it in its own picture is not what is behind it here.
"""

from __future__ import annotations

import functools
from typing import Any

import cv2
import numpy as np

from data_builders.aih.paste import as_if_there, draw_place, moved_parts, moved_points, paste
from data_builders.aih.survey import Surveyed
from data_builders.built import Built
from data_builders.schema import Record, empty_record, encode_labels, encode_picture
from data_builders.shards import BuildError
from data_builders.synthetic.config import SPLITS
from data_builders.synthetic.records import FIRST_ID
from jaxhands.geometry import crop
from jaxhands.hands.skeleton import WRIST
from jaxhands.schema import HANDS, MAX_RECORD_ID, pack_masks, unpack_masks

_STREAM = 6  # those of `synthetic` are 0..5
_CANDIDATES = 64  # partners that the one of the most similar skin is chosen from
_QUALITY = 95
_FIRST_SCENE = (MAX_RECORD_ID + 1) // 8  # in the half of a split's ids that scenes of AIH_Render do not reach
_ABOVE_KEYS = (
  "source", "picture", "masks", "parts", "joints_img", "joints_img_valid", "joints_cam", "camera_img",
)  # fmt: skip
_KEPT = (
  "annotation_kind", "hand_model", "picture_hw", "camera_img", "camera_valid", "cam_from_world", "joints_cam",
  "joints_cam_valid", "joints_img", "joints_img_valid", "root_depth", "root_depth_valid", "mano", "mano_valid",
  "subject_id", "camera_id", "frame",
)  # fmt: skip
_BELOW_KEYS = (*_KEPT, "source", "picture", "masks", "parts", "joints_visible")


def make_syn(singles: Built, surveyed: Surveyed, seed: int, split: str, number: int) -> Record:
  """Record `number` of a split of AIH_Syn, without the `record_id` that it has in the whole data set.

  Raises:
    BuildError: a record of the data set of single hands cannot be read.
  """
  table = surveyed.singles(split)
  rng = np.random.default_rng((seed, _STREAM, SPLITS.index(split), number))
  place = _order(seed, split, len(table))[number % len(table)]
  row = table[place]
  target, partner = int(row["hand"]), table[_partner(rng, surveyed, split, row)]
  below = singles.read(split, int(row["row"]), _BELOW_KEYS)
  above = singles.read(split, int(partner["row"]), _ABOVE_KEYS)
  picture, mask, parts = _decoded(below, target, singles)
  above_picture, above_mask, above_parts = _decoded(above, 1 - target, singles)

  affine = draw_place(rng, mask, above_mask, _px_per_mm(below, target) / _px_per_mm(above, 1 - target))
  above_picture = as_if_there(rng, above_picture, above_mask, picture, mask)
  pasted = paste(picture, mask, above_picture, above_mask, affine)
  masks = np.zeros((2, 2, *mask.shape), np.uint8)
  masks[target] = mask, mask & ~pasted.mask
  masks[1 - target] = pasted.mask
  parts = np.where(pasted.mask, moved_parts(above_parts, affine, pasted.mask), np.where(mask, parts, 0))
  encoded = encode_picture(pasted.picture, _QUALITY)
  record = empty_record() | {key: below[key] for key in _KEPT}
  return record | {
    "source": f"{below['source']}+{above['source']}",
    "scene_id": np.int32(FIRST_ID[split] + _FIRST_SCENE + row["scene"]),
    "picture": encoded,
    "box_img": _box(below, target, above, affine),
    "joints_visible": below["joints_visible"] & ~_covered(below["joints_img"], pasted.mask),
    "hand_present": np.ones(2, bool),
    "hand_present_valid": np.True_,
    "parts": encode_labels(parts.astype(np.uint8)),
    "parts_valid": np.True_,
    "masks": encode_labels(pack_masks(masks)),
    "masks_valid": np.ones((2, 2), bool),
    "deoccluded_valid": np.ones(2, bool),
    f"deoccluded_{HANDS[target]}": encode_picture(pasted.below_in_front, _QUALITY),
    f"deoccluded_{HANDS[1 - target]}": encoded,
    "removed_valid": np.arange(2) == target,
    f"removed_{HANDS[target]}": encode_picture(picture, _QUALITY),
  }


@functools.lru_cache(maxsize=3)
def _order(seed: int, split: str, count: int) -> np.ndarray:
  """All pictures in an order of chance, gone through again and again: each is as often the one below."""
  return np.random.default_rng((seed, _STREAM, SPLITS.index(split))).permutation(count)


@functools.lru_cache(maxsize=6)
def _whole(surveyed: Surveyed, split: str, hand: int) -> tuple[np.ndarray, np.ndarray]:
  """Places in the table and colours of the hands of one side that can be pasted."""
  table = surveyed.singles(split)
  places = np.flatnonzero(table["whole"] & (table["hand"] == hand))
  return places, np.array(table["colour"][places])


def _partner(rng: np.random.Generator, surveyed: Surveyed, split: str, row: Any) -> int:
  """Of some whole hands of the other side, that of the most similar skin."""
  places, colours = _whole(surveyed, split, 1 - int(row["hand"]))
  some = rng.integers(len(places), size=_CANDIDATES)
  return int(places[some[np.linalg.norm(colours[some] - row["colour"], axis=1).argmin()]])


def _decoded(record: Any, hand: int, built: Built) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Picture (RGB), amodal mask and part labels."""
  picture = cv2.imdecode(np.frombuffer(record["picture"], np.uint8), cv2.IMREAD_COLOR_RGB)
  masks = cv2.imdecode(np.frombuffer(record["masks"], np.uint8), cv2.IMREAD_GRAYSCALE)
  parts = cv2.imdecode(np.frombuffer(record["parts"], np.uint8), cv2.IMREAD_GRAYSCALE)
  if picture is None or masks is None or parts is None:
    raise BuildError(f"{record['source']} of {built.folder} cannot be decoded; build that data set anew")
  return picture, unpack_masks(masks)[hand, 0].astype(bool), parts


def _px_per_mm(record: Any, hand: int) -> float:
  """At the wrist's distance."""
  focal = np.sqrt(abs(np.linalg.det(record["camera_img"][:2, :2])))
  return float(focal / record["joints_cam"][hand, WRIST, 2])


def _box(below: Any, target: int, above: Any, affine: np.ndarray) -> np.ndarray:
  """Around the joints of both hands, as `box_img` is."""
  joints = below["joints_img"][target], moved_points(above["joints_img"][1 - target], affine)
  known = below["joints_img_valid"][target], above["joints_img_valid"][1 - target]
  return np.asarray(crop.box_around(np.concatenate(joints), np.concatenate(known)), np.float32)


def _covered(joints_img: np.ndarray, mask: np.ndarray) -> np.ndarray:
  """Joints [2, 21] at whose pixel the mask is."""
  column, row = np.moveaxis(np.rint(joints_img), -1, 0).astype(int)
  inside = (column >= 0) & (row >= 0) & (column < mask.shape[1]) & (row < mask.shape[0])
  return inside & mask[np.where(inside, row, 0), np.where(inside, column, 0)]
