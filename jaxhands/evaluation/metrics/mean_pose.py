"""The baseline that every result stands beside: the mean pose of the training set at the true wrist."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxhands import schema
from jaxhands.evaluation.metrics.base import Metric, Quantity
from jaxhands.geometry import camera
from jaxhands.hands import skeleton
from jaxhands.runs import folder as files

NEEDS = frozenset({"joints_cam", "joints_cam_valid", "hand_present"})


@dataclasses.dataclass(frozen=True, eq=False)
class MeanPose:
  """Wrist-relative joints in mm: by kind (single, interacting), hand and joint."""

  joints_rel: Float[np.ndarray, "2 2 21 3"]

  @classmethod
  def fit(cls, batches: Iterable[schema.Batch]) -> MeanPose:
    """Means over the training examples, in the camera frame; batches on the host, with `NEEDS`.

    A joint that never occurs in one kind has its mean of the other, and 0 where there is none.

    Raises:
      ValueError: no annotated joint at all.
    """
    summed, count = np.zeros((2, 2, 21, 3)), np.zeros((2, 2, 21, 1))
    for batch in batches:
      joints, valid = np.asarray(batch["joints_cam"], np.float64), np.asarray(batch["joints_cam_valid"])
      wrist = skeleton.WRIST
      counted = valid & valid[..., wrist : wrist + 1] & (np.asarray(batch["weight"]) > 0)[:, None, None]
      relative = np.where(counted[..., None], joints - joints[..., wrist : wrist + 1, :], 0)
      kinds = np.asarray(batch["hand_present"]).all(-1).astype(int)
      np.add.at(summed, kinds, relative)
      np.add.at(count, kinds, counted[..., None])
    if not count.any():
      raise ValueError("no training example has annotated 3D joints, so there is no mean pose")
    other = np.divide(summed[::-1], count[::-1], out=np.zeros_like(summed), where=count[::-1] > 0)
    return cls(np.divide(summed, count, out=other, where=count > 0).astype(np.float32))

  @classmethod
  def read(cls, path: pathlib.Path) -> MeanPose:
    """The means that a run keeps.

    Raises:
      DamagedFile: they are damaged.
    """
    try:
      with path.open("rb") as file:
        found = np.load(file, allow_pickle=False)
      if found.shape != (2, 2, 21, 3) or not np.isfinite(found).all():
        raise ValueError("it holds no mean pose")
    except Exception as error:  # nearly anything, of a damaged file
      raise files.DamagedFile(path, error, "it is made anew from the training data") from error
    return cls(found)

  def predict(self, batch: schema.Batch) -> dict[str, Any]:
    """The baseline's `joints_cam`, [B, 2, 21, 3]; for depth "predicted"."""
    kinds = batch["hand_present"].all(-1).astype(jnp.int32)
    wrist = batch["joints_cam"][..., skeleton.WRIST :, :]
    return {"joints_cam": jnp.asarray(self.joints_rel)[kinds] + wrist}


def in_picture(epe2d: Metric) -> Metric:
  """The 2D error of the mean pose as the camera sees it; pictures of an unknown camera do not count."""
  plain = epe2d.quantity

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    known = batch["camera_valid"]
    camera_img = jnp.where(known[:, None, None], batch["camera_img"], jnp.eye(3))
    seen = camera.project(prediction["joints_cam"], camera_img[:, None])
    error, weight = plain.fn({"joints_img": seen}, batch)
    counted = weight * known[:, None, None]
    return jnp.where(counted > 0, error, 0), counted

  needs = plain.needs | {"camera_img", "camera_valid"}
  return dataclasses.replace(epe2d, quantity=Quantity(plain.name, fn, needs, frozenset({"joints_cam"})))
