"""Weights from elsewhere."""

import pathlib

import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.train import checkpoint, initialise, state
from tests.train import toys


def _tree(value, **subtrees):
  """Two collections with subtrees of one number each."""
  return {
    "params": {name: {"w": np.full(size, value, np.float32)} for name, size in subtrees.items()},
    "batch_stats": {name: {"mean": np.full(size, value + 0.5, np.float32)} for name, size in subtrees.items()},
  }


def _run(workdir, variables):
  checkpoint.write_config(workdir, toys.config())
  with checkpoint.Checkpoints(workdir) as saved:
    saved.save(1, state.State(jnp.int32(1), variables, {}, {}))
  return workdir


def _refuse(path):
  raise AssertionError(f"{path} is no file of weights")


def _values(variables):
  return {path: float(leaf.reshape(-1)[0]) for path, leaf in state.leaves(variables).items()}


def test_a_subtree_comes_from_the_same_one_of_a_run(tmp_path):
  run = _run(tmp_path / "run", _tree(1.0, neck=3, tail=2))
  found = initialise.fill(_tree(0.0, neck=3, head=2), {"all": "", "neck": str(run)}, _refuse)
  assert _values(found) == {
    "params/neck/w": 1.0, "params/head/w": 0.0, "batch_stats/neck/mean": 1.5, "batch_stats/head/mean": 0.5,
  }  # fmt: skip


def test_a_subtree_comes_from_another_or_from_a_whole_run(tmp_path):
  run = _run(tmp_path / "run", _tree(1.0, neck=3, head=2))
  found = initialise.fill(_tree(0.0, trunk=3), {"trunk": f"{run}:neck"}, _refuse)
  assert _values(found) == {"params/trunk/w": 1.0, "batch_stats/trunk/mean": 1.5}
  nested = {kind: {"hasm": part, "own": part} for kind, part in _tree(0.0, neck=3, head=2).items()}
  found = _values(initialise.fill(nested, {"hasm": f"{run}:."}, _refuse))
  assert found["params/hasm/neck/w"] == 1.0
  assert found["batch_stats/hasm/head/mean"] == 1.5
  assert found["params/own/neck/w"] == 0.0


def test_all_is_filled_first(tmp_path):
  one, two = _run(tmp_path / "one", _tree(1.0, neck=3, head=2)), _run(tmp_path / "two", _tree(2.0, head=2))
  found = initialise.fill(_tree(0.0, neck=3, head=2), {"head": str(two), "all": str(one)}, _refuse)
  assert _values(found)["params/neck/w"] == 1.0
  assert _values(found)["params/head/w"] == 2.0


def test_stages_are_below_the_folder_of_the_run(tmp_path):
  _run(tmp_path / "stages" / "first", _tree(1.0, neck=3))
  initialise.check_sources({"neck": "stages/first"})  # it may come later
  found = initialise.fill(_tree(0.0, neck=3), {"neck": "stages/first"}, _refuse, tmp_path)
  assert _values(found)["params/neck/w"] == 1.0


def test_files_are_read_by_the_system(tmp_path):
  file = tmp_path / "weights.npz"
  file.write_bytes(b"-")
  found = initialise.fill(_tree(0.0, neck=3), {"neck": str(file)}, lambda path: _tree(4.0, neck=3, head=1))
  assert _values(found)["params/neck/w"] == 4.0
  with pytest.raises(ValueError, match=r"weights\.npz does not fit: 'batch_stats/neck/mean' has shape \(2,\)"):
    initialise.fill(_tree(0.0, neck=3), {"neck": str(file)}, lambda path: _tree(4.0, neck=2))


@pytest.mark.parametrize(
  ("init_from", "error", "message"),
  [
    ({"nek": "RUN"}, ValueError, "no subtree 'nek'; did you mean 'neck'"),
    ({"neck": "RUN:tail"}, ValueError, "lacks 'batch_stats/tail/mean'"),
    ({"neck": "no/such"}, FileNotFoundError, r"init_from\.neck: there is no run or file no/such"),
  ],
)
def test_what_is_not_there_is_named(init_from, error, message, tmp_path):
  run = _run(tmp_path / "run", _tree(1.0, neck=3))
  init_from = {key: text.replace("RUN", str(run)) for key, text in init_from.items()}
  with pytest.raises(error, match=message):
    initialise.fill(_tree(0.0, neck=3), init_from, _refuse)


def test_the_working_directory_may_be_a_run(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  initialise.check_sources({"all": "."})
  with pytest.raises(FileNotFoundError, match="holds no checkpoints"):
    initialise.fill(_tree(0.0, neck=3), {"all": "."}, _refuse)
  _run(tmp_path, _tree(1.0, neck=3))
  assert _values(initialise.fill(_tree(0.0, neck=3), {"all": "."}, _refuse))["params/neck/w"] == 1.0


def _kernel(*shape):
  return {"params": {"conv": {"kernel": np.arange(np.prod(shape), dtype=np.float32).reshape(shape)}}}


@pytest.mark.parametrize("shape", [(3, 3, 2, 4), (2, 4)])
def test_a_kernel_that_sees_more_has_the_rest_fresh(shape, tmp_path):
  run = _run(tmp_path / "run", _kernel(*shape))
  fresh = _kernel(*shape[:-2], 5, 4)
  given = {"conv": str(run)}
  found = initialise.fill(fresh, given, _refuse, widened=["params/conv/kernel"])["params"]["conv"]["kernel"]
  np.testing.assert_array_equal(found[..., :2, :], _kernel(*shape)["params"]["conv"]["kernel"])
  np.testing.assert_array_equal(found[..., 2:, :], fresh["params"]["conv"]["kernel"][..., 2:, :])
  with pytest.raises(ValueError, match="has shape"):  # nobody said that it sees more
    initialise.fill(fresh, given, _refuse)
  for other in ((*shape[:-2], 1, 4), (*shape[:-2], 5, 3)):
    with pytest.raises(ValueError, match="has shape"):
      initialise.fill(_kernel(*other), given, _refuse, widened=["params/conv/kernel"])


@pytest.mark.parametrize(
  ("text", "place", "subtree"),
  [("runs/a", "runs/a", ""), ("runs/a:.", "runs/a", "."), ("/w/b.npz:neck/conv1", "/w/b.npz", "neck/conv1")],
)
def test_sources_are_taken_apart(text, place, subtree):
  assert initialise.parse(text) == (pathlib.Path(place), subtree)
