"""Figures that do not change unnoticed: what every `paper` step computes, what every compiled `tiny` step moves.

They are in `tests/pinned/jax-VERSION.json`, one file for each version of JAX, for compilers differ. A change of a
figure is a change of the file, made by

    python -m tests.pinned

which runs the tests that know the figures (`tests/contract`) and writes what they find. Operations and bytes before
compiling (`benchmarks.counts.cost`) are the same everywhere. What a compiled step moves and holds is compared on the
kind of processor that the file names alone, though the tests compile for AVX2 wherever they run. A version without a
file is not checked, and says so.
"""

from __future__ import annotations

import argparse
import fcntl
import functools
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping

_WRITES = "JAXHANDS_WRITE_PINNED"
_PROCESSOR = "processor"  # key of the file
_TOLERANCE = 0.01  # of a compiled step, whose layouts and fusions the compiler decides
VERSION = ".".join(importlib.metadata.version("jax").split(".")[:2])
FILE = pathlib.Path(__file__).parent / "pinned" / f"jax-{VERSION}.json"


def check(key: str, figures: Callable[[], Mapping[str, float]], compiled: bool = False) -> None:
  """Compares the figures of one step with the file's, or writes them there when asked to; else nothing is computed.

  Args:
    key: of the step.
    figures: finds them.
    compiled: they are of a compiled step, and so of a kind of processor.
  Raises:
    AssertionError: a figure is another one, or there is none.
  """
  if os.environ.get(_WRITES):
    _write(key, figures())
  elif FILE.is_file():
    written = json.loads(FILE.read_text())
    pinned = written.get(key)
    assert pinned is not None, f"{key} has no figures in {FILE.name}: python -m tests.pinned"
    if compiled and written[_PROCESSOR] != processor():
      return
    for name, value in figures().items():
      wanted = pinned[name]
      near = abs(value - wanted) <= _TOLERANCE * wanted if compiled else value == wanted
      assert near, f"{name} of {key}: {wanted:.10g} before, {value:.10g} now; if that is meant: python -m tests.pinned"


def keys() -> set[str]:
  """The steps that the file has figures of."""
  return set(json.loads(FILE.read_text())) - {_PROCESSOR}


@functools.cache
def processor() -> str:
  """Kind and number of processors, where Linux says so."""
  info = pathlib.Path("/proc/cpuinfo")
  lines = info.read_text().splitlines() if info.is_file() else []
  models = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
  return f"{os.cpu_count()} x {', '.join(sorted(models)) or 'unknown'}"


def _write(key: str, found: Mapping[str, float]) -> None:
  with FILE.open("a+") as file:
    fcntl.flock(file, fcntl.LOCK_EX)  # several workers write
    file.seek(0)
    figures = json.loads(file.read() or "{}") | {key: dict(found), _PROCESSOR: processor()}
    file.truncate(0)
    file.write(json.dumps(figures, indent=1, sort_keys=True) + "\n")


def main() -> None:
  """Runs the tests that know figures, and no others."""
  argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
  from tests import conftest  # sets the compiler's flags before JAX is imported
  from tests.contract import test_systems as contract

  tiny = [one for one in contract.TINY if contract.has_pinned(*one.values)]
  known = {
    "shapes_fit_for_every_variant": [one for one in contract.STAGES if contract.paper_name(*one.values)],
    "steps_lower_the_loss_and_move_every_parameter": tiny,
    "predictions_fit_the_schema_and_depend_on_nothing_else": tiny,
  }
  ids = [f"{contract.__file__}::test_{test}[{one.id}]" for test, found in known.items() for one in found]
  FILE.parent.mkdir(exist_ok=True)
  FILE.unlink(missing_ok=True)
  command = [sys.executable, "-m", "pytest", "-q", "-n", "2", *ids]
  sys.exit(subprocess.run(command, cwd=conftest.ROOT, env=os.environ | {_WRITES: "1"}, check=False).returncode)


if __name__ == "__main__":
  main()
