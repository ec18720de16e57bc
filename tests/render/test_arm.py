"""Forearm, sleeve and lid close the wrist."""

import collections

import numpy as np
import pytest

from jaxhands.render import arm
from tests.render import posed

SLEEVE = arm.Sleeve(30.0, 5.0, (0.1, 0.2, 0.3), (0.5, 0.5, 0.5), arm.CHECKS, 10.0)


def _closed(faces):
  """Every directed edge has its reverse, once."""
  edges = collections.Counter(
    (int(face[k]), int(face[(k + 1) % 3])) for face in faces for k in range(3) if len(set(face)) == 3
  )
  return all(count == 1 for count in edges.values()) and all((b, a) in edges for a, b in edges)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("kind", ["lid", "bare", "sleeve"])
def test_hand_and_arm_are_one_closed_surface(side, kind):
  surface, vertices = posed.surfaces()[side], posed.posed(side)
  sleeve = SLEEVE if kind == "sleeve" else None
  behind = (
    arm.lid(surface, vertices)
    if kind == "lid"
    else arm.forearm(surface, vertices, arm.Forearm((0.2, -0.1), 250.0, 0.3, sleeve))
  )
  faces = np.concatenate([surface.faces, behind.faces[: behind.num_skin]])
  assert not _closed(surface.faces)
  assert _closed(faces)
  assert faces.max() < len(vertices) + len(behind.vertices)
  assert (len(behind.faces) > behind.num_skin) == (kind == "sleeve")
  for values in (behind.vertices, behind.skin_mm, behind.palm):
    assert np.isfinite(values).all()
    assert len(values) == len(behind.vertices)
  everything = np.concatenate([vertices, behind.vertices])
  a, b, c = (everything[faces[:, k]] for k in range(3))
  assert np.einsum("fi,fi->", np.cross(a, b), c) > 0  # faces outwards


@pytest.mark.parametrize("side", [0, 1])
def test_wrist_frame_turns_with_the_hand(side):
  surface, vertices = posed.surfaces()[side], posed.posed(side)
  frame = arm.wrist_frame(surface, vertices)
  turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
  turn *= np.sign(np.linalg.det(turn))
  turned = arm.wrist_frame(surface, (vertices @ turn.T + (10, 20, 30)).astype(np.float32))
  np.testing.assert_allclose(turned.centre, frame.centre @ turn.T + (10, 20, 30), atol=1e-3)
  for before, after in zip(frame[1:], turned[1:], strict=True):
    np.testing.assert_allclose(after, before @ turn.T, atol=1e-4)
  np.testing.assert_allclose(np.stack(frame[1:]) @ np.stack(frame[1:]).T, np.eye(3), atol=1e-6)
  assert frame.axis @ (frame.centre - vertices.mean(0)) > 0


def test_forearm_goes_the_way_it_is_bent():
  surface, vertices = posed.surfaces()[0], posed.posed(0)
  frame = arm.wrist_frame(surface, vertices)
  behind = arm.forearm(surface, vertices, arm.Forearm((0.3, 0.0), 400.0, 0.2))
  end = behind.vertices[-1] - frame.centre
  direction = arm.forearm_direction(frame, (0.3, 0.0))
  assert direction @ frame.palm == pytest.approx(np.sin(0.3), abs=1e-6)
  assert end / np.linalg.norm(end) @ direction > 0.99


def test_sampled_forearm_keeps_clear_of_the_other_hand():
  surface, vertices = posed.surfaces()[0], posed.posed(0)
  frame = arm.wrist_frame(surface, vertices)
  other = (frame.centre + 120 * frame.axis + np.random.default_rng(0).normal(0, 10, (50, 3))).astype(np.float32)
  distances = []
  for others in (None, other):
    found = [arm.sample_forearm(np.random.default_rng(s), surface, vertices, others) for s in range(20)]
    distances.append(
      np.mean([arm._clearances(other, frame.centre, arm.forearm_direction(frame, c.bend_rad)[None]) for c in found])
    )
  assert distances[1] > distances[0] + 5


def test_sleeves_are_physical():
  for seed in range(30):
    sleeve = arm.sample_sleeve(np.random.default_rng(seed))
    assert all(0 < value < 1 for value in (*sleeve.colour, *sleeve.second_colour))
    assert sleeve.ease_mm > 0
    assert sleeve.period_mm > 0
