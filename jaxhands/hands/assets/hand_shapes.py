"""Ranges of joint angles that families of poses draw from, and the draw itself.

A finger is (MCP, PIP) flexion in degrees, with DIP = 2/3 PIP and abduction by the hand's spread. The thumb is flexion
across the palm and palmar abduction of its base, then MCP and IP flexion; pronation follows the first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jaxhands.hands import anatomy

Rng = np.random.Generator
Range = tuple[float, float]
Bend = tuple[Range, Range]
Thumb = tuple[Range, Range, Range, Range]
Shape = Callable[[Rng], np.ndarray]  # draws angles [15, 3]

STRAIGHT: Bend = ((-8, 8), (0, 8))
STIFF: Bend = ((-14, 2), (0, 4))
EASY: Bend = ((-5, 15), (2, 18))
RELAXED: Bend = ((12, 34), (18, 42))
ARCHED: Bend = ((25, 45), (15, 35))
HALF: Bend = ((35, 58), (35, 62))
ROUND: Bend = ((40, 62), (28, 50))
LOOSE_FIST: Bend = ((55, 72), (72, 92))
CURLED: Bend = ((70, 86), (84, 100))
HOOK: Bend = ((-5, 18), (75, 98))
TABLE: Bend = ((62, 84), (2, 16))
CLAW: Bend = ((-18, 2), (48, 72))
PINCHING: Bend = ((38, 56), (38, 58))  # where fingers stand when the thumb meets their tips

OUT: Thumb = ((-60, -42), (8, 30), (-5, 10), (-12, 12))
UPWARDS: Thumb = ((-55, -40), (0, 14), (-8, 5), (-15, 5))
REST: Thumb = ((-42, -25), (22, 42), (5, 20), (5, 25))
BESIDE: Thumb = ((-20, -12), (8, 18), (0, 12), (0, 15))
FORWARD: Thumb = ((-25, -10), (40, 55), (0, 15), (0, 20))
OPPOSED: Thumb = ((-12, 6), (38, 52), (12, 32), (10, 38))
MEETING: Thumb = ((-14, 8), (40, 54), (10, 28), (8, 35))
OVER: Thumb = ((-6, 8), (30, 45), (28, 48), (28, 55))
TUCKED: Thumb = ((2, 12), (14, 26), (35, 52), (35, 60))

NATURAL = {"index": 2.0, "middle": 0.0, "ring": -2.0, "little": -5.0}
TOGETHER = {"index": -1.0, "middle": 0.0, "ring": 0.5, "little": 1.5}
_WIDE = {"index": 15.0, "middle": 1.0, "ring": -13.0, "little": -27.0}
_MCP_WITHOUT_SPREAD_DEG = 110.0  # the more fingers are bent, the closer they lie


def draw(rng: Rng, interval: Range) -> float:
  return float(rng.uniform(*interval))


def spread_by(factor: float) -> dict[str, float]:
  """Abduction of the fingers from side by side (0) to as wide as they go (1)."""
  return {name: TOGETHER[name] + factor * (_WIDE[name] - TOGETHER[name]) for name in _WIDE}


def hand(
  thumb: Thumb,
  index: Bend,
  middle: Bend | None = None,
  ring: Bend | None = None,
  little: Bend | None = None,
  spread: Range | dict[str, float] = NATURAL,
  scatter_deg: float = 3.0,
) -> Shape:
  """A shape of the hand. A finger left out follows its neighbour; fingers of one range bend to one level of it."""

  def make(rng: Rng) -> np.ndarray:
    angles = np.zeros((anatomy.NUM_JOINTS, 3))
    abduction = spread if isinstance(spread, dict) else spread_by(draw(rng, spread))
    level: dict[Bend, np.ndarray] = {}
    bend = index
    for finger, given in zip(anatomy.LONG_FINGERS, (index, middle, ring, little), strict=True):
      bend = given or bend
      if bend not in level:
        level[bend] = rng.uniform(size=2)
      mcp, pip = (low + (high - low) * at for (low, high), at in zip(bend, level[bend], strict=True))
      pip += rng.normal(0, scatter_deg)
      closer = np.clip(1 - mcp / _MCP_WITHOUT_SPREAD_DEG, 0, 1)
      base = anatomy.BASE[finger]
      angles[base, anatomy.FLEXION] = mcp + rng.normal(0, scatter_deg)
      angles[base, anatomy.ABDUCTION] = abduction[finger] * closer + rng.normal(0, 0.4 * scatter_deg)
      angles[base + 1, anatomy.FLEXION] = pip
      angles[base + 2, anatomy.FLEXION] = anatomy.dip_from_pip(pip) + rng.normal(0, scatter_deg)
    base = anatomy.BASE["thumb"]
    flexion, palmar, mcp, ip = (draw(rng, interval) for interval in thumb)
    angles[base] = flexion, palmar, anatomy.pronation(flexion) + rng.normal(0, scatter_deg)
    angles[base + 1 : base + 3, anatomy.FLEXION] = mcp, ip
    return np.clip(angles, anatomy.LIMITS[..., 0], anatomy.LIMITS[..., 1])

  return make


def with_finger(finger: str, bend: Bend, others: Bend, thumb: Thumb = OPPOSED, spread: Range | None = None) -> Shape:
  """One finger unlike the others."""
  index, middle, ring, little = (bend if name == finger else others for name in anatomy.LONG_FINGERS)
  return hand(thumb, index, middle, ring, little, NATURAL if spread is None else spread)


def either(*shapes: Shape) -> Shape:
  return lambda rng: shapes[rng.integers(len(shapes))](rng)


def free(rng: Rng) -> np.ndarray:
  """Every finger between stretched and bent by itself, as far as its neighbours let it; any thumb."""
  bend = rng.uniform(0, 1) + rng.normal(0, 0.22, 4)
  bend[2] = 0.4 * bend[2] + 0.3 * (bend[1] + bend[3])  # the ring finger is the least free
  mcp_share = rng.uniform(0.6, 1.0)
  bends: list[Bend] = []
  for b in np.clip(bend, 0, 1):
    mcp, pip = b * 80 * mcp_share - 5, b * 90 * (1.6 - mcp_share)
    bends.append(((mcp, mcp), (pip, pip)))
  thumb = (OUT, REST, BESIDE, FORWARD, OPPOSED)[rng.integers(5)]
  index, middle, ring, little = bends
  return hand(thumb, index, middle, ring, little, spread=(0.0, 0.8))(rng)


def wave(rng: Rng) -> np.ndarray:
  """Bend rising from one side of the hand to the other."""
  first, last = rng.permutation([rng.uniform(0, 25), rng.uniform(50, 80)])
  index, middle, ring, little = (((0.8 * b, 0.8 * b), (b, b)) for b in np.linspace(first, last, 4))
  return hand(REST, index, middle, ring, little)(rng)


FLAT = hand(BESIDE, STRAIGHT, spread=(0.0, 0.25), scatter_deg=1.5)
OPEN = hand(OUT, EASY, spread=(0.2, 0.9))
LAZY = hand(REST, RELAXED, spread=(0.1, 0.5))
FIST = hand(OVER, CURLED, spread=TOGETHER, scatter_deg=2.0)
SOFT_FIST = hand(BESIDE, LOOSE_FIST, spread=TOGETHER, scatter_deg=2.0)
CUPPED = hand(BESIDE, ARCHED, spread=(0.0, 0.2), scatter_deg=2.0)
ARCHED_HAND = hand(FORWARD, ROUND, spread=(0.0, 0.4))
POINTING = with_finger("index", EASY, LOOSE_FIST)
