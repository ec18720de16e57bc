"""Two processes with two devices each read and evaluate as one process does, and both know the result."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest

from tests.data.conftest import build
from tests.distributed.evaluate_worker import evaluate

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_two_processes_evaluate_as_one(tmp_path):
  folder = build(tmp_path / "data", train=13)
  alone = evaluate(folder, batch_size=4)  # on the four devices of this process
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  command = [sys.executable, "-m", "tests.distributed.evaluate_worker", folder, address, "2"]
  pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
  workers = [subprocess.Popen([*command, str(i)], cwd=ROOT, env=os.environ, **pipes) for i in range(2)]
  try:
    outputs = [worker.communicate(timeout=300) for worker in workers]
  finally:
    for worker in workers:
      worker.kill()
  assert [worker.returncode for worker in workers] == [0, 0], outputs
  answers = [json.loads(out.splitlines()[-1]) for out, _ in outputs]
  assert answers[0] == answers[1]
  assert answers[0]["examples"] == alone.examples == 13
  assert answers[0]["metrics"] == pytest.approx(dict(alone.metrics), rel=1e-6)
  for key, interval in alone.intervals.items():
    assert answers[0]["intervals"][key] == pytest.approx(interval, rel=1e-6), key
