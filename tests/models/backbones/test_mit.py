"""MiT's blocks, which are compiled once for a stage of many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.models.backbones import mit

IMAGE = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64, 64, 3)), jnp.float32)


@pytest.fixture(scope="module")
def variables():
  return jax.jit(lambda key: mit.MiT("b2", 4).init(key, IMAGE, False))(jax.random.key(0))


def test_repeated_blocks_are_those_one_by_one(variables, monkeypatch):
  def values(variables):
    maps = mit.MiT("b2", 4).apply(variables, IMAGE, False)
    return sum(jnp.square(each).sum() for each in maps), maps

  def found():
    return jax.jit(jax.grad(values, has_aux=True))(variables)

  gradient, maps = found()
  monkeypatch.setattr(mit, "_FEW", 99)
  expected_gradient, expected_maps = found()
  for each, expected in zip(maps, expected_maps, strict=True):
    np.testing.assert_allclose(each, expected, rtol=1e-4, atol=1e-4)
  # Softmax leaves nothing to a key's bias but rounding, which is small beside the other gradients.
  rounding = 1e-6 * max(np.abs(each).max() for each in jax.tree.leaves(expected_gradient))
  for each, expected in zip(jax.tree.leaves(gradient), jax.tree.leaves(expected_gradient), strict=True):
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(each, expected, rtol=0, atol=1e-3 * np.abs(expected).max() + rounding)


def test_each_repeated_block_drops_by_a_rate_and_a_draw_of_its_own(variables):
  """Of all blocks but the first of all, which never does, with rates that grow to nearly 1, few do nothing."""

  def maps(rate, seed):
    return mit.MiT("b2", 4, rate).apply(variables, IMAGE, True, rngs={"dropout": jax.random.key(seed)})

  kept = maps(0.0, 0)
  for each, again in zip(kept, mit.MiT("b2", 4).apply(variables, IMAGE, False), strict=True):
    np.testing.assert_allclose(each, again, rtol=1e-4, atol=1e-4)
  first, second = maps(0.9, 1), maps(0.9, 2)
  assert not np.allclose(first[3], kept[3], atol=1e-3)
  assert not np.allclose(first[3], second[3], atol=1e-3)
