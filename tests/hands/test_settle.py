"""Settling: the fast posing against the hand model's, its derivatives, and what hands do when they touch."""

import dataclasses
import functools

import numpy as np
import pytest

from jaxhands import schema
from jaxhands.geometry import rotations
from jaxhands.hands import anatomy, contact, settle
from jaxhands.hands.model import HandModel
from jaxhands.hands.settle import Effort, Placed, Touch

MODEL = HandModel.default()
FAR = np.array([[0.0, 0, 0], [400.0, 0, 0]])
UPRIGHT = np.tile(np.eye(3), (2, 1, 1))


@functools.cache
def _rig() -> settle.Rig:
  return settle.make_rig(MODEL)


def _rest() -> np.ndarray:
  """Both hands as in the template."""
  return np.tile(anatomy.angles_from_pose(_rig().anatomy, np.zeros(45)), (2, 1, 1))


def _tip_touch(first: tuple[int, str], second: tuple[int, str]) -> Touch:
  """Two fingertip vertices that are to meet."""
  tips = MODEL.tip_vertices[schema.RIGHT]
  names = ("thumb", "index", "middle", "ring", "little")
  corners = np.array([[np.full(3, tips[names.index(finger)]) for _, finger in (first, second)]])
  return Touch(np.array([[first[0], second[0]]]), corners, np.full((1, 2, 3), 1 / 3), np.array([0.5]))


def _tip(rig: settle.Rig, placed: Placed, hand: int, number: int) -> np.ndarray:
  return settle.vertices_of(rig, placed)[hand, MODEL.tip_vertices[schema.RIGHT][number]]


def test_skin_is_the_hand_models():
  rng = np.random.default_rng(0)
  angles = rng.uniform(anatomy.LIMITS[..., 0], anatomy.LIMITS[..., 1], (2, 15, 3))
  turns, shape = rng.normal(size=(2, 3)), rng.normal(size=10).astype(np.float32)
  wrist = rng.normal(scale=100.0, size=(2, 3))
  placed = Placed(angles, np.asarray(rotations.matrix_from_axis_angle(turns)), wrist)
  rig = settle.shaped(_rig(), shape)
  pose = np.stack([anatomy.pose_from_angles(rig.anatomy, angles[hand], hand) for hand in range(2)])
  pose = np.concatenate([turns, pose], axis=1).reshape(2, 16, 3).astype(np.float32)
  at_rest = MODEL.joints_template[:, 0] + MODEL.joints_shapedirs[:, 0] @ shape
  posed = MODEL.forward(pose, np.tile(shape, (2, 1)), (wrist - at_rest).astype(np.float32))
  np.testing.assert_allclose(settle.vertices_of(rig, placed), posed.vertices, atol=2e-2)
  np.testing.assert_allclose(settle.joints_of(rig, placed), posed.joints, atol=2e-2)


def test_the_step_of_least_squares_is_found_at_once_without_contact():
  """One touch within reach, nothing near: derivatives that are right end it in a few iterations."""
  wish = Placed(_rest(), UPRIGHT, np.array([[0.0, 0, 0], [-250.0, 100, 0]]))
  reach = _tip_touch((schema.RIGHT, "index"), (schema.LEFT, "index"))
  settled = settle.settle(_rig(), wish, reach, effort=Effort(iterations=60, shift_mm=2000.0, turn_deg=60.0))
  assert np.linalg.norm(_tip(_rig(), settled, 0, 1) - _tip(_rig(), settled, 1, 1)) < 1.0
  assert np.abs(settled.angles_deg - wish.angles_deg).max() < 2.0  # it is the hand that came


def test_a_hand_that_closes_stops_at_its_own_skin():
  """Wished for: a fist that no hand can make."""
  wish = Placed(_rest(), UPRIGHT, FAR)
  fist = wish.angles_deg.copy()
  fist[0, :12, anatomy.FLEXION] = np.tile([92.0, 108.0, 65.0], 4)
  settled = settle.settle(_rig(), Placed(fist, UPRIGHT, FAR), present=(True, False), effort=Effort(60), start=wish)
  assert contact.self_penetration(_rig().solids, settle.vertices_of(_rig(), settled)[0]) < 1.0
  assert settled.angles_deg[0, :12, anatomy.FLEXION].min() > 35
  moved = np.abs(settled.angles_deg - wish.angles_deg) > 1e-9
  assert not moved[:, ~anatomy.IS_FREE].any()
  assert not moved[1].any()  # the absent hand
  assert np.all((settled.angles_deg[0] >= anatomy.LIMITS[..., 0] - 1e-9)[moved[0]])
  assert np.all((settled.angles_deg[0] <= anatomy.LIMITS[..., 1] + 1e-9)[moved[0]])


def test_hands_in_each_other_part():
  palm_to_palm = np.stack([np.eye(3), np.diag([-1.0, -1.0, 1.0])])

  def at(height: float) -> Placed:
    return Placed(_rest(), palm_to_palm, np.array([[0.0, 0, 0], [0.0, -height, 0.0]]))

  def measure(placed: Placed) -> tuple[float, float]:
    skins = settle.vertices_of(_rig(), placed)
    return contact.penetration(_rig().solids, skins[0], skins[1])

  height = next(h for h in np.arange(90.0, 0.0, -1.0) if measure(at(h))[0] > 3)
  depth, gap = measure(settle.settle(_rig(), at(height)))
  assert depth < 0.5
  assert gap < 1.0  # no further than is needed


def test_hands_that_touch_nothing_stay():
  wish = Placed(_rest(), UPRIGHT, FAR)
  settled = settle.settle(_rig(), wish)
  np.testing.assert_allclose(settled.angles_deg, wish.angles_deg, atol=1e-6)
  np.testing.assert_allclose(settled.wrist_mm, wish.wrist_mm, atol=1e-6)


def test_other_models_are_refused():
  crooked = dataclasses.replace(MODEL, v_template=MODEL.v_template + np.array([1.0, 0, 0], np.float32))
  with pytest.raises(ValueError, match="embedded model"):
    settle.make_rig(crooked)
