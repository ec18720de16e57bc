"""Two processes with two devices each train as one process does, and stop and go on together."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading

import chex
import numpy as np
import pytest
from jax.sharding import AxisType

from jaxhands.train import checkpoint, distributed, loop
from tests.train import toys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _work_together(workdir, *options_of_second, both=()):
  """Runs two workers; gives what each printed."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  workers = []
  for index in range(2):
    command = [sys.executable, "-m", "tests.train.worker", str(workdir), "--devices", "2"]
    command += ["--distributed", f"{address},2,{index}", *both, *(options_of_second if index else ())]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    workers.append(subprocess.Popen(command, cwd=ROOT, env=os.environ, **pipes))
  try:
    outputs = [worker.communicate(timeout=300)[0] for worker in workers]
  finally:
    for worker in workers:
      worker.kill()
  assert [worker.returncode for worker in workers] == [0, 0], outputs
  return outputs


def test_two_processes_train_as_one_and_obey_a_signal_to_one_of_them(tmp_path):
  outputs = _work_together(tmp_path, "--signal", str(int(signal.SIGTERM)), "--at", "2", "--pause", "0.3")
  stops = [line for output in outputs for line in output.splitlines() if line.startswith("process")]
  assert len(stops) == 2
  assert len({stop.split(": ")[1] for stop in stops}) == 1
  assert all("finished False" in stop for stop in stops)
  stopped = int(checkpoint.checkpoint_folder(tmp_path).name)
  assert 4 <= stopped < 8

  # Goes on with a state of which each process holds a half, and saves that.
  outputs = _work_together(tmp_path, both=("--fsdp", "4"))
  assert f"steps {stopped} to 8" in outputs[0]
  assert all(f"process {index} of 2: step 8, finished True" in output for index, output in enumerate(outputs))
  assert "steps" not in outputs[1]  # only the first process speaks
  assert re.search(r"the state has .* MB, of which a device holds", outputs[0])

  for devices in (1, 4):
    alone = tmp_path / f"alone{devices}"
    mesh = distributed.make_mesh(devices)
    config = toys.config()
    checkpoint.write_config(alone, config)
    stream = toys.Stream(mesh, config.batch_size)
    result = loop.train(toys.Regressor(), config, alone, stream, toys.EXAMPLES, mesh)
    target = {kind: tree for kind, tree in result.variables.items() if kind != "constants"}
    chex.assert_trees_all_close(
      *(checkpoint.read_variables(one, target) for one in (tmp_path, alone)), rtol=1e-3, atol=1e-5
    )
    for name in ("train/pose/loss", "train/pose/gradient_norm"):
      found, expected = toys.scalars(tmp_path, name), toys.scalars(alone, name)
      assert list(found) == list(range(1, 9))
      np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-5)


@pytest.mark.parametrize(
  "how", ["localhost", "localhost:1", "h:1,2", "h:1,a,b", "on", "h:1,2,2", "h:1,0,0", "h:99999,2,1", ""]
)
def test_wrong_ways_to_distribute_are_refused(how):
  with pytest.raises(ValueError, match=f"--distributed={how}: write"):
    distributed.initialize(how)


def test_a_single_process_needs_no_coordinator(monkeypatch):
  for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "JAX_COORDINATOR_ADDRESS"):
    monkeypatch.delenv(name, raising=False)
  called, binds = [], []

  def initialize(*arguments, heartbeat_timeout_seconds, coordinator_bind_address="every interface"):
    called.append(arguments)
    binds.append(coordinator_bind_address)
    assert heartbeat_timeout_seconds < 90

  monkeypatch.setattr("jax.distributed.initialize", initialize)
  monkeypatch.setattr(distributed.ending, "joined", threading.Event())
  distributed.initialize("auto")
  distributed.initialize("off")
  assert called == []
  monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
  distributed.initialize("auto")
  distributed.initialize("host:1234,3,2")
  assert called == [(None, None, None), ("host:1234", 3, 2)]
  distributed.initialize("local")
  assert called[2][0].startswith("localhost:")
  assert called[2][1:] == (1, 0)
  # A coordinator of one machine listens there alone; others must be reached.
  for address in ("127.0.0.1:7", "[::1]:7", "localhost.example.org:7"):
    distributed.initialize(f"{address},2,0")
  assert binds[:2] == ["every interface"] * 2
  assert binds[2:] == [called[2][0], "127.0.0.1:7", "[::1]:7", "every interface"]


def _compilation_cache(**environment):
  script = (
    "import jax; from jaxhands.train import distributed; distributed.use_compilation_cache();"
    "print(jax.config.values['jax_compilation_cache_dir'])"
  )
  inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMP")}
  command = [sys.executable, "-c", script]
  return subprocess.run(
    command, env=inherited | environment, capture_output=True, text=True, check=True, timeout=120
  ).stdout.strip()


def test_compiled_functions_are_kept_by_kind_of_processor(tmp_path):
  found = pathlib.Path(_compilation_cache(XDG_CACHE_HOME=str(tmp_path)))
  assert found.parent == tmp_path / "jaxhands" / "compiled"
  assert re.fullmatch(r"cpu_cpu-[0-9a-f]{8}", found.name)
  assert _compilation_cache(JAX_COMPILATION_CACHE_DIR="/elsewhere") == "/elsewhere"


def test_compiled_functions_are_not_kept_where_nothing_can_be_written(tmp_path):
  (tmp_path / "file").touch()
  script = "from jaxhands.train import distributed; distributed.use_compilation_cache()"
  inherited = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMP")}
  place = {"XDG_CACHE_HOME": str(tmp_path / "file")}
  found = subprocess.run(
    [sys.executable, "-c", script], env=inherited | place, capture_output=True, text=True, check=True, timeout=120
  )
  assert "compiled functions are not kept for the next start: " in found.stderr
  assert str(tmp_path / "file") in found.stderr


_LISTENING = """
import os, pathlib
from jaxhands.train import distributed
distributed.initialize("local")
sockets = {os.readlink(path) for path in pathlib.Path("/proc/self/fd").iterdir() if path.is_symlink()}
for table in ("tcp", "tcp6"):
  for line in pathlib.Path("/proc/net", table).read_text().splitlines()[1:]:
    words = line.split()
    if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
      print(words[1].split(":")[0])
"""


@pytest.mark.skipif(not pathlib.Path("/proc/net/tcp").exists(), reason="reads Linux's table of sockets")
def test_a_coordinator_of_one_machine_listens_on_it_alone():
  command = [sys.executable, "-c", _LISTENING]
  found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout.split()
  assert found
  # 127.0.0.1, the same as an address of version 6, and ::1, as the kernel writes them.
  assert set(found) <= {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_the_mesh_is_sharded_by_the_compiler():
  mesh = distributed.make_mesh()
  assert mesh.size == 4
  assert set(mesh.axis_types) == {AxisType.Auto}
  assert distributed.make_mesh(2).size == 2


@pytest.mark.parametrize(("size", "accumulation", "near"), [(10, 1, 8), (8, 4, 16), (1, 1, 4), (0, 1, 4)])
def test_batches_must_divide(size, accumulation, near):
  with pytest.raises(ValueError, match=rf"batch_size={size} .* try batch_size={near}"):
    distributed.check_batch_size(size, accumulation, distributed.make_mesh())
  distributed.check_batch_size(near, accumulation, distributed.make_mesh())
