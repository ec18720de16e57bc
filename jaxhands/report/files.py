"""What a run has written, read back for its report."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxhands.runs import folder as runs

_AGAIN = "evaluate the run again, with --mode=eval"
Line = Mapping[str, float]


@dataclasses.dataclass(frozen=True, eq=False)
class RunFiles:
  """The files of a run.

  Attributes:
    config: as it was run; {} if it is not there.
    lines: stage ("" = no stages) -> lines of `metrics.jsonl`, for what was trained here.
    result: `eval/metrics.json`.
    values: `eval/examples.npz`: arrays over the evaluated examples.
    shown: `eval/shown.npz`: the examples to draw; {} if there are none.
    calibration: `eval/calibration.json`; {} if there is none.
    origin: `eval/origin.json`; {} if there is none.
    timings: `eval/timings.json`; {} if there is none.
    parts: stage -> its own `eval/metrics.json`, of the stages before the last that were evaluated.
  """

  config: Mapping[str, Any]
  lines: Mapping[str, Sequence[Line]]
  result: Mapping[str, Any]
  values: Mapping[str, np.ndarray]
  shown: Mapping[str, np.ndarray]
  calibration: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  timings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  parts: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

  @classmethod
  def read(cls, workdir: pathlib.Path) -> RunFiles:
    """Reads the folder of a run.

    Raises:
      FileNotFoundError: the run was not evaluated.
      DamagedFile: one of its files is damaged.
    """
    folder = workdir / "eval"
    for name in ("metrics.json", "examples.npz"):
      if not (folder / name).is_file():
        raise FileNotFoundError(f"{folder} has no {name}: evaluate the run first, with --mode=eval")
    settings = _json(workdir / "config.json")
    stages = list(settings.get("stages") or [""])
    found = {stage: _lines((workdir / "stages" / stage if stage else workdir) / "metrics.jsonl") for stage in stages}
    return cls(
      config=settings,
      lines={stage: lines for stage, lines in found.items() if lines},
      result=runs.read_json(folder / "metrics.json", _AGAIN, ("metrics", "protocol")),
      values=runs.read_arrays(folder / "examples.npz", _AGAIN),
      shown=runs.read_arrays(folder / "shown.npz", _AGAIN) if (folder / "shown.npz").is_file() else {},
      calibration=_json(folder / "calibration.json"),
      origin=_json(folder / "origin.json"),
      timings=_json(folder / "timings.json"),
      parts={stage: answer for stage in stages[:-1] if (answer := _answer(workdir / "stages" / stage))},
    )


def _lines(path: pathlib.Path) -> list[Line]:
  """The lines of a log; a last one that was cut short is left out."""
  found = runs.read_lines(path, "delete it, or its damaged lines: the report does without") if path.is_file() else []
  return [{key: float(value) if isinstance(value, int) else value for key, value in line.items()} for line in found]


def _answer(stage: pathlib.Path) -> dict[str, Any]:
  return _json(stage / "eval" / "metrics.json")


def _json(path: pathlib.Path) -> dict[str, Any]:
  return runs.read_json(path, _AGAIN, ()) if path.is_file() else {}
