"""`python -m data_builders.multihands`: builds the data set, says how it went, and draws a sheet of it."""

from __future__ import annotations

import pathlib
import time

from data_builders.command import Said, add_beam, beam_of, clear_exit, shown_progress
from data_builders.multihands.build import build, source_of
from data_builders.multihands.config import SPLITS, MultiHandsConfig
from data_builders.shards import BuildError
from jaxhands.terminal.arguments import Parser

_PROGRAM = "python -m data_builders.multihands"


def main() -> None:
  defaults = MultiHandsConfig("synthetic")
  parser = Parser(prog=_PROGRAM, description="Adds many plausible annotations to pictures of two hands.")
  add = parser.add_argument
  add("--source", required=True, metavar="DATA", help="data set with fits of both hands: a folder, or NAME[/VARIANT]")
  add("--mano", default="", metavar="DIR", help="your MANO files, to which the fits belong (default: embedded hands)")
  add("--out", type=pathlib.Path, help="folder (default: one in $JAXHANDS_DATA, or in the user's cache)")
  for split in SPLITS:
    add(f"--{split}", type=int, metavar="N", help=f"first records of {split} (default: all)")
  add("--seed", type=int, default=defaults.seed, help="of everything drawn (default: %(default)s)")
  for name, words in (
    ("annotations", "of each picture"),
    ("population", "poses that are changed at once"),
    ("rounds", "of changing, testing, keeping"),
  ):
    add(f"--{name}", type=int, default=getattr(defaults, name), metavar="N", help=f"{words} (default: %(default)s)")
  for name, words in (
    ("pixels", "that a visible joint may move, in a crop of 224"),
    ("finger-share", "largest change of a finger, in deviations of the source's poses"),
    ("turn-rad", "deviation of the largest turn of a hand"),
    ("depth-mm", "deviation of the largest change of depth"),
  ):
    default = getattr(defaults, name.replace("-", "_"))
    add(f"--{name}", type=float, default=default, metavar="X", help=f"{words} (default: %(default)s)")
  add("--jobs", type=int, help="processes (default: one a core, a single one with an accelerator)")
  add_beam(parser)
  add("--report", type=int, default=50, metavar="N", help="records that the report looks at (default: %(default)s)")
  args = vars(parser.parse_args())
  out, jobs, beam, report = (args.pop(name) for name in ("out", "jobs", "beam", "report"))
  with clear_exit(_PROGRAM):
    if report < 0:
      raise BuildError(f"report is {report}, expected 0 or more")
    try:
      config = MultiHandsConfig(**args)
    except ValueError as error:
      raise BuildError(str(error)) from error
    _run(config, out, jobs, beam_of(beam), report)


def _run(
  config: MultiHandsConfig, out: pathlib.Path | None, jobs: int | None, beam: tuple[str, ...] | None, report: int
) -> None:
  begun, there, total = time.monotonic(), None, 0
  with shown_progress("multihands") as bar:

    def progress(finished: int, all_of_them: int) -> None:
      nonlocal there, total
      there, total = (finished if there is None else there), all_of_them
      bar(finished, all_of_them)

    folder = build(config, out, jobs, progress, say=Said(), beam=beam)
  seconds = time.monotonic() - begun
  if there is None or there == total:
    print(f"{folder}: all records were there.")
  else:
    print(f"{folder}: {total - there} of {total} records in {seconds:.0f} s, {(total - there) / seconds:.1f} a second.")
  if not report:
    return
  from data_builders.multihands import report as reports
  from data_builders.multihands.records import rows_of

  source, _ = source_of(config, out)
  split = next((split for split in SPLITS if rows_of(source.survey, split).size), None)
  if split is None:
    print("No split has records, so that there is no report.")
    return
  found = reports.write(source, folder, split, report)
  print(f"Of {found['changes']:,} changes in {found['records']} records of {split} passed:")
  for test, share in found["passed"].items():
    print(f"  {test}: {share:.1%}")
  print(f"Records with fewer poses than annotations: {found['fewer_annotations']:.1%}")
  spread = ", ".join(f"{name} {value:.1f}" for name, value in found["deviation_mm"].items())
  print(f"Mean deviation of the annotations' joints, mm: {spread} (paper, of a flow's samples: 18 to 31)")
  print(f"{folder / 'report.json'}, {folder / 'sheet.png'}")


if __name__ == "__main__":
  main()
