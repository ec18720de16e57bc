"""`python -m data_builders.interhand26m`: builds the data set from a download, or checks it."""

from __future__ import annotations

import json
import pathlib
import time

from data_builders.command import Said, add_beam, beam_of, clear_exit, finish_verify, listed, shown_progress
from data_builders.interhand26m.build import InterHandConfig, build, verify
from data_builders.interhand26m.layout import BRANCHES, SPLITS
from data_builders.interhand26m.problems import KINDS
from data_builders.preview import show_or_tell
from data_builders.shards import BuildError, usable_cores
from jaxhands.terminal.arguments import Parser

_PROGRAM = "python -m data_builders.interhand26m"


def main() -> None:
  parser = Parser(prog=_PROGRAM, description="Builds InterHand2.6M from a download of your own.")
  add = parser.add_argument
  add("--source", required=True, metavar="DIR", help="the download: holds annotations, images, rootnet_output")
  add("--out", type=pathlib.Path, help="folder (default: interhand26m in $JAXHANDS_DATA, or in the user's cache)")
  add("--branch", default="ALL", help=f"one of {', '.join(BRANCHES)}: annotated by people, machine, either")
  add("--splits", nargs="+", default=[], metavar="SPLIT", help=f"some of {', '.join(SPLITS)} (default: those there)")
  add("--human-ids", nargs="+", default=[], metavar="FILE", help="V1.0: annotation ids of people's annotations")
  add("--mano", default="", metavar="DIR", help="your MANO files: adds parameters, part labels and masks")
  add("--jobs", type=int, default=usable_cores(), help="processes (default: one a core)")
  add_beam(parser)
  add("--show", type=int, metavar="N", help="draw N records with their labels into OUT/preview")
  add("--verify", action="store_true", help="only check the download; status 1 when something is wrong")
  add("--list", type=pathlib.Path, metavar="FILE", help="with --verify: a line for every problem, as a table")
  args = parser.parse_args()
  with clear_exit(_PROGRAM):
    if args.show is not None and args.show < 1:
      raise BuildError(f"show is {args.show}, expected 1 or more")
    if args.list and not args.verify:
      raise BuildError("--list goes with --verify; a build lists its problems in OUT/quarantine.tsv")
    config = InterHandConfig(args.source, args.branch, tuple(args.splits), tuple(args.human_ids), args.mano)
    if args.verify:
      _verify(config, args.list)
    else:
      _build(config, args.out, args.jobs, args.show, beam_of(args.beam))


def _verify(config: InterHandConfig, listing: pathlib.Path | None) -> None:
  begun = time.monotonic()
  with listed(KINDS, listing) as problems:
    lines = verify(config, problems, Said())
  finish_verify(lines, problems, begun)


def _build(
  config: InterHandConfig, out: pathlib.Path | None, jobs: int, show: int | None, beam: tuple[str, ...] | None
) -> None:
  begun = time.monotonic()
  if config.branch == "ALL" and not config.human_ids:
    print("No --human-ids: which of V1.0's annotations people made is not known, so there is only branch ALL.")
  if not config.mano:
    print("No --mano: NeuralAnnot's parameters need the mean pose of your MANO files; neither they nor part labels.")
  with shown_progress("interhand26m") as bar:
    folder, problems = build(config, out, jobs, bar, Said(), beam)
  for line in problems:
    print(line)
  size_mb = sum(path.stat().st_size for path in folder.glob("*.array_record*")) / 1e6
  seconds = time.monotonic() - begun
  splits = json.loads((folder / "build.json").read_text())["arguments"]["splits"]
  counts = {split: summary["records"] for split, summary in splits.items()}
  each = ", ".join(f"{split} {count:,}" for split, count in counts.items())
  print(
    f"{folder}: {sum(counts.values()):,} records ({each}), {size_mb:,.0f} MB, in {seconds:.0f} s; "
    f"problems in {folder / 'quarantine.tsv'}"
  )
  show_or_tell(folder, show, config.mano)


if __name__ == "__main__":
  main()
