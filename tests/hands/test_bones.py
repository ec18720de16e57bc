"""Lengths to assume are those of a plausible adult hand."""

import numpy as np

from jaxhands.hands import bones, skeleton


def test_lengths_of_an_adult_hand():
  found = bones.mean_bones()
  assert found.lengths_mm.shape == (20,)
  length = dict(zip(found.pairs[:, 0].tolist(), found.lengths_mm.tolist(), strict=True))
  middle = [length[joint] for joint in (11, 10, 9, 8)]  # metacarpus, then towards the tip
  assert 80 < middle[0] < 110
  assert sum(middle[1:]) < middle[0] * 1.3
  assert middle[1] > middle[2] > 15
  palm = [length[joint] for joint in skeleton.MCPS[1:]]
  assert max(palm) < 1.5 * min(palm)
  assert (found.lengths_mm > 10).all()
  np.testing.assert_array_equal(found.pairs, skeleton.BONES)
