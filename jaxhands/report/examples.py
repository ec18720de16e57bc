"""Which examples a report shows: some at random, and those that went worst."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer

from jaxhands import schema
from jaxhands.runs import folder as files

RANDOM, WORST = 6, 6
# What an example's error is made of, and its unit: the first of these that was measured.
_ERRORS = {
  "joint_error": "mm", "vertex_error": "mm", "pixel_error": "px", "root_depth_error": "mm",
  "mask_error": "of the masks wrong", "box_error": "of the boxes wrong",
}  # fmt: skip
_LIKENESS = "psnr"  # where there is no error: the less, the worse
# Keys of the batch that are drawn, besides those that every evaluation has.
NEEDS = frozenset({"image", "crop_from_img"})


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
  """Positions of examples in the order of the evaluation, and which of them are there as the worst ones."""

  positions: Integer[np.ndarray, " K"]
  worst: Bool[np.ndarray, " K"]


def choose(values: Mapping[str, np.ndarray], random: int = RANDOM, worst: int = WORST, seed: int = 0) -> Chosen:
  """Chooses among all examples of an evaluation; the same ones whatever the predictions, but for the worst.

  No record twice, though it has several views.

  Args:
    values: `EvalResult.examples_values`.
    random, worst: how many, at most; the worst are those of the others.
    seed: of the random ones.
  """
  record = np.asarray(values["example_id"]) // schema.IDS_OF_RECORD
  drawn = np.sort(_of_different(np.random.default_rng(seed).permutation(len(record)), record)[:random])
  errors, unit = example_errors(values)
  errors = errors if unit else -example_likeness(values)
  measured = np.flatnonzero(~np.isnan(errors) & ~np.isin(record, record[drawn]))
  worst_first = _of_different(measured[np.argsort(-errors[measured], kind="stable")], record)[:worst]
  return Chosen(np.concatenate([drawn, worst_first]), np.repeat([False, True], [len(drawn), len(worst_first)]))


def _of_different(positions: Integer[np.ndarray, " N"], record: Integer[np.ndarray, " M"]) -> Integer[np.ndarray, " K"]:
  """Of positions, in their order, the first of each record."""
  return positions[np.sort(np.unique(record[positions], return_index=True)[1])]


def example_errors(values: Mapping[str, np.ndarray]) -> tuple[Float[np.ndarray, " N"], str]:
  """Mean error of each example over what counts in it, NaN where nothing does; and its unit."""
  for name, unit in _ERRORS.items():
    if name in values:
      return mean_of_each(values[name], values[f"{name}_weight"]), unit
  return np.full(len(values["example_id"]), np.nan), ""


def example_likeness(values: Mapping[str, np.ndarray]) -> Float[np.ndarray, " N"]:
  """PSNR (dB) of what was recovered in each example, NaN where nothing was."""
  if _LIKENESS not in values:
    return np.full(len(values["example_id"]), np.nan)
  return mean_of_each(values[_LIKENESS], values[f"{_LIKENESS}_weight"])


def mean_of_each(value: Float[np.ndarray, "N ..."], weight: Float[np.ndarray, "N ..."]) -> Float[np.ndarray, " N"]:
  """Weighted mean of each row; NaN where nothing has weight."""
  rest = tuple(range(1, value.ndim))
  total = weight.sum(rest, dtype=np.float64)
  summed = (value * weight.astype(np.float64)).sum(rest)
  return np.divide(summed, total, out=np.full(len(value), np.nan), where=total > 0)


def save(path: pathlib.Path, chosen: Chosen, seen: Mapping[str, np.ndarray]) -> None:
  """Writes what `Evaluator.look` saw of the chosen examples, whole or not at all."""
  arrays: dict[str, Any] = {"position": chosen.positions, "worst": chosen.worst, **seen}
  with files.written(path) as file:
    np.savez_compressed(file, **arrays)
