"""What a metric is: a quantity of every example, computed on the device, and one number made of it on the host.

Quantities are masked, never averaged on the device: the host keeps the values of all examples and sums in float64, so
that padding, batch size and number of devices cannot change a result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxhands import schema
from jaxhands.geometry.lift import DepthSource, LeftRoot

GROUPS = ("all", "single", "interacting", "inter")
_INTER_JOINTS = 30


@dataclasses.dataclass(frozen=True)
class Protocol:
  """How poses are compared. The defaults are InterHand2.6M's released evaluation with true wrist depths.

  Attributes:
    depth: where the wrists' depth comes from (`geometry.lift`); "predicted" for systems that predict camera joints.
    root: each hand is moved onto the truth at its "wrist" or at the base of its middle finger ("middle1", Intershape);
      "right_wrist" moves both by the right one (HandFlow's RRR), "none" moves nothing (its Global).
    scale: "gt" gives each predicted hand the true length from wrist to middle1 (HDR, Intershape).
    joints: "annotated" ones; or of these the "visible" or, where a picture tells that, the "occluded" (HandFlow's RR*).
    average: "per_joint" = mean over examples, then over joints (InterNet, DIGIT, Intershape); "pooled" over all.
    count_root: the joint moved onto the truth counts, with its error of 0 (InterNet, DIGIT, Intershape).
    left_root: the left wrist's depth. "relative": the right wrist's with the predicted distance added, in MRRPE and
      where `root` is "right_wrist" or "none"; elsewhere the left hand's own (InterNet's release). "relative_if_seen":
      with the distance wherever a right hand is found (InterNet's paper). "own": the left hand's own everywhere.
  """

  depth: DepthSource = "gt"
  root: Literal["wrist", "middle1", "right_wrist", "none"] = "wrist"
  scale: Literal["predicted", "gt"] = "predicted"
  joints: Literal["annotated", "visible", "occluded"] = "annotated"
  average: Literal["per_joint", "pooled"] = "per_joint"
  count_root: bool = True
  left_root: LeftRoot = "relative"

  def __str__(self) -> str:
    return " ".join(f"{field.name}={getattr(self, field.name)}" for field in dataclasses.fields(self))


@dataclasses.dataclass(frozen=True, eq=False)
class Quantity:
  """Something measured on every example.

  Attributes:
    name: under which the values of all examples are stored.
    fn: `(prediction, batch) -> value [B, ...], weight`, the weight's axes being the first of the value's; jit-able.
    needs: keys of the batch that it reads.
    predicts: keys of the prediction that it reads.
  """

  name: str
  fn: Callable[[schema.Prediction, schema.Batch], tuple[Any, Any]]
  needs: frozenset[str]
  predicts: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, eq=False)
class Metric:
  """One number about a data set, or one for each group of its examples.

  Attributes:
    name: key of the result; with groups, `name/group`.
    unit: of the number.
    quantity: what it is made of.
    reduce: `(values of all examples, weights) -> number`; NaN where nothing has weight.
    groups: of `GROUPS`; () = one number over all examples.
    baseline: it is also computed for the mean pose.
    better: which way is better; "neither" of what should be as large as something else.
    optional: left out for systems that do not predict what it reads, instead of an error. Systems that predict no pose
      at all have none of the metrics that read one, optional or not.
    asked: named by the config, and never left out.
  """

  name: str
  unit: str
  quantity: Quantity
  reduce: Callable[[np.ndarray, np.ndarray], float]
  groups: tuple[str, ...] = ()
  baseline: bool = False
  better: Literal["lower", "higher", "neither"] = "lower"
  optional: bool = False
  asked: bool = False

  def results(self) -> dict[str, str]:
    """Key of the result -> group."""
    return {f"{self.name}/{group}": group for group in self.groups} or {self.name: "all"}


@dataclasses.dataclass(frozen=True, eq=False)
class Baseline:
  """A plain method that stands beside what a system predicts.

  Attributes:
    name: of the method.
    fn: `(prediction of the system, batch) -> prediction`; jit-able.
    metrics: that it is measured by.
    needs: keys of the batch that it reads.
    predicts: keys of the system's prediction without which there is no such baseline.
    plain: a system that has learnt something is better; not where the baseline is told most of the answer.
  """

  name: str
  fn: Callable[[schema.Prediction, schema.Batch], schema.Prediction]
  metrics: tuple[Metric, ...]
  needs: frozenset[str]
  predicts: frozenset[str]
  plain: bool = True


GROUP_NEEDS = frozenset({"hand_present", "joints_cam_valid"})


def groups(batch: schema.Batch) -> dict[str, Any]:
  """Which examples belong to each of `GROUPS`, [B] each.

  "single" and "interacting" go by the hands in the picture, whatever their overlap. "inter" are HDR's (and Rong et
  al.'s) interacting pictures with more than 30 of 42 joints annotated in 3D.
  """
  interacting = batch["hand_present"].all(-1)
  annotated = batch["joints_cam_valid"].sum((1, 2))
  return {
    "all": jnp.ones_like(interacting),
    "single": batch["hand_present"].sum(-1) == 1,
    "interacting": interacting,
    "inter": interacting & (annotated > _INTER_JOINTS),
  }


def means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
  """Weighted means over the examples, one for each of the further axes; NaN where nothing has weight."""
  total = weights.sum(0, dtype=np.float64)
  summed = np.einsum("i...,i...->...", values, weights, dtype=np.float64)  # in float64 without copies in float64
  return np.divide(summed, total, out=np.full(total.shape, np.nan), where=total > 0)


def mean_per_joint(values: np.ndarray, weights: np.ndarray) -> float:
  """Mean over examples, then plain mean over the joints of both hands that occur (InterNet's released MPJPE)."""
  per_joint = means(values, weights)
  return float(per_joint[~np.isnan(per_joint)].mean()) if not np.isnan(per_joint).all() else float("nan")


def pooled_mean(values: np.ndarray, weights: np.ndarray) -> float:
  """Weighted mean over everything."""
  return float(means(values.ravel(), weights.ravel()))


AVERAGES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"per_joint": mean_per_joint, "pooled": pooled_mean}
