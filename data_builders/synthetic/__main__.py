"""`python -m data_builders.synthetic`: builds the data set and says where it is and how to look at it."""

from __future__ import annotations

import pathlib
import time

from data_builders.command import add_beam, beam_of, clear_exit, shown_progress
from data_builders.preview import show_or_tell
from data_builders.shards import BuildError, usable_cores
from data_builders.synthetic.build import build
from data_builders.synthetic.config import HANDS, PICTURES, VARIANTS, SyntheticConfig
from jaxhands.terminal.arguments import Parser

_PROGRAM = "python -m data_builders.synthetic"


def main() -> None:
  defaults = SyntheticConfig()
  parser = Parser(prog=_PROGRAM, description="Builds a data set of rendered hands with every label.")
  add = parser.add_argument
  add("--out", type=pathlib.Path, help="folder (default: one in $JAXHANDS_DATA, or in the user's cache)")
  for split, count in defaults.counts.items():
    add(f"--{split}", type=int, default=count, metavar="N", help=f"records of {split} (default: %(default)s)")
  add("--seed", type=int, default=defaults.seed, help="of everything drawn (default: %(default)s)")
  add("--variant", default=defaults.variant, help=f"one of {', '.join(VARIANTS)} (default: %(default)s)")
  add("--pictures", help=f"one of {', '.join(PICTURES)} (default: as the variant says)")
  add("--hands", default=defaults.hands, help=f"one of {', '.join(HANDS)} (default: %(default)s)")
  add("--upright", type=float, metavar="DEGREES", help="largest tilt of the hands (default: as the variant says)")
  add("--cameras", type=int, default=1, metavar="K", help="K records in a row show one scene (default: %(default)s)")
  add("--background-dir", metavar="DIR", help="pictures that join the procedural backgrounds")
  add("--jobs", type=int, default=usable_cores(), help="processes (default: one a core)")
  add_beam(parser)
  add("--show", type=int, metavar="N", help="draw N records with their labels into OUT/preview")
  args = vars(parser.parse_args())
  out, jobs, show, beam = (args.pop(name) for name in ("out", "jobs", "show", "beam"))
  args["upright_deg"] = args.pop("upright")
  with clear_exit(_PROGRAM):
    if show is not None and show < 1:
      raise BuildError(f"show is {show}, expected 1 or more")
    try:
      config = SyntheticConfig(**args)
    except ValueError as error:
      raise BuildError(str(error)) from error
    _run(config, out, jobs, show, beam_of(beam))


def _run(
  config: SyntheticConfig, out: pathlib.Path | None, jobs: int, show: int | None, beam: tuple[str, ...] | None
) -> None:
  begun, there = time.monotonic(), None
  with shown_progress("synthetic") as bar:

    def progress(finished: int, total: int) -> None:
      nonlocal there
      there = finished if there is None else there
      bar(finished, total)

    folder = build(config, out, jobs, progress, beam=beam)
  seconds, total = time.monotonic() - begun, sum(config.counts.values())
  size_mb = sum(path.stat().st_size for path in folder.glob("*.array_record*")) / 1e6
  counts = ", ".join(f"{split} {count}" for split, count in config.counts.items())
  print(f"{folder}: {total} records ({counts}), {size_mb:.0f} MB")
  if there is None or there == total:
    print("They were all there.")
  else:
    print(f"Built {total - there} in {seconds:.0f} s: {(total - there) / seconds:.1f} records/s with {jobs} jobs.")
  show_or_tell(folder, show)


if __name__ == "__main__":
  main()
