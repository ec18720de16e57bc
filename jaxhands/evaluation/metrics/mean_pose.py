"""The baseline that every result stands beside: the mean pose of the training set at the true wrist."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxhands import schema
from jaxhands.evaluation.metrics.base import Metric, Quantity
from jaxhands.geometry import camera
from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel
from jaxhands.runs import folder as files

NEEDS = frozenset({"joints_cam", "joints_cam_valid", "hand_present"})
MESH_NEEDS = frozenset({"mano", "mano_valid"})
_MESHES = 256  # that are posed at once


@dataclasses.dataclass(frozen=True, eq=False)
class MeanPose:
  """Wrist-relative joints in mm: by kind (single, interacting), hand and joint; and vertices, where they are known."""

  joints_rel: Float[np.ndarray, "2 2 21 3"]
  vertices_rel: Float[np.ndarray, "2 2 v 3"] | None = None

  @classmethod
  def fit(cls, batches: Iterable[schema.Batch], model: HandModel | None = None) -> MeanPose:
    """Means over the training examples, in the camera frame.

    A joint that never occurs in one kind has its mean of the other, and 0 where there is none.

    Args:
      batches: on the host, with `NEEDS`; and with `MESH_NEEDS`, if there is a model.
      model: whose mean vertices are wanted, of hands with its parameters.
    Raises:
      ValueError: no annotated joint at all.
    """
    summed, count = np.zeros((2, 2, 21, 3)), np.zeros((2, 2, 21, 1))
    fits: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for batch in batches:
      joints, valid = np.asarray(batch["joints_cam"], np.float64), np.asarray(batch["joints_cam_valid"])
      wrist = skeleton.WRIST
      counted = valid & valid[..., wrist : wrist + 1] & (np.asarray(batch["weight"]) > 0)[:, None, None]
      relative = np.where(counted[..., None], joints - joints[..., wrist : wrist + 1, :], 0)
      kinds = np.asarray(batch["hand_present"]).all(-1).astype(int)
      np.add.at(summed, kinds, relative)
      np.add.at(count, kinds, counted[..., None])
      if model is not None:
        fitted = np.asarray(batch["mano_valid"]) & (np.asarray(batch["weight"]) > 0)[:, None]
        fits.append((kinds, np.asarray(batch["mano"]), fitted))
    if not count.any():
      raise ValueError("no training example has annotated 3D joints, so there is no mean pose")
    return cls(_means(summed, count), _mean_vertices(model, fits) if model is not None else None)

  def write(self, path: pathlib.Path) -> None:
    """Keeps them, joints before vertices, whole or not at all."""
    points = self.joints_rel if self.vertices_rel is None else np.concatenate([self.joints_rel, self.vertices_rel], 2)
    with files.written(path) as file:
      np.save(file, points)

  @classmethod
  def read(cls, path: pathlib.Path) -> MeanPose:
    """The means that a run keeps.

    Raises:
      DamagedFile: they are damaged.
    """
    try:
      with path.open("rb") as file:
        found = np.load(file, allow_pickle=False)
      known = found.ndim == 4 and found.shape[:2] == (2, 2) and found.shape[2] >= 21 and found.shape[3] == 3
      if not known or not np.isfinite(found).all():
        raise ValueError("it holds no mean pose")
    except Exception as error:  # nearly anything, of a damaged file
      raise files.DamagedFile(path, error, "it is made anew from the training data") from error
    return cls(found[:, :, :21], found[:, :, 21:] if found.shape[2] > 21 else None)

  def predict(self, batch: schema.Batch) -> dict[str, Any]:
    """The baseline's `joints_cam`, [B, 2, 21, 3], and `vertices_cam`, if known; for depth "predicted"."""
    kinds = batch["hand_present"].all(-1).astype(jnp.int32)
    wrist = batch["joints_cam"][..., skeleton.WRIST :, :]
    parts = {"joints_cam": self.joints_rel, "vertices_cam": self.vertices_rel}
    return {key: jnp.asarray(points)[kinds] + wrist for key, points in parts.items() if points is not None}


def _means(summed: np.ndarray, count: np.ndarray) -> np.ndarray:
  """Of points by kind; of those that never occur in one kind, the other's."""
  other = np.divide(summed[::-1], count[::-1], out=np.zeros_like(summed), where=count[::-1] > 0)
  return np.divide(summed, count, out=other, where=count > 0).astype(np.float32)


def _mean_vertices(model: HandModel, fits: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> np.ndarray | None:
  """From each wrist, by kind and hand; None where no hand has parameters."""
  kinds, mano, fitted = (np.concatenate(rows) for rows in zip(*fits, strict=True))
  if not fitted.any():
    return None

  def from_wrist(mano: Any) -> Any:
    posed = model.forward_mano(mano)
    return posed.vertices - posed.keypoints[..., skeleton.WRIST :, :]

  posed, vertices = jax.jit(from_wrist), model.v_template.shape[1]
  summed, count = np.zeros((2, 2, vertices, 3)), np.zeros((2, 2, 1, 1))
  for first in range(0, len(mano), _MESHES):
    rows = slice(first, first + _MESHES)
    # Every call has as many rows, so that it is compiled once.
    found = np.asarray(posed(np.resize(mano[rows], (_MESHES, *mano.shape[1:]))))[: len(mano[rows])]
    np.add.at(summed, kinds[rows], np.where(fitted[rows, :, None, None], found, 0))
    np.add.at(count, kinds[rows], fitted[rows, :, None, None])
  return _means(summed, count)


def in_picture(epe2d: Metric) -> Metric:
  """The 2D error of the mean pose as the camera sees it; without known camera and wrist a hand does not count."""
  plain = epe2d.quantity

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    known = batch["camera_valid"][:, None, None]
    camera_img = jnp.where(known, batch["camera_img"], jnp.eye(3))
    seen = camera.project(prediction["joints_cam"], camera_img[:, None])
    error, weight = plain.fn({"joints_img": seen}, batch)
    counted = weight * (known & batch["joints_cam_valid"][..., skeleton.WRIST :])
    return jnp.where(counted > 0, error, 0), counted

  needs = plain.needs | {"camera_img", "camera_valid", "joints_cam_valid"}
  return dataclasses.replace(epe2d, quantity=Quantity(plain.name, fn, needs, frozenset({"joints_cam"})))
