"""From a released file to a run that can be evaluated, continued from and loaded."""

import json
import os
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from configs import internet
from jaxhands import cli, run
from jaxhands.models.backbones.resnet import structure
from jaxhands.prediction.load import load
from jaxhands.runs import released
from jaxhands.runs.stage import Stage
from jaxhands.systems import construct
from jaxhands.terminal import console
from jaxhands.train import checkpoint
from jaxhands.train import state as states
from jaxhands.weights import files
from jaxhands.weights.convert import IGNORED
from jaxhands.weights.internet import internet as name_map
from tests.data.conftest import build
from tests.train import toys
from tests.weights import torch_writer

VARIANT = "tiny,released"


def _variables():
  """Random ones of the tiny system."""
  config = internet.get_config(VARIANT)
  system = construct.load(config)
  shapes = jax.eval_shape(lambda: system.init(jax.random.key(0), {"image": jnp.zeros((1, *config.data.crop_hw, 3))}))
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda leaf: rng.uniform(0.5, 1, leaf.shape).astype(np.float32), shapes)


def _in_torch(variables):
  """The same as the authors' names and layouts have them, with the prefix that their training adds."""
  leaves, found = states.leaves(variables), {}
  for tensor in name_map(*structure(18)):
    if tensor.target == IGNORED:
      found[tensor.source] = np.array(7)
      continue
    value = np.asarray(leaves[tensor.target])
    found[tensor.source] = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
  return {f"module.{name}": value for name, value in found.items()}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
  """A file like the authors', and the variables that are in it."""
  path = tmp_path_factory.mktemp("snapshot") / "snapshot_20.pth.tar"
  variables = _variables()
  tree = {"epoch": 20, "network": torch_writer.tensors(_in_torch(variables)), "optimizer": {"state": {}}}
  torch_writer.write_stream(path, tree)
  return path, variables


@pytest.fixture(scope="module")
def imported(snapshot, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("imported") / "run"
  command = ["import", "--system", "internet", "--config", f"internet:{VARIANT}", str(snapshot[0])]
  assert cli.main([*command, "--out", str(workdir)]) == 0
  return workdir


def _same(found, wanted):
  found, wanted = states.leaves(found), states.leaves(wanted)
  assert set(found) == set(wanted)
  for path, leaf in wanted.items():
    np.testing.assert_array_equal(found[path], leaf, err_msg=path)


def test_an_import_is_a_run_with_the_same_weights(snapshot, imported):
  _same(checkpoint.read_variables(imported, snapshot[1]), snapshot[1])
  assert checkpoint.read_config(imported).system.released is True


def test_an_import_is_evaluated_like_any_run(imported, tmp_path):
  folder = build(tmp_path / "data", train=4, val=3)
  config = internet.get_config(VARIANT)
  config.data.eval, config.eval.mean_pose, config.eval.metrics = (f"{folder}:val",), 0, ("handedness_ap",)
  assert run.run(config, imported, mode="eval")
  assert json.loads((imported / "eval" / "metrics.json").read_text())["examples"] == 3


@pytest.mark.parametrize("source", ["file", "run"])
def test_other_runs_start_from_a_file_or_its_import(source, snapshot, imported):
  path, variables = snapshot
  config = internet.get_config(VARIANT)
  made = Stage.__new__(Stage)  # only what filling needs
  made.config, made.system, made._top = config, construct.load(config), pathlib.Path()
  config.init_from = {"backbone": str(path if source == "file" else imported)}
  found = made._filled(jax.tree.map(np.zeros_like, variables))
  _same(found["params"]["backbone"], variables["params"]["backbone"])
  assert not np.any(found["params"]["handedness"]["hidden"]["kernel"])


def test_the_summary_counts_and_can_be_compared(snapshot, capsys, tmp_path):
  path, variables = snapshot
  command = ["import", "--system", "internet", "--config", f"internet:{VARIANT}", str(path)]
  assert cli.main([*command, "--out", str(tmp_path / "run")]) == 0
  shown = capsys.readouterr().out
  leaves = states.leaves(variables)
  tensors = name_map(*structure(18))
  counters = sum(tensor.target == IGNORED for tensor in tensors)
  values = sum(leaf.size for leaf in leaves.values())
  assert f"tensors    {len(tensors)} with {values + counters:,} values" in shown
  assert f"variables  {len(leaves)} with {values:,} values" in shown
  assert f"left out   {counters} values" in shown
  assert files.file_checksum(path) in shown
  assert "parts      backbone, handedness, heatmap_left" in shown
  digest = files.checksum(leaves)
  assert digest in shown
  assert cli.main(["inspect", str(tmp_path / "run")]) == 0
  shown = capsys.readouterr().out
  assert digest in shown
  assert "system: internet" in shown
  assert cli.main(["inspect", str(path), "--key", "network"]) == 0
  assert "network/module.backbone_net.resnet.conv1.weight" in capsys.readouterr().out
  assert cli.main([*command, "--out", str(tmp_path / "run")]) == 1
  assert "there already and not empty" in capsys.readouterr().err


def test_kept_weights_are_a_small_run(imported, tmp_path, capsys):
  keep = ["keep", str(imported), "--out", str(tmp_path / "kept")]
  calibration = imported / "eval" / "calibration.json"
  calibration.parent.mkdir(exist_ok=True)
  calibration.write_text(json.dumps({"confidence": [0.0, 1.0], "probability": [0.25, 0.5]}))
  assert cli.main(keep) == 0
  assert (tmp_path / "kept" / "eval" / "calibration.json").read_text() == calibration.read_text()
  assert "values, " in capsys.readouterr().out
  shapes = traverse_util.unflatten_dict(checkpoint.stored(imported), sep="/")
  whole, kept = (states.leaves(checkpoint.read_variables(at, shapes)) for at in (imported, tmp_path / "kept"))
  assert kept.keys() == whole.keys()
  for path, leaf in whole.items():
    assert kept[path].dtype == np.float32, path  # of what asks for them
    np.testing.assert_array_equal(kept[path], leaf.astype(np.float16).astype(np.float32), err_msg=path)
  size = (tmp_path / "kept" / "weights.safetensors").stat().st_size
  assert size < 1.1 * 2 * sum(leaf.size for leaf in whole.values()) + 50_000
  assert cli.main(["inspect", str(tmp_path / "kept")]) == 0
  assert "weights.safetensors" in capsys.readouterr().out
  text = [file.read_bytes() for file in (tmp_path / "kept").rglob("*") if file.is_file()]
  assert not any(str(tmp_path).encode() in content for content in text)
  np.testing.assert_array_equal(load(str(tmp_path / "kept")).calibration(np.array([0.0, 1.0])), [0.25, 0.5])
  calibration.unlink()
  assert cli.main(keep) == 1
  assert "exists; name a new folder" in capsys.readouterr().err


def test_what_is_killed_leaves_no_folder_that_looks_whole(tmp_path, monkeypatch):
  made = released.Imported(toys.config(), {"params": {"w": np.ones(3, np.float32)}}, files.Stored(tmp_path, "", {}), {})

  def killed(*_, **__):
    raise KeyboardInterrupt

  with monkeypatch.context() as patched:
    patched.setattr(checkpoint.Checkpoints, "save", killed)
    with pytest.raises(KeyboardInterrupt):
      released.write_run(made, tmp_path / "cut")
  assert not (tmp_path / "cut" / "config.json").exists()
  released.write_run(made, tmp_path / "run")
  (tmp_path / "run" / "eval").mkdir()
  (tmp_path / "run" / "eval" / "calibration.json").write_text("{}")
  monkeypatch.setattr(shutil, "copy", killed)
  assert cli.main(["keep", str(tmp_path / "run"), "--out", str(tmp_path / "kept")]) == console.INTERRUPTED
  assert (tmp_path / "kept" / "weights.safetensors").is_file()
  assert not (tmp_path / "kept" / "config.json").exists()


def test_a_folder_that_checkpoints_cannot_be_written_into_is_left_alone(tmp_path):
  made = released.Imported(toys.config(), {}, files.Stored(tmp_path, "", {}), {})
  folder = tmp_path / os.fsdecode(b"caf\xe9")
  with pytest.raises(ValueError, match="is not UTF-8"):
    released.write_run(made, folder)
  assert not folder.exists()


def test_kept_are_the_weights_that_were_evaluated(imported, tmp_path):
  shapes = traverse_util.unflatten_dict(checkpoint.stored(imported), sep="/")
  variables, config = checkpoint.read_variables(imported, shapes), checkpoint.read_config(imported)
  config.best_metric, config.eval.checkpoint = "mpjpe/all", "best"
  checkpoint.write_config(tmp_path / "run", config)
  with checkpoint.Checkpoints(tmp_path / "run", best_metric="mpjpe/all") as saved:
    for number, error in ((1, 5.0), (2, 9.0)):  # the latest is not the best
      state = states.State(jnp.int32(number), jax.tree.map(lambda leaf, by=number: by * leaf, variables), {}, {})
      saved.save(number, state, {"mpjpe/all": error})
  assert cli.main(["keep", str(tmp_path / "run"), "--out", str(tmp_path / "kept")]) == 0
  best = checkpoint.read_variables(tmp_path / "run", shapes, "best")
  _same(best, variables)
  half = jax.tree.map(lambda leaf: leaf.astype(np.float16).astype(np.float32), best)
  _same(checkpoint.read_variables(tmp_path / "kept", shapes), half)


def test_wrong_shared_weights_leave_no_folder(imported, tmp_path, capsys):
  for shared, message in (("backbone=typo", "no weights 'typo' come"), ("backbone=internet", "is not the same as")):
    assert cli.main(["keep", str(imported), "--out", str(tmp_path / "kept"), "--shared", shared]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()


def test_weights_that_float16_cannot_hold_are_named(imported, tmp_path, capsys):
  shapes = traverse_util.unflatten_dict(checkpoint.stored(imported), sep="/")
  variables = checkpoint.read_variables(imported, shapes)
  variables["params"]["handedness"]["hidden"]["bias"][3] = 1e6
  checkpoint.write_config(tmp_path / "large", checkpoint.read_config(imported))
  with checkpoint.Checkpoints(tmp_path / "large") as saved:
    saved.save(0, states.State(jnp.int32(0), variables, {}, {}))
  assert cli.main(["keep", str(tmp_path / "large"), "--out", str(tmp_path / "kept")]) == 1
  assert "'params/handedness/hidden/bias' has the value 1e+06" in capsys.readouterr().err
  assert not (tmp_path / "kept").exists()


def test_every_tensor_is_used_or_named(snapshot, tmp_path, capsys):
  arrays = _in_torch(snapshot[1])
  one = next(iter(arrays))
  changed = {
    "lacks": ({name: array for name, array in arrays.items() if name != one}, "missing: backbone_net.resnet.conv1"),
    "more": ({**arrays, "module.extra": np.ones(2)}, "does not know: extra"),
    "other": ({**arrays, one: np.ones((4, 3, 5, 5), np.float32)}, r"conv1/kernel is (5, 5, 3, 4)"),
  }
  for name, (tree, message) in changed.items():
    torch_writer.write_zip(tmp_path / f"{name}.pth", torch_writer.tensors(tree))
    command = ["import", "--system", "internet", "--config", f"internet:{VARIANT}", str(tmp_path / f"{name}.pth")]
    assert cli.main([*command, "--out", str(tmp_path / name)]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_step_counters_may_be_missing(snapshot, tmp_path):
  """Files from before torch 0.4.1 have none."""
  arrays = {name: array for name, array in _in_torch(snapshot[1]).items() if "num_batches" not in name}
  torch_writer.write_zip(tmp_path / "x.pth", torch_writer.tensors(arrays))
  found = released.import_file(tmp_path / "x.pth", internet.get_config(VARIANT))
  _same(found.variables, snapshot[1])


def test_the_released_config_is_found_by_the_system():
  config = released.released_config("internet")
  assert (config.name, config.variant, config.system.released) == ("internet", "paper-released", True)
  with pytest.raises(ValueError, match="did you mean 'internet'"):
    released.released_config("internett")
  with pytest.raises(ValueError, match="no config 'intrnet'"):
    released.released_config("internet", "intrnet:paper")
  with pytest.raises(ValueError, match="does not build the system 'digit'"):
    released.released_config("digit", "internet:tiny")
  for shared in ("base", "hdr_parts"):
    with pytest.raises(ValueError, match=f"'{shared}' is what others share, and of no system; there are digit, finder"):
      released.released_config("internet", shared)
