"""A damaged file of a run is named, with what to do; what can be made anew is made anew."""

import io
import json
import pathlib

import numpy as np
import pytest
from ml_collections import ConfigDict

from jaxhands.configuration import requirements
from jaxhands.data import source
from jaxhands.data.records import DataSet, RootDepths
from jaxhands.evaluation import compare
from jaxhands.evaluation.metrics import confidence, mean_pose
from jaxhands.report.files import RunFiles
from jaxhands.results import page, record
from jaxhands.runs import provenance
from jaxhands.train import checkpoint
from tests.data.conftest import build


@pytest.fixture
def run(tmp_path):
  """The files of an evaluated run, as far as they are read here."""
  (tmp_path / "eval").mkdir()
  ids = np.arange(3)
  (tmp_path / "config.json").write_text(json.dumps({"name": "x", "stages": []}))
  (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/loss": 0.5}\n')
  (tmp_path / "origin.json").write_text("[]")
  (tmp_path / "eval" / "metrics.json").write_text(json.dumps({"metrics": {}, "protocol": ""}))
  (tmp_path / "eval" / "calibration.json").write_text(json.dumps({"confidence": [0, 1], "probability": [0, 1]}))
  (tmp_path / "eval" / "timings.json").write_text(json.dumps({"ms": {}}))
  np.savez(tmp_path / "eval" / "examples.npz", example_id=ids, record_hash=ids, scene_id=ids)
  np.savez(tmp_path / "eval" / "shown.npz", position=ids)
  RootDepths(ids, ids, np.ones((3, 2)), np.ones((3, 2), bool)).write(tmp_path / "eval" / "root_depths.npz")
  np.save(tmp_path / "mean_pose.npy", np.zeros((2, 2, 21, 3), np.float32))
  (tmp_path / "remarks.toml").write_text("")
  return tmp_path


READERS = {
  "config.json": (checkpoint.read_config, RunFiles.read),
  "metrics.jsonl": (RunFiles.read,),
  "origin.json": (
    lambda run: provenance.note_training(run, []),
    lambda run: requirements.of_weights(run, ConfigDict({"init_from": {}}), run),
  ),
  "eval/metrics.json": (compare.Evaluated.read, RunFiles.read),
  "eval/calibration.json": (lambda run: confidence.Calibration.read(run), RunFiles.read),
  "eval/timings.json": (RunFiles.read,),
  "eval/examples.npz": (compare.Evaluated.read, RunFiles.read),
  "eval/shown.npz": (RunFiles.read,),
  "eval/root_depths.npz": (lambda run: RootDepths.read(run / "eval" / "root_depths.npz"),),
  "mean_pose.npy": (lambda run: mean_pose.MeanPose.read(run / "mean_pose.npy"),),
  "remarks.toml": (page.read_remarks,),
  "results.json": (record.read_all,),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", [b"\xff\xfe nonsense\n", b"[[\n", b"PK\x03\x04 cut off\n"])
def test_every_reader_names_the_file(run, name, content):
  for read in READERS[name]:
    if name != "results.json":
      read(run)
    else:  # whose folder holds nothing else
      (run / "config.json").unlink()
      (run / "origin.json").unlink()
    whole = (run / name).read_bytes() if (run / name).is_file() else b""
    (run / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is damaged, or something else .*; `?\w+") as caught:
      read(run)
    assert "\n" not in str(caught.value)
    (run / name).write_bytes(whole)


def test_a_checkpoint_that_lacks_files_is_named(tmp_path):
  (tmp_path / "checkpoints" / "7" / "variables").mkdir(parents=True)
  with pytest.raises(FileNotFoundError, match=r"no latest checkpoint; .*checkpoints/7 lacks files; take a copy"):
    checkpoint.checkpoint_folder(tmp_path)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", [b"", b'{"name": "ti', b"[]", b"{}"])
def test_metadata_of_a_data_set_are_named(tmp_path, name, content):
  folder = pathlib.Path(build(tmp_path / "data", train=7))
  (folder / name).write_bytes(content)
  with pytest.raises(ValueError, match=r"(dataset_info|features)\.json is damaged.*build the data set again|has no"):
    source.open_all([DataSet(str(folder), "train")], "pair", {"image"})


@pytest.mark.parametrize("change", [lambda raw: b"", lambda raw: raw[: len(raw) // 2], lambda raw: b"a text"])
def test_a_damaged_index_is_made_anew_with_a_line(tmp_path, change, caplog):
  folder = pathlib.Path(build(tmp_path / "data", train=7))
  source.open_all([DataSet(str(folder), "train")], "pair", {"image"})
  index = folder / "index-train.npz"
  whole = index.read_bytes()
  index.write_bytes(change(whole))
  (opened,) = source.open_all([DataSet(str(folder), "train")], "pair", {"image"})
  assert len(opened) == 7
  assert "index-train.npz is damaged" in caplog.text
  with np.load(index) as found, np.load(io.BytesIO(whole)) as expected:
    for key in expected:
      np.testing.assert_array_equal(found[key], expected[key])
