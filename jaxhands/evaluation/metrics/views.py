"""Choosing a camera by what a system is sure of (HandFlow, section 5.8): of a scene's views, that whose samples agree.

A view's score is the mean deviation of its samples' joints; the regret of a choice is the error of its view less that
of the scene's best view, which nobody knows who has no truth.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float

from jaxhands.evaluation.metrics.distribution import Alignment, aligned, free

CHOICES = ("lowest deviation", "highest deviation", "any view")


@dataclasses.dataclass(frozen=True, eq=False)
class Views:
  """Error and deviation (mm), [scenes, views] each."""

  error_mm: np.ndarray
  deviation_mm: np.ndarray


def of_pose(
  joints_cam: Float[np.ndarray, "n 2 21 3"],
  samples: Float[np.ndarray, "n s 2 21 3"],
  truth: Float[np.ndarray, "n 2 21 3"],
  alignment: Alignment,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
  """Mean error of a pose, and mean deviation of its samples, of each picture (mm), over joints that can differ.

  Args:
    joints_cam: the pose that a system says, mm.
    samples: poses that it thinks likely.
    truth: of pictures with both hands.
    alignment: of all three.
  """
  counted = free(alignment)
  error = np.linalg.norm(aligned(joints_cam, alignment) - aligned(truth, alignment), axis=-1)
  moved = aligned(samples, alignment).astype(np.float64)
  deviation = np.sqrt(np.square(moved - moved.mean(1, keepdims=True)).sum(-1).mean(1))
  return error[:, counted].mean(-1), deviation[:, counted].mean(-1)


def choices(views: Views) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Of each of `CHOICES` the error and the regret (mm) of every scene; of "any view", their means over the views."""
  error = np.asarray(views.error_mm, np.float64)
  regret = error - error.min(1, keepdims=True)
  rows = np.arange(len(error))
  lowest, highest = views.deviation_mm.argmin(1), views.deviation_mm.argmax(1)
  return {
    "lowest deviation": (error[rows, lowest], regret[rows, lowest]),
    "highest deviation": (error[rows, highest], regret[rows, highest]),
    "any view": (error.mean(1), regret.mean(1)),
  }


def correlation(views: Views) -> float:
  """Mean over scenes of the rank correlation (Spearman) of deviation and error of their views; NaN of single views."""
  ranks = [np.argsort(np.argsort(values, 1), 1).astype(np.float64) for values in (views.error_mm, views.deviation_mm)]
  error, deviation = (one - one.mean(1, keepdims=True) for one in ranks)
  spread = np.sqrt(np.square(error).sum(1) * np.square(deviation).sum(1))
  return float(((error * deviation).sum(1) / spread).mean()) if (spread > 0).all() else float("nan")


def interval(values: Float[np.ndarray, " scenes"], resamples: int = 1000, seed: int = 0) -> tuple[float, float]:
  """Bootstrap interval of 95 % of the mean over scenes."""
  rng = np.random.default_rng(seed)
  means = values[rng.integers(0, len(values), (resamples, len(values)))].mean(1)
  low, high = np.percentile(means, (2.5, 97.5))
  return float(low), float(high)
