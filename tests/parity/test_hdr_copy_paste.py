"""Copy and paste of AIH_Syn as the release does it when it is read (`val`, so without new colours)."""

import numpy as np
import pytest

from data_builders.aih.released.records import moved
from tests.parity.cases import Case

SIDES = ("right", "left")


@pytest.fixture(scope="module")
def case(goldens):
  return Case(goldens, "hdr_pipeline")


def both(case, side):
  """The moved picture and mask, ours and the reference's picture (every fourth pixel) and mask."""
  image = case.json("case.json")[f"syn_{side}"]
  picture = (case._deterministic.image(**image)[0] * 255).astype(np.uint8)
  ours = moved(picture, case[f"syn_{side}_mask_in"], case[f"syn_{side}_aug"], mirror=False)
  return *ours, case[f"syn_{side}"], case[f"syn_{side}_mask"]


@pytest.mark.parametrize("side", SIDES)
def test_moved_hands(case, side):
  picture, mask, expected, expected_mask = both(case, side)
  # The reference's OpenCV rounds positions to 1/32 px.
  assert np.abs(picture[::4, ::4].astype(int) - expected).max() <= 6
  assert (mask != expected_mask).mean() < 1e-3


def test_composite_and_regions(case):
  right, mask, _, expected_mask = both(case, "right")
  left, other, _, expected_other = both(case, "left")
  composite = np.where(other[..., None] > 0, left, right)[::4, ::4]
  agree = (mask == expected_mask) & (other == expected_other)
  difference = np.abs(composite.astype(int) - case["syn_composite"])[agree[::4, ::4]]
  assert difference.max() <= 6
  visible = mask & (1 - other)
  regions = {
    "syn_r_visible": 1 - (mask & other),
    "syn_r_modal": visible,
    "syn_l_visible": 1 - ((1 - mask) & other),
    "syn_l_modal": (1 - mask) & (1 - other),
  }
  for key, region in regions.items():
    assert (region != case[key])[agree].sum() == 0, key
