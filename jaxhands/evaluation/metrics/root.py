"""Where the wrists are: errors of their depth and of their position in the camera's frame, for systems that say it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxhands import schema
from jaxhands.evaluation.metrics.base import AVERAGES, Metric, Quantity, pooled_mean
from jaxhands.hands import skeleton

_GROUPS = ("all", "single", "interacting")
_PREDICTS = frozenset({"root_cam"})


def root_depth() -> Metric:
  """Mean absolute error of the wrists' depth in mm."""
  return Metric("root_depth", "mm", depth_error(), AVERAGES["pooled"], _GROUPS, optional=True)


def root_depth_of_hand(hand: str) -> Metric:
  """The same of one hand; in a hand view, every hand is the first, "right" one."""
  index = schema.HANDS.index(hand)

  def reduce(values: np.ndarray, weights: np.ndarray) -> float:
    return pooled_mean(values[:, index], weights[:, index])

  return Metric(f"root_depth/{hand}", "mm", depth_error(), reduce, optional=True)


def mrpe() -> Metric:
  """Mean root position error in mm: distance of each wrist from the truth (RootNet's)."""
  return Metric("mrpe", "mm", position_error(), AVERAGES["pooled"], _GROUPS, optional=True)


def depth_error() -> Quantity:
  """|z - true z| of each wrist, [B, 2] in mm."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    error = jnp.abs(prediction["root_cam"][..., 2] - batch["root_depth"])
    counted = batch["root_depth_valid"] & _known(prediction)
    return jnp.where(counted, error, 0), counted.astype(jnp.float32)

  return Quantity("root_depth_error", fn, frozenset({"root_depth", "root_depth_valid"}), _PREDICTS)


def position_error() -> Quantity:
  """Distance of each wrist from the truth, [B, 2] in mm."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    truth = batch["joints_cam"][..., skeleton.WRIST, :]
    error = jnp.sqrt(((prediction["root_cam"] - truth) ** 2).sum(-1))
    counted = batch["joints_cam_valid"][..., skeleton.WRIST] & _known(prediction)
    return jnp.where(counted, error, 0), counted.astype(jnp.float32)

  return Quantity("root_position_error", fn, frozenset({"joints_cam", "joints_cam_valid"}), _PREDICTS)


def _known(prediction: schema.Prediction) -> Any:
  return prediction.get("root_cam_valid", True)
