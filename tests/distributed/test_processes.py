"""Two processes with two devices each train as one process does, and stop and go on together."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from jax.sharding import AxisType

from jaxhands.train import checkpoint, distributed, loop
from tests.train import toys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def _work_together(workdir, *options_of_second):
  """Runs two workers; gives what each printed."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  workers = []
  for index in range(2):
    command = [sys.executable, "-m", "tests.train.worker", str(workdir), "--devices", "2"]
    command += ["--distributed", f"{address},2,{index}", *(options_of_second if index else ())]
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

  outputs = _work_together(tmp_path)
  assert f"steps {stopped} to 8" in outputs[0]
  assert all(f"process {index} of 2: step 8, finished True" in output for index, output in enumerate(outputs))
  assert "steps" not in outputs[1]  # only the first process speaks

  for devices in (1, 4):
    alone = tmp_path / f"alone{devices}"
    mesh = distributed.make_mesh(devices)
    config = toys.config()
    checkpoint.write_config(alone, config)
    loop.train(toys.Regressor(), config, alone, toys.Stream(mesh, config.batch_size), toys.EXAMPLES, mesh)
    for name in ("train/pose/loss", "train/pose/gradient_norm"):
      found, expected = toys.scalars(tmp_path, name), toys.scalars(alone, name)
      assert list(found) == list(range(1, 9))
      np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-5)


@pytest.mark.parametrize("how", ["localhost", "localhost:1234", "host:1,2", "host:1,a,b", "on"])
def test_wrong_ways_to_distribute_are_refused(how):
  with pytest.raises(ValueError, match=f"--distributed={how}"):
    distributed.initialize(how)


def test_a_single_process_needs_no_coordinator(monkeypatch):
  for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "JAX_COORDINATOR_ADDRESS"):
    monkeypatch.delenv(name, raising=False)
  called = []
  monkeypatch.setattr("jax.distributed.initialize", lambda *arguments: called.append(arguments))
  distributed.initialize("auto")
  distributed.initialize("off")
  assert called == []
  monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
  distributed.initialize("auto")
  distributed.initialize("host:1234,3,2")
  assert called == [(), ("host:1234", 3, 2)]
  distributed.initialize("local")
  assert called[2][0].startswith("localhost:")
  assert called[2][1:] == (1, 0)


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


def test_the_mesh_is_sharded_by_the_compiler():
  mesh = distributed.make_mesh()
  assert mesh.size == 4
  assert mesh.axis_types == (AxisType.Auto,)
  assert distributed.make_mesh(2).size == 2


@pytest.mark.parametrize(("size", "accumulation", "near"), [(10, 1, 8), (8, 4, 16), (1, 1, 4), (0, 1, 4)])
def test_batches_must_divide(size, accumulation, near):
  with pytest.raises(ValueError, match=rf"batch_size={size} .* try batch_size={near}"):
    distributed.check_batch_size(size, accumulation, distributed.make_mesh())
  distributed.check_batch_size(near, accumulation, distributed.make_mesh())
