"""Runs of several stages: what they share, what they start from, and that each goes on by itself."""

import json
import pathlib
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import base as base_config
from configs import internet
from jaxhands import run
from jaxhands.runs import lock, released, stages
from jaxhands.train import checkpoint, state
from jaxhands.weights import kept
from tests import test_run
from tests.hands import synthetic_mano
from tests.train import toys

GOLDENS = pathlib.Path(__file__).parents[1] / "goldens" / "mano"
_config, data, systems = test_run._config, test_run.data, test_run.systems  # the last two are fixtures


def _staged(data):
  first, second, whole = (_config(data, init_from=ConfigDict({"all": "", "neck": "", "head": ""})) for _ in range(3))
  first.train_for = "3 steps"
  second.init_from.all, second.freeze, second.optimizer.learning_rate = "stages/first", ("neck",), 0.1
  whole.system.assembled = True
  whole.init_from.update(neck="stages/first", head="stages/second")
  return base_config.staged(whole.unlock(), {"first": first.unlock(), "second": second.unlock(), "whole": whole}).lock()


def test_stages_follow_each_other(data, tmp_path):
  config = _staged(data)
  assert run.run(config, tmp_path)
  first, second, whole = (toys.everything(tmp_path / "stages" / name) for name in config.stages)
  neck, head = (f"variables['params']['{part}']['Dense_0']['kernel']" for part in ("neck", "head"))
  np.testing.assert_array_equal(second[neck], first[neck])  # frozen at what the first left
  assert np.abs(second[head] - first[head]).max() > 0
  np.testing.assert_array_equal(whole[neck], first[neck])
  np.testing.assert_array_equal(whole[head], second[head])
  stage = json.loads((tmp_path / "stages" / "second" / "config.json").read_text())
  assert stage["optimizer"]["learning_rate"] == 0.1
  assert stage["train_for"] == "4 steps"
  answers = [json.loads((tmp_path / "stages" / name / "eval" / "metrics.json").read_text()) for name in config.stages]
  # The run's answer is the last stage's, with those before it as further methods.
  answer = json.loads((tmp_path / "eval" / "metrics.json").read_text())
  own = len(answers[2]["also"])
  assert answer | {"also": answer["also"][:own]} == answers[2]
  assert [entry["method"] for entry in answer["also"][own:]] == ["first", "second"]
  assert answer["also"][own]["metrics"] == answers[0]["metrics"]
  assert answers[0]["metrics"] != answers[1]["metrics"]
  np.testing.assert_allclose(answers[2]["metrics"]["mpjpe/all"], answers[1]["metrics"]["mpjpe/all"], rtol=1e-6)
  # The run of all stages is its last one's.
  assert checkpoint.checkpoint_folder(tmp_path) == tmp_path / "stages" / "whole" / "checkpoints" / "0"


def test_a_run_of_before_stages_shared_more_goes_on(data, tmp_path):
  config = _staged(data)
  begun = config.copy_and_resolve_references().unlock()
  del begun.seed
  checkpoint.write_config(tmp_path, begun)
  stages.check_continues(tmp_path, config)
  config.seed = 1
  with pytest.raises(ValueError, match=r"another config: stages\.first\.seed was 0 and is 1"):
    stages.check_continues(tmp_path, config)


def test_stages_one_at_a_time_are_the_run(data, tmp_path):
  config, reported = _staged(data), []
  run.run(config, tmp_path / "whole")
  for name in config.stages:
    assert not reported
    run.run(config, tmp_path / "single", report=reported.append, only=name)
  assert reported == [tmp_path / "single"]
  whole, single = (json.loads((tmp_path / name / "eval" / "metrics.json").read_text()) for name in ("whole", "single"))
  assert single == whole
  with pytest.raises(ValueError, match=r"there is no stage 'third'; config.stages are \('first', 'second', 'whole'\)"):
    run.run(config, tmp_path / "single", only="third")


def test_a_stage_needs_those_that_it_starts_from(data, tmp_path):
  config = _staged(data)
  with pytest.raises(ValueError, match="stage 'second' starts from 'first', which is not finished: do --stage=first"):
    run.run(config, tmp_path, only="second")
  run.run(config, tmp_path, only="first")
  longer = config.copy_and_resolve_references()
  longer.stages.first.train_for = "100 steps"  # durations may change
  checkpoint.write_config(tmp_path / "stages" / "first", dict(stages.of(longer))["first"])
  with pytest.raises(ValueError, match="which is not finished"):
    run.run(longer, tmp_path, only="second")


def test_what_is_assembled_must_be_complete(data, tmp_path):
  config = _staged(data)
  with config.unlocked():
    config.stages.whole.init_from.head = ""
  with pytest.raises(ValueError, match="is not trained, and init_from does not fill 'batch_stats/head"):
    run.run(config, tmp_path)


def test_stages_share_a_section_and_are_their_own_in_all_else(data, tmp_path):
  config = _staged(data)
  config.seed, config.data.dir, config.data.synthetic.train = 3, "elsewhere", 5
  config.stages.second.batch_size = 8
  parts = dict(stages.of(config))
  assert [(part.seed, part.data.dir, part.data.synthetic.train) for part in parts.values()] == [(3, "elsewhere", 5)] * 3
  assert [part.batch_size for part in parts.values()] == [4, 8, 4]
  assert not any(part.stages for part in parts.values())
  with pytest.raises(AttributeError, match="train_for"):
    config.train_for = "1 step"
  # In order, also of a copy and of what is read again.
  checkpoint.write_config(tmp_path, config)
  for again in (config.copy_and_resolve_references(), checkpoint.read_config(tmp_path)):
    assert list(again.stages) == ["first", "second", "whole"]


def test_a_run_of_other_stages_is_not_continued(data, tmp_path):
  config = _staged(data)
  checkpoint.write_config(tmp_path, config)
  stages.check_continues(tmp_path, config)
  config.stages.second.batch_size = 8
  with pytest.raises(ValueError, match=r"stages\.second\.batch_size was 4 and is 8\. Choose"):
    stages.check_continues(tmp_path, config)
  with pytest.raises(ValueError, match=r"stages were \['first', 'second', 'whole'\] and are \[\]"):
    stages.check_continues(tmp_path, _config(data))


def test_a_run_whose_stages_were_changes_of_its_config_is_still_read(data, tmp_path):
  """Its `stages` were names; what each stage was is in the stage's own folder."""
  config = _staged(data)
  run.run(config, tmp_path)
  for name in ("", *(f"stages/{name}" for name in config.stages)):
    path = tmp_path / name / "config.json"
    old = json.loads(path.read_text())
    path.write_text(json.dumps(old | {"stages": list(old["stages"]), "stage": {}}))
  assert checkpoint.checkpoint_folder(tmp_path) == tmp_path / "stages" / "whole" / "checkpoints" / "0"
  before = (tmp_path / "eval" / "metrics.json").read_text()
  assert run.run(config, tmp_path, "eval")
  assert (tmp_path / "eval" / "metrics.json").read_text() == before


def test_a_run_has_one_writer_and_each_of_its_stages_one(data, tmp_path):
  config = _staged(data)
  with lock.only(tmp_path / "stages" / "first"):
    for only in ("", "first"):
      with pytest.raises(lock.FolderInUseError, match="stages/first already"):
        run.run(config, tmp_path, only=only)
  assert not (tmp_path / "stages" / "first").exists()
  assert run.run(config, tmp_path, "train", only="first")
  with lock.only(tmp_path), lock.only(tmp_path / "stages" / "first"):
    assert run.run(config, tmp_path, "train", only="second")
    with pytest.raises(lock.FolderInUseError):  # the last stage ends with the run's own answer
      run.run(config, tmp_path, only="whole")
  assert not (tmp_path / lock.LOCK).exists()


def test_a_stage_starts_from_stages_before_it(data, tmp_path):
  for field, named in (("neck", "stages/frist"), ("all", "stages/whole"), ("all", "stages/second:neck")):
    config = _staged(data)
    config.stages.second.init_from[field] = named
    source = named.removeprefix("stages/").split(":")[0]
    for only in ("", "second", "first"):
      with pytest.raises(ValueError, match=f"stage 'second' starts from stages/{source}, .* before it are first$"):
        run.run(config, tmp_path / "run", only=only)
  single = _config(data)
  single.init_from.all = "stages/first"
  with pytest.raises(ValueError, match=r"the config starts from stages/first, .* the stages before it are none$"):
    run.run(single, tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_a_stage_needs_the_depths_that_it_is_evaluated_with(tmp_path):
  config = internet.get_config("tiny,rootnet")
  pose = dict(stages.of(config))["internet"]
  assert stages.sources(pose) == ("rootnet",)
  pose.data.root_depths = "stages/rootnet/eval/root_depths.npz"
  assert stages.sources(pose) == ("rootnet",)
  with pytest.raises(ValueError, match="stage 'internet' starts from 'rootnet', which is not finished"):
    run.run(config, tmp_path, only="internet")
  with checkpoint.Checkpoints(tmp_path / "stages" / "rootnet") as saved:
    saved.save(0, state.State(jnp.int32(0), {"params": {"w": jnp.ones(1)}}, {}, {}))
  checkpoint.write_config(tmp_path / "stages" / "rootnet", dict(stages.of(config))["rootnet"])
  with pytest.raises(ValueError, match="reads 'stages/rootnet', which is not evaluated: do --stage=rootnet first"):
    run.run(config, tmp_path, only="internet")


def test_every_config_starts_from_stages_before():
  for _, module in released._modules().items():
    for variant in module.VARIANTS:
      stages.check_sources(dict(stages.of(module.get_config(variant))))


def test_what_a_run_started_from_may_be_gone(data, tmp_path):
  assert run.run(_config(data, train_for="1 step"), tmp_path / "first", "train")
  second = _config(data, init_from=ConfigDict({"all": str(tmp_path / "first")}), train_for="1 step")
  assert run.run(second, tmp_path / "second", "train")
  shutil.rmtree(tmp_path / "first")
  longer = _config(data, init_from=ConfigDict({"all": str(tmp_path / "moved")}), train_for="2 steps")
  assert run.run(longer, tmp_path / "second")
  assert run.run(longer, tmp_path / "second", "eval")
  with pytest.raises(FileNotFoundError, match=r"there is no run or file .*moved"):
    run.run(longer, tmp_path / "third")
  with pytest.raises(ValueError, match=r"init_from\.all was .* and is ''"):  # it did start from something
    stages.check_continues(tmp_path / "second", _config(data))


def test_kept_weights_start_from_nothing(data, tmp_path):
  checkpoint.write_config(tmp_path, _config(data))
  begun = _config(data, init_from=ConfigDict({"all": "", "neck": "kept/internet"}))
  with pytest.raises(ValueError, match=r"init_from\.neck was None and is 'kept/internet'"):
    stages.check_continues(tmp_path, begun)
  (tmp_path / kept.FILE).touch()
  stages.check_continues(tmp_path, begun)
  with pytest.raises(ValueError, match="seed was 0 and is 1"):
    stages.check_continues(tmp_path, _config(data, seed=1))


def test_a_hand_model_may_have_moved(data, tmp_path, monkeypatch):
  for name in ("here", "there"):
    (tmp_path / name).mkdir()
    synthetic_mano.write_pair(GOLDENS, tmp_path / name)
  (tmp_path / "other").mkdir()
  (tmp_path / "other" / "MANO_RIGHT.npz").write_bytes((tmp_path / "here" / "MANO_RIGHT.npz").read_bytes())
  monkeypatch.chdir(tmp_path)
  checkpoint.write_config(tmp_path / "run", _config(data, hand_model=str(tmp_path / "here")))
  for same in ("here", "there"):
    stages.check_continues(tmp_path / "run", _config(data, hand_model=same))
  for other in ("other", "embedded-v1"):
    with pytest.raises(ValueError, match=f"hand_model was .* and is '{other}'"):
      stages.check_continues(tmp_path / "run", _config(data, hand_model=other))
  checkpoint.write_config(tmp_path / "run", _config(data, hand_model=str(tmp_path / "gone")))
  stages.check_continues(tmp_path / "run", _config(data, hand_model="there"))
  with pytest.raises(ValueError, match=r"hand_model was .* and is 'embedded-v1'"):
    stages.check_continues(tmp_path / "run", _config(data))
