"""The command: what it prints, and one clear line and a non-zero status for whatever is wrong."""

import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders import schema, shards
from data_builders.synthetic import SyntheticConfig, __main__, build
from data_builders.synthetic.records import make_record
from jaxhands.data import folders

ROOT = pathlib.Path(__file__).resolve().parents[3]
TINY = ("--train", "2", "--val", "0", "--test", "1", "--pictures", "input", "--jobs", "1")


def run(monkeypatch, *arguments):
  monkeypatch.setattr(sys, "argv", ["synthetic", *(str(argument) for argument in arguments)])
  __main__.main()


def digests(folder):
  return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("[!.]*") if path.is_file()}


def test_it_says_where_the_data_are_and_how_to_look_at_them(tmp_path, monkeypatch, capsys):
  run(monkeypatch, *TINY, "--out", tmp_path / "out")
  out = capsys.readouterr().out.splitlines()
  assert out[0].startswith(f"{tmp_path / 'out'}: 3 records (train 2, val 0, test 1), ")
  assert out[1].startswith("Built 3 in ")
  assert out[1].endswith(" records/s with 1 jobs.")
  assert out[2] == f"Look at them: python -m data_builders.preview {tmp_path / 'out'}"
  run(monkeypatch, *TINY, "--out", tmp_path / "out", "--show", 2)
  out = capsys.readouterr().out.splitlines()
  assert out[1] == "They were all there."
  sheet = pathlib.Path(out[2])
  assert sheet.parent == tmp_path / "out" / "preview"
  assert cv2.imread(str(sheet)).shape == (2 * 240, 9 * 240, 3)


def test_without_a_folder_it_goes_where_the_variable_says(tmp_path, monkeypatch, capsys):
  monkeypatch.setenv("JAXHANDS_DATA", str(tmp_path))
  run(monkeypatch, *TINY)
  (folder,) = tmp_path.iterdir()
  assert folder.name.startswith("synthetic-")
  assert (folder / "dataset_info.json").exists()
  assert build(SyntheticConfig(train=2, val=0, test=1, pictures="input"), jobs=1) == folder
  run(monkeypatch, "--train", 0, "--val", 0, "--test", 1, "--variant", "other", "--pictures", "input", "--jobs", 1)
  assert folders.find("synthetic") == folder
  assert folders.find("synthetic", "other").name.startswith("synthetic-other-")


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("--train", "-1"), "train is -1 records, expected 0 or more"),
    (("--train", "0", "--val", "0", "--test", "0"), "train, val and test are all 0"),
    (("--jobs", "0"), "jobs is 0, expected at least 1"),
    (("--variant", "huge"), "variant is 'huge', expected one of full, demo, other"),
    (("--pictures", "some"), "pictures is 'some', expected one of all, input"),
    (("--hands", "three"), "hands is 'three', expected one of all, single, pair"),
    (("--upright", "-3"), "upright is -3.0 degrees"),
    (("--cameras", "0"), "cameras is 0"),
    (("--background-dir", "/nowhere"), "background-dir /nowhere is not a folder"),
    (("--show", "0"), "show is 0"),
  ],
)
def test_a_bad_argument_is_one_clear_line(tmp_path, monkeypatch, arguments, message):
  with pytest.raises(SystemExit) as caught:
    run(monkeypatch, *TINY, "--out", tmp_path / "out", *arguments)
  assert message in caught.value.code
  assert caught.value.code.startswith("python -m data_builders.synthetic: error: ")
  assert "\n" not in caught.value.code
  assert not (tmp_path / "out").exists()


def test_a_folder_of_pictures_that_are_none_is_refused(tmp_path, monkeypatch):
  (tmp_path / "a.jpg").write_text("no picture")
  with pytest.raises(SystemExit, match="holds no readable picture"):
    run(monkeypatch, *TINY, "--out", tmp_path / "out", "--background-dir", tmp_path)


def test_a_file_in_the_way_is_refused(tmp_path, monkeypatch):
  (tmp_path / "out").write_text("precious")
  with pytest.raises(SystemExit, match="out is a file; give the path of a folder"):
    run(monkeypatch, *TINY, "--out", tmp_path / "out")


def test_a_folder_with_other_arguments_is_refused_by_the_flags_name(tmp_path, monkeypatch):
  run(monkeypatch, *TINY, "--out", tmp_path / "out")
  before = digests(tmp_path / "out")
  with pytest.raises(SystemExit, match=r"arguments: seed 0 there and 1 here, upright 180\.0 there and 45\.0 here"):
    run(monkeypatch, *TINY, "--out", tmp_path / "out", "--seed", 1, "--upright", 45)
  assert digests(tmp_path / "out") == before


def test_a_full_disk_is_one_clear_line(tmp_path, monkeypatch):
  class Full:
    def __init__(self, path, options):
      pathlib.Path(path).write_bytes(b"half")

    def write(self, record):
      raise OSError(28, "No space left on device")

    def close(self):
      pass

  monkeypatch.setattr(shards, "ArrayRecordWriter", Full)
  with pytest.raises(SystemExit, match="the disk is full under") as caught:
    run(monkeypatch, *TINY, "--out", tmp_path / "out")
  assert "\n" not in caught.value.code
  assert {path.name for path in (tmp_path / "out").iterdir()} == {"build.json"}


def test_a_killed_build_goes_on_to_the_records_that_any_process_makes(tmp_path):
  config = SyntheticConfig(train=103, val=0, test=0, variant="demo")
  command = [sys.executable, "-m", "data_builders.synthetic", "--out", str(tmp_path), "--train", "103", "--val", "0"]
  command += ["--test", "0", "--variant", "demo", "--jobs", "2"]
  process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"})
  end = time.monotonic() + 120
  # The shard of 3 is whole, that of 100 is not.
  while not list(tmp_path.glob("synthetic-*")):
    assert time.monotonic() < end
    assert process.poll() is None, process.stderr.read()
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  process.communicate()
  assert len(list(tmp_path.glob("synthetic-*"))) == 1
  assert not (tmp_path / "dataset_info.json").exists()
  before = digests(tmp_path)
  build(config, tmp_path, jobs=2)
  assert before.items() <= digests(tmp_path).items()
  encoded = {key: tfds.decode.SkipDecoding() for key in schema.PICTURES}
  source = tfds.builder_from_directory(tmp_path).as_data_source("train", decoders=encoded)
  for index in (0, 41, 99, 102):
    made, read = make_record(config, "train", index), source[index]
    for key in schema.RECORD:
      expected = made[key].encode() if isinstance(made[key], str) else made[key]
      np.testing.assert_array_equal(read[key], expected, err_msg=key)
