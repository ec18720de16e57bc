"""Compares two runs example by example: difference of every metric, its interval, and how likely chance explains it.

Both runs must have been evaluated on the same examples under the same protocol; what differs is said, and nothing is
compared. Pictures of one scene depend on each other, so that scenes, not pictures, are resampled for the interval, and
scenes change sides in the test: where two methods are equally good, which of the two results of a scene is whose does
not matter. p is the share of such exchanges whose difference is at least as large. What only one of the runs counts,
as hands that the other could not place, is left out of both.

    python -m jaxhands compare runs/internet-small runs/internet-small-single_only
    python -m jaxhands compare runs/a runs/b --metrics mpjpe mrrpe --json difference.json

A run is the folder of `launch.py`; stages of a run are folders of their own, WORKDIR/stages/NAME.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib

from jaxhands.evaluation import compare, verdict
from jaxhands.terminal import console


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """The command line of `compare`."""
  parser.add_argument("run_a", metavar="RUN_A", type=pathlib.Path, help="folder of an evaluated run")
  parser.add_argument("run_b", metavar="RUN_B", type=pathlib.Path, help="another one, on the same data")
  parser.add_argument("--metrics", nargs="+", default=[], metavar="NAME", help="e.g. mpjpe or mpjpe/all (default: all)")
  parser.add_argument(
    "--resamples",
    type=int,
    default=compare.RESAMPLES,
    help="of interval and test (default: %(default)s)",
  )
  parser.add_argument("--seed", type=int, default=0, help="of both")
  parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the differences there as well")


def main(args: argparse.Namespace) -> int:
  """Prints the table."""
  if args.resamples < 1:
    raise ValueError(f"--resamples is {args.resamples}, expected at least 1")
  if args.seed < 0:
    raise ValueError(f"--seed is {args.seed}, expected 0 or more")
  if args.json and not args.json.parent.is_dir():
    raise FileNotFoundError(f"--json {args.json}: there is no folder {args.json.parent}")
  a, b = compare.Evaluated.read(args.run_a), compare.Evaluated.read(args.run_b)
  found = compare.compare(a, b, args.metrics, args.resamples, args.seed)
  if not found:
    raise ValueError(f"{args.run_a} and {args.run_b} share no metric that has something to count")
  console.make().print(compare.table(a, b, found), soft_wrap=False)
  fewest = min(row.scenes for row in found)
  if fewest < verdict.FEWEST_SCENES:
    print(
      f"Only {fewest} scenes: of fewer than {verdict.FEWEST_SCENES}, no run is called better "
      f"(p is at least {2 / 2**fewest:.2g})."
    )
  if left_out := [f"{row.key} {row.left_out:,}" for row in found if row.left_out]:
    print(f"Pictures of which something counts in one run alone, and is left out: {', '.join(left_out)}.")
  if args.json:
    about = {"a": str(args.run_a), "b": str(args.run_b), "protocol": a.result["protocol"], "seed": args.seed}
    content = about | {"resamples": args.resamples, "differences": [dataclasses.asdict(row) for row in found]}
    args.json.write_text(json.dumps(content, indent=2) + "\n")
  return 0
