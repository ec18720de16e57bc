"""Time of MMD: `python -m benchmarks.mmd`.

100 samples against 100 annotations of 1,000 records, in batches of 50, as the evaluator computes them. Seconds of the
clock and of the processor (all cores together), of one alignment of joints that are there already (`discrepancy`), and
of all three metrics with the annotations' joints made from their parameters. Compiling is not counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxhands.evaluation.metrics import distribution, mmd
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.hands.model import HandModel

_BATCH = 50


def timed(fn: Callable[..., Any], batches: list[Any]) -> tuple[float, float]:
  """Seconds of the clock and of the processor for all batches."""
  jax.block_until_ready(fn(*batches[0]))
  clock, processor = time.perf_counter(), time.process_time()
  for batch in batches:
    jax.block_until_ready(fn(*batch))
  return time.perf_counter() - clock, time.process_time() - processor


def main() -> None:
  parser = argparse.ArgumentParser(description="Time of MMD of many records.")
  parser.add_argument("--records", type=int, default=1000, help="default: %(default)s")
  parser.add_argument("--poses", type=int, default=100, help="samples, and annotations, of each (default: %(default)s)")
  args = parser.parse_args()
  rng, model = np.random.default_rng(0), HandModel.default()
  batches = []
  for _ in range(args.records // _BATCH):
    mano = rng.normal(0, 0.1, (_BATCH, args.poses, 2, 61)).astype(np.float32)
    mano[..., 58:] = [[-70, 0, 500], [60, 10, 520]] + rng.normal(0, 20, (_BATCH, args.poses, 2, 3))
    samples = rng.normal([0, 0, 500], 60, (_BATCH, args.poses, 2, 21, 3)).astype(np.float32)
    batch = {
      "annotations_mano": mano, "annotations_valid": np.ones(mano.shape[:2], bool),
      "hand_present": np.ones((_BATCH, 2), bool),
    }  # fmt: skip
    batches.append(({"samples": samples, "joints_cam": samples[:, 0]}, batch))

  protocol, tips = Protocol(depth="predicted"), model.tips_only()
  quantities = [mmd.mmd(protocol, tips, alignment).quantity for alignment in distribution.ALIGNMENTS]
  joints = jax.jit(lambda batch: distribution.annotated_joints(tips, batch))
  posed = [
    (prediction["samples"], joints(batch), batch["hand_present"], batch["annotations_valid"])
    for prediction, batch in batches
  ]
  alone = timed(jax.jit(mmd.discrepancy), posed)
  whole = timed(jax.jit(lambda prediction, batch: [q.fn(prediction, batch) for q in quantities]), batches)
  for what, (clock, processor) in (("one alignment", alone), ("three, with joints", whole)):
    print(f"{what}: {args.records} records in {clock:.2f} s, {processor:.2f} s of the processor")


if __name__ == "__main__":
  main()
