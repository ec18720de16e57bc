"""Samples beside the one annotation of a picture: the best of them, how far they spread, and whether that is honest.

A joint's deviation is the root of its samples' mean squared distance from their mean. It is honest where errors are as
large as it says: of all joints with a deviation of 20 mm, the samples' mean should be 20 mm from the truth, root mean
square. The region that holds half of a joint's samples, an ellipsoid around their mean, should hold half of the truths.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxhands import schema
from jaxhands.evaluation.metrics import distribution
from jaxhands.evaluation.metrics.base import AVERAGES, Metric, Quantity, pooled_mean
from jaxhands.geometry.arrays import Array, einsum

_NEEDS = frozenset({"joints_cam", "joints_cam_valid", "hand_present"})
_PREDICTS = frozenset({"samples"})
_EDGES_MM = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)  # of bins of deviations
_FINEST_MM = 0.1  # added to deviations, so that an ellipsoid never is flat


def best_of_samples(alignment: distribution.Alignment) -> Metric:
  """Mean over pictures of the mean joint error (mm) of the sample that is nearest to the truth."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    samples, truth, counted = _compared(prediction, batch, alignment)
    error = jnp.linalg.norm(samples - truth[:, None], axis=-1)
    joints = counted.sum((1, 2))
    mean = jnp.where(counted[:, None], error, 0).sum((2, 3)) / jnp.maximum(joints, 1)[:, None]
    return jnp.where(joints > 0, mean.min(1), 0), (joints > 0).astype(jnp.float32)

  quantity = Quantity(f"best_of_samples_{alignment}", fn, _NEEDS, _PREDICTS)
  return Metric(f"mpjpe_best/{alignment}", "mm", quantity, AVERAGES["pooled"], optional=True)


def deviation(alignment: distribution.Alignment) -> Metric:
  """Mean deviation (mm) of the joints that an alignment leaves free; neither much nor little of it is good in itself.

  Read it beside `deviation_error`.
  """

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    samples = distribution.aligned(prediction["samples"], alignment)
    counted = distribution.comparable(batch["hand_present"], alignment)[..., None] & distribution.free(alignment)
    return jnp.where(counted, deviations(samples), 0), counted.astype(jnp.float32)

  quantity = Quantity(f"deviation_{alignment}", fn, frozenset({"hand_present"}), _PREDICTS)
  return Metric(f"deviation/{alignment}", "mm", quantity, AVERAGES["pooled"], better="neither", optional=True)


def deviation_error(alignment: distribution.Alignment) -> Metric:
  """How far deviations are from errors: mean of |error - deviation| / deviation over bins (Levi et al. 2019, ENCE)."""

  def reduce(value: np.ndarray, weight: np.ndarray) -> float:
    bins = calibration_curve(value[..., 0], value[..., 1], weight)
    if not len(bins):
      return float("nan")
    said, found, count = bins.T
    return float(np.average(np.abs(found - said) / np.maximum(said, _FINEST_MM), weights=count))

  return Metric(f"deviation_error/{alignment}", "share", _deviation_and_error(alignment), reduce, optional=True)


def deviation_correlation(alignment: distribution.Alignment) -> Metric:
  """Whether deviation tells which joints are wrong: the correlation of deviations and errors over all joints."""

  def reduce(value: np.ndarray, weight: np.ndarray) -> float:
    share = weight.reshape(-1).astype(np.float64)
    if not share.any():
      return float("nan")
    both = value.reshape(-1, 2).astype(np.float64)
    both = both - np.average(both, 0, share)
    covariance = (share[:, None] * both).T @ both
    spread = np.sqrt(covariance[0, 0] * covariance[1, 1])
    return float(covariance[0, 1] / spread) if spread else float("nan")

  quantity = _deviation_and_error(alignment)
  return Metric(f"deviation_correlation/{alignment}", "-1..1", quantity, reduce, better="higher", optional=True)


def coverage(alignment: distribution.Alignment, percent: int) -> Metric:
  """Share of joints whose truth lies in the region that holds `percent` % of the joint's samples; should be as much."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    samples, truth, counted = _compared(prediction, batch, alignment)
    counted &= distribution.free(alignment)
    return jnp.where(counted, levels(samples, truth), 0), counted.astype(jnp.float32)

  def reduce(value: np.ndarray, weight: np.ndarray) -> float:
    return pooled_mean((value <= percent / 100).astype(np.float32), weight)

  quantity = Quantity(f"coverage_level_{alignment}", fn, _NEEDS, _PREDICTS)
  return Metric(f"coverage_{percent}/{alignment}", "share", quantity, reduce, better="neither", optional=True)


def deviations(samples: Float[Array, " b s *j 3"]) -> Float[jax.Array, " b *j"]:
  """Root of the mean squared distance of each point's samples from their mean, in the samples' unit."""
  return jnp.sqrt(jnp.square(samples - samples.mean(1, keepdims=True)).sum(-1).mean(1))


def levels(samples: Float[Array, " b s *j 3"], truth: Float[Array, " b *j 3"]) -> Float[jax.Array, " b *j"]:
  """Share of a joint's samples that are nearer to their mean than the truth is, in units of their spread (Mahalanobis).

  Of a true distribution it is evenly spread over 0..1: this is the smallest region, as a share, that holds the truth.
  """
  mean = samples.mean(1, keepdims=True)
  offsets = samples - mean
  covariance = einsum("bs...i,bs...j->b...ij", offsets, offsets) / samples.shape[1]
  inverse = jnp.linalg.inv(covariance + _FINEST_MM**2 * jnp.eye(3, dtype=covariance.dtype))

  def distance(points: Any) -> Any:
    return einsum("b...i,b...ij,b...j->b...", points, inverse, points)

  own = jax.vmap(distance, 1, 1)(offsets)
  return (own < distance(truth - mean[:, 0])[:, None]).mean(1)


def calibration_curve(
  deviation_mm: Float[np.ndarray, "*n"], error_mm: Float[np.ndarray, "*n"], weight: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "bins 3"]:
  """Root mean square of deviations and of errors (mm), and weight, of the joints of each bin that is not empty.

  Bins are by deviation, at 1, 2, 5, 10, ... 500 mm.
  """
  share = weight.reshape(-1).astype(np.float64)
  said, found = (np.asarray(values, np.float64).reshape(-1) for values in (deviation_mm, error_mm))
  bins = np.digitize(said, _EDGES_MM)
  total, *sums = (np.bincount(bins, share * of, len(_EDGES_MM) + 1) for of in (1.0, said**2, found**2))
  full = total > 0
  return np.stack([*(np.sqrt(of[full] / total[full]) for of in sums), total[full]], -1)


def _deviation_and_error(alignment: distribution.Alignment) -> Quantity:
  """Of each joint its deviation, and the distance of the samples' mean from the truth: [B, 2, 21, 2] in mm."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    samples, truth, counted = _compared(prediction, batch, alignment)
    counted &= distribution.free(alignment)
    error = jnp.linalg.norm(samples.mean(1) - truth, axis=-1)
    value = jnp.stack([deviations(samples), error], axis=-1)
    return jnp.where(counted[..., None], value, 0), counted.astype(jnp.float32)

  return Quantity(f"deviation_and_error_{alignment}", fn, _NEEDS, _PREDICTS)


def _compared(
  prediction: schema.Prediction, batch: schema.Batch, alignment: distribution.Alignment
) -> tuple[Float[Array, "b s 2 21 3"], Float[Array, "b 2 21 3"], Bool[Array, "b 2 21"]]:
  """Samples and truth under an alignment, and the joints of which both are known."""
  valid = batch["joints_cam_valid"]
  wrists = batch["hand_present"] if alignment == "global" else batch["hand_present"] & valid[..., -1]
  counted = valid & distribution.comparable(wrists, alignment)[..., None]
  samples, truth = (distribution.aligned(joints, alignment) for joints in (prediction["samples"], batch["joints_cam"]))
  return samples, truth, counted
