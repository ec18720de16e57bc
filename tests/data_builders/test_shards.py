"""Shards: whatever happens to a build, the folder ends up as an uninterrupted one leaves it, or says why it cannot."""

import errno
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_builders import shards
from data_builders.shards import BuildError, build, default_folder
from tests.data_builders.fake_builder import make_record, plan

ROOT = pathlib.Path(__file__).resolve().parents[2]


def digests(folder):
  return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def start(folder, jobs, seconds, count):
  command = [sys.executable, "-m", "tests.data_builders.fake_builder", str(folder), str(jobs), str(seconds), str(count)]
  return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for(condition, seconds=60):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, "the build did not get that far"
    time.sleep(0.02)


def test_tfds_reads_what_was_written_in_order(tmp_path):
  build(plan(train=7, val=2), tmp_path)
  builder = tfds.builder_from_directory(tmp_path)
  assert {name: info.num_examples for name, info in builder.info.splits.items()} == {"train": 7, "val": 2}
  assert builder.info.description == "Noise."
  for split, count in (("train", 7), ("val", 2)):
    source = builder.as_data_source(split)
    assert len(source) == count
    for index in range(count):
      expected = make_record(split, index)
      assert source[index]["source"] == expected["source"].encode()
      np.testing.assert_array_equal(source[index]["box_img"], expected["box_img"])
      assert source[index]["picture"].shape == (16, 24, 3)
  encoded = builder.as_data_source("train", decoders={"picture": tfds.decode.SkipDecoding()})
  assert encoded[4]["picture"] == make_record("train", 4)["picture"]
  assert "tensorflow" not in sys.modules


def test_the_files_do_not_depend_on_the_jobs(tmp_path):
  one, two = build(plan(), tmp_path / "one", jobs=1), build(plan(), tmp_path / "two", jobs=2)
  assert digests(one) == digests(two)


def test_a_complete_folder_is_only_read(tmp_path):
  build(plan(), tmp_path)
  times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

  def must_not_run(split, index, seconds):
    raise AssertionError

  build(plan(make=must_not_run), tmp_path)
  assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times


def test_what_is_missing_is_written_again_and_nothing_else(tmp_path):
  build(plan(), tmp_path / "whole")
  folder = build(plan(), tmp_path / "holed")
  lost = sorted(folder.glob("*00001-of*"))
  assert len(lost) == 1
  lost[0].unlink()
  made = []

  def note(split, index, seconds):
    made.append((split, index))
    return make_record(split, index)

  build(plan(make=note), folder)
  assert made == [("train", 3), ("train", 4), ("train", 5)]
  assert digests(folder) == digests(tmp_path / "whole")


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json", "*00001-of*"])
@pytest.mark.parametrize("cut", [0, 100])
def test_what_is_damaged_is_written_again_with_the_same_bytes(tmp_path, name, cut):
  folder = build(plan(), tmp_path / "data")
  whole = digests(folder)
  (path,) = folder.glob(name)
  path.write_bytes(path.read_bytes()[:cut])
  build(plan(), folder)
  assert digests(folder) == whole


@pytest.mark.parametrize("share", [0, 0.5, 0.9])
def test_a_cut_shard_of_a_copy_without_metadata_is_written_again(tmp_path, share):
  folder = build(plan(), tmp_path / "data")
  whole = digests(folder)
  (folder / "dataset_info.json").unlink()
  (path,) = folder.glob("*00001-of*")
  path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
  build(plan(), folder)
  assert digests(folder) == whole


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(tmp_path, number, jobs):
  folder = tmp_path / "killed"
  process = start(folder, jobs, 0.15, 9)
  # One shard is whole and another is being written.
  wait_for(lambda: list(folder.glob("fake-*")) and list(folder.glob(".*.partial")))
  process.send_signal(number)
  _, error = process.communicate(timeout=30)
  assert not (folder / "dataset_info.json").exists()
  assert 1 <= len(list(folder.glob("fake-*"))) < 3
  if number != signal.SIGKILL:
    assert process.returncode == 130
    assert error == "fake: interrupted; run the same command to go on with what is missing\n"
    assert not list(folder.glob(".*"))
  build(plan(train=9), folder, jobs=1)
  assert digests(folder) == digests(build(plan(train=9), tmp_path / "whole"))


def test_workers_die_with_the_process_that_started_them(tmp_path):
  process = start(tmp_path / "out", 2, 0.2, 200)
  wait_for(lambda: list((tmp_path / "out").glob("fake-*")))
  children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
  if not children.exists():
    pytest.skip("no /proc to list child processes with")
  workers = [int(pid) for pid in children.read_text().split()]
  assert len(workers) >= 2
  process.kill()
  process.communicate()

  def alive(pid):
    try:
      return "Z" not in pathlib.Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0]
    except FileNotFoundError:
      return False

  wait_for(lambda: not any(alive(pid) for pid in workers), 20)


def test_a_killed_worker_is_reported_in_one_line(tmp_path):
  process = start(tmp_path / "out", 2, 0.2, 60)
  wait_for(lambda: list((tmp_path / "out").glob("fake-*")))
  partials = list((tmp_path / "out").glob(".*.partial"))
  os.kill(int(partials[0].name.split(".")[-2]), signal.SIGKILL)
  _, error = process.communicate(timeout=30)
  assert process.returncode == 1
  assert error.startswith("fake: error: a worker process was killed")
  assert error.count("\n") == 1


class FullDisk:
  """Stands for array_record's writer on a disk that has room for two more records."""

  def __init__(self, path, error):
    self.error, self.room = error, 2
    pathlib.Path(path).write_bytes(b"half")

  def write(self, record):
    self.room -= 1
    if self.room < 0:
      raise self.error

  def close(self):
    pass


@pytest.mark.parametrize(
  "error",
  [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    RuntimeError("write() failed: No space left on device; writing /x; at byte 0; Failed to close chunk_writer"),
  ],
)
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(tmp_path, monkeypatch, error):
  real = shards.ArrayRecordWriter
  opened = []

  def writer(path, options):
    opened.append(path)
    return real(path, options) if len(opened) == 1 else FullDisk(path, error)

  monkeypatch.setattr(shards, "ArrayRecordWriter", writer)
  with pytest.raises(BuildError, match=r"the disk is full under .*; make room and run the same command") as caught:
    build(plan(), tmp_path / "out")
  assert "\n" not in str(caught.value)
  assert {path.name for path in (tmp_path / "out").iterdir()} == {
    "build.json",
    "fake-train.array_record-00000-of-00003",
  }
  monkeypatch.setattr(shards, "ArrayRecordWriter", real)
  assert digests(build(plan(), tmp_path / "out")) == digests(build(plan(), tmp_path / "whole"))


def test_the_real_writer_reports_a_full_disk_in_words_that_are_known():
  if not pathlib.Path("/dev/full").exists():
    pytest.skip("no /dev/full here")

  def fill():
    with shards.clear_errors(pathlib.Path("/somewhere")):
      writer = shards.ArrayRecordWriter("/dev/full", "group_size:1")
      writer.write(b"x" * 100_000)
      writer.close()

  with pytest.raises(BuildError, match="the disk is full under /somewhere"):
    fill()


def test_a_record_that_is_wrong_stops_the_build_with_its_key(tmp_path):
  def wrong(split, index, seconds):
    return make_record(split, index) | {"box_img": np.full(4, np.nan, np.float32)}

  with pytest.raises(ValueError, match="'box_img' is not finite"):
    build(plan(make=wrong), tmp_path)
  assert not list(tmp_path.glob("fake-*"))
  assert not list(tmp_path.glob(".*"))


def test_a_file_is_no_folder(tmp_path):
  (tmp_path / "out").write_text("precious")
  with pytest.raises(BuildError, match=r"out is a file; give the path of a folder"):
    build(plan(), tmp_path / "out")
  assert (tmp_path / "out").read_text() == "precious"


def test_a_strangers_folder_is_left_alone(tmp_path):
  (tmp_path / "thesis.tex").write_text("precious")
  with pytest.raises(BuildError, match=r"has no build.json but holds thesis.tex; give a new or an empty folder"):
    build(plan(), tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_other_arguments_are_refused_by_name(tmp_path):
  build(plan(seed=0), tmp_path)
  before = digests(tmp_path)
  with pytest.raises(BuildError, match="seed 0 there and 1 here; give another folder or delete this one"):
    build(plan(seed=1), tmp_path)
  with pytest.raises(BuildError, match="train 7 there and 8 here, upright None there and 60 here"):
    build(plan(train=8, seed=0, upright=60), tmp_path)
  assert digests(tmp_path) == before


def test_a_folder_of_another_format_is_refused(tmp_path, monkeypatch):
  build(plan(), tmp_path)
  monkeypatch.setattr(shards, "FORMAT", 99)
  with pytest.raises(BuildError, match="format 1 there and 99 here"):
    build(plan(), tmp_path)


def test_a_damaged_build_file_is_named(tmp_path):
  build(plan(), tmp_path)
  (tmp_path / "build.json").write_text("{")
  with pytest.raises(BuildError, match=r"build.json is damaged"):
    build(plan(), tmp_path)


def test_a_folder_whose_name_is_no_text_is_refused_before_anything_is_made(tmp_path):
  folder = tmp_path / os.fsdecode(b"set\xff")
  with pytest.raises(BuildError, match=r"set\\udcff' is not UTF-8, or this locale is not; name another folder"):
    build(plan(), folder)
  assert not folder.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(BuildError, match=r"cannot write under .*file/out"):
    build(plan(), tmp_path / "file" / "out")


@pytest.mark.parametrize(("bad", "message"), [({"jobs": 0}, "jobs is 0"), ({"jobs": -2}, "jobs is -2")])
def test_bad_jobs_are_named(tmp_path, bad, message):
  with pytest.raises(BuildError, match=message):
    build(plan(), tmp_path / "out", **bad)
  assert not (tmp_path / "out").exists()


def test_nothing_to_build_is_an_error(tmp_path):
  with pytest.raises(BuildError, match="nothing to build"):
    build(plan(train=0), tmp_path / "out")


def test_two_builds_of_one_folder_do_not_disturb_each_other(tmp_path):
  first, second = (start(tmp_path / "out", 1, 0.05, 9) for _ in range(2))
  errors = [process.communicate(timeout=60)[1] for process in (first, second)]
  assert [first.returncode, second.returncode] == [0, 0]
  assert any("this one waits" in error for error in errors)
  assert digests(tmp_path / "out") == digests(build(plan(train=9), tmp_path / "whole"))


def test_progress_counts_what_was_there(tmp_path):
  build(plan(), tmp_path)
  next(iter(tmp_path.glob("*00002-of*"))).unlink()
  calls = []
  build(plan(), tmp_path, progress=lambda finished, total: calls.append((finished, total)))
  assert calls == [(6, 7), (7, 7)]


def test_the_default_folder_follows_the_arguments(monkeypatch, tmp_path):
  monkeypatch.setenv("JAXHANDS_DATA", str(tmp_path))
  one, other = default_folder("fake", {"a": 1, "b": 2}), default_folder("fake", {"a": 1, "b": 3})
  assert one.parent == tmp_path
  assert one.name.startswith("fake-")
  assert one != other
  assert one == default_folder("fake", {"b": 2, "a": 1})
  monkeypatch.delenv("JAXHANDS_DATA")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  assert default_folder("fake", {}).parent == tmp_path / "cache" / "jaxhands"


def test_the_build_file_says_how_it_was_made(tmp_path):
  build(plan(seed=3), tmp_path)
  written = json.loads((tmp_path / "build.json").read_text())
  assert written["builder"] == "fake"
  assert written["arguments"] == {"train": 7, "val": 0, "seed": 3}
  assert written["hash"] == shards.arguments_hash(written["arguments"])
