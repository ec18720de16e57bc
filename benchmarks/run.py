"""How fast everything is: `python -m benchmarks.run [--system S ...] [--size demo|paper] [--torch] [--json FILE]`.

Of every stage of every config, on the processor: the trainer's step, the prediction of a batch and of one picture, the
time to compile them with an empty cache, memory, XLA's floating-point operations and bytes, and the data pipeline. With
`--torch` each is timed beside its twin in PyTorch. Ours and theirs are a process each and take turns, with the
machine's own product of matrices in between, so that what else runs troubles all alike, and rest before each call;
numbers are medians.

`--json FILE` is written after each subject. What it holds already is not measured again: the same command goes on, or
adds the other size, on the machine and with the software that it was begun with. `--table FILE` prints such a file and
measures nothing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from jaxhands import huge_pages
from jaxhands.results.record import code_named
from jaxhands.runs import folder as files

PAPER_BATCH = 2  # the papers' networks take up to half a minute a step on two cores
_SLOW = 2.0  # seconds of a call that needs no warming up
_SECONDS = 15.0  # of timing for each subject and framework, at least `_ROUNDS` calls of each
_ROUNDS, _MOST_ROUNDS = 3, 50
_MATRIX = 2048
_QUIET_S = 0.3  # before each call: threads of what ran before wait for more work on all cores
_VECTORS = ("avx512f", "avx2", "avx", "asimd")  # widest first, as Linux calls them


class Worker:
  """`Ours` or `Theirs` in a process of its own, asked through a pipe."""

  def __init__(self, kind: str, subject: str, size: str, batch: int):
    context = multiprocessing.get_context("spawn")
    self._pipe, other = context.Pipe()
    self._process = context.Process(target=_serve, args=(other, kind, subject, size, batch), daemon=True)
    self._process.start()
    other.close()
    self.names: list[str] = self._answer()

  def run(self, name: str) -> float:
    """Seconds of one call."""
    self._pipe.send(name)
    return self._answer()

  def close(self) -> dict[str, float]:
    """What it found besides times; ends the process."""
    self._pipe.send("")
    facts = self._answer()
    self._process.join()
    return facts

  def _answer(self) -> Any:
    try:
      answer, error = self._pipe.recv()
    except EOFError:
      self._process.join()
      raise RuntimeError(f"a worker ended with status {self._process.exitcode}: out of memory?") from None
    if error:
      raise RuntimeError(error)
    return answer


def _serve(pipe: Any, kind: str, subject: str, size: str, batch: int) -> None:
  """What a worker does until it is asked for nothing more."""
  try:
    # Only here: one process must not load both frameworks' arithmetic, nor the parent either.
    import jax

    jax.config.update("jax_platforms", "cpu")
    from benchmarks import subjects

    (chosen,) = subjects.all_of(size, [subject])
    if kind == "ours":
      jax.config.update("jax_enable_compilation_cache", False)
      from benchmarks.ours import Ours as Runner
    else:
      from benchmarks.theirs import Theirs as Runner
    # A paper's network takes as long to compile as to run; one picture tells of its prediction all there is.
    runner = Runner(chosen, batch, ("train", "one") if size == "paper" else ("train", "forward", "one"))
    pipe.send((runner.names, ""))
    while name := pipe.recv():
      pipe.send((runner.run(name), ""))
    pipe.send((runner.close(), ""))
  except Exception as error:
    import traceback

    pipe.send((None, f"{subject}, {size}, {kind}: {error}\n{traceback.format_exc()}"))


def matrix_product() -> float:
  """GFLOP/s of one product of two float32 matrices."""
  a = np.ones((_MATRIX, _MATRIX), np.float32)
  begun = time.perf_counter()
  np.matmul(a, a)
  return 2 * _MATRIX**3 / (time.perf_counter() - begun) / 1e9


def measure(subject: str, size: str, batch: int, torch: bool) -> dict[str, Any]:
  """One subject: medians of its times, in turn, and all facts."""
  load = os.getloadavg()[0]
  workers = {kind: Worker(kind, subject, size, batch) for kind in (("ours", "torch") if torch else ("ours",))}
  names = workers["ours"].names
  seconds: dict[str, dict[str, list[float]]] = {kind: {} for kind in workers}
  for name in names:
    for kind, worker in workers.items():
      first = worker.run(name)  # the first of short calls is slower than the others
      seconds[kind][name] = [first] if first > _SLOW else []
  matrix, begun, rounds = [], time.perf_counter(), 0
  while any(len(found) < _ROUNDS for found in seconds["ours"].values()) or (
    time.perf_counter() - begun < _SECONDS * len(workers) and rounds < _MOST_ROUNDS
  ):
    for name in names:
      for kind, worker in workers.items():
        time.sleep(_QUIET_S)
        seconds[kind][name].append(worker.run(name))
    time.sleep(_QUIET_S)
    matrix.append(matrix_product())
    rounds += 1
  row: dict[str, Any] = {"subject": subject, "size": size, "batch": batch, "rounds": rounds}
  # Other work on the machine takes more from who waits for all of its threads, which PyTorch's do at every operation.
  row["load_before"] = load
  row["matrix_gflops"] = statistics.median(matrix)
  for kind, worker in workers.items():
    times = {f"{name}_s": statistics.median(found) for name, found in seconds[kind].items()}
    row[kind] = times | worker.close()
  if torch and row["ours"]["parameters"] != row["torch"]["parameters"]:
    raise RuntimeError(f"{subject}: {row['ours']['parameters']} parameters, but its twin has {row['torch']}")
  return row


def machine() -> dict[str, Any]:
  """What the figures hold for."""
  info = pathlib.Path("/proc/cpuinfo")
  lines = [line.split(":", 1) for line in info.read_text().splitlines() if ":" in line] if info.is_file() else []
  told = {name.strip(): value.strip() for name, value in lines}
  cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
  versions = {}
  for name in ("jax", "jaxlib", "numpy", "torch"):
    try:
      versions[name] = version(name)
    except PackageNotFoundError:
      continue
  return {
    "processor": told.get("model name", platform.processor()), "cores": cores,
    "vectors": next((name for name in _VECTORS if name in told.get("flags", told.get("Features", "")).split()), ""),
    "versions": versions, "date": str(datetime.date.today()),
  }  # fmt: skip


def begun(path: pathlib.Path | None) -> dict[str, Any]:
  """What a file holds already, or nothing yet.

  Raises:
    ValueError: it was measured elsewhere, or with other software.
  """
  now = machine()
  if path is None or not path.is_file():
    return {"machine": now, "rows": []}
  found = json.loads(path.read_text())
  same = [name for name in now if name != "date"]
  if other := [name for name in same if found["machine"].get(name) != now[name]]:
    raise ValueError(
      f"{path} has figures of other {other[0]}: {found['machine'].get(other[0])}, here {now[other[0]]}; give --json "
      "another file"
    )
  return found


def where(found: Mapping[str, Any]) -> str:
  """One line about what was measured where: machine, software, day and commits."""
  about = found["machine"]
  software = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
  commits = sorted({code_named(row["code"]) for row in found["rows"] if "code" in row})
  processor = f"{about['cores']} cores of {about['processor']} ({about['vectors'] or 'no known vectors'})"
  return f"{processor}, {software}; {about['date']}, {', '.join(commits) or 'unknown code'}"


_COLUMNS = (
  "system", "size", "batch", "train /s", "forward /s", "one, ms", "compile, s", "XLA MB", "GFLOP", "GB", "GFLOP/s",
  "of product", "input /s/core", "data wait", "torch: train", "forward", "one",
)  # fmt: skip


def table(found: Mapping[str, Any]) -> str:
  """The rows as a table of Markdown; a ratio to PyTorch is our time over its time, below 1 is faster."""
  lines = ["| " + " | ".join(_COLUMNS) + " |", "| --- " * len(_COLUMNS) + "|"]
  for row in found["rows"]:
    lines.append("| " + " | ".join(_cells(row)) + " |")
  return "\n".join(lines)


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
  ours, theirs, batch = row["ours"], row.get("torch", {}), row["batch"]
  step = next(name for name in ("train", "forward", "one") if f"{name}_s" in ours)
  speed = ours[f"{step}_gflop"] / ours[f"{step}_s"]

  def rate(name: str) -> str:
    return f"{batch / ours[f'{name}_s']:.3g}" if f"{name}_s" in ours else ""

  def ratio(name: str) -> str:
    return f"{ours[f'{name}_s'] / theirs[f'{name}_s']:.2f}" if f"{name}_s" in theirs else ""

  return (
    row["subject"], row["size"], str(batch), rate("train"), rate("forward"), f"{1e3 * ours['one_s']:.3g}",
    f"{ours[f'{step}_trace_s'] + ours[f'{step}_compile_s']:.1f}", f"{ours[f'{step}_memory_mb']:.0f}",
    f"{ours[f'{step}_gflop']:.3g}", f"{ours[f'{step}_gbyte']:.3g}", f"{speed:.0f}",
    f"{speed / row['matrix_gflops']:.0%}", f"{ours['input_per_core']:.0f}",
    f"{ours['data_wait']:.1%}" if "data_wait" in ours else "", ratio("train"), ratio("forward"), ratio("one"),
  )  # fmt: skip


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--system", action="append", default=[], help='"internet", "hdr", "hdr/hasm", ...; default: all')
  parser.add_argument("--size", choices=("demo", "paper", "tiny"), help="default: demo, then paper")
  parser.add_argument("--torch", action="store_true", help="time PyTorch's twins, too, where there are (extra `bench`)")
  parser.add_argument("--json", type=pathlib.Path, help="write there after each subject, and go on from there")
  parser.add_argument("--table", type=pathlib.Path, help="print the table of such a file, and measure nothing")
  args = parser.parse_args()
  if args.table:
    try:
      found = json.loads(args.table.read_text())
    except (OSError, ValueError) as error:
      parser.error(f"--table {args.table}: {error}")
    print(f"{table(found)}\n\n{where(found)}")
    return
  from benchmarks import subjects, torch_twins
  from jaxhands.runs import provenance

  sizes = [args.size] if args.size else ["demo", "paper"]
  try:
    found = begun(args.json)
    chosen = [subject for size in sizes for subject in subjects.all_of(size, args.system)]
  except ValueError as error:
    parser.error(str(error))
  done = {(row["subject"], row["size"], "torch" in row) for row in found["rows"]}
  subjects.records_folder()
  for subject in chosen:
    beside = args.torch and torch_twins.has(subject.system)
    if (subject.name, subject.size, beside) in done:
      continue
    batch = PAPER_BATCH if subject.size == "paper" else subject.config.batch_size
    start, code = time.perf_counter(), provenance.code()
    row = measure(subject.name, subject.size, batch, beside)
    found["rows"].append(row | {"code": code})
    print(f"{subject.name} {subject.size}: {time.perf_counter() - start:.0f} s", flush=True)
    if args.json:
      files.write_json(args.json, found)
  print(f"{table(found)}\n\n{where(found)}")


if __name__ == "__main__":
  huge_pages.start_anew()  # as what it measures does
  main()
