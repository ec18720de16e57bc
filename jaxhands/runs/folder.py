"""The folder of a run: the names of what is in it, files written whole or not at all, and named when they are damaged.

Knows names and bytes only. Files of data sets are written and read likewise.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import pathlib
import uuid
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO

import numpy as np

# In the folder of a run. A run of several stages has a config, an answer and a report; each stage its own folder
# below STAGES, with all but the report.
CONFIG = "config.json"  # that it was begun with
STAGES = "stages"
CHECKPOINTS = "checkpoints"
LOG = "metrics.jsonl"  # of the training
TRAINED_WITH = "origin.json"  # code, software and data of each of its trainings
TENSORBOARD = "tensorboard"  # the folder of its curves
NONFINITE = "nonfinite.json"  # the examples of a step whose loss or gradient was not finite
START = "start.json"  # what was measured before a training that has a few minutes
MEAN_POSE = "mean_pose.npy"
EVALUATION = "eval"  # the folder of what follows
METRICS = "eval/metrics.json"  # the run's answer
EXAMPLES = "eval/examples.npz"  # values of every example
SHOWN = "eval/shown.npz"  # the examples that a report draws
CALIBRATION = "eval/calibration.json"  # what makes probabilities of confidences
TIMINGS = "eval/timings.json"
ROOT_DEPTHS = "eval/root_depths.npz"  # of a system that estimates the wrists' depths
EVALUATED_WITH = "eval/origin.json"
REPORT = "report/index.html"


def of_stage(workdir: pathlib.Path, name: str) -> pathlib.Path:
  """The folder of a stage; "" = the run has none, and is it."""
  return workdir / STAGES / name if name else workdir


class DamagedFile(ValueError):
  """A file is not what was written: empty, cut, or changed; one line that names it and says what to do."""

  def __init__(self, path: pathlib.Path, error: object, todo: str):
    words = f"{error}" if isinstance(error, str | ValueError) else f"{type(error).__name__}: {error}"
    super().__init__(f"{path} is damaged, or something else ({' '.join(words.split())[:200]}); {todo}")


def read_json(path: pathlib.Path, todo: str, keys: Collection[str] | None = None) -> Any:
  """The content of a JSON file.

  Args:
    path: of the file; FileNotFoundError where there is none.
    todo: what to do if it is damaged: "evaluate the run again, …".
    keys: that it must have as an object; None: it may be anything.
  Raises:
    DamagedFile: it is no JSON, no object, or lacks a key.
  """
  try:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if keys is not None and not isinstance(content, dict):
      raise ValueError(f"it holds a {type(content).__name__}")
    if missing := [key for key in keys or () if key not in content]:
      raise ValueError(f"it lacks {missing[0]!r}")
  except (ValueError, RecursionError) as error:
    raise DamagedFile(path, error, todo) from error
  return content


def read_lines(path: pathlib.Path, todo: str) -> list[dict[str, Any]]:
  """The lines of a log of JSON objects; a last one that was cut short is left out.

  Raises:
    DamagedFile: another line is no object.
  """
  try:
    *whole, last = path.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    if last.rstrip().endswith(b"}"):  # its end was cut off, and nothing else
      whole.append(last)
    content = [json.loads(line) for line in whole]
    if any(not isinstance(line, dict) for line in content):
      raise ValueError("a line is no object")
  except (ValueError, RecursionError) as error:
    raise DamagedFile(path, error, todo) from error
  return content


def read_arrays(path: pathlib.Path, todo: str, keys: Collection[str] = ()) -> dict[str, np.ndarray]:
  """The arrays of a `.npz`, by name.

  Args:
    path: of the file; FileNotFoundError where there is none.
    todo: what to do if it is damaged.
    keys: that it must have.
  Raises:
    DamagedFile: it is damaged, or lacks an array.
  """
  with path.open("rb") as file:
    try:
      with np.load(file, allow_pickle=False) as archive:
        if missing := sorted(set(keys) - set(archive.files)):
          raise ValueError(f"it lacks {missing[0]!r}")
        return dict(archive)
    except Exception as error:  # nearly anything, of a damaged archive
      raise DamagedFile(path, error, todo) from error


@contextlib.contextmanager
def written(path: pathlib.Path) -> Iterator[BinaryIO]:
  """A file to write to that gets its name when it is whole; its folder is made."""
  path.parent.mkdir(parents=True, exist_ok=True)
  # Several machines may write to one folder, where process ids are no names.
  partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
  try:
    with partial.open("wb") as file:
      yield file
    os.replace(partial, path)
  finally:
    partial.unlink(missing_ok=True)


def write_json(path: pathlib.Path, content: Any) -> None:
  """Writes a JSON file, whole or not at all."""
  with written(path) as file:
    file.write((json.dumps(content, indent=2) + "\n").encode())
