"""HDR's tables 3 and 5 on embedded data: every row that needs a training of its own, and InterNet as estimator.

    python -m benchmarks.hdr_tables                  # size small; the same command goes on where it was stopped
    python -m benchmarks.hdr_tables --jobs 6         # six stages at once, on one accelerator
    python -m benchmarks.hdr_tables --summary        # only the table of what is finished
    python -m benchmarks.hdr_tables --runs HDR "HDR without discriminator" -- --config.data.keep_mb=8000

A run lies in OUT/SIZE-SWITCHES-seedN. Its stages are trained one a process; a stage that two runs have alike is trained
once and copied. Finished runs are recorded (`python -m jaxhands results add`) unless --no-record is given; what follows
`--` goes to `launch.py`.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import rich.console
import rich.table

from configs import hdr
from data_builders import find
from jaxhands import stages
from jaxhands.data import folders
from jaxhands.train import checkpoint, plan

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
  more: tuple[str, ...]

  @property
  def stages(self) -> dict[str, Any]:
    """All, in order, with their configs."""
    return dict(stages.of(hdr.get_config(self.variant)))

  def is_done(self, stage: str) -> bool:
    """Whether a stage's last checkpoint is that of its last step; of the last stage, whether its report is there."""
    if stage == _ASSEMBLED:
      return (self.workdir / "report" / "index.html").is_file()
    folder = self.workdir / "stages" / stage
    try:
      config = checkpoint.read_config(folder)
      done = int(checkpoint.checkpoint_folder(folder).name)
    except FileNotFoundError:
      return False
    return done >= plan.Plan.of(config, 1).steps

  def command(self, stage: str) -> list[str]:
    """That does one stage."""
    config = [f"--config=configs/hdr.py:{self.variant}", f"--config.seed={self.seed}", *self.more]
    return ["launch.py", *config, f"--workdir={self.workdir}", f"--stage={stage}"]


def sources(job: Job, stage: str) -> set[str]:
  """Stages of the run that a stage starts from."""
  named = [str(value) for value in job.stages[stage].init_from.values()]
  return {name.removeprefix("stages/").split(":")[0] for name in named if name.startswith("stages/")}


def owner(job: Job, stage: str, jobs: Sequence[Job]) -> Job:
  """The first run, perhaps this one, with the same stage: of an equal config, as those are that it starts from."""
  wanted = _identity(job, stage)
  return next((other for other in jobs if _identity(other, stage) == wanted), job)


def _identity(job: Job, stage: str) -> str | None:
  if stage not in job.stages:
    return None
  config = json.loads(job.stages[stage].to_json())
  del config["variant"]
  starts_from = [_identity(job, source) for source in sorted(sources(job, stage))]
  return json.dumps([job.seed, config, starts_from], sort_keys=True)


class Scheduler:
  """Does stages as soon as those that they start from are done, a few at a time, each on its share of the cores."""

  def __init__(self, jobs: Sequence[Job], at_once: int, console: rich.console.Console):
    self._jobs, self._at_once, self._console = jobs, at_once, console
    self._done: set[tuple[str, str]] = set()
    self._failed: list[str] = []
    self._changed = threading.Condition()
    self._waiting: set[int] = set()
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    # Together faster than each on all of them.
    self._shares = [set(cores[index::at_once] or cores) for index in range(at_once)]

  def run(self) -> list[str]:
    """All stages; returns what failed or was stopped."""
    work = [(job, stage) for job in self._jobs for stage in job.stages]
    with concurrent.futures.ThreadPoolExecutor(len(work)) as pool:
      for done in [pool.submit(self._one, job, stage, place) for place, (job, stage) in enumerate(work)]:
        done.result()
    return self._failed

  def _one(self, job: Job, stage: str, place: int) -> None:
    first = owner(job, stage, self._jobs)
    own = first == job
    needed = {(job.variant, source) for source in sources(job, stage)} if own else {(first.variant, stage)}
    with self._changed:
      self._changed.wait_for(lambda: needed <= self._done or bool(self._failed))
      if self._failed:
        return
    try:
      if not job.is_done(stage) and own:
        self._call(job, stage, place)
      elif not job.is_done(stage):
        shutil.copytree(first.workdir / "stages" / stage, job.workdir / "stages" / stage, dirs_exist_ok=True)
    finally:  # whatever came, those that wait must not wait for ever
      with self._changed:
        if job.is_done(stage):
          self._done.add((job.variant, stage))
        else:
          self._failed.append(f"{job.workdir}, stage {stage}; see {stage}.log there")
        self._changed.notify_all()

  def _call(self, job: Job, stage: str, place: int) -> None:
    """Waits for its turn, the first of those that can begin, and does the stage."""
    environment = dict(os.environ)
    if self._at_once > 1:  # each takes its share of the accelerator's memory, not all of it
      environment.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 / self._at_once:.3f}")
    with self._changed:
      self._waiting.add(place)
      self._changed.wait_for(lambda: bool(self._failed) or (bool(self._shares) and place == min(self._waiting)))
      self._waiting.remove(place)
      if self._failed:
        return
      share = self._shares.pop()
      self._changed.notify_all()
    try:
      self._console.print(f"{job.what}: {stage}")
      job.workdir.mkdir(parents=True, exist_ok=True)
      command = [sys.executable, *job.command(stage)]
      if share:
        pinned = f"import os, sys; os.sched_setaffinity(0, {share}); os.execv(sys.executable, sys.argv[1:])"
        command = [sys.executable, "-c", pinned, *command]
      with (job.workdir / f"{stage}.log").open("a") as log:
        subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=environment, check=False)
    finally:
      with self._changed:
        self._shares.append(share)
        self._changed.notify_all()


def build_data(jobs: Sequence[Job]) -> None:
  """All data sets, one after the other, each on all cores."""
  for name, data in {
    name: stage.data for job in jobs for stage in job.stages.values() for name in (*stage.data.train, *stage.data.eval)
  }.items():
    find.find(*folders.parse(name)[:2], data)


def summary(jobs: Sequence[Job]) -> rich.table.Table:
  """Metrics of all runs, and of what stands beside the whole pipeline in each."""
  table = rich.table.Table(title="HDR, tables 3 and 5")
  for column in ("run", "method", *_METRICS):
    table.add_column(column, justify="right" if column in _METRICS else "left")
  for job in jobs:
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
  parser.add_argument("launch", nargs="*", help="after `--`: further flags of launch.py")
  args = parser.parse_args()
  console = rich.console.Console()
  jobs = []
  for what in args.runs:
    variant = ",".join(word for word in (args.size, RUNS[what]) if word)
    workdir = args.out.resolve() / f"{variant.replace(',', '-')}-seed{args.seed}"
    jobs.append(Job(what, variant, args.seed, workdir, tuple(args.launch)))
  if not args.summary:
    build_data(jobs)
    scheduler = Scheduler(jobs, args.jobs, console)
    if failed := scheduler.run():
      sys.exit("\n".join(["not finished; the same command goes on with", *failed]))
    if not args.no_record:
      for job in jobs:
        add = [
          sys.executable,
          "-m",
          "jaxhands",
          "results",
          "add",
          str(job.workdir),
          "--note",
          f"{job.what}; embedded data",
        ]
        subprocess.run(add, cwd=ROOT, check=True)
  console.print(summary(jobs))


if __name__ == "__main__":
  main()
