"""A training that starts from finished weights and has a few minutes: how long it is on the machine at hand.

The weights are evaluated first. How fast that goes says which of a few fixed lengths the time is enough for, so that
every machine makes one of a few known trainings. `start.json` keeps both, for the table and for going on.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxhands.runs import folder as files

FILE = "start.json"
METHOD = "at_the_start"
_ADVICE = "delete it, and the run evaluates again what it starts from"


def chosen(choices: Sequence[str], seconds: float, pictures_per_s: float, batch_size: int, cost: float) -> str:
  """The longest training that the time is enough for; the first if none is.

  Args:
    choices: lengths, as "500 steps", from short to long.
    seconds: that there are.
    pictures_per_s: that are evaluated, with reading them.
    batch_size: of a step.
    cost: how many times longer a picture takes in training.
  """
  possible = seconds * pictures_per_s / cost / batch_size
  fitting = [choice for choice in choices if int(choice.split()[0]) <= possible]
  return fitting[-1] if fitting else choices[0]


def write(workdir: pathlib.Path, metrics: Mapping[str, float], pictures_per_s: float, length: str) -> None:
  """Keeps what was found.

  Args:
    workdir: of the run.
    metrics: of what it starts from, on the data of its evaluation.
    pictures_per_s: see `chosen`.
    length: that was chosen; "" = that of the config.
  """
  content = {"metrics": dict(metrics), "pictures_per_s": pictures_per_s, "train_for": length}
  files.write_json(workdir / FILE, content)


def read(workdir: pathlib.Path) -> dict[str, Any] | None:
  """What `write` kept; None where nothing is.

  Raises:
    DamagedFile: it is damaged.
  """
  path = workdir / FILE
  return files.read_json(path, _ADVICE, ("metrics", "pictures_per_s", "train_for")) if path.is_file() else None
