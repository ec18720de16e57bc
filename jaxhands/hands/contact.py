"""How deep two hands, or the fingers of one, go into each other, mm, by signed distance to their closed skin."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int

from jaxhands.geometry.compiled import kernel
from jaxhands.hands import skeleton
from jaxhands.hands.closed_mesh import CUTOFF_MM, Solid, make_solid, signed_distance


class Probes(NamedTuple):
  """Points that are looked at: means of three vertices (or of three times one) [n, 3]; the first `vertices` are skin
  vertices, the others centres of faces."""

  corners: np.ndarray
  vertices: int

  def on(self, skin: Float[np.ndarray, "V 3"]) -> Float[np.ndarray, "n 3"]:
    """Where the points lie on a posed skin."""
    return _means(np.ascontiguousarray(skin, np.float64), self.corners)

  def coarse(self) -> Probes:
    """The vertices alone."""
    return Probes(self.corners[: self.vertices], self.vertices)


def make_probes(vertices: Int[np.ndarray, " n"], faces: Int[np.ndarray, "m 3"]) -> Probes:
  """Probes at the vertices and in the faces given."""
  return Probes(np.concatenate([np.repeat(vertices[:, None], 3, axis=1), faces]), len(vertices))


@dataclasses.dataclass(frozen=True, eq=False)
class HandSolids:
  """One hand as a solid, and cut into the parts between which self-penetration is measured.

  whole: the hand, closed at the wrist · skin: all of its points · parts: palm, thumb, index, middle, ring, little, each
  closed · probes: for each part, the points that may not be in it.

  A finger begins where the web of skin ends: 45 % along its proximal phalanx (thumb: at the middle of it); the stub
  belongs to the palm. Its points are held against all other fingers, and those beyond its middle joint (thumb: beyond
  its last joint) against the palm as well. Skin pressed together inside a flexed joint, and around the web, is not
  counted: there a skinned mesh overlaps where flesh yields. Within the limits of `anatomy` no finger reaches itself.
  """

  whole: Solid
  skin: Probes
  parts: tuple[Solid, ...]
  probes: tuple[Probes, ...]


_WEB = {"thumb": (1, 0.5), "index": (0, 0.45), "middle": (0, 0.45), "ring": (0, 0.45), "little": (0, 0.45)}


def _along(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
  """Position of points along a bone: 0 at its start, 1 at its end."""
  return (points - start) @ (end - start) / ((end - start) @ (end - start))


def make_hand_solids(
  vertices: Float[np.ndarray, "V 3"],
  faces: Int[np.ndarray, "F 3"],
  weights: Float[np.ndarray, "V 16"],
  joints: Float[np.ndarray, "16 3"],
) -> HandSolids:
  """Cuts a hand at rest (right hand, MANO's joint order, mm) into `HandSolids`."""
  finger_of_vertex = np.zeros(len(vertices), int)
  reaches_palm = np.zeros(len(vertices), bool)
  for number, finger in enumerate(skeleton.FINGERS, start=1):
    base = skeleton.MANO_JOINT_NAMES.index(f"{finger}1")
    bone, web = _WEB[finger]
    start = base + bone
    mine = weights[:, base : base + 3].sum(axis=1) > 0.5
    finger_of_vertex[mine & (_along(vertices, joints[start], joints[start + 1]) > web)] = number
    reaches_palm |= mine & (_along(vertices, joints[base + 1], joints[base + 2]) > (1.0 if finger == "thumb" else 0.1))
  of_corners = finger_of_vertex[faces]
  part_of_face = np.where((of_corners == of_corners[:, :1]).all(axis=1), of_corners[:, 0], 0)
  numbers = range(len(skeleton.FINGERS) + 1)
  probed = [faces[(part_of_face > 0) & (part_of_face != number)] for number in numbers]
  probed[0] = faces[(part_of_face > 0) & reaches_palm[faces].all(axis=1)]
  whole = make_solid(faces, vertices)
  return HandSolids(
    whole,
    make_probes(np.arange(len(vertices)), whole.skin_faces),
    tuple(make_solid(faces[part_of_face == number], vertices) for number in numbers),
    tuple(make_probes(np.unique(each), each) for each in probed),
  )


def penetration(
  hand: HandSolids, first: Float[np.ndarray, "V 3"], second: Float[np.ndarray, "V 3"], cutoff_mm: float = CUTOFF_MM
) -> tuple[float, float]:
  """Of two posed hands of one mesh: how deep one goes into the other, and the gap between them, mm.

  Depth is the largest distance to the surface over points of one hand inside the other, both ways, over vertices and
  centres of faces; 0 when there are none. The gap is the least distance of those points, at most `cutoff_mm`, 0 at
  penetration. `second` may be a mirrored hand: orientation is found from the vertices.
  """
  depths, gaps = [], []
  for points_of, surface_of in ((first, second), (second, first)):
    distance = signed_distance(hand.whole, surface_of, hand.skin.on(points_of), cutoff_mm).distance_mm
    depths.append(max(0.0, -distance.min()))
    gaps.append(max(0.0, distance.min()))
  return max(depths), min(gaps)


def self_penetration(hand: HandSolids, vertices: Float[np.ndarray, "V 3"], cutoff_mm: float = CUTOFF_MM) -> float:
  """How deep a finger of one posed hand goes into another finger or the palm, mm (see `HandSolids`)."""
  deepest = 0.0
  for solid, probes in zip(hand.parts, hand.probes, strict=True):
    deepest = max(deepest, -signed_distance(solid, vertices, probes.on(vertices), cutoff_mm).distance_mm.min())
  return deepest


@kernel
@no_type_check
def _means(skin, corners):
  points = np.empty((len(corners), 3))
  for n in range(len(corners)):
    for i in range(3):
      points[n, i] = (skin[corners[n, 0], i] + skin[corners[n, 1], i] + skin[corners[n, 2], i]) / 3.0
  return points
