"""The system beside the best of the plain methods, metric by metric, over the same resampled scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxhands.evaluation import verdict
from jaxhands.evaluation.metrics import summary
from jaxhands.evaluation.metrics.base import Metric


class Method(NamedTuple):
  """A plain method: what it is measured by, and its quantities of every example."""

  metrics: Sequence[Metric]
  quantities: Mapping[str, Any]


def paired(quantities: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
  """The quantities with weight only where the other ones of the same names have some, too; jit-able."""
  return {
    name: (value, weight * (others[name][1] > 0)) if name in others else (value, weight)
    for name, (value, weight) in quantities.items()
  }


def shared(
  metrics: Sequence[Metric],
  quantities: Mapping[str, Any],
  others: Mapping[str, Any],
  groups: Mapping[str, Any],
  scene_id: np.ndarray,
  numbers: Mapping[str, float],
  drawn: Mapping[str, np.ndarray],
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
  """Numbers, and those over resampled scenes, made anew where the other quantities count less.

  Args:
    metrics, quantities, groups, scene_id: as of `verdicts`.
    others: quantities that are compared with these.
    numbers, drawn: of all that the quantities count.
  """
  both = paired(quantities, others)
  changed = {name: both[name] for name in both if not np.array_equal(both[name][1], quantities[name][1])}
  again = [metric for metric in metrics if metric.quantity.name in changed]
  keys = {key for metric in again for key in metric.results()}
  resamples = len(next(iter(drawn.values()), ()))
  return (
    {key: number for key, number in numbers.items() if key not in keys} | summary.reduced(again, changed, groups),
    dict(drawn) | summary.resampled(again, changed, groups, scene_id, resamples),
  )


def verdicts(
  metrics: Sequence[Metric],
  quantities: Mapping[str, Any],
  groups: Mapping[str, Any],
  scene_id: np.ndarray,
  drawn: Mapping[str, np.ndarray],
  methods: Mapping[str, Method],
) -> dict[str, dict[str, Any]]:
  """For each metric that a plain method has, too: `{"beside", "baseline", "more", "kind"}`, see `evaluation.verdict`.

  "beside" is the best of the methods, "baseline" its number, "more" the interval of what the system's is more.

  Args:
    metrics, quantities: of the system.
    groups: of the examples.
    scene_id: of the examples.
    drawn: the system's numbers over resampled scenes; nothing is judged without.
    methods: name -> method, which counts nothing that the system does not; where it counts less, so does the system.
  """
  numbers = summary.reduced(metrics, quantities, groups)
  found = {name: summary.reduced(*method, groups) for name, method in methods.items()}
  better: dict[str, verdict.Better] = {
    key: metric.better for metric in metrics if metric.better != "neither" for key in metric.results()
  }
  best: dict[str, str] = {}
  for key, way in better.items():
    having = {name: of_method[key] for name, of_method in found.items() if key in of_method}
    if key in numbers and having and len(drawn.get(key, ())):
      best[key] = (min if way == "lower" else max)(having, key=having.__getitem__)
  of_methods: dict[str, Mapping[str, np.ndarray]] = {}
  for name in dict.fromkeys(best.values()):
    asked = [m for m in methods[name].metrics if any(best.get(key) == name for key in m.results())]
    resamples = len(next(iter(drawn.values())))
    of_methods[name] = summary.resampled(asked, methods[name].quantities, groups, scene_id, resamples)
  answer = {}
  for name, of_method in of_methods.items():
    ours, ours_drawn = shared(metrics, quantities, methods[name].quantities, groups, scene_id, numbers, drawn)
    scenes = _scenes(*methods[name], groups, scene_id)
    for key in (key for key in best if best[key] == name and key in ours):
      more = ours[key] - found[name][key]
      interval = summary.intervals({key: ours_drawn[key] - of_method[key]}, {key: more})[key]
      kind = verdict.judge(more, interval, better[key], scenes[key])
      answer[key] = {"beside": name, "baseline": found[name][key], "more": interval, "kind": kind}
  return {key: answer[key] for key in best if key in answer}


def _scenes(
  metrics: Sequence[Metric], quantities: Mapping[str, Any], groups: Mapping[str, Any], scene_id: np.ndarray
) -> dict[str, int]:
  """How many scenes count in each result."""
  return {
    key: len(np.unique(scene_id[weight.reshape(len(weight), -1).any(1)]))
    for key, _, _, weight in summary.results(metrics, quantities, groups)
  }
