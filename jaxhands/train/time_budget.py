"""A training that starts from finished weights and has a few minutes: how long it is on the machine at hand.

The weights are evaluated first. How fast that goes says which of a few fixed lengths the time is enough for, so that
every machine makes one of a few known trainings. `start.json` keeps both, for the table and for going on.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxhands.runs import folder as files

METHOD = "at_the_start"
_ADVICE = "delete it, and the run evaluates again what it starts from"


def chosen(choices: Sequence[str], seconds: float, picture_s: float, batch_size: int) -> str:
  """The longest training that the time is enough for; the first if none is.

  Args:
    choices: lengths, as "500 steps", from short to long.
    seconds: that there are.
    picture_s: seconds that a picture takes, see `in_training`.
    batch_size: of a step.
  """
  possible = seconds / picture_s / batch_size
  fitting = [choice for choice in choices if int(choice.split()[0]) <= possible]
  return fitting[-1] if fitting else choices[0]


def in_training(whole_s: float, computing_s: float, cost: float) -> float:
  """Seconds that a picture takes in training: there it is computed for longer, and read as in an evaluation.

  Args:
    whole_s: that an evaluation takes, with reading it.
    computing_s: that an evaluation of what is in memory takes.
    cost: how many times longer computing takes in training.
  """
  return cost * computing_s + max(whole_s - computing_s, 0.0)


def write(workdir: pathlib.Path, metrics: Mapping[str, float], pictures_per_s: float, length: str) -> None:
  """Keeps what was found.

  Args:
    workdir: of the run.
    metrics: of what it starts from, on the data of its evaluation.
    pictures_per_s: that are evaluated, with reading them.
    length: that was chosen; "" = that of the config.
  """
  content = {"metrics": dict(metrics), "pictures_per_s": pictures_per_s, "train_for": length}
  files.write_json(workdir / files.START, content)


def read(workdir: pathlib.Path) -> dict[str, Any] | None:
  """What `write` kept; None where nothing is.

  Raises:
    DamagedFile: it is damaged.
  """
  path = workdir / files.START
  return files.read_json(path, _ADVICE, ("metrics", "pictures_per_s", "train_for")) if path.is_file() else None
