"""Keeps the results of finished experiments, and sets them beside the papers' numbers.

    python -m jaxhands results add runs/internet-small       # results/internet-small-seed0.json, from an evaluated run
    python -m jaxhands results                               # RESULTS.md, from all of them

Commit both. RESULTS.md is never edited by hand: what it says comes from results/*.json, from results/views/*.json
(`python -m benchmarks.view_selection RUN --json FILE`) and from the papers' numbers in jaxhands/results/published.json;
only why a paper's direction did not hold is written by people, in results/remarks.toml. Experiments of the papers
without a result are listed as missing.
"""

from __future__ import annotations

import argparse
import pathlib
import re

from jaxhands.results import page, record, views
from jaxhands.runs import folder as files
from jaxhands.runs import lock


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """The command line of `results`."""
  parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("results"), help="of the records")
  parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("RESULTS.md"), help="the page")
  actions = parser.add_subparsers(dest="action", metavar="add")
  add = actions.add_parser("add", help="make a record of an evaluated run, and the page anew")
  add.add_argument("run", metavar="RUN", type=pathlib.Path, help="folder of launch.py")
  add.add_argument("--name", help="of the record (default: CONFIG-VARIANT-seedN)")
  add.add_argument("--note", default="", help="a sentence to stand beside the result")
  add.add_argument("--replace", action="store_true", help="write over a record of this name")


def main(args: argparse.Namespace) -> int:
  """Writes a record, if one is asked for, and the page.

  Raises:
    ValueError, OSError: a name or folder that cannot be, a run that was not evaluated, or a damaged record.
  """
  if args.action != "add" and not args.folder.is_dir():
    raise FileNotFoundError(f"--folder {args.folder}: there is no such folder")
  with lock.only(args.folder):
    if args.action == "add":
      _add(args)
    remarks = page.read_remarks(args.folder)
    page.write(args.out, record.read_all(args.folder), remarks, views.read_all(args.folder))
  print(f"{args.out}")
  return 0


def _add(args: argparse.Namespace) -> None:
  _check_name(args.name, "--name")
  new = record.of_run(args.run, args.note)
  name = args.name or record.name_of(new)
  _check_name(name, f"{args.run / files.CONFIG} names the record, and without --name its file,")
  path = args.folder / f"{name}.json"
  if path.exists() and not args.replace:
    raise FileExistsError(f"{path} is there already; give another --name, or --replace it")
  for other, kept in record.read_all(args.folder, but=name).items():
    if other != name and record.identity(kept) == record.identity(new):
      raise ValueError(
        f"{args.folder / other}.json is of {record.name_of(new)} on {new['dataset']} {new['split']}, too, and the page "
        f"would take the two for seeds; write over it with --name {other} --replace, or delete it"
      )
  record.write(new, path)
  print(f"{path}: {path.stat().st_size:,} bytes")
  if new["evaluated_with"]["code"]["modified"] or not new["evaluated_with"]["code"]["commit"]:
    print("The code that ran is not a commit: nobody can run it again. Commit first, then --mode=eval.")


def _check_name(name: str | None, of: str) -> None:
  if name is not None and not re.fullmatch(r"[\w.,+-]*\w", name):
    raise ValueError(f"{of} {name!r}: write letters, digits and .,+-_ alone")
