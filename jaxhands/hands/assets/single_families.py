"""Pose families of one hand: each draws anatomical angles from ranges of its own, and may name points that touch.

A finger is (MCP, PIP) flexion in degrees, with DIP = 2/3 PIP and the abduction beside it; the thumb is (flexion across
the palm, palmar abduction) of its base, then MCP and IP flexion, with pronation following the flexion.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxhands.hands import anatomy

Rng = np.random.Generator
Range = tuple[float, float]
TRAIN, VAL, TEST = "train", "val", "test"


@dataclasses.dataclass(frozen=True, eq=False)
class OneHand:
  """Angles wished for, and pairs of site names that are to touch."""

  angles_deg: np.ndarray
  touches: tuple[tuple[str, str], ...] = ()


# Ranges of (MCP, PIP) flexion.
STRAIGHT = ((-8, 8), (0, 8))
STIFF = ((-14, 2), (0, 4))
RELAXED = ((12, 34), (18, 42))
HALF = ((35, 58), (35, 62))
CURLED = ((70, 86), (84, 100))
LOOSE_FIST = ((55, 72), (72, 92))
HOOK = ((-5, 18), (75, 98))
TABLE = ((62, 84), (2, 16))
CLAW = ((-18, 2), (48, 72))
ARCHED = ((25, 45), (15, 35))
NATURAL_ABDUCTION = {"index": 2.0, "middle": 0.0, "ring": -2.0, "little": -5.0}
TOGETHER = {"index": -1.0, "middle": 0.0, "ring": 0.5, "little": 1.5}
WIDE = {"index": 15.0, "middle": 1.0, "ring": -13.0, "little": -27.0}

# Ranges of the thumb: base flexion, base palmar abduction, MCP, IP.
OUT = ((-60, -42), (8, 30), (-5, 10), (-12, 12))
REST = ((-42, -25), (22, 42), (5, 20), (5, 25))
BESIDE = ((-20, -12), (8, 18), (0, 12), (0, 15))
FORWARD = ((-25, -10), (40, 55), (0, 15), (0, 20))
OPPOSED = ((-12, 6), (38, 52), (12, 32), (10, 38))
OVER = ((-6, 8), (30, 45), (28, 48), (28, 55))
TUCKED = ((2, 12), (14, 26), (35, 52), (35, 60))


def draw(rng: Rng, interval: Range) -> float:
  return float(rng.uniform(*interval))


def fingers(
  rng: Rng,
  thumb: tuple[Range, Range, Range, Range],
  index: tuple[Range, Range],
  middle: tuple[Range, Range] | None = None,
  ring: tuple[Range, Range] | None = None,
  little: tuple[Range, Range] | None = None,
  abduction: dict[str, float] | None = None,
  scatter_deg: float = 3.0,
) -> np.ndarray:
  """Angles [15, 3] of one draw. A finger left out follows its neighbour, as fingers do; one level for each range."""
  angles = np.zeros((anatomy.NUM_JOINTS, 3))
  abduction = abduction or NATURAL_ABDUCTION
  level: dict[tuple[Range, Range], np.ndarray] = {}
  shape = index
  for finger, given in zip(anatomy.LONG_FINGERS, (index, middle, ring, little), strict=True):
    shape = given or shape
    if shape not in level:
      level[shape] = rng.uniform(size=2)
    mcp, pip = (low + (high - low) * at for (low, high), at in zip(shape, level[shape], strict=True))
    base = anatomy.BASE[finger]
    pip += rng.normal(0, scatter_deg)
    angles[base, anatomy.FLEXION] = mcp + rng.normal(0, scatter_deg)
    # Fingers lie closer together the more they are bent.
    angles[base, anatomy.ABDUCTION] = abduction[finger] * np.clip(1 - mcp / 110, 0, 1) + rng.normal(
      0, 0.4 * scatter_deg
    )
    angles[base + 1, anatomy.FLEXION] = pip
    angles[base + 2, anatomy.FLEXION] = anatomy.dip_from_pip(pip) + rng.normal(0, scatter_deg)
  base = anatomy.BASE["thumb"]
  flexion, palmar, mcp, ip = (draw(rng, interval) for interval in thumb)
  angles[base] = flexion, palmar, anatomy.pronation(flexion) + rng.normal(0, scatter_deg)
  angles[base + 1 : base + 3, anatomy.FLEXION] = mcp, ip
  return np.clip(angles, anatomy.LIMITS[..., 0], anatomy.LIMITS[..., 1])


def spread_by(factor: float) -> dict[str, float]:
  """From fingers side by side (0) to as wide as they go (1)."""
  return {name: TOGETHER[name] + factor * (WIDE[name] - TOGETHER[name]) for name in WIDE}


def _open(low: float, high: float, thumb: tuple, shape: tuple = STRAIGHT) -> Callable[[Rng], OneHand]:
  return lambda rng: OneHand(fingers(rng, thumb, shape, abduction=spread_by(draw(rng, (low, high)))))


def _shape(thumb: tuple, *shapes: tuple | None, spread: Range | None = None) -> Callable[[Rng], OneHand]:
  def make(rng: Rng) -> OneHand:
    return OneHand(fingers(rng, thumb, *shapes, abduction=None if spread is None else spread_by(draw(rng, spread))))

  return make


def _fist(shape: tuple, thumb: tuple, *touches: tuple[str, str]) -> Callable[[Rng], OneHand]:
  return lambda rng: OneHand(fingers(rng, thumb, shape, abduction=TOGETHER, scatter_deg=2.0), touches)


# Where fingers stand when the thumb meets their tips.
_PINCH = ((38, 56), (38, 58))


def _pinch(finger: str, others: tuple, part: str = "pad") -> Callable[[Rng], OneHand]:
  def make(rng: Rng) -> OneHand:
    shapes = dict.fromkeys(anatomy.LONG_FINGERS, others)
    shapes[finger] = _PINCH
    thumb = ((-14, 8), (40, 54), (10, 28), (8, 35))
    return OneHand(fingers(rng, thumb, **shapes), ((f"thumb.{part}", f"{finger}.pad"),))

  return make


def _together(*names: str, others: tuple) -> Callable[[Rng], OneHand]:
  """The thumb's pad against several finger pads, or near them."""

  def make(rng: Rng) -> OneHand:
    shapes = {name: _PINCH if name in names else others for name in anatomy.LONG_FINGERS}
    angles = fingers(rng, ((-10, 6), (42, 54), (8, 24), (5, 28)), **shapes, abduction=TOGETHER)
    return OneHand(angles, tuple(("thumb.pad", f"{name}.pad") for name in names))

  return make


def _free(rng: Rng) -> OneHand:
  """Every finger between stretched and bent by itself, as far as its neighbours let it."""
  bend = rng.uniform(0, 1) + rng.normal(0, 0.22, 4)
  bend[2] = 0.4 * bend[2] + 0.3 * (bend[1] + bend[3])  # the ring finger is the least free
  bend = np.clip(bend, 0, 1)
  mcp_share = rng.uniform(0.6, 1.0)
  shapes = [((b * 80 * mcp_share - 5,) * 2, (b * 90 * (1.6 - mcp_share),) * 2) for b in bend]
  thumb = (OUT, REST, BESIDE, FORWARD, OPPOSED)[rng.integers(5)]
  return OneHand(fingers(rng, thumb, *shapes, abduction=spread_by(draw(rng, (0, 0.8)))))


def _wave(rng: Rng) -> OneHand:
  """Bend rising from one side of the hand to the other."""
  ends = rng.permutation([rng.uniform(0, 25), rng.uniform(50, 80)])
  levels = np.linspace(ends[0], ends[1], 4)
  return OneHand(fingers(rng, REST, *[((b * 0.8,) * 2, (b,) * 2) for b in levels]))


SINGLE_FAMILIES: dict[str, tuple[str, Callable[[Rng], OneHand]]] = {
  "flat": (TRAIN, _open(0.0, 0.3, BESIDE)),
  "open_spread": (TRAIN, _open(0.55, 1.0, OUT)),
  "relaxed": (TRAIN, _shape(REST, RELAXED, spread=(0.1, 0.5))),
  "half_closed": (TRAIN, _shape(REST, HALF, spread=(0.0, 0.5))),
  "fist_thumb_over": (TRAIN, _fist(CURLED, OVER, ("thumb.pad", "index.middle_dorsal"))),
  "loose_fist": (TRAIN, _fist(LOOSE_FIST, BESIDE)),
  "hook": (TRAIN, _shape(BESIDE, HOOK)),
  "tabletop": (TRAIN, _shape(REST, TABLE, spread=(0.0, 0.4))),
  "claw": (TRAIN, _shape(FORWARD, CLAW, spread=(0.4, 0.9))),
  "point_index": (TRAIN, _shape(OVER, STRAIGHT, CURLED)),
  "victory": (TRAIN, _shape(OVER, STRAIGHT, STRAIGHT, CURLED, CURLED, spread=(0.4, 1.0))),
  "thumb_up": (TRAIN, _fist(CURLED, ((-55, -40), (0, 14), (-8, 5), (-15, 5)))),
  "gun": (TRAIN, _shape(OUT, STRAIGHT, CURLED)),
  "count_four": (TRAIN, _shape(TUCKED, STIFF, spread=(0.2, 0.8))),
  "horns": (TRAIN, _shape(OVER, STRAIGHT, LOOSE_FIST, LOOSE_FIST, STRAIGHT)),
  "pinch_index": (TRAIN, _pinch("index", ARCHED)),
  "pinch_index_closed": (TRAIN, _pinch("index", LOOSE_FIST)),
  "tripod": (TRAIN, _together("index", "middle", others=HALF)),
  "key_grip": (TRAIN, lambda rng: OneHand(
    fingers(rng, ((-12, 2), (18, 32), (10, 30), (0, 25)), LOOSE_FIST, abduction=TOGETHER),
    (("thumb.pad", "index.middle_radial"),))),
  "cup": (TRAIN, _shape(FORWARD, ARCHED, spread=(0.1, 0.6))),
  "wave": (TRAIN, _wave),
  "free": (TRAIN, _free),
  "open_half_spread": (VAL, _open(0.25, 0.6, REST, ((-4, 12), (3, 14)))),
  "fist_thumb_beside": (VAL, _fist(CURLED, ((-22, -10), (12, 26), (10, 30), (5, 30)))),
  "point_little": (VAL, _shape(OVER, LOOSE_FIST, None, None, STRAIGHT)),
  "three_thumb": (VAL, _shape(OUT, STRAIGHT, STRAIGHT, CURLED, CURLED, spread=(0.3, 0.9))),
  "pinch_middle": (VAL, _pinch("middle", ARCHED)),
  "cylinder": (VAL, _shape(FORWARD, ((32, 50), (42, 66)))),
  "shaka": (VAL, _shape(OUT, LOOSE_FIST, None, None, STRAIGHT)),
  "flat_thumb_across": (TEST, _open(0.0, 0.25, ((-2, 8), (22, 36), (20, 40), (15, 40)))),
  "fist_low_thumb": (TEST, _fist(CURLED, ((0, 10), (32, 46), (30, 48), (20, 50)), ("thumb.pad", "middle.middle_dorsal"))),
  "three_middle": (TEST, _shape(OPPOSED, STRAIGHT, STRAIGHT, STRAIGHT, LOOSE_FIST, spread=(0.2, 0.7))),
  "vulcan": (TEST, lambda rng: OneHand(fingers(
    rng, OUT, STRAIGHT, abduction={"index": 9.0, "middle": 8.0, "ring": -9.0, "little": -9.0}, scatter_deg=1.5))),
  "pinch_ring": (TEST, _pinch("ring", ARCHED)),
  "beak": (TEST, _together("index", "middle", "ring", others=HALF)),
  "sphere": (TEST, _shape(FORWARD, ((15, 35), (30, 52)), spread=(0.5, 0.95))),
  "bent_pair": (TEST, _shape(OVER, HOOK, HOOK, CURLED, CURLED, spread=(0.2, 0.6))),
}  # fmt: skip
