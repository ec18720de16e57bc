"""From what a pose family asks for to hands that touch and do not go into each other."""

from __future__ import annotations

import numpy as np

from jaxhands import schema
from jaxhands.hands import anatomy, closed_mesh, contact
from jaxhands.hands.assets.pair_kinds import PairFamily
from jaxhands.hands.assets.sites import find_sites
from jaxhands.hands.model import HandModel
from jaxhands.hands.settle import NO_TOUCH, Effort, Placed, Touch, make_rig, settle, vertices_of

# Right hand at rest: fingers -x, palm -y. Columns of a frame: fingers, palm, thumb side.
_REST = np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]])
_REST_LEFT = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, 1]])
_UPRIGHT = (np.array([0.0, -1, 0]), np.array([0.0, 0, -1]))  # fingers up, palm to the camera
_TOUCH_MM, _TOUCHES_MM = 1.2, 3.0  # spread of one touch, and of several, which cannot all be exact
_ELSEWHERE_MM = 500.0
_PAIR = Effort(iterations=45, angle_deg=9.0, turn_deg=30.0, shift_mm=60.0)
_REPAIR = Effort(iterations=25, angle_deg=9.0, turn_deg=10.0, shift_mm=10.0)  # once more, without the touches
_REPAIR_MM = 1.5
_SINGLE = Effort(iterations=45, angle_deg=9.0)


class Constructor:
  """Builds placed hands with one hand model at mean shape."""

  def __init__(self, model: HandModel):
    self.rig = make_rig(model)
    self.sites = find_sites(self.rig)

  def single(self, angles_deg: np.ndarray, touches: tuple[tuple[str, str], ...] = ()) -> tuple[Placed, float]:
    """A right hand that starts open, thumb aside, and closes until it is as wanted or touches itself.

    Also returns the strain: by how many degrees contact moved the angle that it moved most.
    """
    rotation = np.stack([rotation_of(*_UPRIGHT, hand) for hand in (schema.RIGHT, schema.LEFT)])
    wrist = np.array([[0.0, 0, 0], [_ELSEWHERE_MM, 0, 0]])
    nothing = np.zeros_like(angles_deg)
    wish = Placed(np.stack([angles_deg, nothing]), rotation, wrist)
    start = Placed(np.stack([opened(angles_deg), nothing]), rotation, wrist)
    touch = self._touch([(schema.RIGHT, a, schema.RIGHT, b) for a, b in touches])
    settled = settle(self.rig, wish, touch, (True, False), effort=_SINGLE, start=start)
    return settled, float(np.abs(settled.angles_deg[schema.RIGHT] - angles_deg).max())

  def pair(self, family: PairFamily, rng: np.random.Generator) -> tuple[Placed, float]:
    """Hands that are closed one by one, brought together until they touch, then settled with their contacts.

    Also returns the strain, that of the pair alone.
    """
    angles = np.stack([self.single(shape(rng))[0].angles_deg[schema.RIGHT] for shape in family.shapes])
    rotation = np.stack([rotation_of(*frame(rng), hand) for hand, frame in enumerate(family.frames)])
    placed = Placed(angles, rotation, np.zeros((2, 3)))
    skins = vertices_of(self.rig, placed)
    right, left = (self.sites[name].on(skins[hand]) for hand, name in enumerate(family.meet))
    offset = rng.normal(size=3) * family.slide_mm + rng.choice([-1, 1]) * np.array(family.shift_mm)
    wrist = np.stack([np.zeros(3), right - left + offset])
    placed = Placed(angles, rotation, wrist)
    if family.gap_mm is not None:
      return self._retreat(placed, family.approach, float(rng.uniform(*family.gap_mm))), 0.0
    open_angles = np.stack([opened(each, 0.3) for each in angles])
    start = Placed(open_angles if family.woven or family.closing else angles, rotation, wrist)
    if not family.woven:
      start = self._retreat(start, family.approach, 1.0)
    touch = self._touch([(schema.RIGHT, a, schema.LEFT, b) for a, b in family.touches])
    settled = settle(self.rig, placed, touch, effort=_PAIR, start=start)
    measured = self.measure(settled)
    if max(measured["between_mm"], measured["within_mm"]) > _REPAIR_MM:
      settled = settle(self.rig, settled, effort=_REPAIR)
    return settled, float(np.abs(settled.angles_deg - angles).max())

  def measure(self, placed: Placed, present: tuple[bool, bool] = (True, True)) -> dict[str, float]:
    """Penetration between and within the hands, and the gap between them, mm."""
    skins = vertices_of(self.rig, placed)
    within = max(contact.self_penetration(self.rig.solids, skins[hand]) for hand in range(2) if present[hand])
    between, gap = contact.penetration(self.rig.solids, *skins) if all(present) else (0.0, np.inf)
    return {"between_mm": between, "within_mm": within, "gap_mm": gap}

  def _retreat(self, placed: Placed, direction: np.ndarray, gap_mm: float) -> Placed:
    """Moves the left hand along `direction` by the least that leaves a gap, to half a millimetre."""

    def at(distance: float) -> Placed:
      return Placed(placed.angles_deg, placed.rotation, placed.wrist_mm + np.array([[0.0], [distance]]) * direction)

    low, high = 0.0, 0.0
    while not self._clear(at(high), gap_mm):
      low, high = high, high + 8.0
    while high - low > 0.5:
      middle = (low + high) / 2
      low, high = (low, middle) if self._clear(at(middle), gap_mm) else (middle, high)
    return at(high)

  def _clear(self, placed: Placed, gap_mm: float) -> bool:
    skins = vertices_of(self.rig, placed)
    depth, gap = contact.penetration(self.rig.solids, skins[0], skins[1], max(gap_mm, closed_mesh.CUTOFF_MM))
    return depth == 0 and gap >= gap_mm

  def _touch(self, pairs: list[tuple[int, str, int, str]]) -> Touch:
    if not pairs:
      return NO_TOUCH
    points = [(self.sites[a], self.sites[b]) for _, a, _, b in pairs]
    return Touch(
      np.array([(hand, other) for hand, _, other, _ in pairs]),
      np.array([[point.corners for point in both] for both in points]),
      np.array([[point.weights for point in both] for both in points]),
      np.full(len(pairs), _TOUCH_MM if len(pairs) == 1 else _TOUCHES_MM),
    )


def rotation_of(finger_direction: np.ndarray, palm_direction: np.ndarray, hand: int) -> np.ndarray:
  """Global rotation that turns a hand from rest to where fingers and palm point (the palm's is made orthogonal)."""
  palm = palm_direction - finger_direction * (finger_direction @ palm_direction)
  palm = palm / np.linalg.norm(palm)
  thumb = np.cross(finger_direction, palm) * (1 if hand == schema.RIGHT else -1)
  rest = _REST if hand == schema.RIGHT else _REST_LEFT
  return np.stack([finger_direction, palm, thumb], axis=-1) @ rest.T


def opened(angles_deg: np.ndarray, bend: float = 0.5) -> np.ndarray:
  """The same hand with a part of its fingers' bend, and the thumb aside."""
  angles = angles_deg.copy()
  angles[: anatomy.BASE["thumb"], anatomy.FLEXION] *= bend
  thumb = anatomy.BASE["thumb"]
  angles[thumb] = -50.0, 45.0, anatomy.pronation(-50.0)
  angles[thumb + 1 :] = 0.0
  return angles
