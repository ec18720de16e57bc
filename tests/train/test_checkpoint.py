"""Checkpoints by themselves; what they do for a run is in test_loop.py."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxhands.train import checkpoint, distributed, state
from tests.train import toys


def _state(step, value, ema=True):
  variables = {"params": {"neck": {"w": jnp.full((3, 2), value)}, "head": {"b": jnp.full(2, value)}}}
  opt = {"pose": optax.adam(1e-3).init(variables)}
  average = {"params": {"head": {"b": jnp.full(2, value + 0.5)}}} if ema else {}
  return state.State(jnp.int32(step), variables, opt, average)


def _save(workdir, *numbers, metrics=None, **options):
  config = toys.config(**{key: value for key, value in options.items() if key != "keep"})
  checkpoint.write_config(workdir, config)
  with checkpoint.Checkpoints(workdir, **options) as saved:
    for number in numbers:
      saved.save(number, _state(number, float(number)), (metrics or {}).get(number))


def _kept(workdir):
  return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


@pytest.mark.parametrize("devices", [1, 3])
def test_a_state_comes_back_on_any_devices(devices, tmp_path):
  everywhere = distributed.replicated(distributed.make_mesh(4))
  with checkpoint.Checkpoints(tmp_path) as saved:
    saved.save(7, jax.device_put(_state(7, 1.5), everywhere))
  there = distributed.replicated(distributed.make_mesh(devices))
  like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=there), _state(0, 0.0))
  with checkpoint.Checkpoints(tmp_path) as saved:
    assert saved.latest() == 7
    found = saved.restore(7, like)
  assert jax.tree.structure(found) == jax.tree.structure(_state(7, 1.5))
  jax.tree.map(np.testing.assert_array_equal, found, _state(7, 1.5))
  assert found.variables["params"]["neck"]["w"].sharding == there


def test_the_latest_and_the_best_are_kept(tmp_path):
  metrics = {1: {"mpjpe": 5.0}, 2: {"mpjpe": 3.0}, 4: {"mpjpe": 4.0}}
  _save(tmp_path, 1, 2, 3, 4, 5, metrics=metrics, keep=2, best_metric="mpjpe")
  assert _kept(tmp_path) == [2, 4, 5]
  assert checkpoint.checkpoint_folder(tmp_path, "best").name == "2"
  assert checkpoint.checkpoint_folder(tmp_path).name == "5"


def test_the_best_may_be_the_highest(tmp_path):
  metrics = {1: {"ap": 0.5}, 2: {"ap": 0.9}, 3: {"ap": 0.7}}
  _save(tmp_path, 1, 2, 3, metrics=metrics, best_metric="ap", best_mode="max")
  assert _kept(tmp_path) == [2, 3]
  assert checkpoint.checkpoint_folder(tmp_path, "best").name == "2"


def test_variables_are_read_alone_and_averaged(tmp_path):
  _save(tmp_path, 3)
  wanted = {
    "params": {"neck": {"w": jax.ShapeDtypeStruct((3, 2), jnp.float32)}, "head": {"b": np.zeros(2, np.float32)}}
  }
  found = checkpoint.read_variables(tmp_path, wanted)
  np.testing.assert_array_equal(found["params"]["neck"]["w"], np.full((3, 2), 3.0))
  np.testing.assert_array_equal(found["params"]["head"]["b"], [3.5, 3.5])  # of the average
  part = checkpoint.read_variables(tmp_path, {"params": {"neck": wanted["params"]["neck"]}})
  assert list(part["params"]) == ["neck"]
  assert isinstance(part["params"]["neck"]["w"], np.ndarray)


def test_what_does_not_fit_is_named(tmp_path):
  _save(tmp_path, 3)
  with pytest.raises(ValueError, match=r"lacks 'params/tail/w'"):
    checkpoint.read_variables(tmp_path, {"params": {"tail": {"w": np.zeros(2)}}})
  with pytest.raises(ValueError, match=r"'params/head/b' has shape \(2,\), expected \(5,\)"):
    checkpoint.read_variables(tmp_path, {"params": {"head": {"b": np.zeros(5)}}})
  like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), _state(0, 0.0))
  smaller = state.State(like.step, {"params": {"head": like.variables["params"]["head"]}}, like.opt, like.ema)
  with checkpoint.Checkpoints(tmp_path) as saved, pytest.raises(ValueError, match="it has 'params/neck/w', which the"):
    saved.restore(3, smaller)


def test_folders_without_checkpoints_are_refused(tmp_path):
  with pytest.raises(FileNotFoundError, match="holds no checkpoints; train first"):
    checkpoint.read_variables(tmp_path, {})
  _save(tmp_path, 3)
  with pytest.raises(FileNotFoundError, match="holds no best checkpoint; set best_metric"):
    checkpoint.checkpoint_folder(tmp_path, "best")
  with pytest.raises(FileNotFoundError, match=r"no config\.json"):
    checkpoint.read_config(tmp_path / "elsewhere")


@pytest.mark.parametrize(("keep", "mode"), [(0, "min"), (1, "lowest")])
def test_wrong_options_are_refused(keep, mode, tmp_path):
  with pytest.raises(ValueError, match=f"keep is {keep} and best_mode '{mode}'"):
    checkpoint.Checkpoints(tmp_path, keep, best_mode=mode)


def test_saving_twice_is_harmless(tmp_path):
  _save(tmp_path, 3)
  _save(tmp_path, 3)
  assert _kept(tmp_path) == [3]
