"""HandFlow's tables 1 to 3 on embedded data: every row with several seeds, one run after the other.

    python -m benchmarks.handflow_tables                     # size small, seeds 0 1 2; the same command goes on
    python -m benchmarks.handflow_tables --summary           # only the tables of what is finished
    python -m benchmarks.handflow_tables --seeds 0 --rows HandFlowNet Gaussian

A run lies in OUT/SIZE-WORDS-seedN; a finished one is skipped, one that was stopped goes on. Finished runs are recorded
(`python -m jaxhands results add`) unless --no-record is given. All rows learn from the same pictures and are compared
with the same annotations; InterNet and DIGIT, which say one pose, are the paper's deltas, and their wrists stand where
a hand of average size would. A row that is no better than the mean pose has learnt nothing, is marked, and says nothing
about the method.
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

from configs import handflow
from jaxhands import console as consoles

ROOT = pathlib.Path(__file__).resolve().parent.parent
_MAIN = "mpjpe/all"


@dataclasses.dataclass(frozen=True)
class Row:
  """A line of a table: its config, the words after its size, and whether it says one pose alone."""

  config: str
  words: str = ""

  @property
  def one_pose(self) -> bool:
    return self.config != "handflow"


ROWS = {
  "HandFlowNet": Row("handflow"),
  "VAE": Row("handflow", "vae"),
  "Gaussian": Row("handflow", "gaussian"),
  "MC dropout": Row("handflow", "mcdropout"),
  "InterNet": Row("internet"),
  "DIGIT": Row("digit"),
  "without MultiHands": Row("handflow", "no_multihands"),
  "without determinant": Row("handflow", "no_determinant"),
  "without likelihood": Row("handflow", "no_nll"),
  "without mode": Row("handflow", "no_mode"),
  "without joints": Row("handflow", "no_joints"),
  "without projection": Row("handflow", "no_projection"),
  "without orthonormality": Row("handflow", "no_orthonormality"),
  "additive couplings": Row("handflow", "additive"),
}
_DISTRIBUTIONS = ("HandFlowNet", "VAE", "Gaussian", "MC dropout", "InterNet", "DIGIT")
_MMD = ("mmd/global", "mmd/rrr", "mmd/rr")
_SAMPLES = ("mpjpe_best/rrr", "deviation/global", "deviation/rrr", "deviation_error/rrr", "coverage_90/rrr")
# Table -> its rows and metrics.
TABLES = {
  "Table 1: MPJPE from the closest and the farthest annotation, mm": (
    ("InterNet", "DIGIT", "HandFlowNet"),
    tuple(
      f"mpjpe_{which}/{where}" for which in ("closest", "farthest") for where in ("global", "rrr", "rr_occluded")
    ),
  ),
  "Table 2: MMD of samples and annotations": (_DISTRIBUTIONS, (*_MMD, *_SAMPLES)),
  "Table 3: MMD without parts of the loss": (
    ("HandFlowNet", *(name for name in ROWS if name not in _DISTRIBUTIONS)), (*_MMD, "deviation/global"),
  ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Job:
  """One training of one row."""

  name: str
  size: str
  seed: int
  workdir: pathlib.Path

  @property
  def finished(self) -> bool:
    """Whether it was evaluated; the report is written after that, and last."""
    return (self.workdir / "report" / "index.html").is_file()

  def result(self) -> Mapping[str, Any]:
    """Of the evaluation."""
    return json.loads((self.workdir / "eval" / "metrics.json").read_text())

  def command(self) -> list[str]:
    """That trains, evaluates and writes the report."""
    row = ROWS[self.name]
    variant = ",".join(word for word in (self.size, row.words) if word)
    flags = [f"--config=configs/{row.config}.py:{variant}", f"--config.seed={self.seed}", f"--workdir={self.workdir}"]
    return [sys.executable, "launch.py", *flags, *(deltas(self.size) if row.one_pose else [])]


def deltas(size: str) -> list[str]:
  """Flags that give a system of one pose the data and annotations that `configs/handflow.py` has at a size."""
  config: Any = handflow.get_config(size)
  flags = [f"--config.data.{key}={tuple(config.data[key])!r}" for key in ("train", "eval")]
  flags += [f"--config.data.synthetic.{key}={config.data.synthetic[key]}" for key in ("train", "val", "test", "seed")]
  flags += [f"--config.data.multihands.{key}={value}" for key, value in config.data.multihands.items()]
  flags += ["--config.data.kind=interacting", "--config.eval.protocol.depth=place"]
  return [*flags, f"--config.eval.annotations={config.system.compared}"]


def jobs(names: Sequence[str], seeds: Sequence[int], size: str, out: pathlib.Path) -> list[Job]:
  """Seed by seed, so that every row has a number before any has two."""
  made = []
  for seed in seeds:
    for name in names:
      row = ROWS[name]
      words = "-".join(word for word in (size, row.config if row.one_pose else row.words or "flow") if word)
      made.append(Job(name, size, seed, out / f"{words}-seed{seed}"))
  return made


def learnt(result: Mapping[str, Any]) -> bool:
  """Whether a run's pose is better than the mean pose, by the interval of the difference."""
  return result["verdicts"].get(_MAIN, {}).get("kind") == "better"


def summary(all_jobs: Sequence[Job]) -> list[rich.table.Table]:
  """Mean and standard deviation over the seeds of each row of the tables."""
  made = []
  for title, (rows, metrics) in TABLES.items():
    table = rich.table.Table(title=title)
    table.add_column("row")
    for column in ("seeds", *metrics):
      table.add_column(column, justify="right")
    for name in rows:
      results = [job.result() for job in all_jobs if job.name == name and job.finished]
      if not results:
        continue
      cells = [_cell([result["metrics"][key] for result in results if key in result["metrics"]]) for key in metrics]
      mark = "" if all(map(learnt, results)) else " (not learnt)"
      table.add_row(name + mark, str(len(results)), *cells)
    table.caption = "mean ± deviation over seeds; not learnt: no better than the mean pose, so it says nothing"
    made.append(table)
  return made


def _cell(values: Sequence[float]) -> str:
  if not values:
    return ""
  deviation = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
  return f"{np.mean(values):.4g}{deviation}"


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--size", choices=("tiny", "small"), default="small")
  parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
  parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=tuple(ROWS), metavar="ROW")
  parser.add_argument("--out", type=pathlib.Path, default=ROOT / "runs" / "handflow_tables")
  parser.add_argument("--summary", action="store_true", help="run nothing")
  parser.add_argument("--no-record", action="store_true", help="do not add finished runs to results/")
  args = parser.parse_args()
  console = consoles.make()
  todo = jobs(args.rows, args.seeds, args.size, args.out.resolve())
  for number, job in enumerate(todo, start=1):
    if job.finished or args.summary:
      continue
    console.print(f"{number} of {len(todo)}: {job.name}, seed {job.seed}")
    done = subprocess.run(job.command(), cwd=ROOT, check=False)
    if done.returncode or not job.finished:
      sys.exit(f"{job.workdir} was stopped; the same command goes on with it")
    if not args.no_record:
      note = f"{job.name}; embedded data"
      subprocess.run(
        [sys.executable, "-m", "jaxhands", "results", "add", str(job.workdir), "--note", note], cwd=ROOT, check=True
      )
  for table in summary(todo):
    console.print(table, soft_wrap=False)


if __name__ == "__main__":
  main()
