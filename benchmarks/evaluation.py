"""Memory and time of evaluating many examples: `python -m benchmarks.evaluation [--json FILE]`.

A system without a network, whose predictions are the truth with noise, is evaluated on 10,000 and on 100,000 examples
with random joints, each in a process of its own: what is left is what metrics and bootstrap take. Memory is the
program's own; pages of files that the system can take back at any time, in which the numbers of all examples lie, do
not count. Seconds are those of the processor, all cores together.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Literal

import jax
import numpy as np

from jaxhands import schema
from jaxhands.evaluation import evaluator as evaluate
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.geometry import camera
from jaxhands.hands import skeleton
from jaxhands.systems import base
from jaxhands.train import distributed

COUNTS = (10_000, 100_000)
_BATCH = 500
_SCENE = 10  # examples of one


@dataclasses.dataclass(frozen=True)
class Noisy:
  """Predicts the truth with some millimetres of noise."""

  view: Literal["pair", "hand"] = "pair"
  needs = frozenset({"joints_cam", "joints_img", "hand_present"})
  objectives = ()

  def init(self, rng: jax.Array, batch: schema.Batch) -> base.Variables:
    return {"params": {}}

  def predict(self, variables: base.Variables, batch: schema.Batch, rng: jax.Array) -> schema.Prediction:
    joints = batch["joints_cam"] + 5 * jax.random.normal(rng, batch["joints_cam"].shape)
    depth = joints[..., 2]
    wrist = depth[..., skeleton.WRIST]
    return {
      "joints_img": batch["joints_img"] + 1,
      "joints_rel_depth": depth - wrist[..., None],
      "rel_root_depth": wrist[:, 1] - wrist[:, 0],
      "hand_prob": 0.8 * batch["hand_present"] + 0.1,
      "confidence": jax.random.uniform(rng, depth.shape),
      "scale_known": jax.numpy.ones(len(depth), bool),
    }

  def host_ops(self, train: bool) -> tuple[base.HostOp, ...]:
    return ()

  def device_ops(self, batch: schema.Batch, rng: jax.Array, train: bool) -> schema.Batch:
    return dict(batch)

  def import_weights(self, state_dict: Any) -> base.Variables:
    raise ValueError("there are no weights of this system")


def batches(count: int) -> Iterator[dict[str, np.ndarray]]:
  """Random hands, both in every picture, made when they are asked for."""
  intrinsics = np.repeat(np.array([[[800, 0, 320], [0, 800, 240], [0, 0, 1]]], np.float32), _BATCH, 0)
  ones = np.ones((_BATCH, 2, skeleton.NUM_JOINTS), bool)
  for first in range(0, count, _BATCH):
    rng = np.random.default_rng(first)
    joints = rng.uniform([-80, -80, 500], [80, 80, 700], (*ones.shape, 3)).astype(np.float32)
    joints_img = np.asarray(camera.project(joints, intrinsics[:, None]))
    number = np.arange(first, first + _BATCH, dtype=np.int32)
    yield {
      "joints_cam": joints, "joints_cam_valid": ones, "joints_img": joints_img,
      "joints_img_valid": ones, "joints_visible": ones, "hand_present": ones[..., 0], "camera_img": intrinsics,
      "hand_present_valid": ones[:, 0, 0], "camera_valid": ones[:, 0, 0], "root_depth": joints[:, :, skeleton.WRIST, 2],
      "root_depth_valid": ones[..., 0], "weight": np.ones(_BATCH, np.float32), "example_id": number,
      "record_hash": number, "scene_id": number // _SCENE,
    }  # fmt: skip


class Peak:
  """The most memory of its own that this process has while the block runs, MB, looked at every 5 ms (Linux)."""

  def __enter__(self) -> Peak:
    self.before_mb = self.most_mb = own_mb()
    self._ended = threading.Event()
    self._watching = threading.Thread(target=self._watch, daemon=True)
    self._watching.start()
    return self

  def __exit__(self, *_: object) -> None:
    self._ended.set()
    self._watching.join()

  def _watch(self) -> None:
    while not self._ended.wait(0.005):
      self.most_mb = max(self.most_mb, own_mb())


def own_mb() -> float:
  """Memory of this process that is no page of a file."""
  (line,) = (line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
  return int(line.split()[1]) / 1e3


def measured(count: int) -> dict[str, float]:
  """Of one evaluation, after one of two batches that compiles."""
  also = (Protocol(depth="gt", scale="gt"),)
  evaluator = evaluate.Evaluator(Noisy(), distributed.make_mesh(1), protocol=Protocol(depth="gt"), also=also)
  evaluator({"params": {}}, batches(2 * _BATCH), resamples=2)
  begun = time.process_time()
  with Peak() as peak:
    result = evaluator({"params": {}}, batches(count))
  whole = time.process_time() - begun
  kept = sum(array.nbytes for array in result.examples_values.values())
  assert result.examples == count
  begun = time.process_time()
  evaluator({"params": {}}, batches(count), resamples=0)
  without = time.process_time() - begun
  return {
    "examples": count, "grown_mb": peak.most_mb - peak.before_mb, "result_mb": kept / 1e6,
    "metrics_us_per_example": 1e6 * without / count, "intervals_s": whole - without,
  }  # fmt: skip


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
  parser.add_argument("--count", type=int, help="of one process; without it, each of the two in turn")
  args = parser.parse_args()
  if args.count:
    print(json.dumps(measured(args.count)))
    return
  rows = []
  for count in COUNTS:
    command = [sys.executable, "-m", "benchmarks.evaluation", f"--count={count}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows.append(json.loads(done.stdout.splitlines()[-1]))
    print("  ".join(f"{key} {value:.4g}" for key, value in rows[-1].items()), flush=True)
  if args.json:
    args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
  main()
