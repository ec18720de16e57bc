"""What a run of a paper's size needs to be the paper's, and which differences it accepts instead.

A config states its requirements in `config.requires`: name of the difference -> (what is needed, condition, ...). All
conditions must hold: each is the path of a field that must be set, or "FIELD~TEXT" for one that must contain a text,
with alternatives after " or ". `config.accept` names the differences that a run may have, with commas between.
"""

from __future__ import annotations

import difflib
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxhands.runs import folder as files
from jaxhands.train import initialise


def check(config: Any, stages: Mapping[str, Any], chosen: Sequence[str]) -> None:
  """Refuses a run that lacks what the paper has and does not accept that.

  Args:
    config: of the whole run.
    stages: name -> config of each stage, of `jaxhands.runs.stages.of`.
    chosen: those that are to be trained.
  Raises:
    ValueError: something is missing and not accepted, or `config.accept` names what no stage requires.
  """
  accepted = {word.strip() for word in config.get("accept", "").split(",")} - {""}
  known = {name for stage in stages.values() for name in stage.get("requires", {})}
  if unknown := sorted(accepted - known):
    close = difflib.get_close_matches(unknown[0], known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"it requires {sorted(known) or 'nothing'}"
    raise ValueError(f"config.accept: this config has nothing to accept that is called {unknown[0]!r}; {hint}")
  refused: dict[str, str] = {}  # what is missing, with its flags -> name of the difference
  for name in chosen:
    for difference, (what, fields) in _missing(stages[name]).items():
      if difference not in accepted:
        # Where stages do not share a field, its flag names the stage.
        paths = [f"stages.{name}.{field}" if name and _get(config, field) is None else field for field in fields]
        refused[f"{what} ({' '.join(f'--config.{path}=...' for path in paths)})"] = difference
  if refused:
    names = ",".join(sorted(accepted | set(refused.values())))
    raise ValueError(
      f"this run lacks what the paper has: {'; '.join(refused)}. Give it, or accept the difference, which is then "
      f"written beside the numbers: --config.accept={names}"
    )


def differences(config: Any, top: pathlib.Path) -> tuple[str, ...]:
  """What a training has not as the paper, like "no_imagenet: ImageNet weights of ResNet-50".

  Args:
    config: of a stage.
    top: folder of the whole run, that "stages/NAME" is relative to.
  """
  own = [f"{difference}: {what}" for difference, (what, _) in _missing(config).items()]
  return tuple(dict.fromkeys((*own, *_of_sources(config, top))))


def of_weights(workdir: pathlib.Path, config: Any, top: pathlib.Path) -> tuple[str, ...]:
  """The differences of what a stage's folder was trained with, or of the runs that it is assembled of.

  Args:
    workdir: of the stage.
    config: of the stage.
    top: see `differences`.
  """
  return tuple(dict.fromkeys((*_noted(workdir), *_of_sources(config, top))))


def _of_sources(config: Any, top: pathlib.Path) -> list[str]:
  places = [initialise.parse(text)[0] for text in config.init_from.values() if text]
  return [text for place in places for text in _noted(top / place if place.parts[:1] == (files.STAGES,) else place)]


def _noted(folder: pathlib.Path) -> list[str]:
  """What the trainings in a run's folder noted; nothing of others' weights."""
  notes = folder / files.TRAINED_WITH
  entries = files.read_json(notes, "delete it") if notes.is_file() else []
  try:
    return [text for entry in entries for text in entry.get("accepted", ())]
  except (AttributeError, TypeError) as error:
    raise files.DamagedFile(notes, error, "delete it") from error


def _missing(config: Any) -> dict[str, tuple[str, list[str]]]:
  """Difference -> what is needed, and the fields that would give it, of the requirements that do not hold."""
  missing = {}
  for difference, (what, *conditions) in config.get("requires", {}).items():
    unmet = [condition for condition in conditions if not any(_holds(config, one) for one in condition.split(" or "))]
    if unmet:
      missing[difference] = what, [condition.split(" or ")[0] for condition in unmet]
  return missing


def _holds(config: Any, condition: str) -> bool:
  field, _, text = condition.partition("~")
  value = _get(config, field)
  return text in str(value) if text else bool(value)


def _get(config: Any, field: str) -> Any:
  """The value of a field by its path; None where there is none."""
  for word in field.split("."):
    config = config.get(word) if hasattr(config, "get") else None
  return config
