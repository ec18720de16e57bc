"""Looks at this machine and says, one line each, what works for jaxhands and what to do about what does not.

Devices, versions, memory and disk, the cache of compiled functions, data sets with their records and files, and the
runs below a folder. The status is 1 if something is broken. Nothing is changed.

    python -m jaxhands doctor
    python -m jaxhands doctor --data DIR --runs DIR --checksums
    python -m jaxhands doctor runs/internet-demo                   # whether it is finished, and where it stopped

Data sets of the same checksum are the same, byte for byte; computing it reads them whole.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import Literal

import rich.text

from jaxhands import __version__
from jaxhands.data import folders
from jaxhands.paths import expanded
from jaxhands.runs import folder as files
from jaxhands.terminal import console

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "array-record", "numpy", "opencv-python")
_COLOURS = {"ok": "green", "note": "yellow", "broken": "red"}
_GB = 1e9
_LITTLE_DISK_GB = 5.0
_LITTLE_MEMORY_GB = 3.0
_LARGE_CACHE_GB = 5.0


@dataclasses.dataclass(frozen=True)
class Finding:
  """One line: what was looked at, what was found, and what to do about it (where it is not "ok")."""

  state: Literal["ok", "note", "broken"]
  what: str
  found: str
  todo: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("run", nargs="*", type=pathlib.Path, metavar="RUN", help="look at these runs alone")
  parser.add_argument("--data", default="", metavar="DIR", help="where data sets lie (default: $JAXHANDS_DATA)")
  parser.add_argument("--runs", default="runs", metavar="DIR", help="where runs lie (default: runs)")
  parser.add_argument("--checksums", action="store_true", help="read all data sets, to compare them with others")


def main(args: argparse.Namespace) -> int:
  """Prints what was found."""
  shown = console.make()
  broken = 0
  findings = (_run(folder) for folder in args.run) if args.run else examine(args.data, args.runs, args.checksums)
  for finding in findings:
    broken += finding.state == "broken"
    line = rich.text.Text.assemble((f"{finding.state:<7}", _COLOURS[finding.state]), f"{finding.what}: {finding.found}")
    shown.print(line.append(f" -> {finding.todo}" if finding.todo else ""))
  return 1 if broken else 0


def examine(data: str = "", runs: str = "runs", checksums: bool = False) -> Iterator[Finding]:
  """All findings, those that are quick first.

  Args:
    data: where data sets lie; "" = where they are looked for.
    runs: where runs lie.
    checksums: of data sets, which are read whole for that.
  """
  yield from _versions()
  yield from _room(data)
  yield from _devices()
  yield from _cache()
  yield from _runs(expanded(runs))
  yield from _data_sets(data, checksums)


def _versions() -> Iterator[Finding]:
  yield Finding("ok", "jaxhands", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
  lines = []
  for name in _PACKAGES:
    try:
      lines.append(f"{name} {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
      if name != "opencv-python":
        yield Finding("broken", "packages", f"{name} is not installed", "pip install -r requirements.txt")
  yield Finding("ok", "packages", ", ".join(lines))
  if "tensorflow" in sys.modules or "torch" in sys.modules:
    yield Finding("note", "packages", "TensorFlow or torch were imported", "jaxhands needs neither")


def _room(data: str) -> Iterator[Finding]:
  if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):  # not on Windows
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GB
    todo = "" if memory >= _LITTLE_MEMORY_GB else "use the tiny sizes, or a smaller config.data.keep_mb"
    yield Finding("note" if todo else "ok", "memory", f"{memory:.0f} GB for {os.cpu_count()} processor cores", todo)
  try:
    root = folders.root(data)
  except FileNotFoundError as error:
    yield Finding("note", "disk", str(error), "or give a config --config.data.dir=DIR")
    return
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


def _cache() -> Iterator[Finding]:
  cache = folders.cache()
  place = os.environ.get("JAX_COMPILATION_CACHE_DIR") or (str(cache / "compiled") if cache else "")
  if not place:
    yield Finding("note", "compiled", "nothing is kept: this user has no home", "set XDG_CACHE_HOME to a folder")
    return
  files = [path for path in pathlib.Path(place).rglob("*") if path.is_file()]
  size = sum(path.stat().st_size for path in files) / _GB
  todo = "" if size < _LARGE_CACHE_GB else "it may be deleted; everything is then compiled once more"
  yield Finding("note" if todo else "ok", "compiled", f"{len(files)} files, {size:.2f} GB in {place}", todo)


def _runs(folder: pathlib.Path) -> Iterator[Finding]:
  """The trained and imported weights."""
  folders = sorted(path.parent for path in folder.glob("*/config.json"))
  if not folders:
    yield Finding(
      "note", "weights", f"there are no runs in {folder}", "train one with launch.py, or import released ones"
    )
  yield from map(_run, folders)


def _run(folder: pathlib.Path) -> Finding:
  steps = sorted(int(path.name) for path in folder.glob("**/checkpoints/*") if path.name.isdigit())
  try:
    config = json.loads((folder / files.CONFIG).read_bytes())  # of bytes: with or without a byte order mark
    stages = config.get("stages") or {}
    system = (config if "system" in config else list(stages.values())[-1])["system"]["name"]
    if not steps and any(folder.glob("*.safetensors")):  # by hand: what reads them may not be installed
      return Finding("ok", "weights", f"{folder}: {system}, kept weights")
    unfinished = _unfinished(folder, list(stages) or [""]) if steps else "no checkpoint yet"
  except FileNotFoundError as error:
    return Finding("broken", "weights", f"{folder} is no run: there is no {error.filename}", "name the folder of a run")
  except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
    return Finding("broken", "weights", f"{folder} has a file that cannot be read: {error}", "delete or mend it")
  evaluated = "evaluated" if (folder / files.METRICS).is_file() else "not evaluated"
  if unfinished:
    again = "the command that began it goes on with it"
    return Finding("note", "weights", f"{folder}: {system}, unfinished: {unfinished}, {evaluated}", again)
  return Finding("ok", "weights", f"{folder}: {system}, step {steps[-1]}, {evaluated}")


def _unfinished(folder: pathlib.Path, names: Sequence[str]) -> str:
  """The first stage that is not finished, with its steps; "" = all are."""
  from jaxhands.runs import stages

  for name in names:
    found = stages.progress(files.of_stage(folder, name))
    if found is None or found[0] < found[1]:
      steps = f"step {found[0]} of {found[1]}" if found else "not begun"
      return f"stage {name!r}, {steps}" if name else steps
  return ""


def _data_sets(data: str, checksums: bool) -> Iterator[Finding]:
  try:
    root = folders.root(data)
  except FileNotFoundError:
    return  # said where the disk was looked at
  found = sorted(path.parent for path in root.glob("*/dataset_info.json"))
  if not found:
    yield Finding("note", "data", f"there are none in {root}", "training builds the embedded ones; see data_builders/")
  for folder in found:
    yield _data_set(folder, checksums)


def _data_set(folder: pathlib.Path, checksums: bool) -> Finding:
  again = "delete what is damaged and build it again; what is whole is kept"
  try:
    info = json.loads((folder / "dataset_info.json").read_bytes())
    splits = {
      split["name"]: (list(map(int, split["shardLengths"])), int(split["numBytes"])) for split in info["splits"]
    }
  except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
    return Finding("broken", "data", f"{folder} has a dataset_info.json that cannot be read: {error}", again)
  digest = hashlib.sha256()
  for name, (lengths, size) in splits.items():
    shards = sorted(folder.glob(f"*-{name}.array_record-*-of-{len(lengths):05d}"))
    if len(shards) != len(lengths):
      return Finding("broken", "data", f"{folder}: {name} has {len(shards)} of {len(lengths)} files", again)
    found = sum(path.stat().st_size for path in shards)
    if found != size:
      return Finding("broken", "data", f"{folder}: {name} has {found:,} bytes, announced were {size:,}", again)
    for path in shards if checksums else ():
      with open(path, "rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
  counts = ", ".join(f"{name} {sum(lengths):,}" for name, (lengths, _) in splits.items())
  return Finding("ok", "data", f"{folder}: {counts}" + (f"; checksum {digest.hexdigest()[:16]}" if checksums else ""))
