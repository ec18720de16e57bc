"""Whether confidences mean what they say, and what makes them mean it.

A system's confidence, from its heatmaps' peaks or spread or from its samples, orders joints by how sure it is.
Calibrated on data that it was not trained on, it is a probability: that the joint is near its true place in the
picture, closer than a tenth of the hand's size there.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Integer

from jaxhands import schema
from jaxhands.evaluation.metrics.base import Metric, Quantity
from jaxhands.geometry import crop
from jaxhands.runs import folder as files

NEAR = 0.1  # of the hand's size: the longer side of the tight box of its joints in the picture
QUANTITY = "confidence_near"
_BINS = 10  # of the calibration error
_AT_ONCE = 10_000  # examples
_KNOTS = 20  # of the calibration, with as many joints each
_FEWEST = 200  # joints to calibrate with


def calibration_error() -> Metric:
  """Expected calibration error: mean difference of confidence and share of joints near the truth, over ten bins."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    truth, valid = batch["joints_img"], batch["joints_img_valid"]
    size = crop.box_around(truth, valid, margin=1.0)[..., 2:].max(-1)[..., None]
    distance = jnp.linalg.norm(prediction["joints_img"] - truth, axis=-1)
    value = jnp.stack([prediction["confidence"], (distance < NEAR * size).astype(jnp.float32)], axis=-1)
    return value, (valid & (size > 0)).astype(jnp.float32)

  def reduce(value: np.ndarray, weight: np.ndarray) -> float:
    return error(value[..., 0], value[..., 1], weight)

  needs = frozenset({"joints_img", "joints_img_valid"})
  quantity = Quantity(QUANTITY, fn, needs, frozenset({"joints_img", "confidence"}))
  return Metric("confidence_ece", "0..1", quantity, reduce)


def reliability(
  confidence: Float[np.ndarray, "*n"], near: Float[np.ndarray, "*n"], weight: Float[np.ndarray, "*n"]
) -> Float[np.ndarray, "bins 3"]:
  """Mean confidence, share of joints near the truth, and weight of each bin of equal width that is not empty."""
  total, sure, right = sums = np.zeros((3, _BINS))
  for first in range(0, len(confidence), _AT_ONCE):  # copies in float64 of a part at a time
    part = slice(first, first + _AT_ONCE)
    c, n, w = (values[part].reshape(-1).astype(np.float64) for values in (confidence, near, weight))
    bins = np.clip((c * _BINS).astype(int), 0, _BINS - 1)
    sums += [np.bincount(bins, w * of, _BINS) for of in (1.0, c, n)]
  full = total > 0
  return np.stack([sure[full] / total[full], right[full] / total[full], total[full]], -1)


def error(confidence: Float[np.ndarray, "*n"], near: Float[np.ndarray, "*n"], weight: Float[np.ndarray, "*n"]) -> float:
  """Expected calibration error; NaN if nothing has weight."""
  found = reliability(confidence, near, weight)
  return float(np.average(np.abs(found[:, 0] - found[:, 1]), weights=found[:, 2])) if len(found) else float("nan")


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
  """A rising function from a system's confidence to a probability, linear between knots.

  Attributes:
    confidence, probability: of the knots, both rising.
  """

  confidence: np.ndarray
  probability: np.ndarray

  def __call__(self, confidence: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """The probability that a joint is near its true place."""
    return np.interp(confidence, self.confidence, self.probability).astype(confidence.dtype)

  @classmethod
  def fit(
    cls, confidence: Float[np.ndarray, "*n"], near: Float[np.ndarray, "*n"], weight: Float[np.ndarray, "*n"]
  ) -> Calibration | None:
    """Isotonic regression of `near` over groups of joints of similar confidence; None of fewer than 200 joints."""
    keep = weight.reshape(-1) > 0
    confidence, near = (values.reshape(-1)[keep].astype(np.float64) for values in (confidence, near))
    if len(confidence) < _FEWEST:
      return None
    groups = np.array_split(np.argsort(confidence, kind="stable"), _KNOTS)
    # Within the group's own: the mean of joints that are all as sure may be off by a rounding.
    means = [np.clip(confidence[group].mean(), *confidence[group[[0, -1]]]) for group in groups]
    x, at = np.unique(means, return_inverse=True)  # many joints may be as sure: groups of one mean are one knot
    sizes = np.bincount(at, [len(group) for group in groups])
    shares = np.bincount(at, [near[group].sum() for group in groups]) / sizes
    return cls(x, _rising(shares, sizes))

  @classmethod
  def read(cls, workdir: pathlib.Path) -> Calibration | None:
    """That of a run's evaluation; None if it has none.

    Raises:
      DamagedFile: it is damaged.
    """
    path = workdir / files.CALIBRATION
    if not path.is_file():
      return None
    again = "evaluate the run again, or delete it: confidences then stand for no probabilities"
    found = files.read_json(path, again, ("confidence", "probability"))
    try:
      knots = [np.array(found[key], np.float64) for key in ("confidence", "probability")]
      if knots[0].ndim != 1 or not len(knots[0]) or knots[0].shape != knots[1].shape:
        raise ValueError("its two lists are not of one length")
    except (ValueError, TypeError) as error:
      raise files.DamagedFile(path, error, again) from error
    return cls(*knots)


def calibrate(
  value: Float[np.ndarray, "n 2 21 2"], weight: Float[np.ndarray, "n 2 21"], scene_id: Integer[np.ndarray, " n"]
) -> dict[str, Any] | None:
  """What `calibration.json` holds, of the quantity of all examples; None of too few.

  The error after calibration is of scenes that the calibration was not made with: each half is measured with the other
  half's.
  """
  confidence, near = value[..., 0], value[..., 1]
  whole = Calibration.fit(confidence, near, weight)
  halves: list[Bool[np.ndarray, " n"]] = [np.unique(scene_id, return_inverse=True)[1] % 2 == half for half in (0, 1)]
  made = [Calibration.fit(confidence[half], near[half], weight[half]) for half in halves]
  if whole is None or made[0] is None or made[1] is None:
    return None
  after = np.where(halves[0][:, None, None], made[1](confidence), made[0](confidence))
  return {
    "near": NEAR,
    "joints": int((weight > 0).sum()),
    "confidence": whole.confidence.tolist(),
    "probability": whole.probability.tolist(),
    "error_before": error(confidence, near, weight),
    "error_after": error(after, near, weight),
    "reliability_before": reliability(confidence, near, weight).tolist(),
    "reliability_after": reliability(after, near, weight).tolist(),
  }


def _rising(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """The nearest rising sequence (pool adjacent violators)."""
  pools: list[list[float]] = []  # mean, weight, length
  for mean, share in zip(y, weight, strict=True):
    pools.append([mean, share, 1])
    while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
      (a, wa, na), (b, wb, nb) = pools[-2:]
      pools[-2:] = [[(a * wa + b * wb) / (wa + wb), wa + wb, na + nb]]
  return np.concatenate([np.full(int(length), mean) for mean, _, length in pools])
