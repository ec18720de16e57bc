"""From the values of all examples to numbers, and how sure they are: sums in float64, resampled by scenes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxhands.evaluation.metrics import base


def reduced(
  metrics: Sequence[base.Metric], quantities: Mapping[str, Any], groups: Mapping[str, Any]
) -> dict[str, float]:
  """The numbers of all metrics, without those that count nothing."""
  numbers = {}
  for key, reduce, value, weight in results(metrics, quantities, groups):
    number = reduce(value, weight)
    if not np.isnan(number):
      numbers[key] = number
  return numbers


def results(
  metrics: Sequence[base.Metric], quantities: Mapping[str, Any], groups: Mapping[str, Any]
) -> Iterator[tuple[str, Callable[[np.ndarray, np.ndarray], float], np.ndarray, np.ndarray]]:
  """Of each result its key, what makes the number, and the values and weights of all examples."""
  for metric in metrics:
    if metric.quantity.name not in quantities:  # an optional one
      continue
    value, weight = quantities[metric.quantity.name]
    for key, group in metric.results().items():
      yield key, metric.reduce, value, weight * _along(groups[group], weight)


def _along(factors: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Factors of the examples, with the axes of `weight`."""
  return factors.reshape((-1,) + (1,) * (weight.ndim - 1))


def per_joint(
  metrics: Sequence[base.Metric], quantities: Mapping[str, Any], groups: Mapping[str, Any]
) -> dict[str, list[list[float | None]]]:
  """Means of MPJPE's errors for each joint, [2][21]; none of a system without poses."""
  return {
    key: [
      [None if np.isnan(mean) else float(mean) for mean in hand]
      for hand in base.means(value, weight * groups[group][:, None, None])
    ]
    for metric in metrics
    if metric.name == "mpjpe" and metric.quantity.name in quantities
    for value, weight in [quantities[metric.quantity.name]]
    for key, group in metric.results().items()
  }


def intervals(drawn: Mapping[str, np.ndarray], numbers: Mapping[str, float]) -> dict[str, tuple[float, float]]:
  """Percentiles 2.5 and 97.5 of what was drawn of each number; the number itself twice where nothing was."""
  found = {}
  for key, number in numbers.items():
    if key in drawn:
      counted = drawn[key][~np.isnan(drawn[key])]
      low, high = np.percentile(counted if len(counted) else [number], (2.5, 97.5))
      found[key] = (float(low), float(high))
  return found


def resampled(
  metrics: Sequence[base.Metric],
  quantities: Mapping[str, Any],
  groups: Mapping[str, Any],
  scene_id: np.ndarray,
  resamples: int,
) -> dict[str, np.ndarray]:
  """Of each result its numbers over resampled scenes, NaN where nothing counts; the same scenes in every call."""
  rng = np.random.default_rng(0)
  scenes = np.unique(scene_id, return_inverse=True)[1]
  count = int(scenes.max()) + 1
  times = [np.bincount(rng.integers(0, count, count), minlength=count).astype(np.int32) for _ in range(resamples)]
  found = {}
  for key, reduce, value, weight in results(metrics, quantities, groups):
    if reduce in base.AVERAGES.values():  # of scenes as good as of examples, and far fewer
      value, weight = _of_scenes(value, weight, scenes)
      drawn = [reduce(value, weight * _along(row, weight)) for row in times]
    else:
      drawn = [reduce(value, weight * _along(row[scenes], weight)) for row in times]
    found[key] = np.array(drawn, np.float64)
  return found


def _of_scenes(value: np.ndarray, weight: np.ndarray, scenes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Weighted mean and weight of each scene, in float64; a mean is the same of these and of the examples."""
  order = np.argsort(scenes, kind="stable")
  starts = np.flatnonzero(np.diff(scenes[order], prepend=-1))
  shape = (len(starts), *weight.shape[1:])
  total, summed = np.empty(shape), np.empty(shape)
  for rest in np.ndindex(shape[1:]):  # one joint after the other, which needs less memory
    column = (slice(None), *rest)
    of_examples = weight[column][order].astype(np.float64)
    total[column] = np.add.reduceat(of_examples, starts)
    summed[column] = np.add.reduceat(value[column][order] * of_examples, starts)
  return np.divide(summed, total, out=np.zeros_like(summed), where=total > 0), total
