"""The metrics that a config asks an evaluation for."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from jaxhands.data import colour
from jaxhands.evaluation import metrics
from jaxhands.evaluation.metrics import pictures
from jaxhands.evaluation.metrics.base import Metric, Protocol
from jaxhands.hands.model import HandModel
from jaxhands.models.backbones import vgg
from jaxhands.weights.vgg import read as read_vgg


def metrics_of(
  config: Any,
  protocol: Protocol,
  hand_model: HandModel | None,
  with_parts: bool = False,
  one_hand: bool = False,
  more: tuple[Metric, ...] = (),
) -> tuple[Metric, ...]:
  """The metrics that a config names; all standard ones, and `more`, where it names none. See `metrics.standard`.

  Raises:
    ValueError: an unknown metric, or `best_metric` or `best_mode` that do not fit them.
  """
  standard = (*metrics.standard(protocol, hand_model, with_parts, one_hand), *more)
  known = [metric.name for metric in standard]
  for name in config.eval.metrics:
    if name not in known:
      raise ValueError(f"eval.metrics: there is no metric {name!r}{_nearest(name, known)}")
  named = tuple(config.eval.metrics)
  chosen = tuple(dataclasses.replace(m, asked=bool(named)) for m in standard if not named or m.name in named)
  better: dict[str, str] = {}
  for metric in chosen:
    better |= dict.fromkeys(metric.results(), metric.better)
  if config.best_metric and config.best_metric not in better:
    raise ValueError(f"best_metric: there is no {config.best_metric!r}{_nearest(config.best_metric, list(better))}")
  if config.best_metric and better[config.best_metric] == "neither":
    raise ValueError(f"best_metric: {config.best_metric!r} should be neither low nor high; name another one")
  if config.best_metric and config.best_mode != {"lower": "min", "higher": "max"}[better[config.best_metric]]:
    raise ValueError(
      f"best_mode is {config.best_mode!r}, but {better[config.best_metric]} {config.best_metric} is better"
    )
  return chosen


def _nearest(name: str, known: list[str]) -> str:
  close = difflib.get_close_matches(name, known, n=1)
  return f"; did you mean {close[0]!r}?" if close else f"; there are {known}"


def features(file: str) -> pictures.Features | None:
  """Maps of VGG-16 for pictures in 0..1; None without its weights."""
  if not file:
    return None
  params = read_vgg(file)
  return lambda image: vgg.pools(params, colour.normalise(image))
