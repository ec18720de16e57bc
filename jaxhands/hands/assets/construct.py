"""From what a pose family asks for to hands that touch and do not go into each other."""

from __future__ import annotations

import numpy as np

from jaxhands import schema
from jaxhands.hands import anatomy, contact
from jaxhands.hands.assets.pair_families import TwoHands
from jaxhands.hands.assets.single_families import OneHand
from jaxhands.hands.assets.sites import find_sites
from jaxhands.hands.model import HandModel
from jaxhands.hands.settle import NO_TOUCH, Effort, Placed, Touch, make_rig, settle, vertices_of

# Right hand at rest: fingers -x, palm -y. Columns of a frame: fingers, palm, thumb side.
_REST = np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]])
_REST_LEFT = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, 1]])
_UPRIGHT = (np.array([0.0, -1, 0]), np.array([0.0, 0, -1]))  # fingers up, palm to the camera
_TOUCH_MM = 1.2
_APPROACH = Effort(iterations=45, angle_deg=9.0, turn_deg=30.0, shift_mm=60.0)
_SINGLE = Effort(iterations=45, angle_deg=9.0)


class Constructor:
  """Builds placed hands with one hand model at mean shape."""

  def __init__(self, model: HandModel):
    self.rig = make_rig(model)
    self.sites = find_sites(self.rig)

  def single(self, wanted: OneHand) -> Placed:
    """A right hand that starts open, thumb aside, and closes until it is as wanted or touches itself."""
    rotation = np.stack([rotation_of(*_UPRIGHT, hand) for hand in (schema.RIGHT, schema.LEFT)])
    away = np.array([[0.0, 0, 0], [400.0, 0, 0]])
    angles = np.stack([wanted.angles_deg, np.zeros_like(wanted.angles_deg)])
    wish = Placed(angles, rotation, away)
    start = Placed(np.stack([opened(wanted.angles_deg), angles[1]]), rotation, away)
    touch = self._touch([(schema.RIGHT, a, schema.RIGHT, b) for a, b in wanted.touches])
    return settle(self.rig, wish, touch, (True, False), effort=_SINGLE, start=start)

  def pair(self, wanted: TwoHands) -> Placed:
    """Hands that are closed one by one, brought together until they touch, then settled with their contacts."""
    angles = np.stack([self.single(OneHand(each)).angles_deg[0] for each in wanted.angles_deg])
    rotation = np.stack([rotation_of(*frame, hand) for hand, frame in enumerate(wanted.frames)])
    placed = Placed(angles, rotation, np.zeros((2, 3)))
    points = [self._site(vertices_of(self.rig, placed), hand, name) for hand, name in enumerate(wanted.meet)]
    wrist = np.stack([np.zeros(3), points[0] - points[1] + wanted.offset_mm])
    placed = Placed(angles, rotation, wrist)
    if wanted.gap_mm is not None:
      return self._retreat(placed, wanted.approach, wanted.gap_mm)
    if wanted.interlocked:
      start = Placed(np.stack([opened(each) for each in angles]), rotation, wrist)
    else:
      start = self._retreat(placed, wanted.approach, 1.0)
    touch = self._touch([(schema.RIGHT, a, schema.LEFT, b) for a, b in wanted.touches])
    return settle(self.rig, placed, touch, effort=_APPROACH, start=start)

  def measure(self, placed: Placed, present: tuple[bool, bool] = (True, True)) -> dict[str, float]:
    """Penetration between and within the hands, and the gap between them, mm."""
    skins = vertices_of(self.rig, placed)
    within = max(contact.self_penetration(self.rig.solids, skins[hand]) for hand in range(2) if present[hand])
    between, gap = contact.penetration(self.rig.solids.whole, *skins) if all(present) else (0.0, np.inf)
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
    whole = self.rig.solids.whole
    for a, b in ((0, 1), (1, 0)):
      points = contact.sample_points(skins[a], whole.skin_faces)
      cutoff = max(gap_mm, contact.CUTOFF_MM)
      if contact.signed_distance(whole, skins[b], points, cutoff).distance_mm.min() < min(gap_mm, cutoff):
        return False
    return True

  def _site(self, skins: np.ndarray, hand: int, name: str) -> np.ndarray:
    return self.sites[name].weights @ skins[hand][self.sites[name].corners]

  def _touch(self, pairs: list[tuple[int, str, int, str]]) -> Touch:
    if not pairs:
      return NO_TOUCH
    points = [(self.sites[a], self.sites[b]) for _, a, _, b in pairs]
    return Touch(
      np.array([(hand, other) for hand, _, other, _ in pairs]),
      np.array([[point.corners for point in both] for both in points]),
      np.array([[point.weights for point in both] for both in points]),
      np.full(len(pairs), _TOUCH_MM),
    )


def rotation_of(finger_direction: np.ndarray, palm_direction: np.ndarray, hand: int) -> np.ndarray:
  """Global rotation that turns a hand from rest to where fingers and palm point (the palm's is made orthogonal)."""
  palm = palm_direction - finger_direction * (finger_direction @ palm_direction)
  palm = palm / np.linalg.norm(palm)
  thumb = np.cross(finger_direction, palm) * (1 if hand == schema.RIGHT else -1)
  rest = _REST if hand == schema.RIGHT else _REST_LEFT
  return np.stack([finger_direction, palm, thumb], axis=-1) @ rest.T


def opened(angles_deg: np.ndarray) -> np.ndarray:
  """The same hand with its fingers half opened and the thumb aside."""
  angles = angles_deg.copy()
  angles[:12, anatomy.FLEXION] *= 0.5
  thumb = anatomy.BASE["thumb"]
  angles[thumb] = -50.0, 45.0, anatomy.pronation(-50.0)
  angles[thumb + 1 :] = 0.0
  return angles
