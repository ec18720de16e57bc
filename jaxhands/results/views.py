"""View selection in RESULTS.md: what `python -m benchmarks.view_selection RUN --json results/views/NAME.json` wrote."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from jaxhands.results import form
from jaxhands.results.record import CODE, code_named

FOLDER = "views"  # in the folder of the records
_MEAN = {"mean": form.NUMBER, "interval": form.INTERVAL}
_CHOICES = {"choices": {str: {"error_mm": _MEAN, "regret_mm": _MEAN}}, "correlation": form.NUMBER}
_FILE = {"run": str, "date": str, "code": CODE, "scenes": int, "cameras": int, "seed": int, "views": {str: _CHOICES}}
HEAD = ("of", "alignment", "choice", "MPJPE, mm", "regret, mm", "rank correlation")


def read_all(folder: pathlib.Path) -> dict[str, dict[str, Any]]:
  """Name -> file of all below a folder of records, by name.

  Raises:
    ValueError: a file that is none of these.
  """
  again = "`python -m benchmarks.view_selection RUN --json FILE` writes it"
  return {path.stem: form.read(path, _FILE, again) for path in sorted((folder / FOLDER).glob("*.json"))}


def rows(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
  """One for each file, alignment and choice, under `HEAD`."""
  made = []
  for name, file in found.items():
    scenes = f"{file['scenes']} scenes of {file['cameras']} views of seed {file['seed']}"
    about = f"{name}: run {file['run']}, {scenes}, {code_named(file['code'])}, {file['date']}"
    for alignment, measured in file["views"].items():
      for place, (choice, row) in enumerate(measured["choices"].items()):
        cells = [_with_interval(row[key]) for key in ("error_mm", "regret_mm")]
        last = f"{measured['correlation']:.2f}" if place == 0 else ""
        made.append((about, alignment, choice, *cells, last))
  return made


def _with_interval(found: Mapping[str, Any]) -> str:
  low, high = found["interval"]
  return f"{found['mean']:.1f} [{low:.1f}, {high:.1f}]"
