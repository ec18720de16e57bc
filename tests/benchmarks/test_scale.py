"""What is counted of a compiled program, and what follows from it."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from benchmarks import scale, subjects
from jaxhands.train import distributed


def test_collectives_are_counted_with_their_bytes():
  mesh = distributed.make_mesh(4, 2)
  rows = jax.ShapeDtypeStruct((8, 3), jnp.float32, sharding=distributed.sharded(mesh))
  summed = jax.jit(lambda x: x.sum(0), out_shardings=distributed.replicated(mesh)).lower(rows).compile()
  assert scale.collectives(summed.as_text()) == {"all-reduce": (1, 3 * 4)}
  halves = jax.ShapeDtypeStruct((8, 3), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec("fsdp")))
  gathered = jax.jit(lambda x: x * 2, out_shardings=distributed.replicated(mesh)).lower(halves).compile()
  assert scale.collectives(gathered.as_text()) == {"all-gather": (1, 8 * 3 * 4)}
  alone = jax.jit(lambda x: x + 1).lower(jnp.zeros(3)).compile()
  assert scale.collectives(alone.as_text()) == {}


@pytest.mark.parametrize(
  ("name", "examples"), [("internet", 20 * 1_361_062), ("hdr/hasm", 200_000 * 48), ("hdr/hdrm", 100_000 * 48)]
)
def test_examples_of_a_run_follow_from_its_config(name, examples):
  (subject,) = subjects.all_of("paper", [name])
  assert scale.examples_of(subject.config) == examples


def test_a_system_that_there_is_not_is_named():
  with pytest.raises(ValueError, match=r"there is no system 'hdr/nothing'; there are .*'hdr/hasm'"):
    subjects.all_of("tiny", ["hdr/nothing"])
