"""Samples and deviations as they are drawn: colours in order, lines where the joints are and nowhere else."""

import numpy as np

from jaxhands.drawing import certainty
from jaxhands.drawing.overlay import CHAINS

GREY = np.full((120, 160, 3), 128, np.uint8)


def _hands(shift_px=0.0):
  """Fingers as five spokes around each wrist."""
  joints = np.zeros((2, 21, 2))
  for hand, centre in enumerate([(40, 60), (115, 60)]):
    joints[hand] = centre
    for finger, chain in enumerate(CHAINS):
      angle = 2 * np.pi * finger / 5
      for step, joint in enumerate(chain):
        joints[hand, joint] += 8 * step * np.array([np.cos(angle), np.sin(angle)])
  return joints + shift_px


def test_colours_go_from_the_first_stop_to_the_last():
  thirds = np.linspace(0, certainty.UNSURE_MM, len(certainty.STOPS_RGB))
  np.testing.assert_array_equal(certainty.colours(thirds), certainty.STOPS_RGB)
  np.testing.assert_array_equal(certainty.colours(np.array([1e6])), certainty.STOPS_RGB[-1:])
  between = certainty.colours(thirds[:2].mean(keepdims=True))[0]
  np.testing.assert_allclose(between, certainty.STOPS_RGB[:2].mean(0), atol=0.5)


def test_each_joint_has_the_colour_of_its_deviation():
  deviation = np.tile(np.linspace(0, 2 * certainty.UNSURE_MM, 21), (2, 1))
  valid = np.ones((2, 21), bool)
  valid[1] = False
  drawn = certainty.paint_deviations(GREY, _hands(), deviation, valid, 2.0)
  expected = certainty.colours(deviation[0])
  for joint in range(20):
    x, y = _hands()[0, joint].round().astype(int)
    np.testing.assert_allclose(drawn[y, x], expected[joint], atol=3)
  assert (drawn[:, 80:] == GREY[:, 80:]).all(), "the left hand was not to be drawn"


def test_samples_are_strong_where_they_agree_and_stay_in_their_part_of_the_picture():
  valid = np.ones((2, 21), bool)
  agreed = np.repeat(_hands()[None], 8, 0)
  spread = np.stack([_hands(float(shift)) for shift in range(-4, 4)])
  strong, weak = (certainty.paint_samples(GREY, points, valid, 2.0).astype(int) for points in (agreed, spread))
  x, y = _hands()[0, CHAINS[0, 2]].round().astype(int)
  assert np.abs(strong[y, x] - 128).max() > 80
  assert (np.abs(weak - 128).max(-1) > 10).sum() > 1.5 * (np.abs(strong - 128).max(-1) > 10).sum()
  assert (strong[:10] == 128).all()
  np.testing.assert_array_equal(certainty.paint_samples(GREY, agreed, ~valid, 2.0), GREY)
  outside = certainty.paint_samples(GREY, agreed + 1e5, valid, 2.0)
  assert outside.shape == GREY.shape
