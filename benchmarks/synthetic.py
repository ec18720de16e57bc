"""Finished records of `data_builders.synthetic` a second on one core, and what takes how long.

`python -m benchmarks.synthetic [--records N]` writes the first N records of the default data set in this process, after
two that warm up: with all pictures, and with the input picture only. Rates count processor seconds, which a busy
machine does not change much; those of the clock are beside.
"""

from __future__ import annotations

import argparse
import cProfile
import functools
import pathlib
import pstats
import tempfile
import time

from data_builders import shards
from data_builders.synthetic import SyntheticConfig
from data_builders.synthetic.records import make_record

AIMS = {"all": 12.0, "input": 25.0}  # records/s and core; a pose for each scene is a third of the time of "input"
STAGES = {
  "pose of the hands": "pose_bank.py:sample",
  "hand model": "model.py:forward_mano",
  "skin and arms": "appearance.py:sample_hands",
  "background, light, sensor": "appearance.py:sample_surroundings",
  "rendering": "scene.py:render",
  "JPEG and PNG": "~:<imencode>",
  "check": "schema.py:check_record",
  "TFDS": "schema.py:encode_example",
}


def build(config: SyntheticConfig, count: int) -> tuple[float, float]:
  """Processor and wall seconds of writing one shard of `count` records."""
  plan = shards.Plan("synthetic", {}, {"train": count}, functools.partial(make_record, config), "", count)
  with tempfile.TemporaryDirectory() as folder:
    processor, wall = time.process_time(), time.perf_counter()
    shards.build(plan, pathlib.Path(folder) / "out", jobs=1)
    return time.process_time() - processor, time.perf_counter() - wall


def stages(config: SyntheticConfig, count: int) -> dict[str, float]:
  """Processor milliseconds a record of each stage, by the profiler, which adds some of its own."""
  profile = cProfile.Profile(time.process_time)
  profile.runcall(build, config, count)
  found = dict.fromkeys(STAGES, 0.0)
  for (path, _, function), (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items():  # pyright: ignore
    for stage, name in STAGES.items():
      if name == f"{pathlib.Path(path).name}:{function}":
        found[stage] += 1e3 * cumulative / count
  return found


def main() -> None:
  parser = argparse.ArgumentParser(description="Records a second and core of the synthetic builder.")
  parser.add_argument("--records", type=int, default=200)
  count = parser.parse_args().records
  for pictures, aim in AIMS.items():
    config = SyntheticConfig(pictures=pictures)
    build(config, 2)
    processor, wall = build(config, count)
    print(
      f"{pictures:5} {count / processor:6.1f} records/s of processor (aim {aim:.0f}), {count / wall:.1f} of the clock's"
    )
    for stage, milliseconds in stages(config, count).items():
      print(f"      {milliseconds:6.2f} ms  {stage}")


if __name__ == "__main__":
  main()
