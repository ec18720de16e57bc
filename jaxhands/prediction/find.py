"""Where the hands of pictures are: in the whole picture, then again, finer, where some seem to be.

By boxes of a finder (`systems/finder.py`), or by the amodal masks of a system that segments.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxhands import schema
from jaxhands.geometry import boxes, crop
from jaxhands.geometry.lift import SEEN
from jaxhands.geometry.masks import presence
from jaxhands.prediction.picture import shows
from jaxhands.prediction.predictor import Model, WrongSystem

_SMALLEST = 0.001  # share of the map that a hand has at least
_AMODAL = 0
_SMALLEST_PX = 4.0
_ROUNDS = 2
# Of boxes: the least probability that is looked at again, how many are, and how much of the crop is the box then.
_WORTH_A_LOOK, _LOOKS, _ROOM = 0.15, 4, 2.2
_PARTS_FROM, _PART = 400, 0.6  # longer side (px) of a picture from which on parts of it are looked at; share of it
_SAME, _ONE_HAND = 0.3, 0.6  # intersection over union: of one hand in two looks, and of two boxes that are one hand


@dataclasses.dataclass(frozen=True, eq=False)
class FoundBoxes:
  """Hands of n pictures, right hands first.

  Attributes:
    boxes: x, y, width, height in pixels of the pictures; all 0 = not found.
    prob: that there is a hand; 0 where none was found.
  """

  boxes: Float[np.ndarray, "n 2 4"]
  prob: Float[np.ndarray, "n 2"]


def find_hands(finder: Model, pictures: Sequence[np.ndarray]) -> FoundBoxes:
  """The right and the left hand of each picture.

  By boxes, the two likeliest hands; the one that looks more like a right hand is the right one. By masks, each side's.

  Args:
    finder: a system that predicts boxes or masks.
    pictures: uint8 [H, W, 3], RGB.
  Raises:
    WrongSystem: the system predicts neither.
  """
  maps, crop_from_img = finder.maps(pictures)
  if "boxes" in maps:
    return _by_boxes(finder, pictures, _Candidates.of(maps, crop_from_img))
  if "masks" not in maps:
    raise WrongSystem(
      f"--finder: system {finder.config.system.name!r} predicts no boxes or masks; name a run that does, as hasm"
    )
  return _by_masks(finder, pictures, maps, crop_from_img)


# ---- boxes -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class _Candidates:
  """Boxes [n, K, 4] in pixels of the picture, and their probabilities [n, K, 2] of a right and a left hand."""

  boxes: np.ndarray
  prob: np.ndarray

  @classmethod
  def of(cls, maps: dict[str, np.ndarray], crop_from_img: np.ndarray) -> _Candidates:
    back = crop.invert_affine(crop_from_img[:, 0])
    low, size = maps["boxes"][..., :2], maps["boxes"][..., 2:]
    low, high = (np.asarray(crop.apply_affine(back, corner)) for corner in (low, low + size))
    return cls(np.concatenate([low, high - low], -1), maps["boxes_prob"])


def _by_boxes(finder: Model, pictures: Sequence[np.ndarray], whole: _Candidates) -> FoundBoxes:
  candidates = [(whole.boxes[row], whole.prob[row]) for row in range(len(pictures))]
  candidates = _with_windows(finder, pictures, candidates, [_parts(picture) for picture in pictures])
  likeliest = [
    _likeliest(*of_picture, picture, _WORTH_A_LOOK, _LOOKS)
    for of_picture, picture in zip(candidates, pictures, strict=True)
  ]
  refined = _looked_again(finder, pictures, likeliest)
  boxes_by_side = [_sides(*of_picture, picture) for of_picture, picture in zip(refined, pictures, strict=True)]
  return FoundBoxes(*(np.stack(values) for values in zip(*boxes_by_side, strict=True)))


_Boxes = tuple[np.ndarray, np.ndarray]  # [k, 4] and [k, 2] of one picture


def _parts(picture: np.ndarray) -> list[np.ndarray]:
  """Squares that overlap and cover a picture; none of a small one, or of one so thin that they would show little."""
  extent = np.array(picture.shape[1::-1], np.float32)
  if extent.max() < _PARTS_FROM:
    return []
  side = _PART * extent.max()
  ends = [sorted({0.0, max(float(length - side), 0.0)}) for length in extent]
  parts = [np.array([x - 0.5, y - 0.5, side, side], np.float32) for y in ends[1] for x in ends[0]]
  return [part for part in parts if shows(part, picture.shape[:2])]


def _boxes_in_windows(
  finder: Model, pictures: Sequence[np.ndarray], windows: Sequence[Sequence[np.ndarray]]
) -> list[list[_Boxes]]:
  """Boxes in each window of each picture."""
  asked = [(row, window) for row, several in enumerate(windows) for window in several]
  answers: list[list[_Boxes]] = [[] for _ in pictures]
  if asked:
    candidates = _Candidates.of(*finder.maps([pictures[row] for row, _ in asked], [window for _, window in asked]))
    for (row, _), inside, prob in zip(asked, candidates.boxes, candidates.prob, strict=True):
      answers[row].append((inside, prob))
  return answers


def _with_windows(
  finder: Model, pictures: Sequence[np.ndarray], found: Sequence[_Boxes], windows: Sequence[Sequence[np.ndarray]]
) -> list[_Boxes]:
  """The boxes found so far, and those found in the windows."""
  more = _boxes_in_windows(finder, pictures, windows)
  joined = [[each, *others] for each, others in zip(found, more, strict=True)]
  return [tuple(np.concatenate(parts) for parts in zip(*several, strict=True)) for several in joined]  # pyright: ignore[reportReturnType]


def _looked_again(finder: Model, pictures: Sequence[np.ndarray], found: Sequence[_Boxes]) -> list[_Boxes]:
  """Each box as a finer look has it, with the mean probability of both looks; half of it where it is not seen again."""
  windows = [[_around(box) for box in several] for several, _ in found]
  looks = _boxes_in_windows(finder, pictures, windows)
  finer = []
  for (before, prob), finer_boxes in zip(found, looks, strict=True):
    after, sure = before.copy(), prob / 2
    for row, (others, their_prob) in enumerate(finer_boxes):
      score = np.where(boxes.iou(others, before[row]) >= _SAME, their_prob.sum(-1), 0)
      best = int(score.argmax())
      if score[best] > 0:
        # Of which side it is, the finer look knows better.
        mean = (score[best] + prob[row].sum()) / 2
        after[row], sure[row] = others[best], their_prob[best] / score[best] * mean
    finer.append((after, sure))
  return finer


def _around(box: np.ndarray) -> np.ndarray:
  """A square in which the box has room."""
  side = max(float(box[2:].max()), _SMALLEST_PX) * _ROOM
  return np.array([*(box[:2] + box[2:] / 2 - side / 2), side, side], np.float32)


def _likeliest(candidates: np.ndarray, prob: np.ndarray, picture: np.ndarray, least: float, most: int) -> _Boxes:
  """At most so many boxes of one hand each, likeliest first, that show some of the picture, with their middle in it."""
  extent = np.array(picture.shape[1::-1], np.float32)
  middle = candidates[:, :2] + candidates[:, 2:] / 2
  inside = ((middle >= -0.5) & (middle <= extent - 0.5) & (candidates[:, 2:] >= _SMALLEST_PX)).all(-1)
  score = prob.sum(-1) * inside
  rows = [row for row in boxes.distinct(candidates, score, _ONE_HAND) if score[row] >= least]
  rows = [row for row in rows if shows(_around(candidates[row]), picture.shape[:2])][:most]  # so does the box itself
  return candidates[rows], prob[rows]


def _sides(candidates: np.ndarray, prob: np.ndarray, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Boxes [2, 4] and probabilities [2] by side, of the two likeliest hands."""
  placed, sure = np.zeros((2, 4), np.float32), np.zeros(2, np.float32)
  candidates, prob = _likeliest(candidates, prob, picture, SEEN, 2)
  right = prob[:, schema.RIGHT] / prob.sum(-1)
  # Two are taken for one person's: the one that looks more like a right hand is it.
  sides = np.argsort(np.argsort(-right, kind="stable")) if len(candidates) == 2 else np.where(right > 0.5, 0, 1)
  placed[sides], sure[sides] = candidates, prob.sum(-1)
  return placed, sure


# ---- masks -----------------------------------------------------------------------------------------------------------


def _by_masks(
  finder: Model, pictures: Sequence[np.ndarray], maps: dict[str, np.ndarray], crop_from_img: np.ndarray
) -> FoundBoxes:
  """Boxes from the masks of the whole pictures, refined by the masks of each box."""
  hands = _of_masks(finder, pictures, maps, crop_from_img)
  for _ in range(_ROUNDS - 1):
    looked = [box if box.any() else None for box in hands.boxes]
    hands = _of_masks(finder, pictures, *finder.maps(pictures, looked))
  return hands


def _of_masks(
  finder: Model, pictures: Sequence[np.ndarray], maps: dict[str, np.ndarray], crop_from_img: np.ndarray
) -> FoundBoxes:
  crop_hw = tuple(finder.config.data.crop_hw)
  boxes_and_probs = [
    boxes_of_masks(*masks_and_affine, crop_hw) for masks_and_affine in zip(maps["masks"], crop_from_img, strict=True)
  ]
  placed = np.stack([_within(tight, picture) for (tight, _), picture in zip(boxes_and_probs, pictures, strict=True)])
  prob = np.stack([prob for _, prob in boxes_and_probs])
  return FoundBoxes(placed, np.where(placed.any(-1), prob, 0).astype(np.float32))


def _within(placed: np.ndarray, picture: np.ndarray) -> np.ndarray:
  """The parts of boxes that the picture shows; all 0 of one that lies beside it, in the crop's black margin."""
  size = np.array(picture.shape[1::-1], np.float32)
  low = np.clip(placed[:, :2], -0.5, size - 0.5)
  high = np.clip(placed[:, :2] + placed[:, 2:], -0.5, size - 0.5)
  shown = (high - low >= _SMALLEST_PX).all(-1, keepdims=True)
  return np.where(shown, np.concatenate([low, high - low], -1), 0).astype(np.float32)


def boxes_of_masks(
  masks: Float[np.ndarray, "2 2 h w"], crop_from_img: Float[np.ndarray, "2 2 3"], crop_hw: tuple[int, int]
) -> tuple[Float[np.ndarray, "2 4"], Float[np.ndarray, 2]]:
  """Tight boxes in the picture around the amodal mask of each hand, all 0 of one that is not there, and `presence`.

  They are as large as the `box_img` that systems learn from (`crop.JOINT_BOX_MARGIN`).
  """
  placed = np.zeros((2, 4), np.float32)
  probs, parts = (np.asarray(found) for found in presence(masks[:, _AMODAL], _SMALLEST))
  for hand in (schema.RIGHT, schema.LEFT):
    inside = parts[hand]
    if probs[hand] <= SEEN:
      continue
    map_from_img = crop.resize_affine(crop_from_img[hand], crop_hw, inside.shape)
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    low, high = np.array([columns[0], rows[0]], np.float32) - 0.5, np.array([columns[-1], rows[-1]], np.float32) + 0.5
    corners = np.stack([low, high, [low[0], high[1]], [high[0], low[1]]]).astype(np.float32)
    corners = np.asarray(crop.apply_affine(crop.invert_affine(map_from_img), corners))
    placed[hand] = [*corners.min(0), *np.ptp(corners, axis=0)]
  return placed, probs
