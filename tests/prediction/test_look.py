"""How many pictures are looked at together."""

import pathlib

import numpy as np
import pytest

from jaxhands.prediction import look
from jaxhands.prediction.look import Ready
from jaxhands.prediction.picture_files import Picture


@pytest.mark.parametrize(
  ("megapixels", "size", "expected"),
  [
    ((1, 1, 1, 1, 1), 2, [2, 2, 1]),
    ((60, 60, 60, 1, 1), 8, [2, 3]),
    ((101, 1, 101), 8, [1, 2]),
    ((), 8, []),
  ],
)
def test_large_pictures_are_not_all_in_memory(megapixels, size, expected):
  def ready():
    for count in megapixels:
      pixels = np.broadcast_to(np.uint8(0), (1000, 1000 * count, 3))
      yield Ready(Picture(pathlib.Path("a.png"), pixels, None), None, "unknown")

  assert [len(group) for group in look.groups(ready(), size)] == expected
