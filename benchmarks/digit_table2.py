"""DIGIT's table 2 and section 4.3 on embedded data: every row with several seeds, one run after the other.

    python -m benchmarks.digit_table2                     # size small, seeds 0 1 2; the same command goes on
    python -m benchmarks.digit_table2 --summary           # only the table of what is finished
    python -m benchmarks.digit_table2 --seeds 0 --rows "Baseline" "Baseline + BL"

A run lies in OUT/SIZE-SWITCHES-seedN; a finished one is skipped, one that was stopped goes on. Finished runs are
recorded (`python -m jaxhands results add`) unless --no-record is given. The data are the same for all seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import rich.table

from configs.digit import ROWS
from jaxhands import console as consoles

ROOT = pathlib.Path(__file__).resolve().parent.parent
_METRICS = ("mpjpe/interacting", "mrrpe", "mpjpe/single", "bone_asymmetry", "iou/parts")
_RUN_NUMBER = "seed"


@dataclasses.dataclass(frozen=True)
class Job:
  """One training of one row."""

  row: str
  variant: str
  seed: int
  workdir: pathlib.Path

  @property
  def finished(self) -> bool:
    """Whether it was evaluated; the report is written after that, and last."""
    return (self.workdir / "report" / "index.html").is_file()

  def metrics(self) -> dict[str, float]:
    """Of the evaluation."""
    return json.loads((self.workdir / "eval" / "metrics.json").read_text())["metrics"]

  def command(self) -> list[str]:
    """That trains, evaluates and writes the report."""
    config = f"--config=configs/digit.py:{self.variant}"
    return [sys.executable, "launch.py", config, f"--config.seed={self.seed}", f"--workdir={self.workdir}"]


def jobs(rows: Sequence[str], seeds: Sequence[int], size: str, out: pathlib.Path) -> list[Job]:
  """Seed by seed, so that every row has a number before any has two."""
  variants = {row: ",".join(word for word in (size, ROWS[row]) if word) for row in rows}
  return [
    Job(row, variant, seed, out / f"{variant.replace(',', '-')}-{_RUN_NUMBER}{seed}")
    for seed in seeds
    for row, variant in variants.items()
  ]


def summary(all_jobs: Sequence[Job]) -> rich.table.Table:
  """Mean and standard deviation over the seeds of each row."""
  table = rich.table.Table(title="DIGIT, table 2 and section 4.3: mean ± deviation over seeds")
  table.add_column("row")
  for metric in ("seeds", *_METRICS):
    table.add_column(metric, justify="right")
  for row in dict.fromkeys(job.row for job in all_jobs):
    found = [job.metrics() for job in all_jobs if job.row == row and job.finished]
    cells = []
    for metric in _METRICS:
      values = [metrics[metric] for metrics in found if metric in metrics]
      deviation = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
      cells.append(f"{np.mean(values):.4g}{deviation}" if values else "")
    table.add_row(row, str(len(found)), *cells)
  return table


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--size", default="small")
  parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
  parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=tuple(ROWS), metavar="ROW")
  parser.add_argument("--out", type=pathlib.Path, default=ROOT / "runs" / "digit_table2")
  parser.add_argument("--summary", action="store_true", help="run nothing")
  parser.add_argument("--no-record", action="store_true", help="do not add finished runs to results/")
  args = parser.parse_args()
  console = consoles.make()
  todo = jobs(args.rows, args.seeds, args.size, args.out.resolve())
  for number, job in enumerate(todo, start=1):
    if job.finished or args.summary:
      continue
    console.print(f"{number} of {len(todo)}: {job.row}, seed {job.seed}")
    subprocess.run(job.command(), cwd=ROOT, check=True)
    if not job.finished:
      sys.exit(f"{job.workdir} was stopped; the same command goes on with it")
    if not args.no_record:
      note = f"{job.row}; embedded data"
      subprocess.run(
        [sys.executable, "-m", "jaxhands", "results", "add", str(job.workdir), "--note", note], cwd=ROOT, check=True
      )
  console.print(summary(todo), soft_wrap=False)


if __name__ == "__main__":
  main()
