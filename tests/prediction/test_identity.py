"""Right stays right: through confusion, overlap and absence."""

import numpy as np
import pytest

from jaxhands.prediction.identity import Identity
from jaxhands.prediction.smooth import OneEuro

HAND = np.random.default_rng(0).uniform(-40, 40, (21, 2))
BOTH = np.array([True, True])


def _at(*middles):
  return np.stack([HAND + np.asarray(middle) for middle in middles])


def _follow(frames):
  """Exchanges of frames of (joints, probabilities, present)."""
  identity = Identity()
  return [identity.exchanged(joints, np.asarray(prob), np.asarray(present)) for joints, prob, present in frames]


def test_calm_hands_stay():
  frames = [(_at((100 + t, 100), (300 - t, 100)), (0.99, 0.98), BOTH) for t in range(20)]
  assert not any(_follow(frames))


def test_a_network_that_exchanges_hands_is_corrected():
  wrong = {5, 6, 11}
  frames = []
  for t in range(20):
    joints = _at((100 + 3 * t, 100), (300 - 3 * t, 100))
    frames.append((joints[::-1] if t in wrong else joints, (0.9, 0.9), BOTH))
  assert [t for t, exchanged in enumerate(_follow(frames)) if exchanged] == sorted(wrong)


def test_hands_that_pass_each_other_keep_their_names():
  """They cross, and the network goes on calling the one further left of the picture right, as it did before."""
  frames, truly = [], []
  for t in range(40):
    right, left = (100 + 5 * t, 100), (300 - 5 * t, 130)
    crossed = t > 20
    frames.append((_at(left, right) if crossed else _at(right, left), (0.95, 0.95), BOTH))
    truly.append(crossed)
  assert _follow(frames) == truly


def test_one_hand_that_is_called_wrongly_for_a_moment():
  frames = []
  for t in range(20):
    called = 1 if t in (8, 9) else 0
    prob = np.where(np.arange(2) == called, 0.8, 0.2)
    frames.append((_at((100 + t, 100), (100 + t, 100)), prob, prob > 0.5))
  assert [t for t, exchanged in enumerate(_follow(frames)) if exchanged] == [8, 9]


def test_another_hand_elsewhere_is_another_hand():
  right = [(_at((100, 100), (0, 0)), (0.95, 0.05), (True, False))] * 10
  left = [(_at((0, 0), (500, 300)), (0.05, 0.95), (False, True))] * 10
  assert not any(_follow(right + left))


def test_lasting_evidence_wins():
  """A first frame that was wrong is not kept for ever."""
  wrong = [(_at((100, 100), (100, 100)), (0.55, 0.45), (True, False))]
  sure = [(_at((100, 100), (100, 100)), (0.02, 0.98), (False, True))] * 30
  assert not any(_follow(wrong + sure)[2:])


def test_one_euro_calms_rest_and_follows_motion():
  rng = np.random.default_rng(0)
  rest = 100 + rng.normal(scale=2, size=(200, 3)).astype(np.float32)
  calm = OneEuro(30.0)
  smoothed = np.stack([calm(value) for value in rest])
  assert smoothed[50:].std(0).max() < 0.5 * rest[50:].std(0).min()
  ramp = np.arange(60, dtype=np.float32)[:, None] * 20  # 600 units a second
  follow = OneEuro(30.0)
  lag = ramp - np.stack([follow(value) for value in ramp])
  assert np.abs(lag[30:]).max() < 60  # less than three frames
  follow.reset()
  np.testing.assert_array_equal(follow(np.float32([7.0])), [7.0])
  with pytest.raises(ValueError, match="fps=0"):
    OneEuro(0.0)
