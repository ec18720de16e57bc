"""Numbers of hands in pictures: predicted hands beside annotated ones, by joints and by boxes.

Pure functions on arrays.

Predicted hands are given to annotated ones so that the sum of the mean distances is least, whatever side they are
said to be: a picture may show two left hands. A joint counts as correct within a share of its hand's size, the longer
side of the tight box of the hand's annotated joints.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from jaxhands.geometry import boxes, crop

THRESHOLDS = (0.1, 0.2, 0.3)
FOUND = 0.25  # of the hand's size: the mean distance up to which a predicted hand is one that was annotated
SAME_BOX, OTHER_BOX = 0.5, 0.1  # intersection over union from which a box is found, and below which it is a false one


def sizes(joints_img: Float[np.ndarray, "t 21 2"], valid: Bool[np.ndarray, "t 21"]) -> Float[np.ndarray, " t"]:
  """Longer side (px) of each hand's tight box."""
  return np.asarray(crop.box_around(joints_img, valid, margin=1.0))[:, 2:].max(-1)


def mean_distances(
  predicted: Float[np.ndarray, "p 21 2"], truth: Float[np.ndarray, "t 21 2"], valid: Bool[np.ndarray, "t 21"]
) -> Float[np.ndarray, "t p"]:
  """Mean distance (px) over the annotated joints of each annotated hand, from each predicted one."""
  distance = np.linalg.norm(predicted[None] - truth[:, None], axis=-1)
  weight = valid[:, None].astype(np.float64)
  return (distance * weight).sum(-1) / weight.sum(-1)


def assign(cost: Float[np.ndarray, "t p"]) -> list[int]:
  """For each annotated hand the predicted one, -1 = none: as many as there can be, at the least sum of costs."""
  rows, columns = cost.shape
  if rows > columns:
    hands = assign(cost.T)
    return [hands.index(row) if row in hands else -1 for row in range(rows)]
  choices = itertools.permutations(range(columns), rows)
  return list(min(choices, key=lambda chosen: sum(cost[row, column] for row, column in enumerate(chosen))))


@dataclasses.dataclass(frozen=True)
class Counts:
  """What adds up over pictures.

  Attributes:
    hands: that are annotated.
    joints: of them.
    correct: joints within each of `THRESHOLDS`.
    found: hands with a predicted one so near that it is they.
    same_side: of those found, as right or left as they are.
    extra: predicted hands that are none of the annotated ones.
  """

  hands: int = 0
  joints: int = 0
  correct: tuple[int, ...] = (0,) * len(THRESHOLDS)
  found: int = 0
  same_side: int = 0
  extra: int = 0

  def __add__(self, other: Counts) -> Counts:
    correct = tuple(a + b for a, b in zip(self.correct, other.correct, strict=True))
    return Counts(
      self.hands + other.hands, self.joints + other.joints, correct, self.found + other.found,
      self.same_side + other.same_side, self.extra + other.extra,
    )  # fmt: skip

  @property
  def pck(self) -> tuple[float, ...]:
    """Share of correct joints at each of `THRESHOLDS`; NaN without annotated joints."""
    return tuple(count / self.joints if self.joints else float("nan") for count in self.correct)


def count(
  predicted: Float[np.ndarray, "p 21 2"],
  predicted_sides: Sequence[int],
  truth: Float[np.ndarray, "t 21 2"],
  valid: Bool[np.ndarray, "t 21"],
  sides: Sequence[int],
) -> Counts:
  """One picture; joints of a hand without a predicted one are wrong.

  Args:
    predicted: joints (px) of the hands that are said to be there.
    predicted_sides: 0 = right, 1 = left.
    truth: annotated joints.
    valid: which are annotated; at least one of each hand.
    sides: of the annotated hands.
  """
  cost = mean_distances(predicted, truth, valid)
  hands, size = assign(cost), sizes(truth, valid)
  correct = np.zeros(len(THRESHOLDS), int)
  found = same_side = 0
  for row, column in enumerate(hands):
    if column < 0:
      continue
    share = np.linalg.norm(predicted[column] - truth[row], axis=-1)[valid[row]] / size[row]
    correct += [(share <= threshold).sum() for threshold in THRESHOLDS]
    near = bool(cost[row, column] <= FOUND * size[row])
    found += near
    same_side += near and predicted_sides[column] == sides[row]
  return Counts(
    len(truth), int(valid.sum()), tuple(map(int, correct)), found, same_side, extra=len(predicted) - found
  )  # fmt: skip


def count_boxes(found: Float[np.ndarray, "n 4"], truth: Float[np.ndarray, "m 4"]) -> tuple[int, int]:
  """How many true boxes were found, and how many found ones are false, in one picture.

  A true box is found by one that shares at least half of their union, each by another. A found box is false where it
  shares less than a tenth with every true one; in between it is neither.
  """
  if not len(found) or not len(truth):
    return 0, len(found)
  iou = np.asarray(boxes.iou(found[:, None], truth[None]))
  hits = sum(column >= 0 and iou[column, row] >= SAME_BOX for row, column in enumerate(assign(-iou.T)))
  return int(hits), int((iou.max(1) < OTHER_BOX).sum())
