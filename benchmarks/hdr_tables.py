"""HDR's tables 3 and 5 on embedded data: every row that needs a training of its own, and InterNet as estimator.

    python -m benchmarks.hdr_tables                  # size small; the same command goes on where it was stopped
    python -m benchmarks.hdr_tables --jobs 2         # two stages at once, each on half of the cores
    python -m benchmarks.hdr_tables --summary        # only the table of what is finished
    python -m benchmarks.hdr_tables --runs "HDR" "HDR without discriminator"

A run lies in OUT/SIZE-SWITCHES-seedN. Its stages are trained one a process; a stage that two runs have alike is trained
once and copied. A run that is finished is recorded (`python -m jaxhands results add`) unless --no-record is given.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import rich.console
import rich.table

from benchmarks import schedule
from configs import hdr
from data_builders import find
from jaxhands.data import folders
from jaxhands.runs import stages
from jaxhands.terminal import console as consoles
from jaxhands.train import checkpoint

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNS = {
  "HDR": "",
  "HDR, pose net trained with AIH": "with_aih",
  "HDR without discriminator": "no_discriminator",
  "HDR without transformer blocks": "no_transformer",
  "HDR of rendered pictures": "render_only",
  "HDR of pasted pictures": "syn_only",
  "HDR with InterNet as pose net": "internet_pose",
}
_METRICS = ("mpjpe/interacting", "mpjpe/single", "mpjpe/all")
_ASSEMBLED = "pipeline"


@dataclasses.dataclass(frozen=True)
class Job:
  """One run: the stages of a variant, the last of which evaluates the others chained."""

  what: str
  variant: str
  seed: int
  workdir: pathlib.Path

  @property
  def stages(self) -> dict[str, Any]:
    """All, in order, with their configs."""
    config = hdr.get_config(self.variant)
    config.seed = self.seed
    return dict(stages.of(config))

  def folder(self, stage: str) -> pathlib.Path:
    """Of a stage."""
    return self.workdir / "stages" / stage

  def is_done(self, stage: str) -> bool:
    """Whether a stage is trained to its end and evaluated; of the last one, whether its report is there.

    Raises:
      ValueError: it was trained with another config.
    """
    folder = self.folder(stage)
    if (folder / "config.json").is_file() and _decisive(checkpoint.read_config(folder)) != _decisive(
      self.stages[stage]
    ):
      raise ValueError(f"{folder} is of another config; remove it, or choose another --out")
    answer = self.workdir / "report" / "index.html" if stage == _ASSEMBLED else folder / "eval" / "metrics.json"
    return answer.is_file() and stages.is_finished(folder)

  def command(self, stage: str) -> list[str]:
    """That does one stage."""
    config = [f"--config=configs/hdr.py:{self.variant}", f"--config.seed={self.seed}"]
    return ["launch.py", *config, f"--workdir={self.workdir}", f"--stage={stage}"]


def jobs(runs: Sequence[str], size: str, seed: int, out: pathlib.Path) -> list[Job]:
  """One for each run.

  Raises:
    ValueError: the size does not have such a run.
  """
  made = []
  for what in dict.fromkeys(runs):
    variant = ",".join(word for word in (size, RUNS[what]) if word)
    hdr.get_config(variant)
    made.append(Job(what, variant, seed, out / f"{variant.replace(',', '-')}-seed{seed}"))
  return made


def owner(job: Job, stage: str, all_jobs: Sequence[Job]) -> Job:
  """The first run, perhaps this one, with the same stage: of an equal config, as those are that it starts from."""
  wanted = _identity(job, stage)
  return next(other for other in all_jobs if _identity(other, stage) == wanted)


def _identity(job: Job, stage: str) -> str | None:
  config = job.stages.get(stage)
  if config is None:
    return None
  return json.dumps([_decisive(config), [_identity(job, source) for source in stages.sources(config)]])


def _decisive(config: Any) -> str:
  """A stage's config without the name of the variant that it is a part of."""
  return json.dumps(json.loads(config.to_json()) | {"variant": ""}, sort_keys=True)


class Trainings:
  """The processes that do stages; one that is told to stop saves what it has done."""

  def __init__(self, at_once: int, console: rich.console.Console, record: bool):
    self._at_once, self._console, self._record = at_once, console, record
    self._running: set[subprocess.Popen[bytes]] = set()

  def tasks(self, all_jobs: Sequence[Job]) -> list[schedule.Task]:
    """What is left to do."""
    found = []
    for job in all_jobs:
      for stage, config in job.stages.items():
        trainer = owner(job, stage, all_jobs)
        needs = {f"{job.variant}: {source}" for source in stages.sources(config)}
        if trainer != job:
          needs = {f"{trainer.variant}: {stage}"}

        def do(cores: schedule.Cores, job: Job = job, stage: str = stage, trainer: Job = trainer) -> bool:
          if not job.is_done(stage):
            self._call(job, stage, cores) if trainer == job else _copy(trainer.folder(stage), job.folder(stage))
          return job.is_done(stage)

        found.append(schedule.Task(f"{job.variant}: {stage}", frozenset(needs), do))
    return found

  def stop(self) -> None:
    """Tells all that run to save and end."""
    for process in list(self._running):
      process.terminate()

  def _call(self, job: Job, stage: str, cores: schedule.Cores) -> None:
    environment = dict(os.environ)
    if self._at_once > 1:  # each takes its share of the accelerator's memory, not all of it
      environment.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / self._at_once:.3f}")
    command = [sys.executable, *job.command(stage)]
    if cores:
      pinned = f"import os, sys; os.sched_setaffinity(0, {set(cores)}); os.execv(sys.executable, sys.argv[1:])"
      command = [sys.executable, "-c", pinned, *command]
    self._console.print(f"{job.what}: {stage}")
    job.workdir.mkdir(parents=True, exist_ok=True)
    log = job.workdir / f"{stage}.log"
    with log.open("a") as file:
      process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, env=environment)
      self._running.add(process)
      status = process.wait()
      self._running.remove(process)
    if status:
      raise RuntimeError(f"status {status}; see {log}")
    if stage == _ASSEMBLED and self._record and job.is_done(stage):
      add = [sys.executable, "-m", "jaxhands", "results", "add", str(job.workdir), "--replace"]
      subprocess.run([*add, "--note", f"{job.what}; embedded data"], cwd=ROOT, check=True)


def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
  """Whole or not at all."""
  partial = target.with_name(f".{target.name}.partial")
  shutil.rmtree(partial, ignore_errors=True)
  shutil.copytree(source, partial)
  shutil.rmtree(target, ignore_errors=True)
  partial.rename(target)


def build_data(all_jobs: Sequence[Job]) -> None:
  """All data sets, one after the other, each on all cores.

  Raises:
    data_builders.shards.BuildError: one cannot be built.
  """
  configs = [config for job in all_jobs for config in job.stages.values()]
  for name, data in {name: one.data for one in configs for name in (*one.data.train, *one.data.eval)}.items():
    find.find(*folders.parse(name)[:2], data)


def summary(all_jobs: Sequence[Job]) -> rich.table.Table:
  """Metrics of all runs, and of what stands beside the whole pipeline in each."""
  table = rich.table.Table(title="HDR, tables 3 and 5")
  for column in ("run", "method", *_METRICS):
    table.add_column(column, justify="right" if column in _METRICS else "left")
  for job in all_jobs:
    answer = job.workdir / "eval" / "metrics.json"
    if not answer.is_file():
      table.add_row(job.what, "not finished")
      continue
    result = json.loads(answer.read_text())
    methods = {"whole": result["metrics"]} | {
      entry["method"]: entry["metrics"]
      for entry in result["also"]
      if "method" in entry and entry["protocol"] == result["protocol"]
    }
    for method, metrics in methods.items():
      table.add_row(job.what, method, *(f"{metrics[name]:.2f}" if name in metrics else "" for name in _METRICS))
  return table


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--size", default="small")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--runs", nargs="+", choices=tuple(RUNS), default=tuple(RUNS), metavar="RUN")
  parser.add_argument("--out", type=pathlib.Path, default=ROOT / "runs" / "hdr_tables")
  parser.add_argument("--jobs", type=int, default=1, help="stages at once")
  parser.add_argument("--summary", action="store_true", help="run nothing")
  parser.add_argument("--no-record", action="store_true", help="do not add finished runs to results/")
  args = parser.parse_args()
  console = consoles.make()
  try:
    todo = jobs(args.runs, args.size, args.seed, args.out.resolve())
  except ValueError as error:
    parser.error(str(error))
  if not args.summary:
    build_data(todo)
    trainings = Trainings(args.jobs, console, not args.no_record)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; the same command goes on"))
    if failed := schedule.run(trainings.tasks(todo), args.jobs, trainings.stop):
      sys.exit("\n".join(["not finished; the same command goes on with", *failed]))
  console.print(summary(todo), soft_wrap=False)


if __name__ == "__main__":
  main()
