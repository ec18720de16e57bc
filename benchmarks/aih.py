"""Finished AIH records a second and core, and whether memory grows with their number.

`python -m benchmarks.aih [--records N] [--beam]` builds the single hands, then N records of each part in this process;
rates count processor seconds, which a busy machine does not change much, and memory is this process's peak. What it is
after a quarter of the records it should be at the end: nothing is kept of a record. `--beam` builds AIH_Syn again with
Apache Beam's local runner on all cores, and with as many of our own processes; rates are then the clock's, start-up
included, and memory is the largest of their processes'.
"""

from __future__ import annotations

import argparse
import pathlib
import resource
import tempfile
import time

from data_builders import shards
from data_builders.aih import AihConfig, build

PARTS = ("render", "syn")


def peak_mb(who: int = resource.RUSAGE_SELF) -> float:
  """Largest resident memory so far (Linux counts KiB)."""
  return resource.getrusage(who).ru_maxrss / 1024


def measure(config: AihConfig, root: pathlib.Path) -> tuple[float, list[float]]:
  """Records a processor second in this process, and peak memory (MB) after each quarter of them."""
  total = sum(config.counts.values())
  peaks: list[float] = []
  start: list[float] = []
  before = sum(config.embedded_singles.counts.values()) if config.has_syn else 0

  def progress(finished: int, _: int) -> None:
    own = finished - before
    if own >= 0 and not start:
      start.append(time.process_time())
    while own > 0 and len(peaks) < 4 and own >= total * (len(peaks) + 1) / 4:
      peaks.append(peak_mb())

  build(config, jobs=1, progress=progress, root=root)
  return total / (time.process_time() - start[0]), peaks


def clock(config: AihConfig, root: pathlib.Path, jobs: int, beam: tuple[str, ...] | None) -> float:
  """Records a second of the clock's; the single hands are there."""
  begun = time.perf_counter()
  build(config, root / f"again-{beam}", jobs, root=root, beam=beam)
  return sum(config.counts.values()) / (time.perf_counter() - begun)


def main() -> None:
  parser = argparse.ArgumentParser(description="Records a second and core of the AIH builder, and its memory.")
  parser.add_argument("--records", type=int, default=400)
  parser.add_argument("--beam", action="store_true", help="compare Apache Beam's local runner with our own processes")
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    for part in PARTS:
      build(AihConfig(train=4, val=0, test=0, variant=part, seed=1), jobs=1, root=root)  # compiles
      rate, peaks = measure(AihConfig(train=args.records, val=0, test=0, variant=part), root)
      memory = ", ".join(f"{peak:.0f}" for peak in peaks)
      print(f"{part:6} {rate:6.1f} records/s of processor; peak memory after each quarter {memory} MB")
    if args.beam:
      config = AihConfig(train=args.records, val=0, test=0, variant="syn")
      jobs = shards.usable_cores()
      for name, beam in (("processes", None), ("beam", ())):
        rate = clock(config, root, jobs, beam)
        print(f"{name:9} {rate:6.1f} records/s with {jobs}; their largest {peak_mb(resource.RUSAGE_CHILDREN):.0f} MB")


if __name__ == "__main__":
  main()
