"""Examples per second that the data pipeline makes: `python -m benchmarks.reading FOLDER SPLIT [CROP]`.

One thread on one core, as the trainer's feed has it at least; "kept" is the second epoch on of a set held in memory.
"""

from __future__ import annotations

import sys
import time

from jaxhands.data import augment, host_ops, source
from jaxhands.data.records import DataSet

BATCH, BATCHES = 64, 30
NEEDS = frozenset(
  {"image", "crop_from_img", "joints_cam", "joints_cam_valid", "joints_img", "joints_img_valid", "hand_present"}
)


def main() -> None:
  folder, split, *crop = sys.argv[1:]
  size = int(crop[0]) if crop else 96
  records = source.open_all([DataSet(folder, split)], "pair", NEEDS)
  epoch = -(-len(records[0]) // BATCH)
  print(f"{len(records[0])} records of {folder}:{split}, crops of {size} px; examples/s: by the clock, by CPU time")
  for shrink in (False, True):
    ops = host_ops.crop_ops((size, size), augmentation=augment.INTERNET, shrink=shrink)
    for name, keep in (("decoded each time", 0), ("kept", 8 * 10**9)):
      reading = source.Reading(threads=1, keep_bytes=keep)
      batches = source.train_batches(records, ops, NEEDS, BATCH, seed=0, reading=reading)
      for _ in range(epoch + 4 if keep else 4):
        next(batches)
      clock, cpu = time.perf_counter(), time.process_time()
      for _ in range(BATCHES):
        next(batches)
      clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
      label = f"{name}, {'shrunk while decoding' if shrink else 'full size'}"
      print(f"{label:45s}{BATCH * BATCHES / clock:8.0f}{BATCH * BATCHES / cpu:8.0f}")


if __name__ == "__main__":
  main()
