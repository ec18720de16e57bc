"""Operations and collectives are counted as often as they run."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks import counts
from jaxhands.models.conv_forms import convolve
from jaxhands.train import distributed

SIDE = 8
PRODUCT = 2 * SIDE**3


def _square(x):
  return x @ x


def _squares(x, times):
  return jax.lax.fori_loop(0, times, lambda _, x: _square(x), x)


@pytest.mark.parametrize(
  ("fn", "products"),
  [
    (lambda x: _square(x), 1),
    (lambda x: _squares(x, 5), 5),
    (lambda x: _squares(_square(x), 5), 6),
    (lambda x: jax.lax.map(lambda y: _squares(y, 3), jnp.stack([x] * 4))[0], 12),
    (jax.jit(lambda x: jax.checkpoint(lambda y: _squares(y, 7))(x)), 7),
    (lambda x: jax.lax.platform_dependent(x, cpu=lambda x: _squares(x, 5), default=_square), 1),
    (lambda x: jax.lax.platform_dependent(x, tpu=lambda x: _squares(x, 5), default=_square), 5),
  ],
)
def test_a_loop_counts_as_often_as_it_runs(fn, products):
  found = counts.cost(jax.jit(fn).trace(jnp.ones((SIDE, SIDE))))
  assert found.operations == pytest.approx(products * PRODUCT, abs=100)  # and the loops' own counters


def test_bytes_are_those_of_each_run():
  once, often = (
    counts.cost(jax.jit(fn).trace(jnp.ones((SIDE, SIDE)))).bytes for fn in (_square, lambda x: _squares(x, 5))
  )
  assert once == 3 * 4 * SIDE**2
  assert 5 * once <= often < 8 * once  # the loop hands its value on


def test_gradients_of_kernels_count_without_their_loops_on_cpus():
  x, kernel = jnp.ones((2, 64, 64, 32)), jnp.ones((3, 3, 32, 16))
  traced = jax.jit(jax.grad(lambda k: convolve(x, k, padding=1).sum())).trace(kernel)
  cells = sum(64 - abs(i) for i in (-1, 0, 1)) ** 2  # of all windows' places, those that are not padding
  assert counts.cost(traced).operations == pytest.approx(2 * 2 * cells * 32 * 16, rel=0.02)


def test_collectives_are_counted_with_their_bytes():
  mesh = distributed.make_mesh(4, 2)
  rows = jax.ShapeDtypeStruct((8, 3), jnp.float32, sharding=distributed.sharded(mesh))
  everywhere = distributed.replicated(mesh)
  summed = jax.jit(lambda x: x.sum(0), out_shardings=everywhere).lower(rows).compile()
  assert counts.collectives(summed.as_text()) == {"all-reduce": (1, 3 * 4)}
  halves = jax.ShapeDtypeStruct((8, 3), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("fsdp")))
  gathered = jax.jit(lambda x: x * 2, out_shardings=everywhere).lower(halves).compile()
  assert counts.collectives(gathered.as_text()) == {"all-gather": (1, 8 * 3 * 4)}
  alone = jax.jit(lambda x: x + 1).lower(jnp.zeros(3)).compile()
  assert counts.collectives(alone.as_text()) == {}


def test_collectives_of_a_loop_are_counted_each_time():
  mesh = distributed.make_mesh(4)
  rows = jax.ShapeDtypeStruct((8, 3), jnp.float32, sharding=distributed.sharded(mesh))

  def centred(x):
    return jax.lax.fori_loop(0, 6, lambda i, x: jnp.sin(x - x.mean(0)), x)

  program = jax.jit(centred).lower(rows).compile().as_text()
  assert counts.collectives(program) == {"all-reduce": (6, 6 * 3 * 4)}
