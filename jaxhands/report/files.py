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
    for name in (runs.METRICS, runs.EXAMPLES):
      if not (workdir / name).is_file():
        raise FileNotFoundError(f"{workdir} has no {name}: evaluate the run first, with --mode=eval")
    settings = _json(workdir / runs.CONFIG)
    stages = list(settings.get("stages") or [""])
    found = {stage: _lines(runs.of_stage(workdir, stage) / runs.LOG) for stage in stages}
    return cls(
      config=settings,
      lines={stage: lines for stage, lines in found.items() if lines},
      result=runs.read_json(workdir / runs.METRICS, _AGAIN, ("metrics", "protocol")),
      values=runs.read_arrays(workdir / runs.EXAMPLES, _AGAIN),
      shown=runs.read_arrays(workdir / runs.SHOWN, _AGAIN) if (workdir / runs.SHOWN).is_file() else {},
      calibration=_json(workdir / runs.CALIBRATION),
      origin=_json(workdir / runs.EVALUATED_WITH),
      timings=_json(workdir / runs.TIMINGS),
      parts={stage: answer for stage in stages[:-1] if (answer := _json(workdir / runs.STAGES / stage / runs.METRICS))},
    )


def _lines(path: pathlib.Path) -> list[Line]:
  """The lines of a log; a last one that was cut short is left out."""
  found = runs.read_lines(path, "delete it, or its damaged lines: the report does without") if path.is_file() else []
  return [{key: float(value) if isinstance(value, int) else value for key, value in line.items()} for line in found]


def _json(path: pathlib.Path) -> dict[str, Any]:
  return runs.read_json(path, _AGAIN, ()) if path.is_file() else {}
