"""RootNet's depths from a run, or from its authors' file, to the evaluation of another system."""

import json
import pathlib

import numpy as np
import pytest

from configs import internet, rootnet
from jaxhands import report, run
from jaxhands.data.records import RootDepths
from tests.data.conftest import build


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> pathlib.Path:
  return pathlib.Path(build(tmp_path_factory.mktemp("depths") / "data", train=13, val=7))


def _config(module, variant, data, **changes):
  config = module.get_config(variant)
  config.data.train, config.data.eval, config.data.threads = (f"{data}:train",), (f"{data}:val",), 2
  config.train_for, config.eval_every = "2 steps", "2 steps"
  config.update_from_flattened_dict(changes)
  return config


@pytest.fixture(scope="module")
def staged(data, tmp_path_factory) -> pathlib.Path:
  """RootNet, then InterNet evaluated with its depths, in one run."""
  workdir = tmp_path_factory.mktemp("staged") / "run"
  config = _config(internet, "tiny,rootnet", data)
  config.stage.rootnet.update(train_for="2 steps", eval_every="2 steps")
  assert run.run(config, workdir, "train")
  # Training InterNet needs the table for its own evaluations; nothing else is evaluated.
  assert (workdir / "stages" / "rootnet" / "eval" / "root_depths.npz").is_file()
  assert not (workdir / "stages" / "internet" / "eval").exists()
  assert run.run(config, workdir, "eval")
  return workdir


def _result(folder):
  return json.loads((folder / "eval" / "metrics.json").read_text())


def test_a_run_of_both_stages_compares_with_estimated_depths(staged):
  estimator, pose = _result(staged / "stages" / "rootnet"), _result(staged)
  assert estimator["system"] == "rootnet"
  assert {"root_depth/all", "root_depth/left", "mrpe/single"} <= set(estimator["metrics"])
  assert not [key for key in estimator["metrics"] if key.startswith(("mpjpe", "epe2d", "handedness"))]
  assert pose["system"] == "internet"
  assert "depth=rootnet" in pose["protocol"]
  (other,) = (entry for entry in pose["also"] if entry["method"] == "internet")
  assert "left_root=own" in other["protocol"]
  assert other["metrics"]["mrrpe"] != pose["metrics"]["mrrpe"]  # the left wrist's own depth
  assert other["metrics"]["mpjpe/all"] == pose["metrics"]["mpjpe/all"]


def test_the_table_holds_what_the_network_found(staged):
  folder = staged / "stages" / "rootnet" / "eval"
  table = RootDepths.read(folder / "root_depths.npz")
  with np.load(folder / "examples.npz") as values, np.load(folder / "shown.npz") as shown:
    np.testing.assert_array_equal(table.example_id, np.sort(values["example_id"]))
    assert table.valid.all()
    found = dict(zip(table.example_id.tolist(), table.depth_mm, strict=True))
    for example, depth in zip(shown["batch/example_id"], shown["prediction/root_cam"][..., 2], strict=True):
      np.testing.assert_allclose(found[int(example)], depth, rtol=1e-4, atol=1e-2)
  with np.load(staged / "eval" / "shown.npz") as shown:
    for example, depth in zip(shown["batch/example_id"], shown["batch/root_depth_estimated"], strict=True):
      np.testing.assert_array_equal(found[int(example)], depth)


@pytest.mark.parametrize("given", ["stages/rootnet", "stages/rootnet/eval/root_depths.npz"])
def test_another_run_takes_the_folder_or_the_file(staged, data, given):
  changes = {"data.root_depths": str(staged / given), "eval.protocol.depth": "rootnet"}
  part = run.Run(_config(internet, "tiny", data, **changes), staged / "stages" / "internet", staged)
  found = part.evaluate()
  assert found.metrics["mrrpe"] == pytest.approx(_result(staged)["metrics"]["mrrpe"], rel=1e-6)


def test_a_table_of_other_pictures_is_refused_before_anything_is_computed(staged, data, tmp_path):
  changes = {"data.root_depths": str(staged / "stages" / "rootnet"), "eval.protocol.depth": "rootnet"}
  config = _config(internet, "tiny", data, **changes)
  config.data.eval = (f"{data}:train",)  # the same ids, of other pictures
  with pytest.raises(ValueError, match=r"root_depths\.npz is of another data set: its record 0"):
    run.run(config, tmp_path / "run")
  assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_estimated_depths_must_come_from_somewhere(data, tmp_path):
  config = _config(internet, "tiny", data, **{"eval.protocol.depth": "rootnet"})
  with pytest.raises(ValueError, match=r"depth='rootnet' needs data\.root_depths: a run of configs/rootnet\.py"):
    run.run(config, tmp_path)


def test_one_hand_a_crop_makes_the_table_of_pairs(data, tmp_path):
  config = _config(rootnet, "tiny,hand", data)
  assert run.run(config, tmp_path)
  table = RootDepths.read(tmp_path / "eval" / "root_depths.npz")
  np.testing.assert_array_equal(table.example_id, 4 * np.arange(7))
  index = np.arange(7)
  np.testing.assert_array_equal(table.valid, np.stack([index % 3 != 1, index % 3 != 0], -1))  # hands that are there
  assert len(np.unique(table.depth_mm[table.valid])) == table.valid.sum()


def test_the_report_shows_the_true_hands_where_the_wrists_are_said_to_be(staged):
  page = report.write(staged / "stages" / "rootnet").read_text()
  assert "mm away, truly" in page
  assert "the true hands at the predicted wrists" in page
  assert 'aria-label="prediction from above, truth behind it"' in page
