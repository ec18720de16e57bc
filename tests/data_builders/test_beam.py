"""Shards written by Apache Beam's local runner: the same bytes, whatever happens to the pipeline."""

import importlib.util
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from data_builders.command import beam_of
from data_builders.shards import BuildError, build
from tests.data_builders.fake_builder import plan
from tests.data_builders.test_shards import digests, wait_for

ROOT = pathlib.Path(__file__).resolve().parents[2]
with_beam = pytest.mark.skipif(
  importlib.util.find_spec("apache_beam") is None, reason="Apache Beam is not installed: pip install 'jaxhands[beam]'"
)


def start(folder, jobs, seconds, count):
  """A build with Beam, in processes of its own: Beam's import alone gives warnings, which are errors here."""
  command = [sys.executable, "-m", "tests.data_builders.fake_builder", str(folder), str(jobs), str(seconds), str(count)]
  return subprocess.Popen([*command, "beam"], cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)


@with_beam
def test_beam_writes_the_same_files_with_all_cores(tmp_path):
  build(plan(train=20), tmp_path / "straight")
  process = start(tmp_path / "beam", len(os.sched_getaffinity(0)), 0, 20)
  errors = process.communicate()[1]
  assert process.returncode == 0, errors
  assert digests(tmp_path / "beam") == digests(tmp_path / "straight")


@with_beam
def test_a_killed_pipeline_goes_on(tmp_path):
  build(plan(train=20), tmp_path / "straight")
  process = start(tmp_path / "beam", 2, 0.2, 20)
  try:
    wait_for(lambda: list((tmp_path / "beam").glob("fake-*")), seconds=300)
  finally:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
  there = digests(tmp_path / "beam")
  assert 1 <= len([name for name in there if name.startswith("fake-")]) < 7
  again = start(tmp_path / "beam", 1, 0, 20)
  again.communicate()
  assert again.returncode == 0
  assert digests(tmp_path / "beam") == digests(tmp_path / "straight")
  assert {name: there[name] for name in there if name.startswith("fake-")}.items() <= digests(tmp_path / "beam").items()


@with_beam
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_record_that_cannot_be_made_is_one_line(tmp_path, jobs):
  process = start(tmp_path / "beam", jobs, -1, 20)
  errors = process.communicate()[1]
  assert process.returncode == 1
  assert errors.splitlines()[-1] == "fake: error: record 4 of train cannot be made"


def test_without_beam_the_extra_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "apache_beam", None)
  with pytest.raises(BuildError, match=r"--beam needs Apache Beam: pip install 'jaxhands\[beam\]'"):
    build(plan(), tmp_path, beam=())


def test_options_are_those_of_the_pipeline():
  assert beam_of(None) is None
  assert beam_of("") == ()
  assert beam_of("runner=FlinkRunner, flink_master=host:8081") == ("runner=FlinkRunner", "flink_master=host:8081")
  with pytest.raises(BuildError, match=r"--beam 'FlinkRunner': write key=value"):
    beam_of("FlinkRunner")
