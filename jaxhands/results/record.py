"""The record of a finished experiment: one small JSON file, made from the folder of its run."""

from __future__ import annotations

import datetime
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any, get_args

from jaxhands.evaluation import verdict
from jaxhands.results import form
from jaxhands.runs import folder as files

FORMAT = 1
LARGEST_BYTES = 20_000
_DIGITS = 6  # of numbers; more say nothing
# What is read of a record and of the files of a run, see `form.check`.
CODE = {"commit": str, "version": str, "modified": bool}
_DATA = {"name": str, "version?": str | int | None}
_ALSO = [{"protocol": str, "method": str, "metrics": {str: form.NUMBER}, "differences?": {str: form.INTERVAL}}]
_VERDICTS = {str: {"kind": get_args(verdict.Kind), "beside": str, "baseline": form.NUMBER}}
_EVALUATED_WITH = {"code": CODE, "devices": str, "data": [_DATA | {"split": str}]}
_TRAINED_WITH = [{"data": [_DATA]}]
_RECORD = {
  "format": int, "config_name": str, "variant": str, "seed": int, "date": str, "note": str, "system": str,
  "dataset": str, "split": str, "examples": int, "protocol": str, "accepted?": [str],
  "metrics": {str: {"value": form.NUMBER, "interval": form.INTERVAL, "unit": str}}, "mean_pose": {str: form.NUMBER},
  "verdicts?": _VERDICTS, "also": _ALSO, "evaluated_with": _EVALUATED_WITH, "trained_with": _TRAINED_WITH,
}  # fmt: skip
_CONFIG = {"name": str, "variant": str, "seed": int, "stages?": dict | list | None}
_RESULT = {
  "system": str, "dataset": str, "split": str, "examples": int, "protocol": str, "accepted?": [str],
  "metrics": {str: form.NUMBER}, "intervals": {str: form.INTERVAL}, "units": {str: str},
  "mean_pose": {str: form.NUMBER}, "verdicts?": _VERDICTS, "also": _ALSO,
}  # fmt: skip


def of_run(workdir: pathlib.Path, note: str = "") -> dict[str, Any]:
  """The record of an evaluated run.

  Args:
    workdir: its folder.
    note: a sentence to stand beside it.
  Raises:
    FileNotFoundError: the run was not evaluated, or by a version that did not note where its numbers come from.
    DamagedFile: a file of the run is no such file.
  """
  config = _read(workdir / files.CONFIG, _CONFIG)
  result = _read(workdir / files.METRICS, _RESULT)
  _read(workdir / files.METRICS, {key: dict.fromkeys(result["metrics"], object) for key in ("intervals", "units")})
  evaluated = _read(workdir / files.EVALUATED_WITH, _EVALUATED_WITH | {"date?": str})
  trained = [entry for path in _training_notes(workdir, config) for entry in _read(path, _TRAINED_WITH)]
  written = datetime.datetime.fromtimestamp((workdir / files.METRICS).stat().st_mtime, datetime.UTC)
  when = evaluated.pop("date", written.date().isoformat())  # evaluations of before it was noted have the file's date
  evaluated.pop("command", None)  # the config says it all, and where things lay is nobody's business
  return {
    "format": FORMAT,
    "config_name": config["name"],
    "variant": config["variant"],
    "seed": config["seed"],
    "date": when[:10],
    "note": note,
    "system": result["system"],
    "dataset": _without_folders(result["dataset"]),
    "split": result["split"],
    "examples": result["examples"],
    "protocol": result["protocol"],
    "accepted": result.get("accepted", []),  # results of before it was there have none
    "metrics": {
      key: {
        "value": _rounded(value),
        "interval": [_rounded(end) for end in result["intervals"][key]],
        "unit": result["units"][key],
      }
      for key, value in result["metrics"].items()
    },
    "mean_pose": {key: _rounded(value) for key, value in result["mean_pose"].items()},
    "verdicts": {
      key: {"kind": found["kind"], "beside": found["beside"], "baseline": _rounded(found["baseline"])}
      for key, found in result.get("verdicts", {}).items()
    },
    "also": [_rounded_entry(entry, next(iter(result["metrics"]), "")) for entry in result["also"]],
    "evaluated_with": evaluated,
    "trained_with": trained,
    "config": _without_repeats(_without_folders(config)),
  }


def name_of(record: Mapping[str, Any]) -> str:
  """A file's name for it: config, variant, seed."""
  return f"{record['config_name']}-{record['variant']}-seed{record['seed']}"


def identity(record: Mapping[str, Any]) -> tuple[Any, ...]:
  """What no two records have in common: the page takes runs that differ in the seed alone for one experiment."""
  return tuple(record[key] for key in ("config_name", "variant", "dataset", "split", "seed"))


def code_named(code: Mapping[str, Any]) -> str:
  """What ran, of `runs.provenance.code`: a commit or a version, and whether it was changed."""
  return (code["commit"][:10] or f"version {code['version']}") + (" with changes" if code["modified"] else "")


def write(record: Mapping[str, Any], path: pathlib.Path) -> None:
  """Writes it, whole or not at all.

  Raises:
    ValueError: it is larger than a record may be.
  """
  content = json.dumps(record, indent=1) + "\n"
  if len(content.encode()) > LARGEST_BYTES:
    content = json.dumps(record, separators=(",", ":")) + "\n"
  if (size := len(content.encode())) > LARGEST_BYTES:
    raise ValueError(
      f"the record would have {size:,} bytes of {LARGEST_BYTES:,}: evaluate with fewer eval.metrics, eval.also or "
      "eval.methods"
    )
  with files.written(path) as file:
    file.write(content.encode())


def read_all(folder: pathlib.Path, but: str = "") -> dict[str, dict[str, Any]]:
  """Name -> record of all that lie in a folder, by name; without one, which may be damaged.

  Raises:
    ValueError: a file that is none, or too large.
  """
  records = {}
  for path in sorted(folder.glob("*.json")):
    if path.stem == but:
      continue
    if path.stat().st_size > LARGEST_BYTES:
      raise ValueError(f"{path} has {path.stat().st_size:,} bytes; a record has at most {LARGEST_BYTES:,}")
    again = "`results add RUN` writes records of experiments"
    content = files.read_json(path, again, ("format",))
    if content["format"] != FORMAT:
      raise files.DamagedFile(path, f"format {content['format']}", again)
    records[path.stem] = form.read(path, _RECORD, again)
  return records


def _training_notes(workdir: pathlib.Path, config: Mapping[str, Any]) -> list[pathlib.Path]:
  """Of all stages; a system that was only assembled has none."""
  folders = [files.of_stage(workdir, stage) for stage in config.get("stages") or ("",)]
  return [folder / files.TRAINED_WITH for folder in folders if (folder / files.TRAINED_WITH).is_file()]


def _read(path: pathlib.Path, of_form: form.Form) -> Any:
  if not path.is_file():
    raise FileNotFoundError(f"there is no {path}: train and evaluate the run first, with launch.py")
  return form.read(path, of_form, "evaluate the run again, with --mode=eval")


def _without_folders(value: Any) -> Any:
  """The same with absolute paths cut to their last part: where things lay on one machine is nobody's business."""
  if isinstance(value, Mapping):
    return {key: _without_folders(inner) for key, inner in value.items()}
  if isinstance(value, list):
    return [_without_folders(inner) for inner in value]
  return re.sub(r"(?<![\w.])~?/(?:[^+:]*/)?", "", value) if isinstance(value, str) else value


def _without_repeats(config: Mapping[str, Any]) -> dict[str, Any]:
  """The config of a run of stages, where a section that an earlier stage has as well, in any place, is named by it."""
  known: dict[str, str] = {}

  def shortened(value: Any, path: str) -> Any:
    if not isinstance(value, Mapping) or not value:
      return value
    first = known.setdefault(json.dumps(value, sort_keys=True), path)
    return {key: shortened(inner, f"{path}.{key}") for key, inner in value.items()} if first == path else f"as {first}"

  if not config.get("stages"):
    return dict(config)
  return {key: shortened(value, key) for key, value in config.items()}


def _rounded_entry(entry: Mapping[str, Any], first: str) -> dict[str, Any]:
  """Another method or protocol; of the system with other fields, how much it differs in the first metric, too."""
  rounded: dict[str, Any] = {"metrics": {key: _rounded(value) for key, value in entry["metrics"].items()}}
  if "differences" in entry:
    rounded["differences"] = {
      key: [_rounded(end) for end in ends]
      for key, ends in entry["differences"].items()
      if key.split("/")[0] == first.split("/")[0]
    }
  return dict(entry) | rounded


def _rounded(value: float) -> float:
  return float(f"{value:.{_DIGITS}g}")
