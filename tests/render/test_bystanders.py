"""What is drawn besides hands: the same for the same chance, and of every kind now and then."""

import numpy as np
import pytest

from jaxhands.render import bystanders

GREY = np.full((120, 160, 3), 128, np.uint8)


def test_chance_decides_everything():
  changed = []
  for seed in range(20):
    one, again = (bystanders.add_bystanders(np.random.default_rng(seed), GREY) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert one.shape == GREY.shape
    assert one.dtype == np.uint8
    changed.append((one != GREY).any())
  assert 10 < sum(changed) <= 20
  assert (GREY == 128).all()


@pytest.mark.parametrize("kind", bystanders._DRAWERS)
def test_each_kind_covers_something_and_has_the_skin(kind):
  skin, covered = np.array([200, 140, 110], np.float32), []
  for seed in range(12):
    drawn = bystanders._DRAWERS[kind](np.random.default_rng(seed), GREY, skin)
    where = (drawn != GREY).any(-1)
    covered.append(where.mean())
  assert 0.002 < np.median(covered) < 0.7, covered


def test_tones_are_those_of_skin():
  tones = np.stack([bystanders.skin_tone(np.random.default_rng(seed)) for seed in range(200)])
  assert (np.diff(tones.mean(0)) < 0).all()  # more red than green than blue
  assert tones.mean(-1).min() < 60
  assert tones.mean(-1).max() > 180
