"""Checkpoints by themselves; what they do for a run is in test_loop.py."""

import contextlib
import gc
import json
import logging
import random
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxhands import cli
from jaxhands.prediction.predictor import Model
from jaxhands.runs import folder as files
from jaxhands.runs import stages
from jaxhands.train import checkpoint, distributed, initialise, state
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


def test_what_is_removed_leaves_nothing_behind(tmp_path):
  _save(tmp_path, 1, 2, 3, 4, keep=1)
  assert [path.name for path in (tmp_path / "checkpoints").glob("[!.]*")] == ["4"]
  assert not list((tmp_path / "checkpoints").glob(".*/*"))


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


def _like(ema=True):
  return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), _state(0, 0.0, ema))


def _restore(workdir):
  with checkpoint.Checkpoints(workdir) as saved:
    return saved.restore(3, _like())


def _read(workdir):
  return checkpoint.read_variables(workdir, _like().variables)


# The library's loop ends with the first error, and its other threads complain of that.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("read", [_restore, _read])
def test_a_flipped_bit_is_found_wherever_it_changes_a_value(read, tmp_path):
  """In any file of the checkpoint: the same values as before, or an error that names it."""
  _save(tmp_path, 3)
  expected = read(tmp_path)
  chance, refused = random.Random(0), 0
  chosen = [path for path in sorted((tmp_path / "checkpoints").rglob("*")) if path.is_file() and path.stat().st_size]
  for path in chosen[:: 1 + len(chosen) // 16]:
    whole = path.read_bytes()
    for _ in range(2):
      content = bytearray(whole)
      content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
      path.write_bytes(content)
      try:
        jax.tree.map(np.testing.assert_array_equal, read(tmp_path), expected)
      except ValueError as error:
        assert str(tmp_path / "checkpoints" / "3") in str(error)  # noqa: PT017
        refused += 1
    path.write_bytes(whole)
  gc.collect()
  assert refused


@pytest.mark.parametrize("read", [_restore, _read])
def test_values_that_were_not_written_are_refused(read, tmp_path):
  _save(tmp_path, 3)
  path = tmp_path / "checkpoints" / "3" / "meta" / "metadata"
  meta = json.loads(path.read_text())
  assert meta["sums"]["opt"]["step"].startswith("int32 ")
  meta["sums"]["variables"]["params/neck/w"] = "float32 00000000"
  path.write_text(json.dumps(meta))
  with pytest.raises(ValueError, match=r"checkpoints/3 is damaged: 1 arrays, first 'variables/params/neck/w'"):
    read(tmp_path)


@pytest.mark.parametrize("read", [_restore, _read])
def test_checkpoints_without_checksums_are_read_with_a_line(read, tmp_path, caplog):
  _save(tmp_path, 3)
  path = tmp_path / "checkpoints" / "3" / "meta" / "metadata"
  meta = json.loads(path.read_text())
  del meta["sums"]
  path.write_text(json.dumps(meta))
  with caplog.at_level(logging.WARNING, "jaxhands"):
    read(tmp_path)
  assert "checkpoints/3 has no checksums" in caplog.text


@pytest.mark.parametrize("lost", ["meta/metadata", "_CHECKPOINT_METADATA", "commit_success.txt"])
def test_what_is_left_of_a_removed_checkpoint_is_passed_over_and_set_aside(lost, tmp_path, caplog):
  _save(tmp_path, 2, 3, metrics={2: {"mpjpe": 5.0}, 3: {"mpjpe": 1.0}}, keep=2, best_metric="mpjpe")
  (tmp_path / "checkpoints" / "3" / lost).unlink()
  for which in ("latest", "best"):
    assert checkpoint.checkpoint_folder(tmp_path, which).name == "2"
  with checkpoint.Checkpoints(tmp_path, keep=2, best_metric="mpjpe") as saved:
    assert saved.latest() == 2
    saved.save(3, _state(3, 4.0), {"mpjpe": 2.0})
  assert _kept(tmp_path) == [2, 3]
  assert checkpoint.checkpoint_folder(tmp_path, "best").name == "3"
  assert (tmp_path / "checkpoints" / "3.incomplete").is_dir()
  assert "3 is not whole; it is set aside as 3.incomplete" in caplog.text


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_damaged_config_is_named(content, tmp_path):
  (tmp_path / "config.json").write_text(content)
  with pytest.raises(ValueError, match=r"config.json is damaged"):
    checkpoint.read_config(tmp_path)


@pytest.mark.parametrize(
  "content", ["{}", '{"model_type": "vit", "layers.0": 1}', '{"stages": []}', '{"stages": 3, "system": {}}']
)
def test_a_config_of_something_else_is_called_so(content, tmp_path, capsys):
  (tmp_path / "config.json").write_text(content)
  is_none = r"config\.json is not the config of a run; name the folder of one, or another --workdir"
  for asks in (
    lambda: Model.of_run(tmp_path), lambda: stages.check_continues(tmp_path, toys.config()),
    lambda: checkpoint.read_variables(tmp_path, {}), lambda: checkpoint.read_config(tmp_path).name,
  ):  # fmt: skip
    with pytest.raises(ValueError, match=is_none):
      asks()
  for command in (["inspect", str(tmp_path)], ["keep", str(tmp_path), "--out", str(tmp_path / "out")]):
    assert cli.main(command) == 1
    assert re.fullmatch(f".*error: .*{is_none}\n", capsys.readouterr().err)
  assert not (tmp_path / "out").exists()


def test_who_names_none_gets_the_checkpoint_whose_numbers_the_run_has(tmp_path, capsys):
  _save(tmp_path, 1, 2, metrics={1: {"mpjpe": 5.0}, 2: {"mpjpe": 9.0}}, best_metric="mpjpe")
  variables = {"params": {"neck": {"w": np.zeros((3, 2), np.float32)}}}
  config = checkpoint.read_config(tmp_path)
  for which, step in (("latest", 2), ("best", 1)):
    config.eval.checkpoint = which
    checkpoint.write_config(tmp_path, config)
    assert checkpoint.checkpoint_folder(tmp_path).name == str(step)
    for found in (
      checkpoint.read_variables(tmp_path, variables),
      initialise.fill(variables, {"neck": str(tmp_path)}, lambda path: {}),
    ):
      np.testing.assert_array_equal(found["params"]["neck"]["w"], np.full((3, 2), step))
    assert cli.main(["inspect", str(tmp_path)]) == 0
    assert f"checkpoints/{step}\n" in capsys.readouterr().out
    assert stages.progress(tmp_path) == (2, 2)  # the run has come as far as before
  (tmp_path / "config.json").unlink()
  assert checkpoint.checkpoint_folder(tmp_path).name == "2"


def test_what_is_assembled_or_imported_has_one_checkpoint(tmp_path):
  _save(tmp_path, 0, best_metric="mpjpe")
  assert checkpoint.checkpoint_folder(tmp_path, "best").name == "0"


@pytest.mark.parametrize("first", ["", "mpjpe"])
def test_metrics_may_come_after_their_checkpoint(first, tmp_path, monkeypatch):
  """Whoever is killed while they are written has the checkpoint, and may write them again."""
  _save(tmp_path, 3, best_metric=first)
  checkpoint.write_config(tmp_path, toys.config(best_metric="mpjpe"))
  with pytest.raises(FileNotFoundError, match="no best checkpoint; none has 'mpjpe': go on with its training"):
    checkpoint.checkpoint_folder(tmp_path, "best")
  before, write = _read(tmp_path), files.write_json

  def killed(path, content):
    if path.name == "metadata":
      raise KeyboardInterrupt
    write(path, content)

  for killer in (killed, write):
    monkeypatch.setattr(files, "write_json", killer)
    with checkpoint.Checkpoints(tmp_path, best_metric="mpjpe") as saved:
      assert saved.metrics(3) == {}
      with contextlib.suppress(KeyboardInterrupt):
        saved.save(3, _state(3, 3.0), {"mpjpe": 5.0})
    jax.tree.map(np.testing.assert_array_equal, _restore(tmp_path).variables, _state(3, 3.0).variables)
  _save(tmp_path, 4, metrics={4: {"mpjpe": 9.0}}, best_metric="mpjpe")
  assert _kept(tmp_path) == [3, 4]
  assert checkpoint.checkpoint_folder(tmp_path, "best").name == "3"
  checkpoint.write_config(tmp_path, toys.config(best_metric="mpjpe", eval=_best(toys.config().eval)))
  jax.tree.map(np.testing.assert_array_equal, _read(tmp_path), before)


def _best(section):
  section.checkpoint = "best"
  return section
