"""Rows of a paper's table as runs of ours: every row with several seeds, one run after the other, resumable.

A run lies in OUT/CONFIG-SIZE-SWITCHES-seedN; a finished one is skipped, one that was stopped goes on. Finished runs are
recorded by that name (`python -m jaxhands results add`) where they are not yet, unless --no-record is given.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rich.table

from jaxhands.runs import folder as files
from jaxhands.terminal import console as consoles

ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Table:
  """A paper's table.

  Attributes:
    title: for what is printed.
    rows: name -> name of the file in configs/, and its switches, "" = none.
    metrics: columns, keys of an evaluation's metrics; under another protocol than the first with a word of that,
      "mpjpe/all scale=predicted".
    decisive: the metric that says whether a run has learnt, by the verdict on it beside the mean pose; "" = not asked.
  """

  title: str
  rows: Mapping[str, tuple[str, str]]
  metrics: tuple[str, ...]
  decisive: str = ""


@dataclasses.dataclass(frozen=True)
class Job:
  """One training of one row; `flags`: what changes fields of its config."""

  config: str
  row: str
  variant: str
  seed: int
  workdir: pathlib.Path
  flags: tuple[str, ...] = ()

  @property
  def finished(self) -> bool:
    """Whether it was evaluated; the report is written after that, and last."""
    return (self.workdir / files.REPORT).is_file()

  @property
  def record(self) -> pathlib.Path:
    """Where it is kept."""
    return ROOT / "results" / f"{self.workdir.name}.json"

  def result(self) -> dict[str, Any]:
    """Of the evaluation: "metrics", "verdicts" and more."""
    return json.loads((self.workdir / files.METRICS).read_text())

  def command(self, more: Sequence[str] = ()) -> list[str]:
    """That trains, evaluates and writes the report; `more`: further flags."""
    config = f"--config=configs/{self.config}.py:{self.variant}"
    own = [f"--config.seed={self.seed}", f"--workdir={self.workdir}", *self.flags]
    return [sys.executable, "launch.py", config, *own, *more]


def jobs(
  rows: Mapping[str, tuple[str, str]],
  seeds: Sequence[int],
  size: str,
  out: pathlib.Path,
  flags: Mapping[str, tuple[str, ...]] | None = None,
  prefixes: Mapping[str, str] | None = None,
) -> list[Job]:
  """Seed by seed, so that every row has a number before any has two.

  Args:
    rows: as of `Table`.
    seeds: of each row.
    size: of all configs.
    out: folder of the runs.
    flags: config -> what changes its fields.
    prefixes: config -> what the names of its runs begin with, of configs that other tables train otherwise.
  """
  result = []
  for seed in seeds:
    for row, (config, words) in rows.items():
      variant = f"{size},{words}" if words else size
      folder = out / f"{(prefixes or {}).get(config, '')}{config}-{variant.replace(',', '-')}-seed{seed}"
      result.append(Job(config, row, variant, seed, folder, (flags or {}).get(config, ())))
  return result


def has_learnt(table: Table, result: Mapping[str, Any]) -> bool:
  """Whether a run is better than the mean pose, by the interval of the difference."""
  return not table.decisive or result["verdicts"].get(table.decisive, {}).get("kind") == "better"


def _value(result: Mapping[str, Any], metric: str) -> float | None:
  """Of a column of a table; None where the evaluation did not give it."""
  key, _, word = metric.partition(" ")
  if not word:
    return result["metrics"].get(key)
  for entry in result.get("also", ()):
    if entry["method"] == result["system"] and word in entry["protocol"].split():
      return entry["metrics"].get(key)
  return None


def summary(table: Table, all_jobs: Sequence[Job]) -> rich.table.Table:
  """Mean and standard deviation over the seeds of each row."""
  made = rich.table.Table(title=f"{table.title}: mean ± deviation over seeds")
  made.add_column("row")
  for metric in ("seeds", *table.metrics):
    made.add_column(metric, justify="right")
  for row in dict.fromkeys(job.row for job in all_jobs):
    results = [job.result() for job in all_jobs if job.row == row and job.finished]
    cells = []
    for metric in table.metrics:
      values = [value for result in results if (value := _value(result, metric)) is not None]
      deviation = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
      cells.append(f"{np.mean(values):.4g}{deviation}" if values else "")
    mark = "" if all(has_learnt(table, result) for result in results) else " (not learnt)"
    made.add_row(f"{row}{mark}", str(len(results)), *cells)
  if table.decisive:
    made.caption = f"not learnt: {table.decisive} is not better than the mean pose's, so that the row says nothing"
  return made


def main(table: Table, program: str, description: str) -> None:
  """The command: runs what is left of a table, and prints it.

  Args:
    table: with its rows.
    program: name of the folder in runs/ that is the default.
    description: for --help.
  """
  args, more = arguments(tuple(table.rows), program, description)
  todo = jobs({row: table.rows[row] for row in args.rows}, args.seeds, args.size, args.out.resolve())
  do(todo, more, args)
  consoles.make().print(summary(table, todo), soft_wrap=False)


def arguments(rows: Sequence[str], program: str, description: str) -> tuple[argparse.Namespace, list[str]]:
  """The command's flags, and those that change fields of all configs; `rows` there are, others as of `main`."""
  parser = argparse.ArgumentParser(description=description)
  parser.add_argument("--size", default="small")
  parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
  parser.add_argument("--rows", nargs="+", choices=tuple(rows), default=tuple(rows), metavar="ROW")
  parser.add_argument("--out", type=pathlib.Path, default=ROOT / "runs" / program)
  parser.add_argument("--summary", action="store_true", help="run nothing")
  parser.add_argument("--no-record", action="store_true", help="do not add finished runs to results/")
  more = [word for word in sys.argv[1:] if word.startswith("--config.")]  # fields of the config
  args = parser.parse_args([word for word in sys.argv[1:] if word not in more])
  return args, more


def do(todo: Sequence[Job], more: Sequence[str], args: argparse.Namespace) -> None:
  """Runs what is left, one after the other, and records it; ends the program where one was stopped."""
  console = consoles.make()
  for number, job in enumerate(() if args.summary else todo, start=1):
    if new := not job.finished:
      console.print(f"{number} of {len(todo)}: {job.row}, seed {job.seed}")
      done = subprocess.run(job.command(more), cwd=ROOT, check=False)
      if done.returncode or not job.finished:
        sys.exit(f"{job.workdir} was stopped; the same command goes on with it")
    if not args.no_record and (new or not job.record.is_file()):
      add = [sys.executable, "-m", "jaxhands", "results", "add", str(job.workdir), "--replace"]
      about = f"{job.row}; embedded data" + (", fields changed as the table's command does" if job.flags else "")
      subprocess.run([*add, "--name", job.record.stem, "--note", about], cwd=ROOT, check=True)
