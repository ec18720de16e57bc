"""InterNet, DIGIT and HDR's pipeline on one GPU, in bfloat16, beside `torch.compile`: `sh benchmarks/gpu.sh [--dry]`.

For each system and framework: the batch that gives most pictures a second (doubled until that gains little, or memory
ends), memory there, and the ten operations that take most of the device's time; ours as a share of what the GPU's
memory and arithmetic allow. Every measurement is a process of its own and is in `--json FILE` as soon as it is done: a
run that is killed loses nothing, and the same command goes on. `--dry` is the same on a CPU with tiny networks: a test
of this script.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import gzip
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from jaxhands.runs import folder as files

# Pictures a second that an H200 allows at most, by memory traffic or arithmetic, training; of the pipeline, prediction.
# Derived layer by layer: 790 TFLOP/s and 4.3 TB/s, bfloat16.
BOUNDS = {"internet": 6_800, "digit": 4_100, "hdr/pipeline": 2_600}
STEPS = {"internet": "train", "digit": "train", "hdr/pipeline": "forward"}
_BATCHES = {"internet": 64, "digit": 32, "hdr/pipeline": 8}  # to begin with
_GAIN = 1.03  # less is no reason to double again
_SECONDS = 3.0
_TOP = 10


def measure(subject_name: str, kind: str, batch: int, dry: bool) -> dict[str, Any]:
  """Pictures a second, memory and the longest operations, in this process."""
  import jax

  if dry or kind == "torch":
    jax.config.update("jax_platforms", "cpu")
  from benchmarks import subjects

  (found,) = subjects.all_of("tiny" if dry else "paper", [subject_name])
  config = found.config.copy_and_resolve_references()
  config.compute_dtype = "bfloat16"
  subject, name = dataclasses.replace(found, config=config), STEPS[subject_name]
  begun = time.perf_counter()
  runner, profile, memory = (_ours if kind == "ours" else _theirs)(subject, batch, name, dry)
  runner.run(name)
  ready = time.perf_counter() - begun
  for _ in range(2):
    runner.run(name)
  seconds: list[float] = []
  until = time.perf_counter() + _SECONDS
  while time.perf_counter() < until or len(seconds) < 3:
    seconds.append(runner.run(name))
  return {
    "batch": batch, "pictures_per_s": batch / statistics.median(seconds), "ready_s": ready, "memory_mb": memory(),
    "top": profile(), "facts": runner.facts,
  }  # fmt: skip


def _ours(subject: Any, batch: int, name: str, dry: bool) -> Any:
  import jax

  from benchmarks.ours import Ours

  runner = Ours(subject, batch, (name,))

  def profile() -> list[tuple[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
      with jax.profiler.trace(folder, create_perfetto_trace=True):
        runner.run(name)
      (path,) = pathlib.Path(folder).rglob("perfetto_trace.json.gz")
      return _longest(json.loads(gzip.decompress(path.read_bytes()))["traceEvents"])

  def memory() -> float:
    statistics_of_device = jax.local_devices()[0].memory_stats() or {}
    return statistics_of_device.get("peak_bytes_in_use", 0) / 1e6

  return runner, profile, memory


def _longest(events: list[Any]) -> list[tuple[str, float]]:
  """Names and milliseconds of the operations that took most time, of a trace.

  Of a GPU what ran there; of a CPU what the compiled program's threads did, not Python's.
  """
  names = {event["pid"]: event["args"]["name"] for event in events if event.get("name") == "process_name"}
  on_device = {pid for pid, name in names.items() if "GPU" in name}
  total: collections.defaultdict[str, float] = collections.defaultdict(float)
  for event in events:
    if event.get("ph") == "X" and (event["pid"] in on_device if on_device else "hlo_op" in event.get("args", {})):
      total[event["name"]] += event.get("dur", 0) / 1e3
  return sorted(total.items(), key=lambda entry: -entry[1])[:_TOP]


def _theirs(subject: Any, batch: int, name: str, dry: bool) -> Any:
  import torch  # pyright: ignore[reportMissingImports]

  from benchmarks.theirs import Theirs

  torch.backends.cudnn.benchmark = True
  device = "cpu" if dry else "cuda"
  # A CPU's code would take minutes to compile.
  runner = Theirs(subject, batch, (name,), device, "eager" if dry else "inductor", half=True)

  def profile() -> list[tuple[str, float]]:
    with torch.profiler.profile() as seen:
      runner.run(name)
    key = "self_cpu_time_total" if dry else "self_device_time_total"
    rows = sorted(seen.key_averages(), key=lambda row: -getattr(row, key))
    return [(row.key, getattr(row, key) / 1e3) for row in rows[:_TOP]]

  return runner, profile, lambda: 0.0 if dry else torch.cuda.max_memory_allocated() / 1e6


def search(name: str, kind: str, found: dict[str, Any], until: float, args: argparse.Namespace) -> None:
  """Doubles the batch as long as that pays, and keeps each result in the file."""
  rows = found["rows"].setdefault(f"{name} {kind}", [])
  while until - time.time() > 20 and not _ended(rows, args.dry):
    if rows and "unfinished_s" in rows[-1]:
      rows.pop()
    batch = 2 * rows[-1]["batch"] if rows else 4 if args.dry else _BATCHES[name]
    command = [sys.executable, "-m", "benchmarks.gpu", f"--one={name},{kind},{batch}", *(["--dry"] if args.dry else [])]
    seconds = until - time.time()
    try:
      done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
      rows.append({"batch": batch, "unfinished_s": seconds})  # the next call begins it anew
    else:
      if done.returncode:  # most often: out of memory
        rows.append({"batch": batch, "error": done.stderr[-2000:]})
      else:
        row = json.loads(done.stdout.splitlines()[-1])
        rows.append(row | {"share_of_bound": row["pictures_per_s"] / BOUNDS[name]})
    files.write_json(args.json, found)
    if "unfinished_s" in rows[-1]:
      return


def _ended(rows: list[dict[str, Any]], dry: bool) -> bool:
  """Whether no larger batch is to be tried after these: there is none, or it would not pay."""
  if not rows or "unfinished_s" in rows[-1]:
    return False
  if "error" in rows[-1] or (dry and len(rows) > 1):
    return True
  return len(rows) > 1 and rows[-1]["pictures_per_s"] < _GAIN * rows[-2]["pictures_per_s"]


def table(found: dict[str, Any]) -> str:
  """The best batch of each, in Markdown."""
  lines = ["| system | step | framework | batch | pictures/s | share of the bound | memory, GB |", "|---" * 7 + "|"]
  for key, rows in found["rows"].items():
    name, kind = key.split(" ")
    best = max((row for row in rows if "pictures_per_s" in row), key=lambda row: row["pictures_per_s"], default=None)
    if best:
      speed = best["pictures_per_s"]
      lines.append(
        f"| {name} | {STEPS[name]} | {kind} | {best['batch']} | {speed:.0f} | {best['share_of_bound']:.0%} "
        f"| {best['memory_mb'] / 1e3:.1f} |"
      )
  return "\n".join(lines)


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--json", type=pathlib.Path, default=pathlib.Path("gpu.json"), help="results (default: gpu.json)")
  parser.add_argument("--seconds", type=float, default=450, help="begins and waits for nothing after that")
  parser.add_argument("--dry", action="store_true", help="tiny networks on the CPU")
  parser.add_argument("--one", help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.one:
    name, kind, batch = args.one.split(",")
    print(json.dumps(measure(name, kind, int(batch), args.dry)))
    return
  from benchmarks import subjects
  from benchmarks.run import machine

  until = time.time() + args.seconds
  subjects.records_folder()
  found = json.loads(args.json.read_text()) if args.json.is_file() else {"machine": machine(), "rows": {}}
  jobs = [(name, kind) for name in STEPS for kind in ("ours", "torch")]
  jobs = [(name, kind) for name, kind in jobs if not _ended(found["rows"].get(f"{name} {kind}", []), args.dry)]
  for i, (name, kind) in enumerate(jobs):
    # What one does not use is left to those after it.
    search(name, kind, found, time.time() + (until - time.time()) / (len(jobs) - i), args)
  print(table(found))


if __name__ == "__main__":
  main()
