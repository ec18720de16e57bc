"""Each bijection is undone by its inverse, and its log-determinant is that of its Jacobian; all in float64."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.models.flow import actnorm
from jaxhands.models.flow.actnorm import ActNorm
from jaxhands.models.flow.additive_coupling import AdditiveCoupling
from jaxhands.models.flow.affine_coupling import AffineCoupling
from jaxhands.models.flow.halves import Halves
from jaxhands.models.flow.lu_linear import LULinear


def _conditioner(rng, inputs, outputs):
  weights = [rng.normal(size=(inputs, 8)), rng.normal(size=(8, outputs))]
  return lambda kept: jnp.tanh(kept @ weights[0]) @ weights[1]


def _made(kind, rng, size):
  if kind == "actnorm":
    return ActNorm(*jnp.asarray(rng.normal(size=(2, size))))
  if kind == "lu":
    beside = 0.2 * rng.normal(size=(2, size * (size - 1) // 2))
    return LULinear(*map(jnp.asarray, (*beside, rng.normal(size=size), rng.normal(size=size))))
  halves = Halves(size, keeps_odd=bool(rng.integers(2)))
  kept, moved = len(halves.kept), len(halves.moved)
  if kind == "additive":
    return AdditiveCoupling(halves, _conditioner(rng, kept, moved))
  return AffineCoupling(halves, _conditioner(rng, kept, 2 * moved), smallest_scale=0.25 if kind == "bounded" else 1e-3)


@pytest.mark.parametrize("kind", ["actnorm", "lu", "additive", "affine", "bounded"])
@hypothesis.settings(max_examples=5)  # each size compiles anew
@hypothesis.given(size=st.sampled_from([2, 3, 8, 9]), seed=st.integers(0, 10**6))
def test_inverse_and_determinant(kind, size, seed):
  with jax.enable_x64(True):
    rng = np.random.default_rng(seed)
    bijector = _made(kind, rng, size)
    rows = jnp.asarray(rng.normal(size=(2, 3, size)))
    there, log_det = bijector.forward_and_log_det(rows)
    back, log_det_back = bijector.inverse_and_log_det(there)
    assert there.dtype == back.dtype == log_det.dtype == np.float64
    np.testing.assert_allclose(back, rows, rtol=0, atol=1e-9)
    np.testing.assert_allclose(log_det_back, -log_det, rtol=0, atol=1e-9)
    jacobians = jax.vmap(jax.vmap(jax.jacfwd(bijector.forward)))(rows)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobians)[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("smallest", "longest"), [(1e-3, 1e3), (0.25, 4)])
def test_the_way_back_stretches_by_no_more_than_the_smallest_scale_allows(smallest, longest):
  halves = Halves(4, keeps_odd=False)
  closed = jnp.array([0, 0, -50.0, -50.0])  # no shift, and scales as small as there can be
  bijector = AffineCoupling(halves, lambda kept: jnp.broadcast_to(closed, (*kept.shape[:-1], 4)), smallest)
  rows = jnp.ones((1, 4))
  np.testing.assert_allclose(bijector.inverse(rows)[0, halves.moved], longest, rtol=1e-5)
  np.testing.assert_array_equal(bijector.inverse(rows)[0, halves.kept], 1)


def test_lu_is_the_product_of_its_triangles():
  rng = np.random.default_rng(0)
  lower, upper, diagonal, bias = rng.normal(size=6), rng.normal(size=6), rng.normal(size=4), rng.normal(size=4)
  low, high = np.eye(4), np.diag(np.log1p(np.exp(diagonal)) + 1e-3)
  low[np.tril_indices(4, -1)], high[np.triu_indices(4, 1)] = lower, upper
  rows = rng.normal(size=(5, 4))
  found = LULinear(*(jnp.asarray(values, jnp.float32) for values in (lower, upper, diagonal, bias))).forward(
    jnp.asarray(rows)
  )
  np.testing.assert_allclose(found, rows @ (low @ high).T + bias, rtol=1e-4, atol=1e-5)


def test_halves_are_every_second_dimension():
  rows = jnp.arange(7.0)
  for odd, kept in ((False, [0, 2, 4, 6]), (True, [1, 3, 5])):
    halves = Halves(7, odd)
    np.testing.assert_array_equal(halves.split(rows)[0], kept)
    np.testing.assert_array_equal(halves.kept, kept)
    np.testing.assert_array_equal(halves.moved, sorted(set(range(7)) - set(kept)))
    np.testing.assert_array_equal(halves.join(*halves.split(rows)), rows)


def test_start_is_of_the_rows_that_count():
  rng = np.random.default_rng(0)
  rows = rng.normal(3, 7, (4, 5, 3)).astype(np.float32)
  rows[..., 2] = 2.5  # never changes
  weight = rng.integers(0, 2, (4, 5)).astype(np.float32)
  counted = rows[weight > 0]
  bijector = ActNorm(*actnorm.start(jnp.asarray(rows), jnp.asarray(weight)))
  found = np.asarray(bijector.forward(jnp.asarray(rows)))[weight > 0]
  np.testing.assert_allclose(found.mean(0), 0, atol=1e-3)  # a constant, a thousand times as large
  np.testing.assert_allclose(found[:, :2].std(0, ddof=1), 1, rtol=1e-5)
  log_scale = actnorm.start(jnp.asarray(rows), jnp.asarray(weight))[0]
  np.testing.assert_allclose(log_scale[2], -np.log(1e-3), rtol=1e-5)
  np.testing.assert_allclose(log_scale[:2], -np.log(counted[:, :2].std(0, ddof=1)), rtol=1e-5)
