"""Handedness: InterNet's average precision, and the accuracy that its release prints instead."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxhands import schema
from jaxhands.evaluation.metrics.base import Metric, Quantity, pooled_mean

_NEEDS = frozenset({"hand_present", "hand_present_valid"})
_PREDICTS = frozenset({"hand_prob"})


def accuracy() -> Metric:
  """Share of pictures in which both hands are right: probability strictly above 0.5 if there, strictly below if not."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    probability, present = prediction["hand_prob"], batch["hand_present"]
    right = jnp.where(present, probability > 0.5, probability < 0.5).all(-1)
    return right.astype(jnp.float32), batch["hand_present_valid"].astype(jnp.float32)

  quantity = Quantity("handedness_correct", fn, _NEEDS, _PREDICTS)
  return Metric("handedness_accuracy", "share", quantity, pooled_mean, better="higher")


def average_precision() -> Metric:
  """Mean over the hands of the average precision of finding that hand (InterNet's AP_h; no code was released)."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    labelled = jnp.stack([prediction["hand_prob"], batch["hand_present"].astype(jnp.float32)], axis=-1)
    return labelled, jnp.broadcast_to(batch["hand_present_valid"][:, None], (len(labelled), 2)).astype(jnp.float32)

  def reduce(labelled: np.ndarray, weight: np.ndarray) -> float:
    precisions = [
      stepwise_average_precision(labelled[:, hand, 0], labelled[:, hand, 1] > 0.5, weight[:, hand]) for hand in (0, 1)
    ]
    return float(np.mean(precisions))

  return Metric("handedness_ap", "0..1", Quantity("hand_prob", fn, _NEEDS, _PREDICTS), reduce, better="higher")


def stepwise_average_precision(
  score: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], weight: Float[np.ndarray, " n"]
) -> float:
  """Sum over thresholds of precision x gain in recall, without interpolation; equal scores share a threshold.

  NaN if no positive has weight.
  """
  order = np.argsort(-score, kind="stable")
  score, weight = score[order], weight[order].astype(np.float64)
  true_positives = np.cumsum(weight * positive[order])
  if not len(true_positives) or true_positives[-1] <= 0:
    return float("nan")
  last_of_score = np.append(score[1:] != score[:-1], True)
  counted, true_positives = np.cumsum(weight)[last_of_score], true_positives[last_of_score]
  precision = np.divide(true_positives, counted, out=np.zeros_like(true_positives), where=counted > 0)
  return float((precision * np.diff(true_positives, prepend=0.0)).sum() / true_positives[-1])
