"""Looks at this machine and says, one line each, what works for jaxhands and what to do about what does not.

Devices, versions, memory and disk, the cache of compiled functions, and data sets with their records. The status is 1
if something is broken. Nothing is changed.

    python -m jaxhands doctor
    python -m jaxhands doctor --data DIR
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import sys
from collections.abc import Iterator
from typing import Literal

import rich.console
import rich.text

from jaxhands import __version__
from jaxhands.data import folders

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "array-record", "numpy", "opencv-python")
_COLOURS = {"ok": "green", "note": "yellow", "broken": "red"}
_GB = 1e9
_LITTLE_DISK_GB = 5.0
_LITTLE_MEMORY_GB = 3.0


@dataclasses.dataclass(frozen=True)
class Finding:
  """One line: what was looked at, what was found, and what to do about it (where it is not "ok")."""

  state: Literal["ok", "note", "broken"]
  what: str
  found: str
  todo: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("--data", default="", metavar="DIR", help="where data sets lie (default: $JAXHANDS_DATA)")


def main(args: argparse.Namespace) -> int:
  """Prints what was found."""
  console = rich.console.Console(soft_wrap=True, highlight=False)
  broken = 0
  for finding in examine(args.data):
    broken += finding.state == "broken"
    line = rich.text.Text.assemble((f"{finding.state:<7}", _COLOURS[finding.state]), f"{finding.what}: {finding.found}")
    console.print(line.append(f" -> {finding.todo}" if finding.todo else ""))
  return 1 if broken else 0


def examine(data: str = "") -> Iterator[Finding]:
  """All findings, those that are quick first.

  Args:
    data: where data sets lie; "" = where they are looked for.
  """
  yield from _versions()
  yield from _room(data)
  yield from _devices()
  yield from _data_sets(data)


def _versions() -> Iterator[Finding]:
  yield Finding("ok", "jaxhands", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
  found = []
  for name in _PACKAGES:
    try:
      found.append(f"{name} {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
      if name != "opencv-python":
        yield Finding("broken", "packages", f"{name} is not installed", "pip install -r requirements.txt")
  yield Finding("ok", "packages", ", ".join(found))
  if "tensorflow" in sys.modules or "torch" in sys.modules:
    yield Finding("note", "packages", "TensorFlow or torch were imported", "jaxhands needs neither")


def _room(data: str) -> Iterator[Finding]:
  if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):  # not on Windows
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GB
    todo = "" if memory >= _LITTLE_MEMORY_GB else "use the tiny sizes, or a smaller config.data.keep_mb"
    yield Finding("note" if todo else "ok", "memory", f"{memory:.0f} GB for {os.cpu_count()} processor cores", todo)
  root = folders.root(data)
  place = next(path for path in (root, *root.absolute().parents) if path.exists())
  free = shutil.disk_usage(place).free / _GB
  todo = "" if free >= _LITTLE_DISK_GB else "free some, or set JAXHANDS_DATA to another disk"
  yield Finding("note" if todo else "ok", "disk", f"{free:.0f} GB free for data sets in {root}", todo)


def _devices() -> Iterator[Finding]:
  try:
    import jax

    devices = jax.devices()
  except Exception as error:  # whatever a driver says
    yield Finding("broken", "devices", " ".join(str(error).split()), "JAX_PLATFORMS=cpu runs without the accelerator")
    return
  kinds = ", ".join(sorted({device.device_kind for device in devices}))
  yield Finding("ok", "devices", f"{len(devices)} of {devices[0].platform} ({kinds})")
  if devices[0].platform == "cpu" and shutil.which("nvidia-smi"):
    yield Finding("note", "devices", "this machine has an NVIDIA GPU that JAX does not use", 'pip install -e ".[cuda]"')


def _data_sets(data: str) -> Iterator[Finding]:
  root = folders.root(data)
  found = sorted(path.parent for path in root.glob("*/dataset_info.json"))
  if not found:
    yield Finding("note", "data", f"there are none in {root}", "training builds the embedded ones; see data_builders/")
  for folder in found:
    yield _data_set(folder)


def _data_set(folder: pathlib.Path) -> Finding:
  try:
    info = json.loads((folder / "dataset_info.json").read_text())
    counts = {split["name"]: sum(map(int, split["shardLengths"])) for split in info["splits"]}
  except (ValueError, KeyError, TypeError) as error:
    return Finding("broken", "data", f"{folder} has a dataset_info.json that cannot be read: {error}", "build it again")
  return Finding("ok", "data", f"{folder}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
