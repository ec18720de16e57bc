"""What a config asks of the trainer, in steps."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

_DURATION = re.compile(r"(\d+(?:\.\d+)?(?:e\d+)?) (step|epoch)s?")


def steps_of(duration: str, epoch_steps: float) -> int:
  """Steps of a duration, "20 epochs" or "5000 steps".

  Args:
    duration: a number, a space, and `steps` or `epochs`.
    epoch_steps: steps in which every example is seen once; need not be whole.
  Raises:
    ValueError: not a duration, or a fraction of a step.
  """
  match = _DURATION.fullmatch(duration)
  if match is None:
    raise ValueError(f"{duration!r} is not a duration: write '20 epochs' or '5000 steps'")
  number = float(match[1])
  if match[2] == "epoch":
    return round(number * epoch_steps)
  if number != int(number):
    raise ValueError(f"{duration!r} is not a whole number of steps")
  return int(number)


@dataclasses.dataclass(frozen=True)
class Plan:
  """A config's durations and intervals in steps; an interval of 0 means never."""

  steps: int
  epoch_steps: float
  log_every: int
  eval_every: int
  checkpoint_every: int

  @classmethod
  def of(cls, config: Any, examples: int) -> Plan:
    """Reads a config.

    Args:
      config: as `configs/base.py` makes it.
      examples: in one epoch.
    Raises:
      ValueError: no examples, a wrong duration, or nothing to do.
    """
    if examples < 1:
      raise ValueError(f"the training data {config.data.train} have {examples} examples")
    epoch_steps = examples / config.batch_size
    steps = steps_of(config.train_for, epoch_steps)
    if steps < 1:
      raise ValueError(f"train_for is {config.train_for!r}, which is no step: an epoch has {epoch_steps:.2f} steps")

    def interval(duration: str) -> int:
      wanted = steps_of(duration, epoch_steps)
      # An epoch of less than half a step still is an interval.
      return wanted if float(duration.split()[0]) == 0 else max(wanted, 1)

    return cls(
      steps=steps,
      epoch_steps=epoch_steps,
      log_every=interval(config.log_every),
      eval_every=interval(config.eval_every),
      checkpoint_every=interval(config.checkpoint_every),
    )


def due(step: int, interval: int) -> bool:
  """Whether something is to be done after `step` updates."""
  return interval > 0 and step % interval == 0
