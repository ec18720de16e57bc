"""A tiny builder with instant or slow records, run in a process of its own to be killed.

FOLDER JOBS SECONDS COUNT [beam]; SECONDS below 0: a record that cannot be made.
"""

import functools
import pathlib
import sys
import time

import numpy as np

from data_builders import schema
from data_builders.command import clear_exit
from data_builders.shards import BuildError, Plan, build


def make_record(split, index, seconds=0.0):
  rng = np.random.default_rng([len(split), index])
  if seconds < 0 and index == 4:
    raise BuildError(f"record {index} of {split} cannot be made")
  time.sleep(max(seconds, 0))
  record = schema.empty_record()
  return record | {
    "record_id": np.int32(index),
    "source": f"{split}/{index}",
    "annotation_kind": "rendered",
    "picture": schema.encode_picture(rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)),
    "picture_hw": np.array([16, 24], np.int32),
    "box_img": rng.uniform(0, 10, 4).astype(np.float32),
  }


def plan(train=7, val=0, seconds=0.0, make=make_record, **arguments):
  return Plan(
    name="fake",
    arguments={"train": train, "val": val, **arguments},
    counts={"train": train, "val": val},
    make_record=functools.partial(make, seconds=seconds),
    description="Noise.",
    records_per_shard=3,
  )


if __name__ == "__main__":
  folder, jobs, seconds, count, *beam = sys.argv[1:]
  with clear_exit("fake"):
    made = plan(train=int(count), seconds=float(seconds))
    build(made, pathlib.Path(folder), jobs=int(jobs), beam=() if beam else None)
