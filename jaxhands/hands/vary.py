"""Other poses from stored ones: what lies between two of them, fingers that move together, hands that part.

Nothing here is settled: hands may leave their couplings, or go into each other, and whoever draws looks after that.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from jaxhands import schema
from jaxhands.geometry import rotations
from jaxhands.hands import anatomy, contact
from jaxhands.hands.settle import Placed, Rig, vertices_of

# Standard deviations in degrees: flexion of all long fingers together, of each at its base and at its middle joint,
# spread of each, the thumb's base, and any free angle besides. Angles that hardly move have half of the last one.
_ALL_FLEXION, _BASE_FLEXION, _MIDDLE_FLEXION, _SPREAD, _THUMB, _EACH = 5.0, 6.0, 9.0, 4.0, 6.0, 2.0
_MM_OF_A_RADIAN = 60.0  # by which turns and places of a hand are compared
_PART_STEP_MM, _PART_STEPS = 14.0, 7
_OVERLAP_MM = 3.0  # that settling ends


def between(one: Placed, other: Placed, share: float) -> Placed:
  """From `one` (share 0) to `other` (1): angles, and the left hand's turn and place as the right hand sees them.

  The right hand stays where `one` has it. Limits of angles are intervals, and hold in between.
  """
  right = one.rotation[schema.RIGHT]
  (turn, place), (other_turn, other_place) = left_from_right(one), left_from_right(other)
  way = rotations.axis_angle_from_matrix(other_turn @ turn.T)
  turn = right @ rotations.matrix_from_axis_angle(share * way) @ turn
  place = right @ ((1 - share) * place + share * other_place)
  wrist = one.wrist_mm[schema.RIGHT]
  angles = (1 - share) * one.angles_deg + share * other.angles_deg
  return Placed(angles, np.stack([right, turn]), np.stack([wrist, wrist + place]))


def left_from_right(placed: Placed) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, " 3"]]:
  """Rotation and wrist (mm) of the left hand, as the right hand sees them."""
  right = placed.rotation[schema.RIGHT]
  offset = placed.wrist_mm[schema.LEFT] - placed.wrist_mm[schema.RIGHT]
  return right.T @ placed.rotation[schema.LEFT], right.T @ offset


def placement_distance_mm(turns: Float[np.ndarray, "n 3 3"], places_mm: Float[np.ndarray, "n 3"]) -> np.ndarray:
  """How far the left hands of n pairs are from each other, as their right hands see them [n, n]."""
  cosine = (np.einsum("iab,jab->ij", turns, turns) - 1) / 2
  apart_mm = np.linalg.norm(places_mm[:, None] - places_mm, axis=-1)
  return apart_mm + _MM_OF_A_RADIAN * np.arccos(np.clip(cosine, -1, 1))


def shaken(rng: np.random.Generator, angles_deg: Float[np.ndarray, "2 15 3"], size: float) -> np.ndarray:
  """Angles after movements that joints make together, `size` times as large as usual, within the limits.

  The long fingers bend with each other, and the last joint of each with its middle one; the thumb moves at its base.
  """
  step = rng.normal(size=angles_deg.shape) * np.where(anatomy.IS_FREE, _EACH, 0.5 * _EACH)
  together = rng.normal(size=2) * _ALL_FLEXION
  for finger in anatomy.LONG_FINGERS:
    base = anatomy.BASE[finger]
    at_base, in_the_middle, aside = rng.normal(size=(3, 2))
    middle = together + _MIDDLE_FLEXION * in_the_middle
    step[:, base, anatomy.FLEXION] += together + _BASE_FLEXION * at_base
    step[:, base + 1, anatomy.FLEXION] += middle
    step[:, base + 2, anatomy.FLEXION] += anatomy.dip_from_pip(1.0) * middle
    step[:, base, anatomy.ABDUCTION] += _SPREAD * aside
  thumb = anatomy.BASE["thumb"]
  across, palmar = _THUMB * rng.normal(size=(2, 2))
  step[:, thumb, anatomy.FLEXION] += across
  step[:, thumb, anatomy.ABDUCTION] += palmar
  step[:, thumb, anatomy.TWIST] += (anatomy.pronation(1.0) - anatomy.pronation(0.0)) * across
  return np.clip(angles_deg + size * step, *np.moveaxis(anatomy.LIMITS, -1, 0))


def moved_apart(rig: Rig, placed: Placed, gap_mm: float, turn_rad: Float[np.ndarray, " 3"]) -> Placed:
  """The left hand turned about its wrist, and moved away from the right one, at least until they hardly overlap.

  Args:
    rig: of both hands.
    placed: as they are.
    gap_mm: by how much at least.
    turn_rad: rotation vector of the left hand.
  """
  rotation = placed.rotation.copy()
  rotation[schema.LEFT] = rotations.matrix_from_axis_angle(turn_rad) @ rotation[schema.LEFT]
  placed = dataclasses.replace(placed, rotation=rotation)
  skins = vertices_of(rig, placed)
  way = skins[schema.LEFT].mean(0) - skins[schema.RIGHT].mean(0)
  way = way / max(float(np.linalg.norm(way)), 1e-6)
  away = gap_mm
  for _ in range(_PART_STEPS):
    left = skins[schema.LEFT] + away * way
    if contact.penetration(rig.solids, skins[schema.RIGHT], left, 2 * _OVERLAP_MM)[0] <= _OVERLAP_MM:
      break
    away += _PART_STEP_MM
  wrist = placed.wrist_mm.copy()
  wrist[schema.LEFT] += away * way
  return dataclasses.replace(placed, wrist_mm=wrist)
