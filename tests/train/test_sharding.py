"""A state that is divided among devices: the same numbers, less memory, and any layout goes on from any other."""

import math
import types

import chex
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxhands.train import checkpoint, distributed, loop, state
from tests.train import toys

RULES = (("kernel$", -1), ("/bias$", 0))


def _train(workdir, stream, fsdp, steps=8):
  config = toys.config()
  config.train_for = f"{steps} steps"
  config.schedule.name = "constant"
  config.sharding = ConfigDict({"fsdp": fsdp, "rules": RULES})
  checkpoint.write_config(workdir, config)
  return loop.train(toys.Regressor(), config, workdir, stream, toys.EXAMPLES, stream.mesh)


def _stream(fsdp):
  return toys.Stream(distributed.make_mesh(4, fsdp), 8)


@pytest.fixture(scope="module")
def replicated(tmp_path_factory):
  """Folder of a run whose state is whole on each of four devices."""
  workdir = tmp_path_factory.mktemp("replicated")
  _train(workdir, _stream(1), 1)
  return workdir


def _assert_near(workdir, other):
  found, expected = toys.everything(workdir), toys.everything(other)
  assert found.keys() == expected.keys()
  for path, value in found.items():
    np.testing.assert_allclose(value, expected[path], rtol=1e-4, atol=1e-5, err_msg=path)


@pytest.mark.parametrize("fsdp", [2, 4])
def test_a_divided_state_is_trained_to_the_same_numbers(fsdp, replicated, tmp_path):
  result = _train(tmp_path, _stream(fsdp), fsdp)
  _assert_near(tmp_path, replicated)
  kernel = result.variables["params"]["neck"]["Dense_0"]["kernel"]
  assert kernel.sharding.shard_shape(kernel.shape) == (math.prod(toys.IMAGE), 16 // fsdp)


@pytest.mark.parametrize(("before", "after"), [(1, 4), (4, 1), (4, 2)])
def test_a_run_goes_on_in_another_layout(before, after, replicated, tmp_path):
  _train(tmp_path, _stream(before), before, steps=4)
  assert _train(tmp_path, _stream(after), after).step == 8
  _assert_near(tmp_path, replicated)


def test_optimizer_and_averages_are_divided_as_the_parameters_are():
  shapes = {"params": {"a": {"kernel": jax.ShapeDtypeStruct((3, 8), np.float32)}}}
  moments = {"pose": ({"mu": shapes, "count": jax.ShapeDtypeStruct((), np.int32)},)}
  whole = state.State(jax.ShapeDtypeStruct((), np.int32), shapes, moments, shapes)
  mesh = distributed.make_mesh(4, 4)
  places = distributed.layout(mesh, (("kernel$", 1),), whole)
  divided = [place.spec for place in jax.tree.leaves(places) if not place.is_fully_replicated]
  assert divided == [jax.sharding.PartitionSpec(None, "fsdp")] * 3
  assert distributed.held_bytes(whole, places) == (3 * 96 + 8, 3 * 24 + 8)


def test_the_first_rule_decides_and_what_does_not_divide_is_whole():
  leaves = {"one": np.zeros((4, 4)), "two": np.zeros((4, 4)), "odd": np.zeros((4, 6))}
  places = distributed.layout(distributed.make_mesh(4, 4), (("one", 0), ("o", 1)), leaves)
  specs = {name: tuple(place.spec) for name, place in places.items()}
  assert specs == {"one": ("fsdp", None), "two": (None, "fsdp"), "odd": ()}


@pytest.mark.parametrize(
  ("rules", "message"),
  [((("(", 0),), "no regular expression"), ((("x", 2),), "dimension 2 of x"), ((("y", 0),), "is found by 'y'")],
)
def test_wrong_rules_are_named(rules, message):
  with pytest.raises(ValueError, match=message):
    distributed.layout(distributed.make_mesh(4, 2), rules, {"x": np.zeros((4, 4))})


def test_devices_of_a_process_are_neighbours():
  """However they are numbered, as on a TPU: rows of a batch are divided among processes in this order."""
  mixed = [types.SimpleNamespace(id=number, process_index=number % 3) for number in (7, 0, 4, 1, 8, 3, 2, 5, 6)]
  assert [device.id for device in distributed.in_order(mixed)] == [0, 3, 6, 1, 4, 7, 2, 5, 8]
  mesh = distributed.make_mesh(4, 2)
  assert mesh.devices.shape == (2, 2)
  assert mesh.axis_types == (jax.sharding.AxisType.Auto,) * 2
  assert [device.id for device in mesh.devices.flat] == sorted(device.id for device in jax.devices())


def test_groups_must_divide_the_devices():
  with pytest.raises(ValueError, match=r"sharding\.fsdp=3: 4 devices"):
    distributed.make_mesh(4, 3)


def test_one_device_a_group_is_the_replicated_state():
  places = distributed.layout(distributed.make_mesh(4), (), {"x": np.zeros((4, 4))})
  chex.assert_trees_all_equal(places, {"x": distributed.replicated(distributed.make_mesh(4))})
