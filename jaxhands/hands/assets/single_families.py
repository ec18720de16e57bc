"""Pose families of one hand: a shape drawn from ranges of its own, and points of it that are to touch."""

from __future__ import annotations

from typing import NamedTuple

from jaxhands.hands.anatomy import LONG_FINGERS
from jaxhands.hands.assets import hand_shapes as shapes
from jaxhands.hands.assets.hand_shapes import (
  ARCHED,
  BESIDE,
  CLAW,
  CURLED,
  FORWARD,
  HALF,
  HOOK,
  LOOSE_FIST,
  MEETING,
  OPPOSED,
  OUT,
  OVER,
  PINCHING,
  RELAXED,
  REST,
  STIFF,
  STRAIGHT,
  TABLE,
  TOGETHER,
  TUCKED,
  UPWARDS,
  Bend,
  Shape,
  hand,
  with_finger,
)

TRAIN, VAL, TEST = "train", "val", "test"


class SingleFamily(NamedTuple):
  """split: where it belongs · shape: draws the angles · touches: pairs of site names that are to meet."""

  split: str
  shape: Shape
  touches: tuple[tuple[str, str], ...] = ()


def _pinch(split: str, others: Bend, *fingers: str) -> SingleFamily:
  """The thumb's pad against one finger's, or several."""
  index, middle, ring, little = (PINCHING if name in fingers else others for name in LONG_FINGERS)
  spread = TOGETHER if len(fingers) > 1 else shapes.NATURAL
  return SingleFamily(
    split, hand(MEETING, index, middle, ring, little, spread), tuple(("thumb.pad", f"{name}.pad") for name in fingers)
  )


def _fist(split: str, bend: Bend, thumb: shapes.Thumb, *touches: tuple[str, str]) -> SingleFamily:
  return SingleFamily(split, hand(thumb, bend, spread=TOGETHER, scatter_deg=2.0), touches)


_VULCAN = {"index": 9.0, "middle": 8.0, "ring": -9.0, "little": -9.0}

SINGLE_FAMILIES: dict[str, SingleFamily] = {
  "flat": SingleFamily(TRAIN, hand(BESIDE, STRAIGHT, spread=(0.0, 0.3))),
  "open_spread": SingleFamily(TRAIN, hand(OUT, STRAIGHT, spread=(0.55, 1.0))),
  "bent_back": SingleFamily(TRAIN, hand(OUT, ((-26, -10), (0, 20)), spread=(0.1, 0.8))),
  "relaxed": SingleFamily(TRAIN, hand(REST, RELAXED, spread=(0.1, 0.5))),
  "half_closed": SingleFamily(TRAIN, hand(REST, HALF, spread=(0.0, 0.5))),
  "fist_thumb_over": _fist(TRAIN, CURLED, OVER, ("thumb.pad", "index.middle_dorsal")),
  "loose_fist": _fist(TRAIN, LOOSE_FIST, BESIDE),
  "fist_thumb_inside": _fist(TRAIN, LOOSE_FIST, TUCKED),
  "thumb_up": _fist(TRAIN, CURLED, UPWARDS),
  "hook": SingleFamily(TRAIN, hand(BESIDE, HOOK)),
  "tabletop": SingleFamily(TRAIN, hand(REST, TABLE, spread=(0.0, 0.4))),
  "claw": SingleFamily(TRAIN, hand(FORWARD, CLAW, spread=(0.4, 0.9))),
  "cup": SingleFamily(TRAIN, hand(FORWARD, ARCHED, spread=(0.1, 0.6))),
  "point_index": SingleFamily(TRAIN, hand(OVER, STRAIGHT, CURLED)),
  "gun": SingleFamily(TRAIN, hand(OUT, STRAIGHT, CURLED)),
  "victory": SingleFamily(TRAIN, hand(OVER, STRAIGHT, STRAIGHT, CURLED, CURLED, spread=(0.4, 1.0))),
  "horns": SingleFamily(TRAIN, hand(OVER, STRAIGHT, LOOSE_FIST, LOOSE_FIST, STRAIGHT)),
  "count_four": SingleFamily(TRAIN, hand(TUCKED, STIFF, spread=(0.2, 0.8))),
  "pinch_index": _pinch(TRAIN, ARCHED, "index"),
  "pinch_index_closed": _pinch(TRAIN, LOOSE_FIST, "index"),
  "tripod": _pinch(TRAIN, HALF, "index", "middle"),
  "key_grip": SingleFamily(
    TRAIN,
    hand(((-12, 2), (18, 32), (10, 30), (0, 25)), LOOSE_FIST, spread=TOGETHER),
    (("thumb.pad", "index.middle_radial"),),
  ),
  "wave": SingleFamily(TRAIN, shapes.wave),
  "free": SingleFamily(TRAIN, shapes.free),
  "open_half_spread": SingleFamily(VAL, hand(REST, ((-4, 12), (3, 14)), spread=(0.25, 0.6))),
  "fist_thumb_beside": _fist(VAL, CURLED, ((-22, -10), (12, 26), (10, 30), (5, 30))),
  "point_little": SingleFamily(VAL, with_finger("little", STRAIGHT, LOOSE_FIST, OVER)),
  "three_thumb": SingleFamily(VAL, hand(OUT, STRAIGHT, STRAIGHT, CURLED, CURLED, spread=(0.3, 0.9))),
  "pinch_middle": _pinch(VAL, ARCHED, "middle"),
  "cylinder": SingleFamily(VAL, hand(FORWARD, ((32, 50), (42, 66)))),
  "shaka": SingleFamily(VAL, hand(OUT, LOOSE_FIST, None, None, STRAIGHT)),
  "fanned": SingleFamily(VAL, hand(REST, ((5, 15), (5, 15)), ((20, 35), (20, 35)), ((38, 52), (38, 52)), HALF)),
  "flat_thumb_across": SingleFamily(TEST, hand(((-2, 8), (22, 36), (20, 40), (15, 40)), STRAIGHT, spread=(0.0, 0.25))),
  "fist_low_thumb": _fist(TEST, CURLED, ((0, 10), (32, 46), (30, 48), (20, 50)), ("thumb.pad", "middle.middle_dorsal")),
  "three_middle": SingleFamily(TEST, hand(OPPOSED, STRAIGHT, STRAIGHT, STRAIGHT, LOOSE_FIST, spread=(0.2, 0.7))),
  "vulcan": SingleFamily(TEST, hand(OUT, STRAIGHT, spread=_VULCAN, scatter_deg=1.5)),
  "pinch_ring": _pinch(TEST, ARCHED, "ring"),
  "beak": _pinch(TEST, HALF, "index", "middle", "ring"),
  "sphere": SingleFamily(TEST, hand(FORWARD, ((15, 35), (30, 52)), spread=(0.5, 0.95))),
  "bent_pair": SingleFamily(TEST, hand(OVER, HOOK, HOOK, CURLED, CURLED, spread=(0.2, 0.6))),
}
