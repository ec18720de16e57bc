"""What hangs on the wrist, so that the open end of the hand is never seen: a forearm, bare or in a sleeve, or a lid."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32

from jaxhands.geometry.compiled import kernel
from jaxhands.render.surface import HandSurface

PLAIN, STRIPES, CHECKS = 0, 1, 2  # Sleeve.pattern
_RINGS_MM = (6.0, 14.0, 26.0, 42.0, 64.0, 92.0, 126.0, 170.0, 230.0, 300.0, 400.0, 500.0)
_ROUND_FROM_MM = 45.0  # the forearm's section is an ellipse from here on
_BEND_OVER_MM = 40.0
_FULL_GROWTH_MM = 160.0
_CUFF_MM = 3.0
_LENGTH_MM = 600.0  # out of the picture
_BEND_SPREAD_RAD = 0.2
_CANDIDATES = 8
_CLEAR_MM = 60.0  # from the forearm's axis


@dataclasses.dataclass(frozen=True)
class Sleeve:
  """Cloth from `start_mm` behind the open wrist on; linear colours; `period_mm` of the pattern."""

  start_mm: float
  ease_mm: float  # between skin and cloth
  colour: tuple[float, float, float]
  second_colour: tuple[float, float, float]
  pattern: int
  period_mm: float


@dataclasses.dataclass(frozen=True)
class Forearm:
  """A tube from the open wrist backwards; `bend_rad`: towards the palm, towards the thumb, from the wrist's axis."""

  bend_rad: tuple[float, float]
  length_mm: float
  growth: float  # relative gain of the radius over the first 160 mm
  sleeve: Sleeve | None = None


class Attachment(NamedTuple):
  """Mesh behind the wrist. Indices below V are the hand's vertices; the new vertices follow from V on.

  `faces` lists `num_skin` triangles of skin, then those of cloth. `skin_mm` are skin coordinates (cloth: mm along and
  around the sleeve); `palm` as in `HandSurface`.
  """

  vertices: Float32[np.ndarray, "N 3"]
  faces: Int32[np.ndarray, "M 3"]
  num_skin: int
  skin_mm: Float32[np.ndarray, "N 3"]
  palm: Float32[np.ndarray, " N"]


class WristFrame(NamedTuple):
  """The open wrist of a posed hand: centre, axis away from the hand, directions to the thumb and out of the palm."""

  centre: Float[np.ndarray, " 3"]
  axis: Float[np.ndarray, " 3"]
  thumb: Float[np.ndarray, " 3"]
  palm: Float[np.ndarray, " 3"]


def wrist_frame(surface: HandSurface, vertices_mm: Float[np.ndarray, "V 3"]) -> WristFrame:
  """The frame of the wrist's rim, in the frame of `vertices_mm`; right-handed for neither hand in particular."""
  frame = _wrist_frame(np.ascontiguousarray(vertices_mm), surface.rim, surface.skin_mm)
  return WristFrame(frame[0], frame[1], frame[2], frame[3])


@kernel
def _wrist_frame(vertices, rim, skin):
  """Rows: centre, axis, thumb, palm."""
  frame = np.zeros((4, 3))
  count, total = rim.shape[0], vertices.shape[0]
  middle, place = np.zeros(3), np.zeros(3)
  for i in range(3):
    for k in range(count):
      frame[0, i] += vertices[rim[k], i] / count
      place[i] += skin[rim[k], i] / count
    for k in range(total):
      middle[i] += vertices[k, i] / total
  towards_palm = np.zeros(3)
  for k in range(count):
    here, ahead = rim[k], rim[(k + 1) % count]
    ux, uy, uz = vertices[here, 0] - frame[0, 0], vertices[here, 1] - frame[0, 1], vertices[here, 2] - frame[0, 2]
    vx, vy, vz = vertices[ahead, 0] - frame[0, 0], vertices[ahead, 1] - frame[0, 1], vertices[ahead, 2] - frame[0, 2]
    frame[1, 0] += uy * vz - uz * vy
    frame[1, 1] += uz * vx - ux * vz
    frame[1, 2] += ux * vy - uy * vx
    across, out = skin[here, 1] - place[1], skin[here, 2] - place[2]
    frame[2, 0], frame[2, 1], frame[2, 2] = (
      frame[2, 0] + across * ux,
      frame[2, 1] + across * uy,
      frame[2, 2] + across * uz,
    )
    towards_palm[0], towards_palm[1], towards_palm[2] = (
      towards_palm[0] + out * ux, towards_palm[1] + out * uy, towards_palm[2] + out * uz
    )  # fmt: skip
  axis, thumb = frame[1], frame[2]
  along = (
    axis[0] * (frame[0, 0] - middle[0]) + axis[1] * (frame[0, 1] - middle[1]) + axis[2] * (frame[0, 2] - middle[2])
  )
  scale = np.sign(along) / np.sqrt(axis[0] * axis[0] + axis[1] * axis[1] + axis[2] * axis[2])
  for i in range(3):
    axis[i] *= scale
  along = axis[0] * thumb[0] + axis[1] * thumb[1] + axis[2] * thumb[2]
  for i in range(3):
    thumb[i] -= along * axis[i]
  scale = 1.0 / np.sqrt(thumb[0] * thumb[0] + thumb[1] * thumb[1] + thumb[2] * thumb[2])
  for i in range(3):
    thumb[i] *= scale
  palm = frame[3]
  palm[0] = axis[1] * thumb[2] - axis[2] * thumb[1]
  palm[1] = axis[2] * thumb[0] - axis[0] * thumb[2]
  palm[2] = axis[0] * thumb[1] - axis[1] * thumb[0]
  sign = np.sign(palm[0] * towards_palm[0] + palm[1] * towards_palm[1] + palm[2] * towards_palm[2])
  for i in range(3):
    palm[i] *= sign
  return frame


def forearm_direction(frame: WristFrame, bend_rad: tuple[float, float]) -> Float[np.ndarray, " 3"]:
  """Unit vector along the forearm, away from the hand, once it has bent."""
  direction = frame.axis + np.tan(bend_rad[0]) * frame.palm + np.tan(bend_rad[1]) * frame.thumb
  return _unit(direction)


def lid(surface: HandSurface, vertices_mm: Float[np.ndarray, "V 3"]) -> Attachment:
  """A flat end of skin over the open wrist: one vertex and a fan."""
  count, ring = len(vertices_mm), surface.rim
  faces = np.stack([np.roll(ring, -1), ring, np.full(len(ring), count, np.int32)], axis=1)
  return Attachment(
    vertices_mm[ring].mean(0, keepdims=True).astype(np.float32),
    faces.astype(np.int32),
    len(faces),
    surface.skin_mm[ring].mean(0, keepdims=True),
    surface.palm[ring].mean(keepdims=True),
  )


def forearm(surface: HandSurface, vertices_mm: Float[np.ndarray, "V 3"], arm: Forearm) -> Attachment:
  """The forearm behind a posed hand, in the frame of `vertices_mm`."""
  frame = wrist_frame(surface, vertices_mm)
  final = forearm_direction(frame, arm.bend_rad)
  rim = vertices_mm[surface.rim].astype(np.float64) - frame.centre
  radius_thumb = np.sqrt(2) * (rim @ frame.thumb).std()
  radius_palm = np.sqrt(2) * (rim @ frame.palm).std()
  angle = np.arctan2(rim @ frame.palm / radius_palm, rim @ frame.thumb / radius_thumb)
  along = np.array([s for s in _RINGS_MM if s < arm.length_mm] + [arm.length_mm])
  centres, thumbs, palms = _path(frame, final, along)
  wrist = surface.skin_mm[surface.rim].mean(0)

  def rings(distance: np.ndarray, extra_mm: float, angles: np.ndarray, own: np.ndarray | None) -> tuple:
    """Vertices [S, A, 3] and their places (thumb, palm) [S, A, 2] in the section; `own` morphs from the rim's form."""
    grown = np.minimum(distance / _FULL_GROWTH_MM, 1.0)[:, None]
    a = radius_thumb * (1 + arm.growth * grown) + extra_mm
    b = radius_palm * (1 + 1.6 * arm.growth * grown) + extra_mm
    section = np.stack([a * np.cos(angles), b * np.sin(angles)], axis=-1)
    if own is not None:
      t = np.clip(distance / _ROUND_FROM_MM, 0, 1)[:, None, None]
      section = own + (t * t * (3 - 2 * t)) * (section - own)
    pick = np.searchsorted(along, distance).clip(0, len(along) - 1)
    places = section[..., :1] * thumbs[pick, None] + section[..., 1:] * palms[pick, None] + centres[pick, None]
    return places, section

  own = np.stack([rim @ frame.thumb, rim @ frame.palm], axis=-1)
  places, section = rings(along, 0.0, angle, own)
  count, around = len(vertices_mm), len(surface.rim)
  end = count + places.shape[0] * around
  vertices = [places.reshape(-1, 3), centres[-1:]]
  skin = wrist + np.concatenate([np.broadcast_to(-along[:, None, None], (*section.shape[:2], 1)), section], axis=-1)
  coordinates = [skin.reshape(-1, 3), wrist[None] - (along[-1], 0.0, 0.0)]
  palm = [np.clip(0.5 + section[..., 1] / (1.4 * radius_palm), 0, 1).ravel(), np.array([0.5])]
  faces = [_arm_faces(surface, count, len(along))]
  num_skin = len(faces[0])

  if arm.sleeve is not None and arm.sleeve.start_mm < arm.length_mm:
    distance = np.concatenate([[arm.sleeve.start_mm], along[along > arm.sleeve.start_mm]])
    turn = np.linspace(0, 2 * np.pi, 25) * np.sign(_winding(angle))
    cloth, flat = rings(np.concatenate([distance[:1], distance]), arm.sleeve.ease_mm, turn, None)
    # The cuff's edge is turned in, so that the cloth has a thickness.
    middle = cloth[0].mean(0)
    cloth[0] = middle + (cloth[0] - middle) * (1 - _CUFF_MM / np.hypot(radius_thumb, radius_palm))
    first = end + 1
    faces.append(first + _cloth_faces(*cloth.shape[:2]))
    vertices.append(cloth.reshape(-1, 3))
    length = np.concatenate([distance[:1] - _CUFF_MM, distance])[:, None]
    girth = np.abs(turn) * np.sqrt((flat**2).sum(-1).mean())
    coordinates.append(np.stack([*np.broadcast_arrays(length, girth, 0.0)], axis=-1).reshape(-1, 3))
    palm.append(np.zeros(cloth.shape[0] * len(turn)))
  return Attachment(
    np.concatenate(vertices).astype(np.float32),
    np.concatenate(faces),
    num_skin,
    np.concatenate(coordinates).astype(np.float32),
    np.concatenate(palm).astype(np.float32),
  )


def sample_forearm(
  rng: np.random.Generator,
  surface: HandSurface,
  vertices_mm: Float[np.ndarray, "V 3"],
  others_mm: Float[np.ndarray, "N 3"] | None = None,
  sleeve: Sleeve | None = None,
) -> Forearm:
  """A forearm for a posed hand that keeps clear of other points, such as the other hand's vertices, where it can."""
  frame = wrist_frame(surface, vertices_mm)
  bends = rng.normal(0.0, _BEND_SPREAD_RAD, (_CANDIDATES, 2)).clip(-2 * _BEND_SPREAD_RAD, 2 * _BEND_SPREAD_RAD)
  best = 0
  if others_mm is not None:
    directions = _unit(frame.axis + np.tan(bends[:, :1]) * frame.palm + np.tan(bends[:, 1:]) * frame.thumb)
    clearance = _clearances(np.ascontiguousarray(others_mm), frame.centre, directions)
    # Any direction that is clear will do: the first, not the one farthest away.
    best = int(np.argmax(np.minimum(clearance, _CLEAR_MM)))
  return Forearm(
    bend_rad=(float(bends[best, 0]), float(bends[best, 1])),
    length_mm=_LENGTH_MM,
    growth=float(rng.uniform(0.1, 0.4)),
    sleeve=sleeve,
  )


def sample_sleeve(rng: np.random.Generator) -> Sleeve:
  """Cloth in quiet or bright colours, plain or patterned, from the wrist or rolled up."""
  first, second = (np.clip(rng.uniform(0.01, 0.7) * (1 + rng.normal(0, 0.35, 3)), 0.005, 0.9) for _ in range(2))
  return Sleeve(
    start_mm=float(rng.uniform(0.0, 20.0) if rng.uniform() < 0.5 else rng.uniform(20.0, 160.0)),
    ease_mm=float(rng.uniform(2.5, 9.0)),
    colour=(float(first[0]), float(first[1]), float(first[2])),
    second_colour=(float(second[0]), float(second[1]), float(second[2])),
    pattern=int(rng.choice([PLAIN, STRIPES, CHECKS], p=[0.6, 0.2, 0.2])),
    period_mm=float(rng.uniform(4.0, 25.0)),
  )


def _path(frame: WristFrame, final: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Centres of the rings and their directions to the thumb and out of the palm, each [S, 3]."""
  step = np.diff(along, prepend=0.0)
  t = np.minimum((along - step / 2) / _BEND_OVER_MM, 1.0)[:, None]
  heading = _unit(frame.axis + t * (final - frame.axis))
  thumbs = _unit(frame.thumb - (heading @ frame.thumb)[:, None] * heading)
  palms = np.cross(heading, thumbs)
  return frame.centre + np.cumsum(heading * step[:, None], axis=0), thumbs, palms * np.sign(palms @ frame.palm)[:, None]


def _tube(grid: np.ndarray, closed: bool = True) -> np.ndarray:
  """Triangles between consecutive rings of vertex numbers [S, A], which run as a hand's open boundary does."""
  near, far = grid[:-1], grid[1:]
  near_next, far_next = np.roll(near, -1, axis=1), np.roll(far, -1, axis=1)
  quads = np.stack([near, far, far_next, near_next], axis=-1)
  quads = (quads if closed else quads[:, :-1]).reshape(-1, 4)
  return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


@functools.lru_cache(maxsize=8)
def _arm_faces(surface: HandSurface, count: int, rings: int) -> Int32[np.ndarray, "M 3"]:
  """Tube and end of a bare arm whose vertices follow the hand's `count`."""
  around = len(surface.rim)
  grid = np.concatenate([surface.rim[None], count + np.arange(rings * around).reshape(-1, around)])
  fan = np.stack([np.roll(grid[-1], -1), grid[-1], np.full(around, count + rings * around)], axis=1)
  return np.concatenate([_tube(grid), fan]).astype(np.int32)


@functools.lru_cache(maxsize=32)
def _cloth_faces(rings: int, around: int) -> Int32[np.ndarray, "M 3"]:
  """An open tube of vertices 0, 1, ..."""
  return _tube(np.arange(rings * around).reshape(-1, around), closed=False).astype(np.int32)


def _winding(angle: np.ndarray) -> float:
  """Sense in which the rim runs round the wrist."""
  return float(np.sin(np.roll(angle, -1) - angle).sum())


def _unit(v: np.ndarray) -> np.ndarray:
  return v / np.sqrt((v * v).sum(-1, keepdims=True))


@kernel
def _clearances(others, centre, directions):
  """Distance of the nearest point [N, 3] from each of the forearm's axes [K, 3], mm."""
  nearest = np.full(directions.shape[0], np.inf)
  for n in range(others.shape[0]):
    x, y, z = others[n, 0] - centre[0], others[n, 1] - centre[1], others[n, 2] - centre[2]
    for k in range(directions.shape[0]):
      dx, dy, dz = directions[k, 0], directions[k, 1], directions[k, 2]
      along = min(max(x * dx + y * dy + z * dz, 0.0), _LENGTH_MM)
      ox, oy, oz = x - along * dx, y - along * dy, z - along * dz
      nearest[k] = min(nearest[k], ox * ox + oy * oy + oz * oz)
  return np.sqrt(nearest)
