"""What a config asks an evaluation for: metrics, and the system with other fields to stand beside it."""

from __future__ import annotations

import dataclasses
import difflib
from typing import Any

from flax import traverse_util

from jaxhands import metrics
from jaxhands.data import colour
from jaxhands.hands.model import HandModel
from jaxhands.metrics import pictures
from jaxhands.metrics.base import Metric, Protocol
from jaxhands.models.backbones import vgg
from jaxhands.systems import base
from jaxhands.weights.vgg import read as read_vgg


def methods_of(config: Any, system: base.System) -> dict[str, base.System]:
  """The system with the changed fields of each of `config.eval.methods`.

  Args:
    config: of the run.
    system: the run's, whose examples they are evaluated on.
  Raises:
    ValueError: a field that the system does not have, or of another type, or with which it would need other examples.
  """
  methods = {}
  for name, changes in config.eval.get("methods", {}).items():  # runs of before it was there have none
    changed = config.copy_and_resolve_references().lock()
    try:
      changed.system.update(changes)
    except (AttributeError, KeyError, TypeError) as error:
      raise ValueError(f"config.eval.methods.{name}: {error}") from error
    methods[name] = method = base.load(changed)
    examples = {"view": (method.view, system.view), "host_ops(False)": (method.host_ops(False), system.host_ops(False))}
    for what, (own, runs) in examples.items():
      if own != runs:
        raise ValueError(
          f"config.eval.methods.{name}: with its {', '.join(_paths(changes))} the system's {what} would be {own}, and "
          f"the examples are made with {runs}; evaluate it in a run of its own"
        )
  return methods


def _paths(changes: Any) -> list[str]:
  """Names of the changed fields, like "hdrm.over"."""
  return sorted(".".join(path) for path in traverse_util.flatten_dict(changes.to_dict()))


def metrics_of(
  config: Any,
  protocol: Protocol,
  hand_model: HandModel | None,
  with_parts: bool = False,
  more: tuple[Metric, ...] = (),
) -> tuple[Metric, ...]:
  """The metrics that a config names; all standard ones where it names none.

  Raises:
    ValueError: an unknown metric, or `best_metric` or `best_mode` that do not fit them.
  """
  standard = (*metrics.standard(protocol, hand_model, with_parts), *more)
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
