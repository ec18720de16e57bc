"""One record of the released AIH, from its split and index.

Of AIH_Render's distractor only what is seen is known. AIH_Syn is pasted here as the release pastes it when it is read,
but without the colours that it draws anew each time: both hands are moved, the other one lies on top.
"""

from __future__ import annotations

import dataclasses
import pathlib

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from data_builders.aih.released.layout import BRANCHES, parts_of, render_files, single_files
from data_builders.aih.released.survey import Tables
from data_builders.schema import Record, empty_record, encode_labels, encode_picture, picture_size
from data_builders.shards import BuildError
from data_builders.synthetic.records import FIRST_ID
from jaxhands.geometry import crop
from jaxhands.schema import HANDS, LEFT, MAX_RECORD_ID, RIGHT, pack_masks

_SIZE = 256
_BOX = np.array([0, 0, 255, 255], np.float32)  # the release's; not 256
_KIND = ("human", "machine")  # of annotation, by branch
_FIRST_SCENE = (MAX_RECORD_ID + 1) // 8  # of AIH_Syn, in the other half of a split's ids
_SINGLES = 2**24  # more than there are of one side and branch


@dataclasses.dataclass(frozen=True)
class Source:
  """Where records come from; small, so that worker processes can receive it."""

  download: str
  tables: Tables


def make_record(source: Source, split: str, index: int) -> Record:
  """Record `index` of `split`: those of AIH_Render come first.

  Raises:
    BuildError: a file has gone or changed since the survey.
  """
  rendered = source.tables.render(split)
  if index < len(rendered):
    return _render_record(source, split, rendered[index])
  return _syn_record(source, split, source.tables.syn(split)[index - len(rendered)])


def _render_record(source: Source, split: str, row: np.void) -> Record:
  hand, name = int(row["hand"]), row["name"].decode()
  folder = parts_of(pathlib.Path(source.download))["render"]
  files = render_files(folder, BRANCHES[row["branch"]], split, hand, name)
  picture, removed = _bytes(files.picture), _bytes(files.removed)
  size = picture_size(picture)
  amodal, visible = _labels(files.amodal, size), _labels(files.visible, size)
  masks = np.zeros((2, 2, *size), np.uint8)
  masks[RIGHT, 1], masks[LEFT, 1] = visible == 1, visible == 2
  masks[hand, 0] = amodal > 0
  masks[hand, 1] &= masks[hand, 0]
  valid = np.array([[False, True], [False, True]])
  valid[hand, 0] = True
  return empty_record() | {
    **_common(split, row, f"render/{split}/{BRANCHES[row['branch']]}/{HANDS[hand]}/{name}"),
    "scene_id": np.int32(FIRST_ID[split] + row["id"]),
    "picture": picture,
    "picture_hw": np.array(size, np.int32),
    "box_img": _box(masks[hand, 0]),
    "hand_present": np.ones(2, bool),
    "masks": encode_labels(pack_masks(masks)),
    "masks_valid": valid,
    "removed_valid": np.arange(2) == hand,
    f"removed_{HANDS[hand]}": removed,
  }


def _syn_record(source: Source, split: str, row: np.void) -> Record:
  hand, above = int(row["hand"]), int(row["above"])
  branch = BRANCHES[row["branch"]]
  folder = parts_of(pathlib.Path(source.download))["syn"]
  below_files = single_files(folder, branch, split, hand, int(row["below"]))
  picture, mask = moved(*_single(*below_files), row["below_move"], hand == LEFT)
  masks = np.zeros((2, 2, _SIZE, _SIZE), np.uint8)
  masks[hand] = mask
  pictures = {f"removed_{HANDS[hand]}": encode_picture(picture)}
  flags = {"removed_valid": np.arange(2) == hand}
  seen = picture
  if above >= 0:
    other_files = single_files(folder, branch, split, 1 - hand, above)
    other, other_mask = moved(*_single(*other_files), row["above_move"], hand == LEFT)
    masks[1 - hand] = other_mask
    masks[hand, 1] &= 1 - other_mask
    seen = np.where(other_mask[..., None] > 0, other, picture)
    in_front = np.where(mask[..., None] > 0, picture, seen)
    pictures |= {
      f"deoccluded_{HANDS[hand]}": encode_picture(in_front),
      f"deoccluded_{HANDS[1 - hand]}": encode_picture(seen),
    }
    flags |= {"deoccluded_valid": np.ones(2, bool)}
  else:
    flags |= {"deoccluded_valid": flags["removed_valid"]}
    pictures[f"deoccluded_{HANDS[hand]}"] = pictures[f"removed_{HANDS[hand]}"]
  scene = (2 * int(row["branch"]) + hand) * _SINGLES + int(row["below"]) % _SINGLES
  return (
    empty_record()
    | pictures
    | flags
    | {
      **_common(split, row, f"syn/{split}/{branch}/{HANDS[hand]}/{row['below']}+{above}"),
      "scene_id": np.int32(FIRST_ID[split] + _FIRST_SCENE + scene),
      "picture": encode_picture(seen),
      "picture_hw": np.array([_SIZE, _SIZE], np.int32),
      "box_img": _box(mask),
      "hand_present": np.array([True, True]) if above >= 0 else np.arange(2) == hand,
      "masks": encode_labels(pack_masks(masks)),
      "masks_valid": np.ones((2, 2), bool),
    }
  )


def _common(split: str, row: np.void, name: str) -> Record:
  return {
    "record_id": np.int32(FIRST_ID[split] + row["id"]),
    "source": name,
    "annotation_kind": _KIND[row["branch"]],
    "hand_present_valid": np.True_,
  }


def moved(
  picture: UInt8[np.ndarray, "h w 3"], mask: UInt8[np.ndarray, "h w"], move: Float[np.ndarray, " 4"], mirror: bool
) -> tuple[UInt8[np.ndarray, "256 256 3"], UInt8[np.ndarray, "256 256"]]:
  """A single hand as the release moves it, mask included: bilinear on bytes, so that half a pixel rounds.

  Args:
    picture, mask: as stored.
    move: translation (shares of the box), scale, rotation (degrees).
    mirror: the hand below is a left one: the release mirrors both, then moves; here they are mirrored back.
  """
  affine = release_affine(move).astype(np.float64)
  layers = [np.ascontiguousarray(layer[:, ::-1]) if mirror else layer for layer in (picture, mask)]
  layers = [cv2.warpAffine(layer, affine, (_SIZE, _SIZE), flags=cv2.INTER_LINEAR) for layer in layers]
  picture, mask = (np.ascontiguousarray(layer[:, ::-1]) if mirror else layer for layer in layers)
  return picture, mask


def release_affine(move: Float[np.ndarray, " 4"]) -> Float32[np.ndarray, "2 3"]:
  """Where a move takes the pixels of a single hand's picture."""
  return np.asarray(crop.crop_affine(_BOX, (_SIZE, _SIZE), move[:2], move[2], np.radians(move[3])), np.float32)


def _single(picture: pathlib.Path, mask: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  decoded = cv2.imdecode(np.frombuffer(_bytes(picture), np.uint8), cv2.IMREAD_COLOR_RGB)
  if decoded is None:
    raise BuildError(f"cannot decode {picture}; remove it and build into a new folder")
  return decoded, (_labels(mask, decoded.shape[:2]) > 0).astype(np.uint8)


def _bytes(path: pathlib.Path) -> bytes:
  try:
    return path.read_bytes()
  except OSError as error:
    raise BuildError(f"cannot read {path}, which was there before: {error.strerror}") from error


def _labels(path: pathlib.Path, size: tuple[int, ...]) -> np.ndarray:
  labels = cv2.imdecode(np.frombuffer(_bytes(path), np.uint8), cv2.IMREAD_GRAYSCALE)
  if labels is None or labels.shape != size:
    found = "is damaged" if labels is None else f"is {labels.shape}, its picture {size}"
    raise BuildError(f"{path} {found}; remove it and its picture, and build into a new folder")
  return labels


def _box(mask: np.ndarray) -> np.ndarray:
  """Tight box of a mask, as large as `box_img` is, never 0; of an empty one the picture's middle, where the hand is."""
  x, y, width, height = cv2.boundingRect(mask)
  if not width:
    rows, columns = mask.shape
    x, y, width, height = columns // 4, rows // 4, columns // 2, rows // 2
  return np.array([x, y, max(width - 1, 1), max(height - 1, 1)], np.float32)
