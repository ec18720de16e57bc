"""Where crops are recovered, and what is left as it was."""

import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxhands.systems.hdr import hdrm, holes


def _masks(seed):
  """Consistent ones: visible parts lie within whole ones and do not overlap."""
  rng = np.random.default_rng(seed)
  amodal = rng.random((2, 2, 9, 9)) < 0.5
  front = rng.random((2, 9, 9)) < 0.5
  visible = amodal.copy()
  visible[:, 0] &= ~(amodal[:, 1] & front)
  visible[:, 1] &= ~(amodal[:, 0] & ~front)
  return jnp.asarray(np.stack([amodal, visible], axis=2).astype(np.uint8))


@given(st.integers(0, 999))
def test_holes_are_apart_and_nothing_is_forgotten(seed):
  masks = _masks(seed)
  found = holes.find(masks)
  total = found.occluded + found.distractor + found.visible + found.background
  np.testing.assert_array_equal(total, 1)
  # Of consistent masks it does not matter which of the other hand's is removed.
  for ours, theirs in zip(found, holes.find(masks, "amodal"), strict=True):
    np.testing.assert_array_equal(ours, theirs)


@given(st.integers(0, 999), st.sampled_from(["both", "occluded", "distractor"]), st.sampled_from([0, 3]))
def test_only_holes_change(seed, over, dilation):
  rng = np.random.default_rng(seed)
  image, output = (jnp.asarray(rng.normal(size=(2, 9, 9, 3)), jnp.float32) for _ in range(2))
  found = holes.find(_masks(seed))
  made = np.asarray(holes.composite(output, image, found, over, dilation))
  region = np.asarray(holes.dilate(found.region(over), dilation)) > 0
  np.testing.assert_array_equal(made[region], np.asarray(output)[region])
  np.testing.assert_array_equal(made[~region], np.asarray(image)[~region])
  assert (region >= (np.asarray(found.region(over)) > 0)).all()


def test_the_network_never_sees_what_is_hidden_or_removed():
  found = holes.find(_masks(5))
  seen, mask = holes.network_input(jnp.ones((2, 9, 9, 3)), found)
  np.testing.assert_array_equal(np.asarray(seen[..., :3]).max(-1), 1 - found.occluded)
  np.testing.assert_array_equal(np.asarray(seen[..., 4:7]).max(-1), 1 - found.distractor)
  np.testing.assert_array_equal(np.maximum(*mask.planes), 1)


def test_the_visible_part_stands_for_a_whole_mask_that_nobody_knows():
  """The released AIH's rendered pictures lack the other hand's amodal mask, and are learned from."""
  masks = _masks(5)
  lacking = masks.at[:, 1, 0].set(0)
  found, known = holes.find(lacking), holes.find(masks)
  np.testing.assert_array_equal(found.background, (1 - masks[:, 0, 0]) * (1 - masks[:, 1, 1]))
  for name in ("occluded", "distractor", "visible"):
    np.testing.assert_array_equal(getattr(found, name), getattr(known, name))
  valid = np.ones((4, 2, 2), bool)
  valid[1, 1, 0] = valid[2, 1, 1] = valid[3, 0, 0] = False
  batch = {
    "removed_valid": jnp.array([[True, False]] * 4), "masks_valid": jnp.asarray(valid), "weight": jnp.ones(4)
  }  # fmt: skip
  np.testing.assert_array_equal(hdrm._weight(batch), [1, 1, 0, 0])


def test_only_hands_that_are_there_hide_or_are_removed():
  """Of two examples the second one's other hand is stray pixels: nothing is recovered because of them."""
  masks = np.zeros((2, 2, 2, 40, 40), np.float32)
  masks[:, 0, :, 5:20, 5:20] = 0.9
  masks[:, 0, 1, 15:20, 15:20] = 0.2  # hidden
  masks[0, 1, :, 15:30, 15:30] = 0.8
  masks[1, 1, :, 30, ::3] = 0.99
  kept, prob = holes.trusted(masks)
  np.testing.assert_array_equal(np.asarray(prob) > 0.5, [[True, True], [True, False]])
  np.testing.assert_array_equal(kept[0], masks[0])
  found = holes.find(np.asarray(kept) > 0.5)
  assert np.asarray(found.region()).any((1, 2)).tolist() == [True, False]
  np.testing.assert_array_equal(found.visible[1], masks[1, 0, 0] > 0.5)
