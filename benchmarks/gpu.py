"""InterNet, DIGIT and HDR's pipeline on one GPU, in bfloat16, beside `torch.compile`: `sh benchmarks/gpu.sh [--dry]`.

For each system and framework: the batch that gives most pictures a second (doubled until that gains little, or memory
ends), memory there, and the ten operations that take most of the device's time; ours as a share of what the GPU's
memory and arithmetic allow. One batch of each comes first, larger ones with the time that is left. Every measurement is
a process of its own and is in `--json FILE` as soon as it is done: a run that is killed loses nothing, and the same
command goes on, with what failed, too. It ends with status 1 where something failed. `--dry` is the same on a CPU with
tiny networks: a test of this script.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import gzip
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from jaxhands.runs import folder as files

# Pictures a second that an H200 allows at most, by memory traffic or arithmetic, training; of the pipeline, prediction
# without a second look (`compare`). Derived layer by layer: 790 TFLOP/s and 4.3 TB/s, bfloat16.
BOUNDS = {"internet": 6_800, "digit": 4_100, "hdr/pipeline": 2_600}
STEPS = {"internet": "train", "digit": "train", "hdr/pipeline": "forward"}
JOBS = tuple((name, kind) for name in STEPS for kind in ("ours", "torch"))
Rows = Sequence[Mapping[str, Any]]
_BATCHES = {"internet": 128, "digit": 64, "hdr/pipeline": 32}  # to begin with
_DRY_BATCH = 4
_GAIN = 1.03  # less is no reason to double again
_SECONDS = 3.0  # of timing
_STRETCH_S, _MOST_CALLS = 0.5, 50  # back to back, for a GPU that waits for each call is timed with its waiting
_TOP = 10
_LEAST_S = 20.0  # a process takes so long at least
_LONGER, _AGAIN = 1.3, 0.9  # of a job's last process: time that must be left for the next one, and for one cut off
_MARK = "measured: "  # before what a process says of itself
_LINES = 15  # that are shown of an error


def measure(subject_name: str, kind: str, batch: int, dry: bool) -> Iterator[dict[str, Any]]:
  """In this process: pictures a second and memory, and, when these are known, the longest operations."""
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
  ready = time.perf_counter() - begun  # less where a cache has the program
  once = min(runner.run(name) for _ in range(2))
  calls = max(1, min(_MOST_CALLS, round(_STRETCH_S / once)))
  seconds: list[float] = []
  until = time.perf_counter() + _SECONDS
  while time.perf_counter() < until or len(seconds) < 3:
    seconds.append(runner.run(name, calls))
  yield {
    "batch": batch, "pictures_per_s": batch / statistics.median(seconds), "calls": calls, "ready_s": ready,
    "memory_mb": memory(), "facts": runner.facts,
  }  # fmt: skip
  try:
    top = profile()
  except Exception as error:  # what was measured holds without
    yield {"profile_error": f"{type(error).__name__}: {error}"[:500]}
  else:
    yield {"top": top}


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

  Of a GPU what ran in its streams, not the lines that sum it up; of a CPU what the compiled program's threads did, not
  Python's.
  """
  names = {event["pid"]: event["args"]["name"] for event in events if event.get("name") == "process_name"}
  on_device = {pid for pid, name in names.items() if "GPU" in name}
  threads = {
    (event["pid"], event["tid"]): event["args"]["name"] for event in events if event.get("name") == "thread_name"
  }
  total: collections.defaultdict[str, float] = collections.defaultdict(float)
  for event in events:
    in_stream = "Stream" in threads.get((event.get("pid"), event.get("tid")), "Stream")
    counts = event.get("pid") in on_device and in_stream if on_device else "hlo_op" in event.get("args", {})
    if event.get("ph") == "X" and counts:
      total[event["name"]] += event.get("dur", 0) / 1e3
  return _most(total)


def _most(total: Mapping[str, float]) -> list[tuple[str, float]]:
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
    return _longest_of_torch(seen.key_averages(), "CPU" if dry else "CUDA")

  return runner, profile, lambda: 0.0 if dry else torch.cuda.max_memory_allocated() / 1e6


def _longest_of_torch(averages: Any, device: str) -> list[tuple[str, float]]:
  """Names and milliseconds of what took most time on "CPU" or "CUDA", of `torch.profiler`'s averages.

  A kernel is there once more as the time of the operation that launched it, and in ranges that a user named.
  """
  key = "self_cpu_time_total" if device == "CPU" else "self_device_time_total"
  total: collections.defaultdict[str, float] = collections.defaultdict(float)
  for row in averages:
    if row.device_type.name == device and not getattr(row, "is_user_annotation", False):
      total[row.key] += getattr(row, key) / 1e3
  return _most(total)


# ---- what is measured next -------------------------------------------------------


def following(rows: Rows, first: int, dry: bool = False) -> int | None:
  """The next batch of a job with these rows; None: its best one is found.

  The first is halved until it fits into memory, the largest that fits doubled while that pays; what was cut off or
  failed otherwise is as if it had not been tried.
  """
  speeds = {row["batch"]: row["pictures_per_s"] for row in rows if "pictures_per_s" in row}
  too_large = min((row["batch"] for row in rows if "out_of_memory" in row), default=math.inf)
  if not speeds:
    return (first if too_large > first else int(too_large) // 2) or None
  *smaller, largest = sorted(speeds)
  pays = not smaller or speeds[largest] >= _GAIN * speeds[smaller[-1]]
  return 2 * largest if pays and 2 * largest < too_large and not (dry and smaller) else None


def plan(
  rows: Mapping[str, Rows], left_s: float, dry: bool = False, failed: Collection[str] = ()
) -> tuple[str, str, int] | None:
  """System, framework and batch of what is measured next; None: nothing, or nothing that the time is enough for.

  Args:
    rows: of each job, "internet ours".
    left_s: seconds.
    dry: two batches are enough.
    failed: jobs that are left to the next call.
  """
  found = []
  for name, kind in JOBS:
    job = f"{name} {kind}"
    before = rows.get(job, [])
    batch = following(before, _DRY_BATCH if dry else _BATCHES[name], dry)
    if batch is not None and job not in failed and left_s > _needed_s(before):
      measured = sum("pictures_per_s" in row for row in before)
      # What did not come to an end must not keep the others from their first batch, call by call.
      found.append((measured, bool(before) and _is_open(before[-1]), (name, kind, batch)))
  return min(found, key=lambda entry: entry[:2], default=(0, False, None))[2]


def _needed_s(rows: Rows) -> float:
  """Seconds that must be left for the next batch of a job."""
  if not rows:
    return _LEAST_S
  return max(_LEAST_S, (_AGAIN if "unfinished" in rows[-1] else _LONGER) * rows[-1]["wall_s"])


def _is_open(row: Mapping[str, Any]) -> bool:
  """Whether it says nothing of its batch, which is to be tried again."""
  return "unfinished" in row or "error" in row


# ---- processes -------------------------------------------------------------------


def attempt(name: str, kind: str, batch: int, seconds: float, dry: bool) -> dict[str, Any]:
  """A row: one batch, measured by a process of its own, which is cut off after so many seconds."""
  command = [sys.executable, "-m", "benchmarks.gpu", f"--one={name},{kind},{batch}", *(["--dry"] if dry else [])]
  begun = time.perf_counter()
  try:
    done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
    said, complaint, status = done.stdout, done.stderr, done.returncode
  except subprocess.TimeoutExpired as cut:
    said, complaint, status = cut.stdout or b"", b"", None
  row = outcome(said.decode(errors="replace"), complaint.decode(errors="replace"), status)
  if "pictures_per_s" in row:
    row["share_of_bound"] = row["pictures_per_s"] / BOUNDS[name]
  return {"batch": batch, **row, "wall_s": time.perf_counter() - begun}


def outcome(said: str, complaint: str, status: int | None) -> dict[str, Any]:
  """What a process found; else "out_of_memory", "unfinished" or "error".

  Args:
    said: its standard output, perhaps cut off.
    complaint: its standard error.
    status: its exit status; None: it was cut off.
  """
  found: dict[str, Any] = {}
  for line in said.splitlines(keepends=True):
    _, mark, text = line.partition(_MARK)
    if mark and text.endswith("\n"):
      found |= json.loads(text)
  if found:
    return found
  if status is None:
    return {"unfinished": True}
  return {"error": "\n".join([*complaint.splitlines()[-_LINES:], f"exit status {status}"])}


def _serve(name: str, kind: str, batch: int, dry: bool) -> None:
  """What the process of `attempt` does."""
  try:
    for found in measure(name, kind, batch, dry):
      print(_MARK + json.dumps(found), flush=True)
  except Exception as error:
    if not out_of_memory(error):
      raise
    print(_MARK + json.dumps({"out_of_memory": True}), flush=True)


def out_of_memory(error: Exception) -> bool:
  """Whether it is JAX's or PyTorch's way to say that the GPU's memory is not enough."""
  said = f"{type(error).__name__}: {error}"
  return "RESOURCE_EXHAUSTED" in said or "OutOfMemoryError" in said


# ---- the file ---------------------------------------------------------------------


def here(dry: bool) -> dict[str, Any]:
  """What the figures hold for: `run.machine`, card and driver, commit."""
  from benchmarks import run
  from jaxhands.runs import provenance

  return run.machine() | {"dry": dry, "gpu": "" if dry else _card(), "code": provenance.code()}


def _card() -> str:
  """Name and version of the driver; "" where there is none."""
  query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
  try:
    return subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
  except (OSError, subprocess.SubprocessError):
    return ""


def begun(path: pathlib.Path, now: dict[str, Any]) -> dict[str, Any]:
  """What a file holds already, or nothing yet.

  Raises:
    ValueError: it was measured elsewhere, otherwise, or with other software.
  """
  if not path.is_file():
    return {"machine": now, "rows": {}}
  found = json.loads(path.read_text())
  before = found["machine"]
  if other := [name for name in now if name != "date" and before.get(name) != now[name]]:
    raise ValueError(
      f"{path} has figures of other {other[0]}: {before.get(other[0])}, here {now[other[0]]}; give --json another file"
    )
  return found


def table(found: Mapping[str, Any]) -> str:
  """The best batch of each, in Markdown."""
  lines = ["| system | step | framework | batch | pictures/s | share of the bound | memory, GB |", "|---" * 7 + "|"]
  for job, rows in found["rows"].items():
    name, kind = job.split(" ")
    best = max((row for row in rows if "pictures_per_s" in row), key=lambda row: row["pictures_per_s"], default=None)
    if best:
      speed = best["pictures_per_s"]
      lines.append(
        f"| {name} | {STEPS[name]} | {kind} | {best['batch']} | {speed:.0f} | {best['share_of_bound']:.0%} "
        f"| {best['memory_mb'] / 1e3:.1f} |"
      )
  return "\n".join(lines)


def where(found: Mapping[str, Any]) -> str:
  """One line about what was measured where: card, software, day and commit."""
  from jaxhands.results.record import code_named

  about = found["machine"]
  software = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
  return f"{about['gpu'] or 'no GPU'}, {software}; {about['date']}, {code_named(about['code'])}"


def run_all(path: pathlib.Path, found: dict[str, Any], until: float, dry: bool) -> bool:
  """Measures until the time (of `time.time`) is up or nothing is left; whether nothing failed that is not made good."""
  failed: set[str] = set()
  while chosen := plan(found["rows"], until - time.time(), dry, failed):
    name, kind, batch = chosen
    job = f"{name} {kind}"
    row = attempt(name, kind, batch, until - time.time(), dry)
    found["rows"][job] = [*(old for old in found["rows"].get(job, []) if not _is_open(old)), row]
    files.write_json(path, found)
    if "error" in row:
      failed.add(job)
    for wrong in filter(None, map(row.get, ("error", "profile_error"))):
      print(wrong, file=sys.stderr)
    speed = f"{row['pictures_per_s']:.0f} pictures/s" if "pictures_per_s" in row else ""
    state = speed or next(word for word in ("out_of_memory", "unfinished", "error") if word in row)
    print(f"{job}, batch {batch}: {state}, {row['wall_s']:.0f} s", flush=True)
  return not any("error" in row for rows in found["rows"].values() for row in rows)


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--json", type=pathlib.Path, help="results (default: gpu.json, with --dry gpu_dry.json)")
  parser.add_argument("--seconds", type=float, default=450, help="begins and waits for nothing after that")
  parser.add_argument("--dry", action="store_true", help="tiny networks on the CPU")
  parser.add_argument("--one", help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.one:
    name, kind, batch = args.one.split(",")
    _serve(name, kind, int(batch), args.dry)
    return
  from benchmarks import subjects

  until = time.time() + args.seconds
  path = args.json or default_path(args.dry)
  try:
    found = begun(path, here(args.dry))
  except ValueError as error:
    sys.exit(str(error))
  subjects.records_folder()
  well = run_all(path, found, until, args.dry)
  print(f"{table(found)}\n\n{where(found)}")
  if plan(found["rows"], math.inf, args.dry):
    print("Not all is measured: the same command goes on.")
  sys.exit(not well)


def default_path(dry: bool) -> pathlib.Path:
  """Where results are written unless told: those of a test never beside real ones."""
  return pathlib.Path("gpu_dry.json" if dry else "gpu.json")


if __name__ == "__main__":
  main()
