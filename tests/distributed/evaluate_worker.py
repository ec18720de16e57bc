"""Evaluates known predictions as one of several processes: DATA ADDRESS PROCESSES INDEX; prints the metrics."""

import json
import sys

import jax

from jaxhands.data import host_ops, source
from jaxhands.data.records import DataSet
from jaxhands.evaluation.evaluator import Evaluator
from jaxhands.evaluation.result import EvalResult
from jaxhands.train import distributed
from tests import replay
from tests.evaluation.metrics import scenes

OPS = (host_ops.ToView(), host_ops.Decode(), host_ops.Crop((16, 16), (8, 8)))


def evaluate(folder: str, batch_size: int) -> EvalResult:
  """The evaluation of `folder` by this process, which may be one of several."""
  evaluator = Evaluator(replay.Replay(), distributed.make_mesh())
  opened = source.open_all([DataSet(folder, "train")], "pair", evaluator.needs)
  everything = next(iter(source.eval_batches(opened, OPS, evaluator.needs, len(opened[0]))))
  reading = source.Reading(process_index=jax.process_index(), process_count=jax.process_count())
  batches = source.eval_batches(opened, OPS, evaluator.needs, batch_size, reading)
  return evaluator(replay.variables(scenes.prediction(everything)), batches, resamples=20)


if __name__ == "__main__":
  folder, address, processes, index = sys.argv[1:]
  jax.config.update("jax_num_cpu_devices", 2)
  distributed.initialize(f"{address},{processes},{index}")
  result = evaluate(folder, batch_size=4)
  print(json.dumps({"metrics": result.metrics, "intervals": result.intervals, "examples": result.examples}))
