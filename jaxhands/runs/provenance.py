"""What a run's numbers came from: the code's commit, the software, the machine, and which data in which version.

`WORKDIR/origin.json` has one entry for each version of the code that trained here; `WORKDIR/eval/origin.json` is about
the evaluation beside it.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import pathlib
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import jax

from jaxhands import __version__
from jaxhands.runs import folder as files

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_WITHOUT_RESULTS = (".", ":(exclude)RESULTS.md", ":(exclude)results")  # paths, as git takes them
_SOFTWARE = ("jax", "flax", "optax", "numpy", "opencv-python")


def code() -> dict[str, Any]:
  """Version of the package, its git commit ("" where it is installed without one), and whether files were changed.

  Results that are kept in the repository do not count, or each run would have changed the code for the next one.
  """
  top = _git("rev-parse", "--show-toplevel")
  ours = bool(top) and pathlib.Path(top).resolve() == _ROOT  # not a repository of the user that holds an environment
  return {
    "version": __version__,
    "commit": _git("rev-parse", "HEAD") if ours else "",
    "modified": bool(ours and _git("status", "--porcelain", "--untracked-files=no", "--", *_WITHOUT_RESULTS)),
  }


def machine() -> dict[str, Any]:
  """Software and devices of this process."""
  versions = {"python": platform.python_version()}
  for name in _SOFTWARE:
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      continue
  devices = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
  return {"software": versions, "devices": devices, "processes": jax.process_count()}


def data_set(folder: str, split: str, examples: int) -> dict[str, Any]:
  """A data set with its version: the builder's name, and the hash of the arguments that decide every record."""
  described: dict[str, Any] = {"name": pathlib.Path(folder).name, "split": split, "examples": examples}
  path = pathlib.Path(folder) / "build.json"
  if path.is_file():
    built = files.read_json(path, "build the data set anew", ("builder", "hash", "arguments"))
    described |= {"builder": built["builder"], "hash": built["hash"]}
    known = {key: built["arguments"].get(key) for key in ("version", "variant", "branch", "seed")}
    described |= {key: value for key, value in known.items() if value not in (None, "")}
  return described


def note_training(workdir: pathlib.Path, data: Sequence[dict[str, Any]], accepted: Sequence[str] = ()) -> None:
  """Adds an entry to `WORKDIR/origin.json`, unless the last one is the same.

  Args:
    workdir: of the run or stage.
    data: `data_set` of each.
    accepted: differences from the paper, of `jaxhands.configuration.requirements`.
  """
  path = workdir / files.TRAINED_WITH
  entries = files.read_json(path, "delete it: it notes what earlier parts of the run were") if path.is_file() else []
  entry = {"code": code(), **machine(), "data": list(data)} | ({"accepted": list(accepted)} if accepted else {})
  if not entries or entries[-1] != entry:
    files.write_json(path, [*entries, entry])


def note_evaluation(workdir: pathlib.Path, data: Sequence[dict[str, Any]]) -> None:
  """Writes `WORKDIR/eval/origin.json`, with the date (UTC, ISO 8601) and the command as it was typed."""
  when = datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes")
  noted = {"code": code(), **machine(), "data": list(data), "date": when, "command": command(sys.orig_argv)}
  files.write_json(workdir / files.EVALUATED_WITH, noted)


def command(typed: Sequence[str]) -> str:
  """The command that runs a config, of a process's arguments with its interpreter; "" where this is another program."""
  programs = [index for index, word in enumerate(typed[:3]) if pathlib.PurePath(word).name == "launch.py"]
  return shlex.join(["python", "launch.py", *typed[programs[0] + 1 :]]) if programs else ""


def _git(*arguments: str) -> str:
  """What git answers; "" where there is no git, no repository, or one that it does not trust."""
  try:
    answer = subprocess.run(
      ["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, timeout=20, check=False
    )
  except (OSError, subprocess.TimeoutExpired):
    return ""
  return answer.stdout.strip() if answer.returncode == 0 else ""
