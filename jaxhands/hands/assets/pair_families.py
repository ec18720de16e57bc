"""Pose families of two hands: how both are held, where they meet, and which points are to touch.

Frame: as the camera sees it, x right, y down, z away; fingers point up where the hands agree on a direction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxhands.hands import anatomy
from jaxhands.hands.assets import single_families as one
from jaxhands.hands.assets.single_families import TEST, TRAIN, VAL, Range, Rng, draw, fingers, spread_by

UP, DOWN = np.array([0.0, -1, 0]), np.array([0.0, 1, 0])
AWAY, TOWARDS = np.array([0.0, 0, 1]), np.array([0.0, 0, -1])  # from and to the camera
RIGHTWARDS, LEFTWARDS = np.array([1.0, 0, 0]), np.array([-1.0, 0, 0])


@dataclasses.dataclass(frozen=True, eq=False)
class TwoHands:
  """Angles and frames of right and left hand; the left one comes from `approach` until both touch.

  frames: for each hand the direction of the fingers and of the palm · meet: site of the right and of the left hand that
  lie together (then moved by `offset_mm`) · touches: (right site, left site) · gap_mm: distance to keep, instead of
  contact.
  """

  angles_deg: tuple[np.ndarray, np.ndarray]
  frames: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
  meet: tuple[str, str]
  approach: np.ndarray
  touches: tuple[tuple[str, str], ...] = ()
  offset_mm: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))
  gap_mm: float | None = None
  interlocked: bool = False


Family = Callable[[Rng], TwoHands]


def turned(frame: tuple[np.ndarray, np.ndarray], axis: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
  """Both directions of a frame turned about an axis."""
  angle = np.radians(degrees)

  def turn(v: np.ndarray) -> np.ndarray:
    return v * np.cos(angle) + np.cross(axis, v) * np.sin(angle) + axis * (axis @ v) * (1 - np.cos(angle))

  return turn(frame[0]), turn(frame[1])


def wobble(rng: Rng, frame: tuple[np.ndarray, np.ndarray], degrees: float) -> tuple[np.ndarray, np.ndarray]:
  """A frame turned about a random axis by a normal angle."""
  axis = rng.normal(size=3)
  return turned(frame, axis / np.linalg.norm(axis), rng.normal(0, degrees))


def flat(rng: Rng, thumb: tuple = one.BESIDE, spread: Range = (0.0, 0.3), shape: tuple = one.STRAIGHT) -> np.ndarray:
  return fingers(rng, thumb, shape, abduction=spread_by(draw(rng, spread)), scatter_deg=1.5)


def _slide(rng: Rng, *spread_mm: float) -> np.ndarray:
  return rng.normal(size=3) * np.array(spread_mm)


# --- palms -----------------------------------------------------------------------------------------------------------


def prayer(rng: Rng) -> TwoHands:
  spread = draw(rng, (0.0, 0.25))
  hands = tuple(flat(rng, one.BESIDE, (spread, spread)) for _ in range(2))
  lean = draw(rng, (-12, 12))
  right, left = (turned((UP, side), AWAY, lean) for side in (RIGHTWARDS, LEFTWARDS))
  touches = (
    ("palm_upper", "palm_upper"),
    ("middle.pad", "middle.pad"),
    ("index.pad", "index.pad"),
    ("ring.pad", "ring.pad"),
  )
  return TwoHands(
    hands, (right, wobble(rng, left, 4)), ("palm_upper", "palm_upper"), RIGHTWARDS, touches, _slide(rng, 0, 4, 3)
  )


def prayer_spread(rng: Rng) -> TwoHands:
  spread = draw(rng, (0.5, 0.95))
  hands = tuple(flat(rng, one.OUT, (spread, spread)) for _ in range(2))
  touches = tuple((f"{f}.pad", f"{f}.pad") for f in anatomy.BASE)
  return TwoHands(hands, ((UP, RIGHTWARDS), wobble(rng, (UP, LEFTWARDS), 4)), ("palm", "palm"), RIGHTWARDS, touches)


def clap(low: float, high: float) -> Family:
  """Palm on palm, the fingers crossing at an angle."""

  def make(rng: Rng) -> TwoHands:
    angle = draw(rng, (low, high)) / 2 * rng.choice([-1, 1])
    right, left = turned((UP, RIGHTWARDS), RIGHTWARDS, angle), turned((UP, LEFTWARDS), RIGHTWARDS, -angle)
    hands = flat(rng, one.OUT, (0.0, 0.5)), flat(rng, one.OUT, (0.0, 0.5))
    return TwoHands(
      hands,
      (right, left),
      ("palm", "palm"),
      RIGHTWARDS,
      (("palm", "palm"), ("palm_upper", "palm_upper")),
      _slide(rng, 0, 8, 8),
    )

  return make


def tent(*names: str, bend: tuple = ((18, 34), (12, 30)), apart: Range = (0.2, 0.7)) -> Family:
  """Finger pads together, palms apart."""

  def make(rng: Rng) -> TwoHands:
    spread = draw(rng, apart)
    base = fingers(rng, one.FORWARD, bend, abduction=spread_by(spread), scatter_deg=2.0)
    hands = tuple(base + rng.normal(0, 1.5, base.shape) * (base != 0) for _ in range(2))
    frames = turned((UP, RIGHTWARDS), AWAY, -25), turned((UP, LEFTWARDS), AWAY, 25)
    touches = tuple((f"{f}.pad", f"{f}.pad") for f in names)
    return TwoHands(hands, frames, ("middle.pad", "middle.pad"), RIGHTWARDS, touches)

  return make


def fist_in_palm(shape: tuple, where: str, thumb: tuple = one.OVER, facing: str = "knuckles") -> Family:
  def make(rng: Rng) -> TwoHands:
    fist = fingers(rng, thumb, shape, abduction=one.TOGETHER, scatter_deg=2.0)
    palm = fingers(rng, one.OUT, ((5, 40), (8, 45)), abduction=spread_by(draw(rng, (0.0, 0.5))))
    frame = (RIGHTWARDS, TOWARDS) if facing == "knuckles" else (UP, RIGHTWARDS)
    right = wobble(rng, turned(frame, RIGHTWARDS, draw(rng, (-40, 40)) if facing == "knuckles" else 0), 8)
    site = "middle.root_dorsal" if facing == "knuckles" else "middle.middle_dorsal"
    return TwoHands(
      (fist, palm),
      (right, wobble(rng, (UP, LEFTWARDS), 8)),
      (site, where),
      RIGHTWARDS,
      ((site, where),),
      _slide(rng, 0, 5, 5),
    )

  return make


def hand_over_fist(rng: Rng) -> TwoHands:
  """One hand wraps the other's fist."""
  fist = fingers(rng, one.OVER, one.CURLED, abduction=one.TOGETHER, scatter_deg=2.0)
  cover = fingers(rng, one.FORWARD, ((40, 62), (28, 50)), abduction=spread_by(draw(rng, (0, 0.3))))
  frames = (
    turned((UP, RIGHTWARDS), RIGHTWARDS, draw(rng, (-25, 25))),
    turned((UP, LEFTWARDS), RIGHTWARDS, draw(rng, (20, 70))),
  )
  touches = (("middle.middle_dorsal", "palm"), ("index.root_dorsal", "middle.middle_palmar"))
  return TwoHands((fist, cover), frames, ("middle.middle_dorsal", "palm"), RIGHTWARDS, touches)


def hand_on_back(low: float, high: float, right_shape: tuple = ((0, 14), (2, 14)), spread: Range = (0, 0.5)) -> Family:
  """The left palm on the back of the right hand."""

  def make(rng: Rng) -> TwoHands:
    angle = draw(rng, (low, high)) * rng.choice([-1, 1])
    hands = flat(rng, one.REST, spread, right_shape), flat(rng, one.OUT, spread, ((-4, 14), (2, 16)))
    left = turned((UP, AWAY), AWAY, angle)
    return TwoHands(
      hands,
      ((UP, AWAY), wobble(rng, left, 5)),
      ("back_upper", "palm_upper"),
      TOWARDS,
      (("back_upper", "palm_upper"),),
      _slide(rng, 8, 12, 0),
    )

  return make


def backs_together(rng: Rng) -> TwoHands:
  hands = flat(rng, one.REST, (0, 0.4)), flat(rng, one.REST, (0, 0.4))
  touches = (("back", "back"), ("middle.root_dorsal", "middle.root_dorsal"))
  frames = wobble(rng, (UP, LEFTWARDS), 6), wobble(rng, (UP, RIGHTWARDS), 6)
  return TwoHands(hands, frames, ("back_upper", "back_upper"), RIGHTWARDS, touches, _slide(rng, 0, 10, 6))


# --- fingers between fingers -----------------------------------------------------------------------------------------


def interlaced(bend: tuple, tilt: Range, deep: str, thumb: tuple = one.OUT) -> Family:
  """Fingers of both hands between each other; `bend` decides whether they close on the backs."""

  def make(rng: Rng) -> TwoHands:
    spread = spread_by(draw(rng, (0.85, 1.0)))
    hands = tuple(fingers(rng, thumb, bend, abduction=spread, scatter_deg=1.5) for _ in range(2))
    angle = draw(rng, tilt)
    right, left = turned((UP, RIGHTWARDS), AWAY, angle), turned((UP, LEFTWARDS), AWAY, -angle)
    # Half a finger's breadth to the side: every finger of one hand meets a gap of the other.
    shift = np.array([0.0, 0.0, rng.choice([-1, 1]) * 9.5])
    return TwoHands(hands, (right, left), (deep, deep), RIGHTWARDS, (), shift, interlocked=True)

  return make


# --- one hand holds or points at the other ---------------------------------------------------------------------------


def point_at(finger: str, where: str, left_shape: Callable[[Rng], np.ndarray], tilt: Range = (20, 70)) -> Family:
  """A finger of the right hand touches the left one."""

  def make(rng: Rng) -> TwoHands:
    shapes = dict.fromkeys(anatomy.LONG_FINGERS, one.LOOSE_FIST)
    shapes[finger] = ((5, 30), (5, 25))
    right = fingers(rng, one.OPPOSED, **shapes)
    palm_side = (
      -1 if where.split(".")[-1] in ("back", "back_upper", "root_dorsal", "nail", "knuckle", "middle_dorsal") else 1
    )
    left = (UP, LEFTWARDS * palm_side)
    frame = turned((RIGHTWARDS, AWAY), AWAY, -draw(rng, tilt))
    frame = turned(frame, frame[0], draw(rng, (-50, 70)))
    return TwoHands(
      (right, left_shape(rng)),
      (frame, wobble(rng, left, 10)),
      (f"{finger}.pad", where),
      RIGHTWARDS,
      ((f"{finger}.pad", where),),
    )

  return make


def tip_to_tip(finger: str, others: tuple, low: float, high: float) -> Family:
  """The same finger of both hands, tip against tip."""

  def make(rng: Rng) -> TwoHands:
    hands = []
    for _ in range(2):
      shapes = dict.fromkeys(anatomy.LONG_FINGERS, others)
      shapes[finger] = ((5, 35), (5, 35))
      hands.append(fingers(rng, one.OPPOSED if others is not one.HALF else one.FORWARD, **shapes))
    angle = draw(rng, (low, high))
    frames = turned((UP, AWAY), AWAY, angle), turned((UP, AWAY), AWAY, -angle)
    return TwoHands(
      (hands[0], hands[1]),
      (wobble(rng, frames[0], 8), wobble(rng, frames[1], 8)),
      (f"{finger}.end", f"{finger}.end"),
      RIGHTWARDS,
      ((f"{finger}.end", f"{finger}.end"),),
    )

  return make


def pinch_other(finger: str, part: str, left_shape: Callable[[Rng], np.ndarray]) -> Family:
  """Thumb and index finger of the right hand take a finger of the left between them."""

  def make(rng: Rng) -> TwoHands:
    right = fingers(
      rng,
      ((-14, 4), (42, 56), (5, 20), (5, 20)),
      ((42, 58), (30, 45)),
      one.HALF if rng.random() < 0.5 else one.LOOSE_FIST,
    )
    frame = turned((RIGHTWARDS, AWAY), AWAY, draw(rng, (-35, 20)))
    frame = turned(frame, frame[0], draw(rng, (-30, 30)))
    touches = (("index.pad", f"{finger}.{part}_dorsal"), ("thumb.pad", f"{finger}.{part}_palmar"))
    return TwoHands(
      (right, left_shape(rng)),
      (frame, wobble(rng, (UP, TOWARDS), 10)),
      ("index.pad", f"{finger}.{part}_dorsal"),
      RIGHTWARDS,
      touches,
    )

  return make


def straight_one(
  finger: str, others: tuple = one.LOOSE_FIST, thumb: tuple = one.OPPOSED
) -> Callable[[Rng], np.ndarray]:
  def make(rng: Rng) -> np.ndarray:
    shapes = dict.fromkeys(anatomy.LONG_FINGERS, others)
    shapes[finger] = one.STRAIGHT
    return fingers(rng, thumb, **shapes)

  return make


def open_hand(rng: Rng) -> np.ndarray:
  return flat(rng, one.OUT, (0.2, 0.9), ((-5, 15), (0, 20)))


def relaxed_hand(rng: Rng) -> np.ndarray:
  return fingers(rng, one.REST, one.RELAXED, abduction=spread_by(draw(rng, (0.1, 0.5))))


# --- edges, crossings, one before the other --------------------------------------------------------------------------


def edge_on_palm(rng: Rng) -> TwoHands:
  hands = flat(rng, one.BESIDE), flat(rng, one.OUT, (0.0, 0.5), ((-3, 10), (0, 12)))
  right = wobble(rng, (AWAY, UP), 10)
  right = turned((UP, AWAY), UP, draw(rng, (-30, 30)))
  return TwoHands(
    hands,
    (right, wobble(rng, (UP, LEFTWARDS), 8)),
    ("edge", "palm"),
    RIGHTWARDS,
    (("edge", "palm"),),
    _slide(rng, 0, 12, 4),
  )


def side_by_side(edge: str, tilt: Range, shape: tuple) -> Family:
  """Edges together: an open book, a bowl, or thumbs side by side."""

  def make(rng: Rng) -> TwoHands:
    radial = edge == "radial"
    spread = spread_by(draw(rng, (0.0, 0.3)))
    hands = tuple(
      fingers(rng, one.BESIDE if radial else one.REST, shape, abduction=spread, scatter_deg=2.0) for _ in range(2)
    )
    angle = draw(rng, tilt)
    palm = AWAY if radial else TOWARDS
    right, left = turned((UP, palm), UP, angle), turned((UP, palm), UP, -angle)
    site = "index.root_radial" if radial else "little.root_ulnar"
    approach = LEFTWARDS
    sites = (site, site)
    touches = (sites, ("index.middle_radial",) * 2 if radial else ("little.middle_ulnar",) * 2)
    return TwoHands(hands, (right, left), sites, approach, touches, _slide(rng, 0, 5, 2))

  return make


def crossed(low: float, high: float, where: tuple[str, str], shapes: tuple[Callable[[Rng], np.ndarray], ...]) -> Family:
  """Hands or wrists that cross, one before the other and touching."""

  def make(rng: Rng) -> TwoHands:
    angle = draw(rng, (low, high)) / 2
    right, left = turned((UP, AWAY), AWAY, -angle), turned((UP, AWAY), AWAY, angle)
    return TwoHands(
      (shapes[0](rng), shapes[1](rng)),
      (wobble(rng, right, 5), wobble(rng, left, 5)),
      where,
      TOWARDS,
      (where,),
      _slide(rng, 8, 8, 0),
    )

  return make


def before(pool: tuple[str, ...], gap: Range, tilt: Range) -> Family:
  """Two hands that overlap in the picture but not in space, in poses of single families."""

  def make(rng: Rng) -> TwoHands:
    hands = tuple(one.SINGLE_FAMILIES[pool[rng.integers(len(pool))]][1](rng).angles_deg for _ in range(2))
    frames = []
    for sign in (1, -1):
      frame = turned((UP, (AWAY, TOWARDS)[rng.integers(2)]), AWAY, sign * draw(rng, tilt))
      frames.append(wobble(rng, frame, 15))
    return TwoHands(
      hands, (frames[0], frames[1]), ("palm", "palm"), AWAY, (), _slide(rng, 22, 22, 0), gap_mm=draw(rng, gap)
    )

  return make


_TRAIN_POOL = tuple(name for name, (split, _) in one.SINGLE_FAMILIES.items() if split == TRAIN)
_VAL_POOL = tuple(name for name, (split, _) in one.SINGLE_FAMILIES.items() if split == VAL)
_TEST_POOL = tuple(name for name, (split, _) in one.SINGLE_FAMILIES.items() if split == TEST)
_ALL_TIPS = ("thumb", "index", "middle", "ring", "little")

PAIR_FAMILIES: dict[str, tuple[str, Family]] = {
  "prayer": (TRAIN, prayer),
  "clap_crossed": (TRAIN, clap(25, 95)),
  "tent_all": (TRAIN, tent(*_ALL_TIPS)),
  "clasped": (TRAIN, interlaced(((40, 62), (38, 60)), (35, 55), "middle.pip_palmar")),
  "interlaced_straight": (TRAIN, interlaced(((0, 12), (0, 12)), (45, 75), "middle.pip_palmar")),
  "fist_in_palm": (TRAIN, fist_in_palm(one.CURLED, "palm")),
  "hand_over_fist": (TRAIN, hand_over_fist),
  "hand_on_back": (TRAIN, hand_on_back(0, 30)),
  "hand_across_back": (TRAIN, hand_on_back(55, 100)),
  "point_at_palm": (TRAIN, point_at("index", "palm", open_hand)),
  "point_at_back": (TRAIN, point_at("index", "back", relaxed_hand)),
  "count_index": (TRAIN, point_at("index", "index.pad", open_hand)),
  "index_tips": (TRAIN, tip_to_tip("index", one.LOOSE_FIST, 20, 80)),
  "pinch_index_tip": (TRAIN, pinch_other("index", "middle", straight_one("index"))),
  "edge_on_palm": (TRAIN, edge_on_palm),
  "open_book": (TRAIN, side_by_side("ulnar", (0, 35), ((0, 15), (3, 20)))),
  "crossed_wrists": (TRAIN, crossed(50, 110, ("wrist_back", "wrist_palmar"), (relaxed_hand, relaxed_hand))),
  "crossed_fingers_flat": (TRAIN, crossed(40, 100, ("middle.root_dorsal", "middle.root_palmar"), (open_hand, open_hand))),
  "before_near": (TRAIN, before(_TRAIN_POOL, (4, 30), (-40, 40))),
  "before_far": (TRAIN, before(_TRAIN_POOL, (25, 90), (-70, 70))),
  "prayer_spread": (VAL, prayer_spread),
  "tent_three": (VAL, tent("thumb", "index", "middle", bend=((22, 40), (20, 38)))),
  "count_middle": (VAL, point_at("index", "middle.pad", open_hand)),
  "pinch_little": (VAL, pinch_other("little", "middle", straight_one("little"))),
  "interlaced_half": (VAL, interlaced(((18, 36), (18, 36)), (40, 60), "middle.pip_palmar")),
  "crossed_fists": (VAL, crossed(40, 100, ("back", "wrist_palmar"), (straight_one("index"), straight_one("index")))),
  "before_val": (VAL, before(_VAL_POOL, (4, 60), (-60, 60))),
  "clap_offset": (TEST, clap(0, 22)),
  "backs_together": (TEST, backs_together),
  "count_ring": (TEST, point_at("index", "ring.pad", open_hand)),
  "pinch_thumb": (TEST, pinch_other("thumb", "root", straight_one("index", one.CURLED, one.OUT))),
  "fist_on_fist_palm": (TEST, fist_in_palm(one.LOOSE_FIST, "palm_upper", one.BESIDE, "knuckles")),
  "middle_tips": (TEST, tip_to_tip("middle", one.HALF, 25, 75)),
  "clasped_loose": (TEST, interlaced(((26, 44), (48, 70)), (38, 58), "middle.pip_palmar")),
  "before_test": (TEST, before(_TEST_POOL, (4, 60), (-60, 60))),
}  # fmt: skip
