"""A run that is killed at any moment goes on as if it never had been."""

import os
import pathlib
import random
import signal
import subprocess
import sys

import pytest

from jaxhands.train import checkpoint, distributed, loop
from tests.train import toys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _work(workdir, *options):
  command = [sys.executable, "-m", "tests.train.worker", str(workdir), *options]
  return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """A run that never stopped, in this process."""
  workdir = tmp_path_factory.mktemp("whole")
  config = toys.config()
  checkpoint.write_config(workdir, config)
  mesh = distributed.make_mesh(4)
  loop.train(toys.Adversarial(), config, workdir, toys.Stream(mesh, config.batch_size), toys.EXAMPLES, mesh)
  return workdir


def test_killed_at_a_random_step_it_goes_on_bit_equal(whole, tmp_path):
  step = random.SystemRandom().randrange(1, 8)
  options = ("--system", "Adversarial", "--devices", "4")
  killed = _work(tmp_path, *options, "--signal", str(int(signal.SIGKILL)), "--at", str(step))
  assert killed.returncode == -signal.SIGKILL, killed.stderr
  done = [int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()]
  # Checkpoints come every 3 steps; the one that was being written may be lost, those before it are not.
  assert max(done, default=0) >= step - 6, (step, done)
  after = _work(tmp_path, *options)
  assert after.returncode == 0, after.stderr
  assert f"steps {max(done, default=0)} to 8" in after.stdout, (step, after.stdout)
  toys.assert_bit_equal(tmp_path, whole)


def test_sigterm_ends_a_process_with_status_0_and_the_step_saved(whole, tmp_path):
  options = ("--system", "Adversarial", "--devices", "4")
  stopped = _work(tmp_path, *options, "--signal", str(int(signal.SIGTERM)), "--at", "4")
  assert stopped.returncode == 0, stopped.stderr
  assert "step 5, finished False" in stopped.stdout
  assert "stopped and saved after step 5 of 8" in stopped.stdout
  assert checkpoint.checkpoint_folder(tmp_path).name == "5"
