"""Moves posed hands by the least that ends penetration and closes wanted contacts: damped Gauss-Newton.

Unknowns: the anatomical angles of both hands and the place of the left one. Residuals, each over its own spread: every
angle against the one wished for, DIP against two thirds of PIP, the distance of the points that are to touch, and the
depth of every point inside the other hand or inside another part of its own (see `contact`). Both hands are the right
model, the left one seen in a mirror, so that one kernel serves both. Lengths in mm, frame: the pair's own.
"""

from __future__ import annotations

import dataclasses
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxhands import schema
from jaxhands.geometry import rotations
from jaxhands.geometry.compiled import kernel
from jaxhands.hands import anatomy, contact
from jaxhands.hands.anatomy import Anatomy
from jaxhands.hands.contact import HandSolids, Probes, Solid
from jaxhands.hands.model import HandModel

_MIRROR = np.diag([-1.0, 1.0, 1.0])
_UNKNOWNS = 96  # 45 angles of the right hand, 45 of the left, turn (rad) and shift of the left hand
_INFLUENCES = 6  # bones that move a vertex, at most
_STEP_DEG, _STEP_MM = 8.0, 5.0  # no angle, and not the hand, moves more at a time
_LOOK_AHEAD_MM = 4.0  # gaps below this are kept open by a step
_DEEPEST_MM = 8.0  # points deeper inside have shallower ones beside them that push the right way
_ACTIVE_SET_ROUNDS = 4
_STILL = 0.1  # degrees and mm: a smaller step is the last


@dataclasses.dataclass(frozen=True, eq=False)
class Rig:
  """A hand model made ready: its right hand's template, joint frames, solids, and skin weights as short lists."""

  template_mm: Float[np.ndarray, "V 3"]
  shapedirs: Float[np.ndarray, "V 3 10"]
  joints_mm: Float[np.ndarray, "16 3"]
  joints_shapedirs: Float[np.ndarray, "16 3 10"]
  bone_ids: Int[np.ndarray, "V k"]
  bone_weights: Float[np.ndarray, "V k"]
  anatomy: Anatomy
  solids: HandSolids


def make_rig(model: HandModel) -> Rig:
  """Prepares a model whose left hand is the mirrored right one (the embedded model).

  Raises:
    ValueError: nails not marked, pose-dependent shape, or a left hand of its own.
  """
  template, joints = (np.asarray(array, np.float64) for array in (model.v_template, model.joints_template))
  if model.posedirs is not None or not np.allclose(template[0] @ _MIRROR, template[1], atol=1e-3):
    raise ValueError(
      f"model {model.identity!r} is not a mirrored pair without pose correctives; use the embedded model"
    )
  weights = np.asarray(model.weights[schema.RIGHT], np.float64)
  ids = np.argsort(-weights, axis=1)[:, :_INFLUENCES]
  short = np.take_along_axis(weights, ids, axis=1)
  faces = np.asarray(model.faces[schema.RIGHT])
  return Rig(
    template[schema.RIGHT],
    np.asarray(model.shapedirs[schema.RIGHT], np.float64),
    joints[schema.RIGHT],
    np.asarray(model.joints_shapedirs[schema.RIGHT], np.float64),
    ids.astype(np.int64),
    short / short.sum(axis=1, keepdims=True),
    anatomy.make_anatomy(model),
    contact.make_hand_solids(template[schema.RIGHT], faces, weights, joints[schema.RIGHT]),
  )


@dataclasses.dataclass(frozen=True, eq=False)
class Placed:
  """Anatomical angles of right and left hand (degrees), their global rotations and wrist positions (mm)."""

  angles_deg: Float[np.ndarray, "2 15 3"]
  rotation: Float[np.ndarray, "2 3 3"]
  wrist_mm: Float[np.ndarray, "2 3"]


@dataclasses.dataclass(frozen=True, eq=False)
class Touch:
  """Points that are to meet: for each pair two hands [n, 2], corners [n, 2, 3], their weights [n, 2, 3], spread [n]."""

  hands: Int[np.ndarray, "n 2"]
  corners: Int[np.ndarray, "n 2 3"]
  weights: Float[np.ndarray, "n 2 3"]
  spread_mm: Float[np.ndarray, " n"]


NO_TOUCH = Touch(np.zeros((0, 2), np.int64), np.zeros((0, 2, 3), np.int64), np.zeros((0, 2, 3)), np.zeros(0))


@dataclasses.dataclass(frozen=True)
class Effort:
  """Spreads of the residuals, and how long to go on.

  angle_deg, turn_deg, shift_mm: how freely angles and placement move away from the wish · coupling_deg: DIP against
  2/3 PIP · depth_mm: penetration · margin_mm: gap below which points are pushed apart · face_centres: whether these are
  looked at beside the vertices: three times the work.
  """

  iterations: int = 30
  angle_deg: float = 7.0
  turn_deg: float = 25.0
  shift_mm: float = 40.0
  coupling_deg: float = 15.0
  depth_mm: float = 0.4
  margin_mm: float = 0.2
  face_centres: bool = True


def shaped(rig: Rig, shape: Float[np.ndarray, 10]) -> Rig:
  """The rig of another hand shape."""
  return dataclasses.replace(
    rig, template_mm=rig.template_mm + rig.shapedirs @ shape, joints_mm=rig.joints_mm + rig.joints_shapedirs @ shape
  )


def vertices_of(rig: Rig, placed: Placed) -> Float[np.ndarray, "2 V 3"]:
  """Skin of both hands in the pair's frame, mm."""
  return _pose_both(rig, placed)[0]


def joints_of(rig: Rig, placed: Placed) -> Float[np.ndarray, "2 16 3"]:
  """Joints of both hands in the pair's frame, MANO's order, mm."""
  return _pose_both(rig, placed)[2]


def _pose_both(rig: Rig, placed: Placed) -> tuple[np.ndarray, ...]:
  """Both hands' `_articulate`, stacked."""
  hands = []
  for hand, mirror in ((schema.RIGHT, np.eye(3)), (schema.LEFT, _MIRROR)):
    angles = np.ascontiguousarray(np.radians(placed.angles_deg[hand]))
    joints = (rig.anatomy.before, rig.anatomy.bone, rig.template_mm, rig.joints_mm, rig.bone_ids, rig.bone_weights)
    hands.append(_articulate(angles, *joints, placed.rotation[hand] @ mirror, placed.wrist_mm[hand]))
  return tuple(np.stack(arrays) for arrays in zip(*hands, strict=True))


def settle(
  rig: Rig,
  wish: Placed,
  touch: Touch = NO_TOUCH,
  present: tuple[bool, bool] = (True, True),
  free: Bool[np.ndarray, "2 15 3"] | None = None,
  effort: Effort | None = None,
  start: Placed | None = None,
) -> Placed:
  """Least change of `wish` that ends penetration and closes `touch`; angles stay within `anatomy.LIMITS`.

  Args:
    free: which angles may move (default: `anatomy.FREE` of the hands that are present).
    start: where the search begins (default: the wish).
  """
  effort = effort or Effort()
  if free is None:
    free = free_angles(present)
  unknown = np.concatenate([free.ravel(), np.full(6, all(present))])
  spread = np.full(_UNKNOWNS, np.radians(effort.angle_deg))
  spread[90:93], spread[93:] = np.radians(effort.turn_deg), effort.shift_mm
  low, high = (np.radians(np.tile(anatomy.LIMITS[..., i].ravel(), 2)) for i in (0, 1))
  now = start or wish
  for _ in range(effort.iterations):
    rows, misses = _wishes(wish, now, effort, spread)
    posed = _pose_both(rig, now)
    touch_rows, touch_misses = _touch_rows(rig, posed, touch)
    rows, misses = np.concatenate([rows, touch_rows])[:, unknown], np.concatenate([misses, touch_misses])
    hessian, gradient = rows.T @ rows, rows.T @ misses
    near_rows, gaps = _contact_rows(rig, posed, present, effort)
    step = np.zeros(_UNKNOWNS)
    step[unknown] = _step(hessian, gradient, near_rows[:, unknown], gaps)
    # Contacts change along the way, so that steps are short.
    largest = max(np.abs(step[:93]).max() / np.radians(_STEP_DEG), np.abs(step[93:]).max() / _STEP_MM, 1.0)
    step /= largest
    before = np.radians(now.angles_deg).ravel()
    angles = np.where(free.ravel(), np.clip(before + step[:90], low, high), before)
    rotation, wrist = now.rotation.copy(), now.wrist_mm.copy()
    rotation[schema.LEFT] = rotations.matrix_from_axis_angle(step[90:93]) @ rotation[schema.LEFT]
    wrist[schema.LEFT] += step[93:]
    now = Placed(np.degrees(angles).reshape(2, anatomy.NUM_JOINTS, 3), rotation, wrist)
    if max(np.degrees(np.abs(angles - before).max()), np.abs(step[93:]).max()) < _STILL:
      break
  return now


def free_angles(present: tuple[bool, bool]) -> Bool[np.ndarray, "2 15 3"]:
  """`anatomy.FREE` of the hands that are there."""
  return anatomy.IS_FREE & np.array(present)[:, None, None]


def _step(hessian: np.ndarray, gradient: np.ndarray, near_rows: np.ndarray, gaps: np.ndarray) -> np.ndarray:
  """Step to the least squares of the wishes and of every gap that is, or would become, negative."""
  active, step = gaps < 0, np.zeros_like(gradient)
  for _ in range(_ACTIVE_SET_ROUNDS):
    pressed = near_rows[active]
    step = -np.linalg.solve(hessian + pressed.T @ pressed, gradient + pressed.T @ gaps[active])
    joining = ~active & (gaps + near_rows @ step < 0)
    if not joining.any():
      break
    active |= joining
  return step


def _wishes(wish: Placed, now: Placed, effort: Effort, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Rows [n, 96] and residuals of staying near the wish, and of DIP following PIP."""
  away = np.zeros(_UNKNOWNS)
  away[:90] = np.radians(now.angles_deg - wish.angles_deg).ravel()
  turned = now.rotation[schema.LEFT] @ wish.rotation[schema.LEFT].T
  away[90:93] = rotations.axis_angle_from_matrix(turned)
  away[93:] = now.wrist_mm[schema.LEFT] - wish.wrist_mm[schema.LEFT]
  coupling = _COUPLING / np.radians(effort.coupling_deg)
  return np.concatenate([np.diag(1 / spread), coupling]), np.concatenate([away / spread, coupling @ away])


def _coupling() -> np.ndarray:
  """Change of DIP less two thirds of the change of PIP, for each finger of both hands: [8, 96]."""
  rows = np.zeros((8, _UNKNOWNS))
  for n in range(8):
    dip = 45 * (n // 4) + 3 * (anatomy.BASE[anatomy.LONG_FINGERS[n % 4]] + 2) + anatomy.FLEXION
    rows[n, dip], rows[n, dip - 3] = 1.0, -anatomy.dip_from_pip(1.0)
  return rows


_COUPLING = _coupling()


def _touch_rows(rig: Rig, posed: tuple[np.ndarray, ...], touch: Touch) -> tuple[np.ndarray, np.ndarray]:
  """Three rows for each pair of points that are to meet, over their spread."""
  points = np.einsum("nsk,nskc->nsc", touch.weights, posed[0][touch.hands[:, :, None], touch.corners])
  misses = (points[:, 0] - points[:, 1]) / touch.spread_mm[:, None]
  directions = np.tile(np.eye(3), (len(misses), 1, 1)) / touch.spread_mm[:, None, None]
  hands, corners, weights = (np.repeat(array, 3, axis=0) for array in (touch.hands, touch.corners, touch.weights))
  rows = _jacobian(hands, corners, weights, directions.reshape(-1, 3), rig.bone_ids, rig.bone_weights, *posed)
  return rows, misses.ravel()


def _contact_rows(
  rig: Rig, posed: tuple[np.ndarray, ...], present: tuple[bool, bool], effort: Effort
) -> tuple[np.ndarray, np.ndarray]:
  """Rows and gaps, over `depth_mm`, of all points near the other hand or near another part of their own."""
  solids, hands = rig.solids, [hand for hand in (schema.RIGHT, schema.LEFT) if present[hand]]
  meetings = [(solids.whole, solids.skin, hand, 1 - hand) for hand in hands] if all(present) else []
  for solid, probes in zip(solids.parts, solids.probes, strict=True):
    meetings += [(solid, probes, hand, hand) for hand in hands]
  found = [_near(solid, probes, posed[0], hand, other, effort) for solid, probes, hand, other in meetings]
  columns = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
  owners, corners, weights, directions, gaps = columns
  rows = _jacobian(owners, corners, weights, directions / effort.depth_mm, rig.bone_ids, rig.bone_weights, *posed)
  return rows, gaps / effort.depth_mm


def _near(
  solid: Solid, probes: Probes, skins: np.ndarray, hand: int, other: int, effort: Effort
) -> tuple[np.ndarray, ...]:
  """Points of a hand nearer than a step to a surface: hands, corners, weights, outward direction, gap."""
  if not effort.face_centres:
    probes = probes.coarse()
  points, surface = probes.on(skins[hand]), skins[other]
  nearest = contact.signed_distance(solid, surface, points, _DEEPEST_MM)
  found = _meet(points, surface, probes.corners, solid.faces, *nearest, _LOOK_AHEAD_MM, effort.margin_mm)
  return np.tile(np.array([hand, other]), (len(found[0]), 1)), *found


@kernel
@no_type_check
def _meet(points, surface, corners, faces, distances, nearest, feet, look_ahead_mm, margin_mm):
  """Of the points that are near: corners and their weights on both sides, outward direction, gap beyond the margin."""
  close = np.flatnonzero(distances < look_ahead_mm)
  both = np.empty((len(close), 2, 3), np.int64)
  weights = np.full((len(close), 2, 3), 1.0 / 3.0)
  outward, gaps = np.empty((len(close), 3)), np.empty(len(close))
  for n in range(len(close)):
    p = close[n]
    face, distance = faces[nearest[p]], distances[p]
    both[n, 0], both[n, 1], weights[n, 1] = corners[p], face, feet[p]
    gaps[n] = distance - margin_mm
    for i in range(3):
      foot = feet[p, 0] * surface[face[0], i] + feet[p, 1] * surface[face[1], i] + feet[p, 2] * surface[face[2], i]
      outward[n, i] = 0.0 if abs(distance) < 1e-6 else (points[p, i] - foot) / distance
  return both, weights, outward, gaps


@kernel
@no_type_check
def _articulate(angles, before, bone, template, joints, bone_ids, bone_weights, outward, wrist):
  """Poses a right hand and carries it outward (mirrored for a left one).

  Returns skin [V, 3], bone motions [16, 3, 4] from the template, joint positions [16, 3], the axis about which each
  angle turns [15, 3, 3], all in the pair's frame; handed -1 where `outward` mirrors.
  """
  turns, places = np.zeros((16, 3, 3)), np.zeros((16, 3))
  axes = np.zeros((15, 3, 3))
  turns[0] = outward
  places[0] = wrist
  for j in range(1, 16):
    parent = 0 if j % 3 == 1 else j - 1
    base = turns[parent] @ np.ascontiguousarray(before[j - 1])
    f, a, t = angles[j - 1, 0], -angles[j - 1, 1], -angles[j - 1, 2]
    rz = np.array([[np.cos(f), -np.sin(f), 0.0], [np.sin(f), np.cos(f), 0.0], [0.0, 0.0, 1.0]])
    ry = np.array([[np.cos(a), 0.0, np.sin(a)], [0.0, 1.0, 0.0], [-np.sin(a), 0.0, np.cos(a)]])
    rx = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(t), -np.sin(t)], [0.0, np.sin(t), np.cos(t)]])
    axes[j - 1, 0] = base[:, 2]
    base = base @ rz
    axes[j - 1, 1] = -base[:, 1]
    base = base @ ry
    axes[j - 1, 2] = -base[:, 0]
    turns[j] = base @ rx @ np.ascontiguousarray(bone[j - 1].T)
    places[j] = places[parent] + turns[parent] @ (joints[j] - joints[parent])
  if np.linalg.det(outward) < 0:
    axes *= -1.0  # a mirror turns the sense of every rotation round
  motions = np.zeros((16, 3, 4))
  for j in range(16):
    motions[j, :, :3] = turns[j]
    motions[j, :, 3] = places[j] - turns[j] @ joints[j]
  skin = np.zeros_like(template)
  for v in range(len(template)):
    for k in range(bone_ids.shape[1]):
      w = bone_weights[v, k]
      m = motions[bone_ids[v, k]]
      for i in range(3):
        skin[v, i] += w * (m[i, 0] * template[v, 0] + m[i, 1] * template[v, 1] + m[i, 2] * template[v, 2] + m[i, 3])
  return skin, motions, places, axes, template


@kernel
@no_type_check
def _jacobian(hands, corners, weights, directions, bone_ids, bone_weights, skins, motions, places, axes, templates):
  """Change of `direction . (first point - second point)` with each unknown: [n, 96]."""
  rows = np.zeros((len(hands), 96))
  for n in range(len(hands)):
    row, d = rows[n], directions[n]
    for side in range(2):
      hand = hands[n, side]
      for c in range(3):
        share = weights[n, side, c] if side == 0 else -weights[n, side, c]
        v = corners[n, side, c]
        if share == 0.0:
          continue
        t = templates[hand, v]
        for k in range(bone_ids.shape[1]):
          w = share * bone_weights[v, k]
          joint = bone_ids[v, k]
          if w == 0.0 or joint == 0:
            continue
          m = motions[hand, joint]
          x0 = m[0, 0] * t[0] + m[0, 1] * t[1] + m[0, 2] * t[2] + m[0, 3]
          x1 = m[1, 0] * t[0] + m[1, 1] * t[1] + m[1, 2] * t[2] + m[1, 3]
          x2 = m[2, 0] * t[0] + m[2, 1] * t[1] + m[2, 2] * t[2] + m[2, 3]
          while True:
            p = places[hand, joint]
            r0, r1, r2 = x0 - p[0], x1 - p[1], x2 - p[2]
            # direction . (axis x r) = axis . (r x direction)
            c0, c1, c2 = r1 * d[2] - r2 * d[1], r2 * d[0] - r0 * d[2], r0 * d[1] - r1 * d[0]
            for i in range(3):
              axis = axes[hand, joint - 1, i]
              row[45 * hand + 3 * (joint - 1) + i] += w * (axis[0] * c0 + axis[1] * c1 + axis[2] * c2)
            if joint % 3 == 1:
              break
            joint -= 1
        if hand == 1:
          r0, r1, r2 = (
            skins[1, v, 0] - places[1, 0, 0],
            skins[1, v, 1] - places[1, 0, 1],
            skins[1, v, 2] - places[1, 0, 2],
          )
          row[90] += share * (r1 * d[2] - r2 * d[1])
          row[91] += share * (r2 * d[0] - r0 * d[2])
          row[92] += share * (r0 * d[1] - r1 * d[0])
          for i in range(3):
            row[93 + i] += share * d[i]
  return rows
