"""`python -m data_builders.aih`: builds the data set and says where it is and how to look at it."""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

from data_builders.aih.build import build
from data_builders.aih.config import VARIANTS, AihConfig
from data_builders.command import clear_exit, shown_progress
from data_builders.preview import write_sheets
from data_builders.shards import BuildError, usable_cores

_PROGRAM = "python -m data_builders.aih"


def main() -> None:
  defaults = AihConfig()
  parser = argparse.ArgumentParser(
    prog=_PROGRAM, description="Builds AIH: two hands, with masks and pictures of what they hide."
  )
  add = parser.add_argument
  add("--out", type=pathlib.Path, help="folder (default: one in $JAXHANDS_DATA, or in the user's cache)")
  for split, count in defaults.counts.items():
    add(f"--{split}", type=int, default=count, metavar="N", help=f"records of {split} (default: %(default)s)")
  add("--seed", type=int, default=defaults.seed, help="of everything drawn (default: %(default)s)")
  add("--variant", default=defaults.variant, help=f"one of {', '.join(VARIANTS)} (default: %(default)s)")
  add("--singles", default="", metavar="DATA", help="AIH_Syn of this data set, a folder or a name: interhand26m")
  add("--poses", default="", metavar="DATA", help="AIH_Render with the two-hand fits of this data set; needs --mano")
  add("--mano", default="", metavar="DIR", help="your MANO files, to which the fits of --poses belong")
  add("--upright", type=float, default=180.0, metavar="DEGREES", help="largest tilt of rendered hands (default: any)")
  add("--background-dir", metavar="DIR", help="pictures that join the procedural backgrounds")
  add("--jobs", type=int, default=usable_cores(), help="processes (default: one a core)")
  add("--show", type=int, metavar="N", help="draw N records with their labels into OUT/preview")
  args = vars(parser.parse_args())
  out, jobs, show = args.pop("out"), args.pop("jobs"), args.pop("show")
  args["upright_deg"] = args.pop("upright")
  with clear_exit(_PROGRAM):
    if show is not None and show < 1:
      raise BuildError(f"show is {show}, expected 1 or more")
    try:
      config = AihConfig(**args)
    except ValueError as error:
      raise BuildError(str(error)) from error
    _run(config, out, jobs, show)


def _run(config: AihConfig, out: pathlib.Path | None, jobs: int, show: int | None) -> None:
  begun = time.monotonic()
  with shown_progress("aih") as bar:
    folder = build(config, out, jobs, bar, say=_say)
  size_mb = sum(path.stat().st_size for path in folder.glob("*.array_record*")) / 1e6
  counts = ", ".join(f"{split} {count}" for split, count in config.counts.items())
  seconds = time.monotonic() - begun
  print(f"{folder}: {sum(config.counts.values())} records ({counts}), {size_mb:.0f} MB, in {seconds:.0f} s")
  if show:
    for sheet in write_sheets(folder, show, config.mano):
      print(sheet)
  else:
    print(f"Look at them: python -m data_builders.preview {folder}")


def _say(what: str, done: int, total: int) -> None:
  if done == 0:
    print(f"{what}: {total} records", file=sys.stderr)


if __name__ == "__main__":
  main()
