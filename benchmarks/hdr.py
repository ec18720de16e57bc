"""Milliseconds of each step of HDR's pipeline: `python -m benchmarks.hdr [--variant synth] [--batch 8] [--json FILE]`.

Networks of a size of `configs/hdr.py` with fresh weights, on pictures of noise: how long a step takes depends on
neither. Or the steps that a run measured: `--run runs/hdr-demo`.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from configs import hdr
from jaxhands.evaluation import latency
from jaxhands.runs import folder as files
from jaxhands.runs import stages
from jaxhands.systems import construct
from jaxhands.train import step


def pictures(config: Any, count: int) -> dict[str, jax.Array]:
  """A batch that the pipeline can look at."""
  rng = np.random.default_rng(0)
  height, width = config.system.picture_hw
  rows, columns = config.data.crop_hw
  affine = np.array([[columns / width, 0, 0], [0, rows / height, 0]], np.float32)
  camera = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]], np.float32)
  made = {
    "picture": rng.integers(0, 256, (count, height, width, 3), np.uint8),
    "picture_hw": np.repeat(np.array([[height, width]], np.int32), count, 0),
    "crop_from_img": np.repeat(affine[None], count, 0),
    "camera_img": np.repeat(camera[None], count, 0),
    "camera_valid": np.ones(count, bool),
    "weight": np.ones(count, np.float32),
  }
  return {key: jnp.asarray(value) for key, value in made.items()}


def measured(variant: str, batch: int, dtype: str) -> dict[str, Any]:
  """Of fresh networks of a variant."""
  whole = hdr.get_config(variant)
  whole.compute_dtype = dtype
  config = dict(stages.of(whole))["pipeline"]
  system: Any = construct.load(config)
  seen = pictures(config, batch)
  variables = jax.jit(step.make_init(system, config.seed))(seen)
  return latency.prediction_steps(system, variables, seen)


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--variant", default="demo", help="of configs/hdr.py")
  parser.add_argument("--batch", type=int, default=8, help="pictures at once")
  parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="of the networks' arithmetic")
  parser.add_argument("--run", type=pathlib.Path, help="show what this run measured instead")
  parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
  args = parser.parse_args()
  if args.run:
    try:
      found = json.loads((args.run / files.TIMINGS).read_text())
    except (OSError, ValueError) as error:
      parser.error(f"--run {args.run}: {error}")
  else:
    found = measured(args.variant, args.batch, args.dtype)
  print(f"{found['device']}, {found['pictures']} pictures at once; ms a picture (two hands)")
  for name, milliseconds in [*found["ms"].items(), ("together", sum(found["ms"].values()))]:
    print(f"{name:12s}{milliseconds:10.2f}")
  if args.json:
    args.json.write_text(json.dumps({"variant": args.variant} | found, indent=2) + "\n")


if __name__ == "__main__":
  main()
