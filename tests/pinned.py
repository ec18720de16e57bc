"""Figures that do not change unnoticed: XLA's operations of every `paper` step, bytes and memory of every `tiny` one.

They are in `tests/pinned/jax-VERSION.json`, one file for each version of JAX, for compilers differ. A change of a
figure is a change of the file, made by

    python -m tests.pinned

which runs the tests that know the figures (`tests/contract`) and writes what they find. Operations, counted before
compiling, are the same everywhere. Bytes and memory are compared on the kind of processor that the file names alone,
though the tests compile for AVX2 wherever they run. A version without a file is not checked, and says so.
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
from collections.abc import Callable

_WRITES = "JAXHANDS_WRITE_PINNED"
_EXACT = {"flops"}
_PROCESSOR = "processor"  # key of the file
_TOLERANCE = 0.01  # of bytes, which layouts and fusions decide
VERSION = ".".join(importlib.metadata.version("jax").split(".")[:2])
FILE = pathlib.Path(__file__).parent / "pinned" / f"jax-{VERSION}.json"


def check(key: str, **found: Callable[[], float]) -> None:
  """Compares the figures of one step with the file's, or writes them there when asked to; else nothing is computed.

  Raises:
    AssertionError: a figure is another one, or there is none.
  """
  if os.environ.get(_WRITES):
    _write(key, {name: figure() for name, figure in found.items()})
  elif FILE.is_file():
    figures = json.loads(FILE.read_text())
    pinned = figures.get(key)
    assert pinned is not None, f"{key} has no figures in {FILE.name}: python -m tests.pinned"
    for name, figure in found.items():
      if name not in _EXACT and figures[_PROCESSOR] != processor():
        continue
      value, wanted = figure(), pinned[name]
      near = value == wanted if name in _EXACT else abs(value - wanted) <= _TOLERANCE * wanted
      assert near, f"{name} of {key} was {wanted:.10g} and is {value:.10g}; if that is meant: python -m tests.pinned"


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


def _write(key: str, found: dict[str, float]) -> None:
  with FILE.open("a+") as file:
    fcntl.flock(file, fcntl.LOCK_EX)  # several workers write
    file.seek(0)
    figures = json.loads(file.read() or "{}") | {key: found, _PROCESSOR: processor()}
    file.truncate(0)
    file.write(json.dumps(figures, indent=1, sort_keys=True) + "\n")


def main() -> None:
  """Runs the tests that know figures, and no others."""
  argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
  from tests import conftest  # sets the compiler's flags before JAX is imported
  from tests.contract import test_systems as contract

  known = {
    "shapes_fit_for_every_variant": [one for one in contract.STAGES if contract.paper_name(*one.values)],
    "steps_lower_the_loss_and_move_every_parameter": contract.TINY,
    "predictions_fit_the_schema_and_depend_on_nothing_else": contract.TINY,
  }
  ids = [f"{contract.__file__}::test_{test}[{one.id}]" for test, found in known.items() for one in found]
  FILE.parent.mkdir(exist_ok=True)
  FILE.unlink(missing_ok=True)
  command = [sys.executable, "-m", "pytest", "-q", "-n", "2", *ids]
  sys.exit(subprocess.run(command, cwd=conftest.ROOT, env=os.environ | {_WRITES: "1"}, check=False).returncode)


if __name__ == "__main__":
  main()
