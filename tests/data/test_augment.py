"""Distributions of the released augmentation, and that draws are independent of what earlier ones turned out to be."""

import math

import numpy as np
import pytest
from scipy import stats

from configs import base
from jaxhands.data import augment


@pytest.fixture(scope="module")
def draws():
  rng = np.random.default_rng(0)
  return [augment.INTERNET.draw(rng) for _ in range(20000)]


def test_translation_is_uniform(draws):
  for axis in (0, 1):
    shifts = np.array([draw.translation[axis] for draw in draws])
    assert stats.kstest(shifts, stats.uniform(-0.15, 0.3).cdf).pvalue > 1e-3


def test_scale_is_a_clipped_normal(draws):
  scales = np.array([draw.scale for draw in draws])
  assert scales.min() == 0.75
  assert scales.max() == 1.25
  assert np.mean(scales == 1.25) == pytest.approx(stats.norm.sf(1), abs=0.01)
  inside = scales[(scales > 0.75) & (scales < 1.25)]
  assert stats.kstest((inside - 1) / 0.25, stats.truncnorm(-1, 1).cdf).pvalue > 1e-3


def test_rotation_is_a_clipped_normal_with_a_coin(draws):
  turns = np.degrees([draw.rotation for draw in draws])
  assert np.mean(turns == 0) == pytest.approx(0.4, abs=0.02)
  assert abs(turns).max() == pytest.approx(90)
  turned = turns[turns != 0]
  assert np.mean(abs(turned) < 45) == pytest.approx(stats.norm.cdf(1) - stats.norm.cdf(-1), abs=0.02)


def test_half_are_mirrored(draws):
  assert np.mean([draw.mirror for draw in draws]) == pytest.approx(0.5, abs=0.02)


def test_rootnet_neither_shifts_nor_scales():
  rng = np.random.default_rng(1)
  draws = [augment.ROOTNET.draw(rng) for _ in range(200)]
  assert {draw.translation for draw in draws} == {(0.0, 0.0)}
  assert {draw.scale for draw in draws} == {1.0}
  assert max(abs(draw.rotation) for draw in draws) <= math.radians(60) + 1e-9


def test_a_coin_does_not_change_later_draws():
  """The generator is used alike whether the example turns or not."""
  never, always = (augment.Augmentation(rotation_probability=p) for p in (0.0, 1.0))
  rngs = [np.random.default_rng(3), np.random.default_rng(3)]
  first = [never.draw(rngs[0]), always.draw(rngs[1])]
  assert first[0].rotation != first[1].rotation
  assert rngs[0].random() == rngs[1].random()


def test_configs_start_from_the_released_augmentation():
  assert augment.Augmentation(**base.get_config().data.augmentation) == augment.INTERNET


def test_a_window_is_of_uniform_size_and_inside_what_it_magnifies():
  rng = np.random.default_rng(4)
  draws = [augment.Zoom(0.5, 2.0).draw(rng) for _ in range(20000)]
  zooms = np.array([1 / draw.scale for draw in draws])
  assert stats.kstest(zooms, stats.uniform(0.5, 1.5).cdf).pvalue > 1e-3
  x = np.array([draw.translation[0] for draw in draws])
  # Window and crop lie one in the other, whichever is larger; both edges are reached.
  left, right = x + 0.5 - 0.5 / zooms, x + 0.5 + 0.5 / zooms
  larger = zooms >= 1
  assert left[larger].min() >= -1e-9
  assert right[larger].max() <= 1 + 1e-9
  assert left[~larger].max() <= 1e-9
  assert right[~larger].min() >= 1 - 1e-9
  assert left[zooms > 1.9].min() < 0.01
  assert right[zooms > 1.9].max() > 0.99
  assert {draw.rotation for draw in draws} == {0.0}
  assert np.mean([draw.mirror for draw in draws]) == pytest.approx(0.5, abs=0.02)


def test_a_window_on_background_alone_is_drawn_again():
  """Hands fill the left half: a window that shows enough of both classes is looked for, ten times at most."""

  def hands(draw):
    left = draw.translation[0] + 0.5 - draw.scale / 2
    return float(np.clip((0.5 - left) / draw.scale, 0, 1))

  zoom = augment.Zoom(2.0, 2.0, most_of_one_class=0.75)
  rng = np.random.default_rng(5)
  shares = np.array([hands(zoom.draw(rng, hands)) for _ in range(500)])
  assert np.mean((shares > 0.25) & (shares < 0.75)) > 0.99
  first = np.array([hands(augment.Zoom(2.0, 2.0).draw(rng, hands)) for _ in range(500)])
  assert np.mean((first > 0.25) & (first < 0.75)) < 0.7
  asked = []
  zoom.draw(rng, lambda draw: asked.append(draw) or 0.0)
  assert len(asked) == 10
  augment.Zoom(0.5, 0.9, most_of_one_class=0.75).draw(rng, lambda draw: pytest.fail("nothing to choose"))
