"""The script for TPU slices, with `gcloud` replaced by one that runs a command in the folder of each of two workers."""

import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
REPOSITORY = "my repository"

_GCLOUD = """#!/bin/bash
printf '%s\\n' "$@" >>"$WORKERS/gcloud"
for argument in "$@"; do case $argument in --command=*) command=${argument#--command=};; esac; done
for worker in 0 1; do (cd "$WORKERS/$worker" && exec bash -c "$command") & jobs+=($!); done
for job in "${jobs[@]}"; do wait "$job" || status=$?; done
exit "${status:-0}"
"""
# The image's Python, which only brings uv; that makes the environment's, which runs launch.py.
_IMAGE_PYTHON = """#!/bin/bash
echo "$@" >>setup
if [[ "$1 $2 $3" == "-m uv venv" ]]; then
  mkdir -p .venv/bin
  cp "$WORKERS/launcher" .venv/bin/python
fi
"""
_LAUNCHER = """#!/bin/bash
echo x >>starts
printf '%s\\n' "$JAXHANDS_DATA" "$@" >arguments
trap 'echo saved; exit 75' TERM
echo training
while [[ ! -e "$WORKERS/finish" ]]; do sleep 0.05; done
echo finished
exit "$(cat "$WORKERS/finish")"
"""


@pytest.fixture
def workers(tmp_path):
  """Two workers that have the repository, and a bare environment with `gcloud`; what runs there ends with the test."""
  folder, commands = tmp_path / "workers", tmp_path / "commands"
  commands.mkdir()
  for number in "01":
    (folder / number / REPOSITORY).mkdir(parents=True)
  for path, content in (
    (commands / "gcloud", _GCLOUD), (commands / "python3", _IMAGE_PYTHON), (folder / "launcher", _LAUNCHER)
  ):  # fmt: skip
    path.write_text(content)
    path.chmod(0o755)
  environment = {"PATH": f"{commands}:/usr/bin:/bin", "WORKERS": str(folder), "TPU": "slice", "ZONE": "us-east5-a"}
  yield folder, environment | {"REPOSITORY": REPOSITORY, "JAXHANDS_DATA": "/mnt/my data"}
  (folder / "finish").write_text("0")


def _start(workers, *arguments):
  command = ["bash", str(ROOT / "cluster" / "tpu_pod.sh"), *arguments]
  return subprocess.Popen(
    command,
    env=workers[1],
    cwd="/",
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    start_new_session=True,
  )


def _wait_for(workers, name):
  paths = [workers[0] / number / REPOSITORY / name for number in "01"]
  for _ in range(200):
    if all(path.exists() and path.read_text() for path in paths):
      return paths
    time.sleep(0.05)
  raise AssertionError(f"{name} did not come to both workers")


def test_every_worker_gets_a_new_python_and_the_arguments_in_an_order_that_launch_takes(workers):
  (workers[0] / "finish").write_text("0")
  arguments = ["--config=configs/hdr.py:tiny", "--workdir=/mnt/my runs", "--config.train_for=4 steps"]
  output = _start(workers, *arguments).communicate(timeout=60)[0]
  for path in _wait_for(workers, "arguments"):
    assert path.read_text().splitlines() == [
      "/mnt/my data", "launch.py", *arguments, "--config.data.processes=8", "--config.compute_dtype=bfloat16",
    ]  # fmt: skip
  for path in _wait_for(workers, "setup"):
    assert [line.split("--")[0].strip() for line in path.read_text().splitlines()] == [
      "-m pip install", "-m uv venv", "-m uv pip install"
    ]  # fmt: skip
  assert output.count("finished") == 2
  assert "--zone=us-east5-a" in (workers[0] / "gcloud").read_text()


def test_a_field_that_the_caller_sets_is_kept(workers):
  (workers[0] / "finish").write_text("0")
  _start(workers, "--config=c.py", "--config.compute_dtype=float32").communicate(timeout=60)
  assert all(path.read_text().count("dtype") == 1 for path in _wait_for(workers, "arguments"))


@pytest.mark.parametrize("status", [0, 3])
def test_a_lost_connection_does_not_end_the_run_and_the_same_command_shows_it_again(workers, status):
  first = _start(workers, "--config=c.py")
  _wait_for(workers, "arguments")
  os.killpg(first.pid, signal.SIGKILL)
  first.communicate()
  again = _start(workers, "--config=c.py")
  time.sleep(0.5)
  assert again.poll() is None, "the run went on, and is waited for"
  (workers[0] / "finish").write_text(str(status))
  assert again.communicate(timeout=60)[0].count("training\nfinished\n") >= 1
  assert again.returncode == status
  assert all(path.read_text() == "x\n" for path in _wait_for(workers, "starts")), "it was not started twice"


def test_stop_saves_the_run_whose_status_says_so(workers):
  running = _start(workers, "--config=c.py")
  _wait_for(workers, "arguments")
  stop = _start(workers, "stop")
  stop.communicate(timeout=60)
  assert stop.returncode == 0
  assert running.communicate(timeout=60)[0].count("saved") == 2
  assert running.returncode == 75


def test_launch_takes_the_command_of_a_worker(workers):
  (workers[0] / "finish").write_text("0")
  _start(workers, "--config=configs/internet.py:tiny", "--stage=nothing").communicate(timeout=60)
  arguments = _wait_for(workers, "arguments")[0].read_text().splitlines()[2:]
  command = shlex.join([sys.executable, "launch.py", *arguments])
  found = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
  assert "there is no stage 'nothing'" in found.stderr
