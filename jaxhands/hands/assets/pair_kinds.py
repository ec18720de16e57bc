"""Kinds of meetings of two hands: how both are held, where they meet, and which points are to touch.

Frame: as the camera sees it, x right, y down, z away. The right hand's thumb is on the side of fingers x palm, the
left one's on the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxhands.hands.assets import hand_shapes as shapes
from jaxhands.hands.assets.hand_shapes import (
  EASY,
  FIST,
  FLAT,
  FORWARD,
  HALF,
  LOOSE_FIST,
  MEETING,
  OUT,
  REST,
  Bend,
  Range,
  Rng,
  Shape,
  draw,
  either,
  hand,
  with_finger,
)
from jaxhands.hands.assets.single_families import SINGLE_FAMILIES

UP, DOWN = np.array([0.0, -1, 0]), np.array([0.0, 1, 0])
AWAY, NEAR = np.array([0.0, 0, 1]), np.array([0.0, 0, -1])  # from the camera, and to it
RIGHT, LEFT = np.array([1.0, 0, 0]), np.array([-1.0, 0, 0])
FINGERS_AXIS = None  # turn about the fingers' own direction

Frame = tuple[np.ndarray, np.ndarray]  # directions of the fingers and of the palm
Sites = tuple[str, str]  # of the right hand, of the left one
Touches = tuple[Sites, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class PairFamily:
  """One way to bring two hands together.

  shapes, frames: of right and left hand · meet: sites of the right and of the left hand that lie together, up to
  `slide_mm` (normal, by axis) · approach: direction from which the left hand comes · touches: points pulled together ·
  woven: fingers pass between fingers, so that the left hand starts in place, both hands open · gap_mm: distance to keep
  instead of contact · shift_mm: of the left hand from where the sites meet, to either side.
  """

  split: str
  shapes: tuple[Shape, Shape]
  frames: tuple[Callable[[Rng], Frame], Callable[[Rng], Frame]]
  meet: tuple[str, str]
  approach: np.ndarray
  touches: Touches = ()
  slide_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
  shift_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
  woven: bool = False
  closing: bool = False
  gap_mm: Range | None = None


def turned(frame: Frame, axis: np.ndarray, degrees: float) -> Frame:
  """Both directions of a frame turned about an axis."""
  angle = np.radians(degrees)

  def turn(v: np.ndarray) -> np.ndarray:
    return v * np.cos(angle) + np.cross(axis, v) * np.sin(angle) + axis * (axis @ v) * (1 - np.cos(angle))

  return turn(frame[0]), turn(frame[1])


def held(
  fingers: np.ndarray, palm: np.ndarray, *turns: tuple[np.ndarray | None, float, float], wobble_deg: float = 5.0
) -> Callable[[Rng], Frame]:
  """A frame, turned one after the other by angles from ranges, then by a little about any axis."""

  def make(rng: Rng) -> Frame:
    frame = fingers, palm
    for axis, low, high in turns:
      frame = turned(frame, frame[0] if axis is None else axis, draw(rng, (low, high)))
    any_axis = rng.normal(size=3)
    return turned(frame, any_axis / np.linalg.norm(any_axis), rng.normal(0, wobble_deg))

  return make


# --- palm to palm ----------------------------------------------------------------------------------------------------


def both(site: str) -> Sites:
  return site, site


def same(*sites: str) -> Touches:
  return tuple(both(site) for site in sites)


def pads(*fingers: str) -> Touches:
  return same(*(f"{finger}.pad" for finger in fingers))


def palms(split: str, shape: Shape, crossing: Range, touches: Touches, slide: float = 5.0) -> PairFamily:
  """Palm on palm, fingers crossing at an angle from a range."""
  low, high = crossing[0] / 2, crossing[1] / 2
  frames = held(UP, RIGHT, (RIGHT, low, high), wobble_deg=2.0), held(UP, LEFT, (RIGHT, -high, -low), wobble_deg=4.0)
  return PairFamily(split, (shape, shape), frames, both("palm_upper"), RIGHT, touches, (0, slide, slide))


def tent(split: str, shape: Shape, *fingers: str, lean: Range = (18, 32)) -> PairFamily:
  """Pads together, palms apart."""
  low, high = lean
  frames = held(UP, RIGHT, (AWAY, -high, -low), wobble_deg=3.0), held(UP, LEFT, (AWAY, low, high), wobble_deg=3.0)
  return PairFamily(split, (shape, shape), frames, both("middle.pad"), RIGHT, pads(*fingers))


def clasp(split: str, bend: Bend, lean: Range, thumb: shapes.Thumb = OUT) -> PairFamily:
  """Fingers of both hands between each other, crossing near their middle joints."""
  shape = hand(thumb, bend, spread=(0.85, 1.0), scatter_deg=1.5)
  low, high = lean
  frames = held(UP, RIGHT, (AWAY, low, high), wobble_deg=2.0), held(UP, LEFT, (AWAY, -high, -low), wobble_deg=2.0)
  sites = both("middle.pip_palmar")
  # Half the distance of two fingers: each finger meets a gap.
  return PairFamily(split, (shape, shape), frames, sites, RIGHT, (), shift_mm=(0, 0, 11.0), woven=True)


def grasp_palm(split: str, bend: Bend, crossing: Range) -> PairFamily:
  """Palms together, crossed, each hand closing round the edge of the other, as one shakes one's own hand."""
  shape = hand(FORWARD, bend, spread=(0.0, 0.15), scatter_deg=2.0)
  family = palms(split, shape, crossing, same("palm_upper"))
  return dataclasses.replace(family, closing=True)


# --- a fist, a back ---------------------------------------------------------------------------------------------------


def fist_in_palm(split: str, fist: Shape, where: str, tilt: Range) -> PairFamily:
  """Knuckles in the other palm."""
  frames = held(RIGHT, NEAR, (RIGHT, *tilt), wobble_deg=8.0), held(UP, LEFT, wobble_deg=8.0)
  palm = hand(OUT, ((5, 40), (8, 45)), spread=(0.0, 0.5))
  sites = ("middle.root_dorsal", where)
  return PairFamily(split, (fist, palm), frames, sites, RIGHT, (sites,), (0, 5, 5), closing=True)


def fists(split: str, sites: tuple[str, str], frames: tuple, approach: np.ndarray, fist: Shape = FIST) -> PairFamily:
  return PairFamily(split, (fist, fist), frames, sites, approach, (sites,), (4, 4, 4))


def on_back(split: str, angle: Range, lower: Shape, upper: Shape, where: str = "back_upper") -> PairFamily:
  """The left palm on the back of the right hand."""
  frames = held(UP, AWAY), held(UP, AWAY, (AWAY, *angle))
  sites = (where, "palm_upper")
  return PairFamily(split, (lower, upper), frames, sites, NEAR, (sites,), (8, 12, 0))


def backs(split: str, crossing: Range) -> PairFamily:
  shape = hand(REST, EASY, spread=(0.0, 0.4))
  frames = held(UP, LEFT, (RIGHT, *crossing)), held(UP, RIGHT)
  return PairFamily(split, (shape, shape), frames, both("back_upper"), RIGHT, same("back"), (0, 10, 8))


# --- fingers that point, count, press, hold --------------------------------------------------------------------------


def point_at(split: str, finger: str, where: str, left: Shape, tilt: Range = (20, 70)) -> PairFamily:
  """A finger of the right hand touches the left one."""
  dorsal = where.split(".")[-1].split("_")[0] in ("back", "nail", "knuckle", "pip") or where.endswith("dorsal")
  low, high = tilt
  frames = (
    held(RIGHT, AWAY, (AWAY, -high, -low), (FINGERS_AXIS, -50, 70)),
    held(UP, RIGHT if dorsal else LEFT, wobble_deg=12.0),
  )
  pointing = with_finger(finger, ((5, 30), (5, 25)), LOOSE_FIST)
  sites = (f"{finger}.pad", where)
  return PairFamily(split, (pointing, left), frames, sites, RIGHT, (sites,))


def fingertips_on(split: str, where: str, bend: Bend, left: Shape, tilt: Range) -> PairFamily:
  """All four fingertips of a bent right hand on the left one."""
  dorsal = where.startswith("back")
  low, high = tilt
  frames = held(RIGHT, AWAY, (AWAY, -high, -low), (FINGERS_AXIS, -40, 40)), held(UP, RIGHT if dorsal else LEFT)
  sites = ("middle.pad", where)
  return PairFamily(split, (hand(REST, bend, spread=(0.1, 0.6)), left), frames, sites, RIGHT, (sites,))


def tips(split: str, finger: str, others: Bend, tilt: Range) -> PairFamily:
  """The same finger of both hands, tip against tip."""
  shape = with_finger(finger, ((5, 35), (5, 35)), others)
  low, high = tilt
  frames = held(UP, AWAY, (AWAY, low, high), wobble_deg=8.0), held(UP, AWAY, (AWAY, -high, -low), wobble_deg=8.0)
  return PairFamily(split, (shape, shape), frames, both(f"{finger}.end"), RIGHT, same(f"{finger}.end"))


def ring_of_tips(split: str, shape: Shape, lean: Range, turn: Range) -> PairFamily:
  """Thumb tips together and index tips together, the hands side by side: a heart, a frame."""
  low, high = lean
  frames = (
    held(UP, AWAY, (AWAY, low, high), (UP, turn[0], turn[1]), wobble_deg=3.0),
    held(UP, AWAY, (AWAY, -high, -low), (UP, -turn[1], -turn[0]), wobble_deg=3.0),
  )
  return PairFamily(split, (shape, shape), frames, both("index.end"), RIGHT, same("index.end", "thumb.end"))


def hold(split: str, finger: str, part: str, left: Shape) -> PairFamily:
  """Thumb and index finger of the right hand hold a finger of the left one."""
  right = either(hand(MEETING, ((42, 58), (30, 45)), HALF), hand(MEETING, ((42, 58), (30, 45)), LOOSE_FIST))
  frames = held(RIGHT, AWAY, (AWAY, -35, 20), (FINGERS_AXIS, -30, 30)), held(UP, NEAR, wobble_deg=10.0)
  back, front = f"{finger}.{part}_dorsal", f"{finger}.{part}_palmar"
  touches = (("index.pad", back), ("thumb.pad", front))
  return PairFamily(split, (right, left), frames, ("index.pad", back), RIGHT, touches, closing=True)


def grip(split: str, where: str, left: Shape, left_frame: Callable[[Rng], Frame], bend: Bend) -> PairFamily:
  """The right hand, fingers up, closes round a part of the left one that lies across its palm."""
  right = hand(FORWARD, bend, spread=(0.0, 0.15), scatter_deg=2.0)
  sites = ("palm_upper", where)
  return PairFamily(
    split, (right, left), (held(UP, RIGHT, wobble_deg=6.0), left_frame), sites, RIGHT, (sites,), closing=True
  )


def hooks(split: str, finger: str, others: Bend) -> PairFamily:
  """The same finger of both hands, bent and hung into each other."""
  shape = with_finger(finger, ((5, 25), (78, 98)), others, shapes.BESIDE)
  sites = both(f"{finger}.middle_palmar")
  # Palm up and palm down: so the other fingers of one hand are not in the way of the other's.
  frames = held(RIGHT, UP, (FINGERS_AXIS, -20, 20)), held(LEFT, DOWN, (FINGERS_AXIS, -20, 20))
  return PairFamily(split, (shape, shape), frames, sites, RIGHT, (sites,), woven=True)


# --- edges, crossings, one before the other --------------------------------------------------------------------------


def edge_on(split: str, where: str, turn: Range) -> PairFamily:
  """The little finger's edge of one hand on the other."""
  palm = hand(OUT, EASY, spread=(0.0, 0.5))
  frames = held(UP, AWAY, (UP, *turn), (RIGHT, -70, 20)), held(UP, LEFT if where.startswith("palm") else RIGHT)
  return PairFamily(split, (FLAT, palm), frames, ("edge", where), RIGHT, (("edge", where),), (0, 12, 4))


def side_by_side(split: str, edge: str, shape: Shape, tilt: Range) -> PairFamily:
  """Edges together: an open book, a bowl, thumbs beside each other."""
  palm = AWAY if edge == "radial" else NEAR
  low, high = tilt
  frames = held(UP, palm, (UP, low, high), wobble_deg=3.0), held(UP, palm, (UP, -high, -low), wobble_deg=3.0)
  finger = "index" if edge == "radial" else "little"
  touches = same(f"{finger}.root_{edge}", f"{finger}.middle_{edge}")
  return PairFamily(split, (shape, shape), frames, both(f"{finger}.root_{edge}"), LEFT, touches, (0, 5, 2))


def end_on(split: str, where: str, left_palm: np.ndarray) -> PairFamily:
  """Fingertips of one hand square on the palm or the back of the other: time out."""
  frames = held(RIGHT, AWAY, (FINGERS_AXIS, -90, 90), wobble_deg=8.0), held(UP, left_palm, wobble_deg=8.0)
  sites = ("middle.end", where)
  return PairFamily(split, (FLAT, hand(OUT, EASY, spread=(0.0, 0.4))), frames, sites, RIGHT, (sites,), (0, 5, 5))


def crossed(split: str, angle: Range, sites: tuple[str, str], right: Shape, left: Shape) -> PairFamily:
  """Hands, wrists or fingers that cross and touch."""
  low, high = angle[0] / 2, angle[1] / 2
  frames = held(UP, AWAY, (AWAY, -high, -low)), held(UP, AWAY, (AWAY, low, high))
  return PairFamily(split, (right, left), frames, sites, NEAR, (sites,), (8, 8, 0))


def before(split: str, gap: Range, tilt: Range) -> PairFamily:
  """Hands in poses of the split's single families, one before the other: they overlap in the picture, not in space."""
  shape = either(*(family.shape for family in SINGLE_FAMILIES.values() if family.split == split))
  low, high = tilt
  frames = (
    held(UP, AWAY, (UP, -60, 240), (AWAY, low, high), wobble_deg=15.0),
    held(UP, AWAY, (UP, -60, 240), (AWAY, -high, -low), wobble_deg=15.0),
  )
  return PairFamily(split, (shape, shape), frames, ("palm", "palm"), AWAY, (), (22, 22, 0), gap_mm=gap)


def beside(split: str, gap: Range) -> PairFamily:
  """The same, one beside the other."""
  return dataclasses.replace(before(split, gap, (-30, 30)), approach=RIGHT, slide_mm=(0, 25, 25))
