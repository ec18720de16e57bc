"""Kept weights: what is written is read, damage is named, and names of the package are found."""

import pathlib

import jax
import numpy as np
import pytest

from jaxhands.systems import construct, subtrees
from jaxhands.train import checkpoint, step
from jaxhands.train import state as states
from jaxhands.weights import kept
from tests.contract import records

ARRAYS = {"params/a/kernel": np.arange(6, dtype=np.float16).reshape(2, 3), "batch_stats/a/mean": np.float32([1, 2])}


def test_they_come_back(tmp_path):
  kept.write(tmp_path / "x", ARRAYS)
  found = kept.read(tmp_path / "x")
  assert found.keys() == ARRAYS.keys()
  for name, array in ARRAYS.items():
    assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found[name], array)


def test_one_bit_is_seen(tmp_path):
  kept.write(tmp_path, ARRAYS)
  path = tmp_path / kept.FILE
  content = bytearray(path.read_bytes())
  content[-1] ^= 1
  path.write_bytes(content)
  with pytest.raises(ValueError, match=r"weights.safetensors is damaged: 1 arrays"):
    kept.read(tmp_path)
  path.write_bytes(content[:-3])
  with pytest.raises(ValueError, match="cut"):
    kept.read(tmp_path)
  (tmp_path / "weights.json").write_text("{}")
  with pytest.raises(ValueError, match="weights"):
    kept.read(tmp_path)


def test_weights_of_the_package_are_shared_and_looked_at(tmp_path, monkeypatch):
  monkeypatch.setattr(kept, "_packaged", lambda: tmp_path / "package")
  kept.write(tmp_path / "package" / "part", ARRAYS)
  part = {f"{path.split('/')[0]}/first/{path.split('/', 1)[1]}": array for path, array in ARRAYS.items()}
  whole = part | {"params/own": np.ones(3, np.float16)}
  kept.write(tmp_path / "x", whole, {"first": "part"})
  found = kept.read(tmp_path / "x")
  assert found.keys() == whole.keys()
  for name, array in whole.items():
    np.testing.assert_array_equal(found[name], array)
  kept.write(tmp_path / "y", whole)
  assert (tmp_path / "x" / kept.FILE).stat().st_size < (tmp_path / "y" / kept.FILE).stat().st_size
  for other in (whole | {"params/first/more": np.ones(1)}, whole | {"params/first/a/kernel": np.zeros((2, 3))}):
    with pytest.raises(ValueError, match="'first' is not the same as the package's weights 'part'"):
      kept.write(tmp_path / "z", other, {"first": "part"})
  kept.write(tmp_path / "package" / "part", {name: array + 1 for name, array in ARRAYS.items()})
  with pytest.raises(ValueError, match="not what was written"):
    kept.read(tmp_path / "x")


def test_names_are_those_of_the_package(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  for name in kept.names():
    assert kept.located(pathlib.Path(name)) == kept.located(pathlib.Path("kept", name)) == kept.folder(name)
    assert sum(file.stat().st_size for file in kept.folder(name).rglob("*")) < 12_000_000
    (tmp_path / name).mkdir()
    assert kept.located(pathlib.Path(name)) == pathlib.Path(name)  # one's own come first
  with pytest.raises(FileNotFoundError, match="no weights 'nothing' come with the package"):
    kept.located(pathlib.Path("kept/nothing"))
  assert kept.located(pathlib.Path("nothing")) == pathlib.Path("nothing")


@pytest.mark.parametrize("name", kept.names())
def test_weights_of_the_package_are_those_of_their_system(name):
  """Every array is as it was written, shared ones too, and has the shape that the system wants."""
  system = construct.load(checkpoint.read_config(kept.folder(name)))
  shapes = jax.eval_shape(step.make_init(system, 0), records.batch(system, 1, train=False))
  wanted = states.leaves(subtrees.for_prediction(system, {k: v for k, v in shapes.items() if k != "constants"}))
  found = {path: array.shape for path, array in kept.read(kept.folder(name)).items()}
  assert found == {path: leaf.shape for path, leaf in wanted.items()}
