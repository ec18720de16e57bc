"""What could be said without a picture: the commonest hands, and the wrists where they are on average.

Of the truth of the evaluated examples themselves, for which no training data are needed, and which are hard to beat for
a constant answer (for absolute errors a median may be harder by a few per cent): whoever is no better has learnt
nothing from the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxhands import schema
from jaxhands.evaluation.metrics.base import Metric
from jaxhands.hands.skeleton import WRIST

HANDS, WRISTS = "commonest hands", "mean wrists"
_KEYS = ("hand_present", "hand_present_valid", "root_depth", "root_depth_valid")


def truths(batch: schema.Batch) -> dict[str, Any]:
  """What the constants are made of, as far as a batch has it; jit-able."""
  found = {key: batch[key] for key in _KEYS if key in batch}
  if {"joints_cam", "joints_cam_valid"} <= set(batch):
    found |= {"wrists": batch["joints_cam"][:, :, WRIST], "wrists_valid": batch["joints_cam_valid"][:, :, WRIST]}
  return found


def quantities(
  truth: Mapping[str, np.ndarray], metrics: Sequence[Metric], measured: Mapping[str, Any]
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
  """Method -> the quantities of every example, as the constants would have them.

  Args:
    truth: of all examples, of `truths`.
    metrics: of the evaluation; only their quantities are answered.
    measured: those of the system: an example counts for both or for neither.
  """
  needs = {metric.quantity.name: metric.quantity.needs for metric in metrics if metric.quantity.name in measured}
  found: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {HANDS: {}, WRISTS: {}}
  for method, name, answer in (
    (HANDS, "handedness_correct", _same_hands),
    (HANDS, "hand_prob", _same_probability),
    (WRISTS, "root_error", _same_offset),
    (WRISTS, "root_depth_error", _same_depth),
    (WRISTS, "root_position_error", _same_place),
  ):
    if name in needs:
      weight = np.asarray(measured[name][1])
      if method == HANDS and len(np.unique(_kinds(truth)[weight.reshape(len(weight), -1).any(-1)])) < 2:
        continue  # where all pictures show the same hands, to say so is not worth a comparison
      value = answer(truth, weight)
      counted = weight.reshape(weight.shape + (1,) * (value.ndim - weight.ndim)) > 0
      found[method][name] = np.where(counted, value, 0).astype(np.float32), weight
  return {method: answers for method, answers in found.items() if answers}


def _kinds(truth: Mapping[str, np.ndarray]) -> np.ndarray:
  """A number for which hands each picture has."""
  return truth["hand_present"] @ np.array([1, 2])


def _same_hands(truth: Mapping[str, np.ndarray], weight: np.ndarray) -> np.ndarray:
  """Whether each picture has the hands that most have."""
  kind = _kinds(truth)
  return kind == np.bincount(kind, weight, minlength=4).argmax()


def _same_probability(truth: Mapping[str, np.ndarray], weight: np.ndarray) -> np.ndarray:
  """[N, 2, 2]: one probability of each hand for all pictures, and whether it is there."""
  present = truth["hand_present"].astype(np.float32)
  return np.stack([np.broadcast_to(_mean(present, weight), present.shape), present], -1)


def _same_offset(truth: Mapping[str, np.ndarray], weight: np.ndarray) -> np.ndarray:
  offset = truth["wrists"][:, 1] - truth["wrists"][:, 0]
  return np.linalg.norm(offset - _mean(offset, weight[:, None]), axis=-1)


def _same_depth(truth: Mapping[str, np.ndarray], weight: np.ndarray) -> np.ndarray:
  return np.abs(truth["root_depth"] - _mean(truth["root_depth"], weight))


def _same_place(truth: Mapping[str, np.ndarray], weight: np.ndarray) -> np.ndarray:
  return np.linalg.norm(truth["wrists"] - _mean(truth["wrists"], weight[..., None]), axis=-1)


def _mean(value: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Over the examples that count; 0 where none does."""
  total = weight.sum(0, dtype=np.float64)
  return (value * weight).sum(0, dtype=np.float64) / np.where(total > 0, total, 1)
