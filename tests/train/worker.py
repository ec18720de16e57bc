"""Trains a toy in a process of its own: `python -m tests.train.worker WORKDIR [options]`; for tests that kill it."""

from __future__ import annotations

import argparse
import os
import pathlib
import time

import jax

from jaxhands.train import checkpoint, distributed, loop
from tests.train import toys


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("workdir", type=pathlib.Path)
  parser.add_argument("--system", default="Regressor")
  parser.add_argument("--devices", type=int, default=1)
  parser.add_argument("--distributed", default="off")
  parser.add_argument("--fsdp", type=int, default=1)
  parser.add_argument("--signal", type=int, default=0, help="sent to itself ...")
  parser.add_argument("--pause", type=float, default=0.0, help="seconds that a batch takes from then on")
  parser.add_argument("--at", type=int, default=-1, help="... before the batch of this step")
  arguments = parser.parse_args()

  jax.config.update("jax_num_cpu_devices", arguments.devices)
  distributed.initialize(arguments.distributed)
  mesh = distributed.make_mesh(fsdp=arguments.fsdp)

  def spoil(step, batch):
    if step == arguments.at:
      os.kill(os.getpid(), arguments.signal)
    if arguments.pause and step >= arguments.at:
      time.sleep(arguments.pause)
    return batch

  config = toys.config()
  config.sharding.fsdp = arguments.fsdp
  if jax.process_index() == 0:
    checkpoint.write_config(arguments.workdir, config)
  stream = toys.Stream(mesh, config.batch_size, spoil)
  result = loop.train(getattr(toys, arguments.system)(), config, arguments.workdir, stream, toys.EXAMPLES, mesh)
  print(f"process {jax.process_index()} of {jax.process_count()}: step {result.step}, finished {result.finished}")


if __name__ == "__main__":
  main()
