"""`python -m data_builders.aih`: builds the data set, or reads the authors' own (`--source`), and says where it is."""

from __future__ import annotations

import pathlib
import time

from data_builders.aih.build import build
from data_builders.aih.config import VARIANTS, AihConfig
from data_builders.command import Said, add_beam, beam_of, clear_exit, finish_verify, listed, shown_progress
from data_builders.preview import show_or_tell
from data_builders.shards import BuildError, usable_cores
from jaxhands.terminal.arguments import Parser

_PROGRAM = "python -m data_builders.aih"


def main() -> None:
  defaults = AihConfig()
  parser = Parser(prog=_PROGRAM, description="Builds AIH: two hands, with masks and pictures of what they hide.")
  add = parser.add_argument
  add("--out", type=pathlib.Path, help="folder (default: one in $JAXHANDS_DATA, or in the user's cache)")
  for split, count in defaults.counts.items():
    add(f"--{split}", type=int, default=count, metavar="N", help=f"records of {split} (default: %(default)s)")
  add("--seed", type=int, default=defaults.seed, help="of everything drawn (default: %(default)s)")
  add("--variant", default=defaults.variant, help=f"one of {', '.join(VARIANTS)} (default: %(default)s)")
  add("--singles", default="", metavar="DATA", help="AIH_Syn of this data set, a folder or a name: interhand26m")
  add("--poses", default="", metavar="DATA", help="AIH_Render with the two-hand fits of this data set; needs --mano")
  add("--mano", default="", metavar="DIR", help="your MANO files, to which the fits of --poses belong")
  add("--textures", default="", metavar="DIR", help="pictures of skin for MANO's mesh and an OBJ file of their layout")
  add("--upright", type=float, default=180.0, metavar="DEGREES", help="largest tilt of rendered hands (default: any)")
  add("--background-dir", metavar="DIR", help="pictures that join the procedural backgrounds")
  add("--jobs", type=int, default=usable_cores(), help="processes (default: one a core)")
  add_beam(parser)
  add("--show", type=int, metavar="N", help="draw N records with their labels into OUT/preview")
  add("--source", default="", metavar="DIR", help="build the authors' AIH from its download instead")
  add("--verify", action="store_true", help="with --source: only check the download; status 1 when something is wrong")
  add("--list", type=pathlib.Path, metavar="FILE", help="with --verify: a line for every problem, as a table")
  args = vars(parser.parse_args())
  given = {key for key, value in args.items() if value != parser.get_default(key)}
  out, jobs, show, beam = (args.pop(name) for name in ("out", "jobs", "show", "beam"))
  source, only_verify, listing = (args.pop(name) for name in ("source", "verify", "list"))
  args["upright_deg"] = args.pop("upright")
  with clear_exit(_PROGRAM):
    if show is not None and show < 1:
      raise BuildError(f"show is {show}, expected 1 or more")
    if source or only_verify or listing:
      _released(source, only_verify, listing, out, jobs, show, beam_of(beam), given)
      return
    try:
      config = AihConfig(**args)
    except ValueError as error:
      raise BuildError(str(error)) from error
    _run(config, out, jobs, show, beam_of(beam))


def _run(
  config: AihConfig, out: pathlib.Path | None, jobs: int, show: int | None, beam: tuple[str, ...] | None
) -> None:
  begun = time.monotonic()
  with shown_progress("aih") as bar:
    folder = build(config, out, jobs, bar, say=Said(), beam=beam)
  size_mb = sum(path.stat().st_size for path in folder.glob("*.array_record*")) / 1e6
  counts = ", ".join(f"{split} {count}" for split, count in config.counts.items())
  seconds = time.monotonic() - begun
  print(f"{folder}: {sum(config.counts.values())} records ({counts}), {size_mb:.0f} MB, in {seconds:.0f} s")
  show_or_tell(folder, show, config.mano)


_FOR_DOWNLOADS = {"source", "verify", "list", "out", "jobs", "show", "beam"}


def _released(
  source: str, only_verify: bool, listing: pathlib.Path | None, out: pathlib.Path | None, jobs: int, show: int | None,
  beam: tuple[str, ...] | None, given: set[str],
) -> None:  # fmt: skip
  if not source:
    raise BuildError("--verify and --list go with --source, the download of AIH")
  if other := sorted(given - _FOR_DOWNLOADS):
    raise BuildError(f"--{other[0].replace('_', '-')} is for data that are made; --source builds what its authors made")
  if listing and not only_verify:
    raise BuildError("--list goes with --verify; a build lists its problems in OUT/quarantine.tsv")
  from data_builders.aih import released

  begun, config = time.monotonic(), released.ReleasedConfig(source)
  if only_verify:
    with listed(released.KINDS, listing) as problems:
      lines = released.verify(config, problems, Said())
    finish_verify(lines, problems, begun)
    return
  with shown_progress(released.NAME) as bar:
    folder, lines = released.build(config, out, jobs, bar, Said(), beam)
  for line in lines:
    print(line)
  size_mb = sum(path.stat().st_size for path in folder.glob("*.array_record*")) / 1e6
  print(f"{folder}: {size_mb:,.0f} MB, in {time.monotonic() - begun:.0f} s; problems in {folder / 'quarantine.tsv'}")
  show_or_tell(folder, show)


if __name__ == "__main__":
  main()
