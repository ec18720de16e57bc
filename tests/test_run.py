"""From a config to a trained and evaluated run, on a small data set of known content."""

import functools
import json
import pathlib
import signal
import sys
import types

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import base as base_config
from jaxhands import run
from jaxhands.data import augment, host_ops
from jaxhands.evaluation import evaluator
from jaxhands.runs import stages
from jaxhands.runs.stage import Stage
from jaxhands.train import checkpoint
from tests.data.conftest import build
from tests.train import toys


class Toy(toys.Regressor):
  """On real records."""

  def host_ops(self, train):
    return host_ops.crop_ops((8, 8), augmentation=augment.INTERNET if train else None)


class Wide(Toy):
  """On other crops of them."""

  def host_ops(self, train):
    return host_ops.crop_ops((8, 8), box_factor=2.0)


class OneHand(Toy):
  view = "hand"


class Assembled(Toy):
  objectives = ()


@pytest.fixture(autouse=True)
def systems(monkeypatch):
  """`config.system.name = "toy"`, of which `config.system.assembled` makes a system without objectives."""
  module = types.ModuleType("jaxhands.systems.toy")
  classes = {"plain": Toy, "wide": Wide, "one_hand": OneHand}
  module.build = lambda config: (Assembled if config.system.assembled else classes[config.system.sees])(
    config.system.width, tuple(config.freeze)
  )
  monkeypatch.setitem(sys.modules, "jaxhands.systems.toy", module)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> pathlib.Path:
  return pathlib.Path(build(tmp_path_factory.mktemp("run") / "data", train=13, val=7))


def _config(data, **changes):
  config = base_config.get_config()
  config.name, config.variant = "toy", "tiny"
  config.system = ConfigDict({"name": "toy", "width": 8, "assembled": False, "sees": "plain"})
  config.data.train, config.data.eval, config.data.threads = (f"{data}:train",), (f"{data}:val",), 2
  config.train_for, config.batch_size, config.eval.batch_size = "4 steps", 4, 4
  config.log_every, config.eval_every, config.checkpoint_every = "1 step", "2 steps", "2 steps"
  config.optimizer.learning_rate = 1e-2
  for name, value in changes.items():
    config[name] = value
  return config.lock()


def test_a_run_trains_evaluates_and_goes_on(data, tmp_path, capsys):
  config = _config(data, best_metric="mpjpe/all", ema=0.9)
  reports = []
  assert run.run(config, tmp_path / "run", report=reports.append)
  workdir = tmp_path / "run"
  assert reports == [workdir]
  answer = json.loads((workdir / "eval" / "metrics.json").read_text())
  assert answer["system"] == "toy"
  assert answer["split"] == "val"
  assert answer["examples"] == 7
  assert answer["mean_pose"]["mpjpe/all"] > 0
  with np.load(workdir / "eval" / "shown.npz") as shown, np.load(workdir / "eval" / "examples.npz") as every:
    np.testing.assert_array_equal(shown["batch/example_id"], every["example_id"][shown["position"]])
    assert len(shown["batch/image"]) == len(shown["prediction/joints_img"]) == len(shown["worst"])
  # The last evaluation of the training is of the same variables.
  during = toys.scalars(workdir, "eval/mpjpe/all")
  assert list(during) == [2, 4]
  np.testing.assert_allclose(answer["metrics"]["mpjpe/all"], during[4], rtol=1e-6)
  assert "mpjpe/all" in capsys.readouterr().out

  # Going on finds everything done; evaluating alone gives the same answer.
  for mode in ("train_and_eval", "eval"):
    (workdir / "eval" / "metrics.json").unlink()
    assert run.run(config, workdir, mode)
    again = json.loads((workdir / "eval" / "metrics.json").read_text())
    np.testing.assert_allclose(again["metrics"]["mpjpe/all"], answer["metrics"]["mpjpe/all"], rtol=1e-6)
  longer = _config(data, best_metric="mpjpe/all", ema=0.9, train_for="6 steps")
  assert run.run(longer, workdir, "train")
  assert checkpoint.checkpoint_folder(workdir).name == "6"


def test_a_damaged_shard_is_not_the_configs_fault(tmp_path, capsys):
  data = pathlib.Path(build(tmp_path / "data", train=13, val=7))
  assert run.run(_config(data), tmp_path / "run", "train")
  (tmp_path / "run" / "mean_pose.npy").unlink()
  sorted(data.glob("*-train.array_record*"))[0].unlink()
  config = _config(data, eval=ConfigDict(_config(data).eval.to_dict() | {"mean_pose": 0}))
  with pytest.raises(ValueError, match=r"^/.*data:train\[\d+\].* cannot be read .* build again"):
    run.run(config, tmp_path / "again", "train")
  assert run.run(_config(data), tmp_path / "run", "eval")  # which needs none of them
  assert "no mean pose beside the metrics" in capsys.readouterr().err


def test_what_starts_from_weights_is_as_long_as_there_is_time(data, tmp_path, capsys):
  assert run.run(_config(data), tmp_path / "first")
  fit = ConfigDict({"seconds": 1e6, "choices": ("2 steps", "6 steps"), "cost": 4.0})
  second = {"init_from": ConfigDict({"all": str(tmp_path / "first")}), "fit": fit, "train_for": "2 steps"}
  capsys.readouterr()
  assert run.run(_config(data, **second), tmp_path / "second")
  assert "of trainings of 2 steps, 6 steps, that of 6 steps should take" in capsys.readouterr().out
  assert checkpoint.read_config(tmp_path / "second").train_for == "6 steps"
  first, answer = (json.loads((tmp_path / name / "eval" / "metrics.json").read_text()) for name in ("first", "second"))
  (start,) = [entry for entry in answer["also"] if entry["method"] == "at_the_start"]
  assert start["metrics"] == pytest.approx(first["metrics"])
  assert answer["metrics"] != start["metrics"]
  # What is evaluated again at the start of a finished run is not taken for its end.
  notes = tmp_path / "second" / "start.json"
  notes.unlink()
  assert run.run(_config(data, **second), tmp_path / "second")
  again = json.loads((tmp_path / "second" / "eval" / "metrics.json").read_text())
  assert again["metrics"] == pytest.approx(answer["metrics"])
  # It goes on as it was, whatever the machine is like then.
  notes.write_text(json.dumps(json.loads(notes.read_text()) | {"train_for": "8 steps"}))
  assert run.run(_config(data, **second), tmp_path / "second")
  assert checkpoint.read_config(tmp_path / "second").train_for == "8 steps"
  second["init_from"] = ConfigDict({"all": ""})
  with pytest.raises(ValueError, match="init_from does not fill"):
    run.run(_config(data, **second), tmp_path / "third")


def test_a_length_that_is_given_is_not_chosen(data, tmp_path, capsys):
  """Neither in a new folder nor where the machine has chosen one before."""
  assert run.run(_config(data, train_for="1 step"), tmp_path / "first", "train")
  fit = ConfigDict({"seconds": 1e6, "choices": ("2 steps", "4 steps"), "cost": 4.0})
  start = {"init_from": ConfigDict({"all": str(tmp_path / "first")}), "fit": fit}
  workdir, notes = tmp_path / "run", tmp_path / "run" / "start.json"
  for given in ("3 steps", "4 steps"):  # the second is one of the choices; it goes on with the first
    assert run.run(_config(data, **start, train_for=given), workdir, "train")
    assert checkpoint.checkpoint_folder(workdir).name == given.split()[0]
    assert checkpoint.read_config(workdir).train_for == given
    assert json.loads(notes.read_text())["train_for"] == ""
  told = capsys.readouterr().out
  assert "train_for='3 steps' is given, so that none of 2 steps, 4 steps is chosen" in told
  assert "should take" not in told
  assert run.run(_config(data, **start, train_for="2 steps"), workdir)  # nothing was chosen
  assert checkpoint.read_config(workdir).train_for == "2 steps"
  answer = json.loads((workdir / "eval" / "metrics.json").read_text())
  assert "at_the_start" in [entry["method"] for entry in answer["also"]]
  notes.write_text(json.dumps(json.loads(notes.read_text()) | {"train_for": "4 steps"}))
  assert run.run(_config(data, **start, train_for="5 steps"), workdir, "train")
  assert checkpoint.checkpoint_folder(workdir).name == "5"


def test_nothing_is_evaluated_or_compiled_twice(data, tmp_path, monkeypatch):
  measure, measured = evaluator.Evaluator.measure, []

  def counted(self, variables, batches):
    measured.append(variables)
    return measure(self, variables, batches)

  monkeypatch.setattr(evaluator.Evaluator, "measure", counted)
  made = Stage(_config(data), tmp_path, tmp_path)
  answer = made.evaluate(made.train())
  assert len(measured) == 2  # after 2 and 4 steps
  assert set(answer.intervals) == set(answer.metrics)
  assert made.evaluator._predict_jit._cache_size() == 1  # also of the examples that are shown
  again = made.evaluate()  # of what is saved
  assert len(measured) == 3
  assert dict(again.metrics) == pytest.approx(dict(answer.metrics), rel=1e-6)
  assert made.evaluator._predict_jit._cache_size() == 1


def test_evaluating_needs_no_training_data(data, tmp_path, capsys):
  """Whoever has a trained run, or weights of others, may have the test data alone, and other devices."""
  config, absent = _config(data), _config(data, batch_size=3)  # 3 do not divide among the devices
  with absent.unlocked():
    absent.data.train = (f"{tmp_path}/absent:train",)
  assert run.run(config, tmp_path / "run", "train")
  checkpoint.write_config(tmp_path / "run", absent)
  (tmp_path / "run" / "mean_pose.npy").unlink()
  assert run.run(absent, tmp_path / "run", "eval")
  answer = json.loads((tmp_path / "run" / "eval" / "metrics.json").read_text())
  assert (answer["examples"], answer["mean_pose"]) == (7, {})
  told = capsys.readouterr().err
  assert "no mean pose" in told
  assert f"there is no data set in {tmp_path}/absent" in told
  with absent.unlocked():
    absent.batch_size = 4
  with pytest.raises(FileNotFoundError, match="absent"):
    run.run(absent, tmp_path / "other", "train")


def test_what_is_not_trained_is_not_evaluated_and_makes_no_run(data, tmp_path):
  config = _config(data)
  with pytest.raises(FileNotFoundError, match="typo holds no checkpoints; train first, or name the folder of a run"):
    run.run(config, tmp_path / "typo", "eval")
  assert not (tmp_path / "typo").exists()
  assert run.run(config, tmp_path / "run", "train")
  with config.unlocked():
    config.eval.checkpoint = "best"
  with pytest.raises(FileNotFoundError, match="no best checkpoint; set best_metric"):
    run.run(config, tmp_path / "run", "eval")
  assert checkpoint.read_config(tmp_path / "run").eval.checkpoint == "latest"


@pytest.mark.parametrize(("most", "rows"), [(64, 8), (4, 4)])
def test_batches_of_an_evaluation_are_no_larger_than_it_is(data, tmp_path, most, rows):
  config = _config(data)
  with config.unlocked():
    config.eval.batch_size = most
  batches = list(Stage(config, tmp_path, tmp_path, trains=False).eval_batches())
  assert {len(batch["weight"]) for batch in batches} == {rows}
  assert sum(batch["weight"].sum() for batch in batches) == 7


def test_real_data_and_augmentation_go_on_bit_equal(data, tmp_path, monkeypatch):
  config = _config(data, train_for="9 steps", eval_every="2 steps", checkpoint_every="2 steps", ema=0.9)
  assert run.run(config, tmp_path / "whole", "train")
  batches = Stage.train_batches

  def interrupted(self, start):
    for step, batch in enumerate(batches(self, start), start):
      if step == 4:
        signal.raise_signal(signal.SIGTERM)
      yield batch

  monkeypatch.setattr(Stage, "train_batches", interrupted)
  assert not run.run(config, tmp_path / "stopped")
  assert not (tmp_path / "stopped" / "eval").exists()
  monkeypatch.setattr(Stage, "train_batches", batches)
  with config.unlocked():
    config.data.threads, config.data.keep_mb = 1, 0  # how data are read changes nothing
  assert run.run(config, tmp_path / "stopped", "train")
  toys.assert_bit_equal(tmp_path / "stopped", tmp_path / "whole")
  names = ("train/pose/loss", "eval/mpjpe/all")
  found, expected = ([toys.scalars(tmp_path / of, name) for name in names] for of in ("stopped", "whole"))
  assert found == expected


def test_a_signal_in_the_last_step_is_obeyed_before_the_evaluation(data, tmp_path, monkeypatch):
  batches = Stage.train_batches

  def interrupted(self, start):
    for step, batch in enumerate(batches(self, start), start):
      if step == 3:
        signal.raise_signal(signal.SIGTERM)
      yield batch

  config = _config(data, eval_every="0 steps")
  monkeypatch.setattr(Stage, "train_batches", interrupted)
  assert not run.run(config, tmp_path)
  assert not (tmp_path / "eval").exists()
  monkeypatch.setattr(Stage, "train_batches", batches)
  assert run.run(config, tmp_path)
  assert (tmp_path / "eval" / "metrics.json").is_file()


def test_the_config_survives_its_file(data, tmp_path):
  config = _config(data)
  checkpoint.write_config(tmp_path, config)
  again = checkpoint.read_config(tmp_path)
  assert again.to_json(sort_keys=True) == config.to_json(sort_keys=True)
  assert again.schedule.drops == ()
  assert json.loads((tmp_path / "config.json").read_text())["optimizer"]["learning_rate"] == 1e-2


def test_a_folder_of_another_config_is_not_continued(data, tmp_path):
  checkpoint.write_config(tmp_path, _config(data))
  stages.check_continues(tmp_path, _config(data, train_for="9 steps", log_every="2 steps"))
  changed = _config(data, seed=1)
  changed.data.train = ("other:train",)
  with pytest.raises(ValueError, match=r"begun with another config: data\.train was .*; seed was 0 and is 1\. Choose"):
    run.run(changed, tmp_path)


@pytest.mark.parametrize(
  ("field", "value", "decides"),
  [("data.rough", True, True), ("data.fits", "fits.npz", True), ("vgg", "vgg16.pth", True), ("data.threads", 7, False)],
)
def test_what_changes_pictures_labels_or_losses_is_not_changed_on_the_way(field, value, decides, data, tmp_path):
  begun = _config(data)
  checkpoint.write_config(tmp_path, begun)
  changed = _break(_config(data), field, value)
  if decides:
    with pytest.raises(ValueError, match=f"begun with another config: {field} was"):
      stages.check_continues(tmp_path, changed)
  else:
    stages.check_continues(tmp_path, changed)
  content = json.loads((tmp_path / "config.json").read_text())  # of before the field was there
  *parents, leaf = field.split(".")
  del functools.reduce(dict.__getitem__, parents, content)[leaf]
  (tmp_path / "config.json").write_text(json.dumps(content))
  stages.check_continues(tmp_path, begun)


def test_weights_of_the_perceptual_loss_may_have_moved(data, tmp_path):
  checkpoint.write_config(tmp_path, _config(data, vgg="here/vgg16.pth"))
  stages.check_continues(tmp_path, _config(data, vgg="there/vgg16.pth"))


def test_an_evaluation_leaves_what_was_trained_as_it_was(data, tmp_path):
  assert run.run(_config(data, best_metric="mpjpe/all"), tmp_path, "train")
  again = _config(data, train_for="9 steps")
  again.eval.batch_size = 8
  assert run.run(again, tmp_path, "eval")
  kept = checkpoint.read_config(tmp_path)
  assert (kept.train_for, kept.best_metric, kept.eval.batch_size) == ("4 steps", "mpjpe/all", 8)
  assert stages.is_finished(tmp_path)


def test_each_data_set_may_have_a_kind_of_its_own(data, tmp_path):
  config = _config(data)
  with config.unlocked():
    config.data.train, config.data.kind = (f"{data}:train", f"{data}:val"), "single,all"
  sizes = [len(records) for records in Stage(config, tmp_path, tmp_path)._data.training]
  config.data.kind = "all"
  whole = [len(records) for records in Stage(config, tmp_path, tmp_path)._data.training]
  assert 0 < sizes[0] < whole[0]
  assert sizes[1] == whole[1]
  config.data.kind = "singel"
  with pytest.raises(ValueError, match=r"no kind 'singel'"):
    Stage(config, tmp_path / "typo", tmp_path)
  config.data.kind = "single,all,all"
  with pytest.raises(ValueError, match=r"data\.kind is 'single,all,all'"):
    Stage(config, tmp_path, tmp_path)


def _break(config, path, value):
  with config.unlocked():
    *parents, leaf = path.split(".")
    node = config
    for parent in parents:
      node = node[parent]
    node[leaf] = value
  return config


@pytest.mark.parametrize(
  ("path", "value", "error", "message"),
  [
    ("system.name", "toi", ValueError, "no jaxhands/systems/toi.py"),
    ("batch_size", 6, ValueError, "batch_size=6 cannot be divided among 4 devices"),
    ("eval.batch_size", 3, ValueError, r"^eval\.batch_size=3 cannot be .* 4 devices; try eval\.batch_size=4$"),
    ("eval.metrics", ("mpjpee",), ValueError, "no metric 'mpjpee'; did you mean 'mpjpe'"),
    ("best_metric", "mpjpe/al", ValueError, "did you mean 'mpjpe/all'"),
    ("best_metric", "handedness_ap", ValueError, "but higher handedness_ap is better"),
    ("eval.methods", ConfigDict({"other": {"widht": 3}}), ValueError, r"eval\.methods\.other: .*widht"),
    ("eval.methods", ConfigDict({"far": {"sees": "wide"}}), ValueError, r"\.far: with its sees .* host_ops\(False\) w"),
    ("eval.methods", ConfigDict({"one": {"sees": "one_hand"}}), ValueError, r"\.one: with its sees .* view would"),
    ("data.eval", ("nowhere:val",), FileNotFoundError, "python -m data_builders.nowhere"),
    ("data.train", ("nowhere",), ValueError, r"config\.data\.train=\('nowhere',\): expected NAME:SPLIT"),
    ("init_from.all", "no/such/run", FileNotFoundError, "no run or file no/such/run"),
    ("data.root_depths", "no/depths.npz", ValueError, "root_depths='no/depths.npz' is read by nothing here: set"),
    ("freeze", ("nek",), ValueError, "freeze: there is no subtree 'nek'; did you mean 'neck'"),
    ("train_for", "4", ValueError, r"config\.train_for='4': expected '20 epochs'"),
  ],
)
def test_wrong_configs_are_refused_by_name(path, value, error, message, data, tmp_path, monkeypatch):
  monkeypatch.setenv("JAXHANDS_DATA", str(tmp_path / "data"))
  with pytest.raises(error, match=message):
    run.run(_break(_config(data), path, value), tmp_path / "run")
  assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_nothing_touches_a_device_at_import(tmp_path):
  import subprocess

  script = "import jaxhands.run, jax._src.xla_bridge as bridge; assert not bridge._backends, bridge._backends"
  found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
  assert found.returncode == 0, found.stderr


def test_protocol_section_has_the_protocols_fields():
  import dataclasses

  from jaxhands.evaluation.metrics.base import Protocol

  section = base_config.get_config().eval.protocol
  assert Protocol(**section) == Protocol()
  assert set(section) == {field.name for field in dataclasses.fields(Protocol)}


def test_devices_of_the_tests_are_four():
  assert jax.device_count() == 4
