"""Samples in the picture: visible joints should stay in their place there, whatever depth leaves open.

What a picture leaves open is mostly depth (HandFlow, figure 1): good samples lie on each other over the picture, and
apart along the rays.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Float

from jaxhands import schema
from jaxhands.evaluation.metrics.base import AVERAGES, Metric, Quantity
from jaxhands.geometry import camera, crop
from jaxhands.geometry.arrays import Array

CROP_PX = 224  # of the crop that the threshold is about, as MultiHands has it
WITHIN_PX = 5.0
_NEAREST_MM = 10.0  # to the camera, of joints that are projected
_SEEN = frozenset({"joints_visible", "joints_img", "joints_img_valid", "box_img"})
_CAMERA = frozenset({"camera_img", "camera_valid", "hand_present"})
_PREDICTS = frozenset({"samples"})


def in_place() -> Metric:
  """Share of the samples' visible joints that are within 5 px of their annotated place, in a crop of 224 px.

  These are the threshold and the crop by which MultiHands keeps its annotations.
  """

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    side_px = crop.process_box(batch["box_img"], (CROP_PX, CROP_PX))[:, 2]
    away = jnp.linalg.norm(_places(prediction, batch) - batch["joints_img"][:, None], axis=-1)
    near = away < (WITHIN_PX / CROP_PX * side_px)[:, None, None, None]
    seen = batch["joints_visible"] & batch["joints_img_valid"] & batch["camera_valid"][:, None, None]
    return jnp.where(seen, near.mean(1), 0), seen.astype(jnp.float32)

  quantity = Quantity("samples_in_place", fn, _SEEN | _CAMERA, _PREDICTS)
  return Metric("samples_in_place", "share", quantity, AVERAGES["pooled"], better="higher", optional=True)


def in_depth() -> Metric:
  """Mean deviation (mm) of the samples' joints in depth; neither much nor little of it is good in itself."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    counted = _counted(prediction, batch)
    return jnp.where(counted, prediction["samples"][..., 2].std(1), 0), counted.astype(jnp.float32)

  quantity = Quantity("samples_in_depth", fn, _CAMERA, _PREDICTS)
  return Metric("deviation_depth", "mm", quantity, AVERAGES["pooled"], better="neither", optional=True)


def in_picture() -> Metric:
  """Mean deviation of the samples' joints in the picture, as mm at their mean depth."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    counted = _counted(prediction, batch)
    samples = prediction["samples"]
    rays = samples[..., :2] / jnp.maximum(samples[..., 2:], _NEAREST_MM)  # of whatever camera: places at depth 1
    value = jnp.sqrt(rays.var(1).sum(-1)) * samples[..., 2].mean(1)
    return jnp.where(counted, value, 0), counted.astype(jnp.float32)

  quantity = Quantity("samples_in_picture", fn, _CAMERA, _PREDICTS)
  return Metric("deviation_picture", "mm", quantity, AVERAGES["pooled"], better="neither", optional=True)


def _counted(prediction: schema.Prediction, batch: schema.Batch) -> Any:
  there = batch["hand_present"] & batch["camera_valid"][:, None]
  return jnp.broadcast_to(there[..., None], prediction["samples"].shape[:1] + (2, schema.NUM_JOINTS))


def _places(prediction: schema.Prediction, batch: schema.Batch) -> Float[Array, "b s 2 21 2"]:
  """Pixels of the picture of every sample's joints; anything where the camera is not known."""
  known = batch["camera_valid"][:, None, None]
  intrinsics = jnp.where(known, batch["camera_img"], jnp.eye(3))[:, None, None]
  samples = prediction["samples"]
  return camera.project(samples.at[..., 2].max(_NEAREST_MM), intrinsics)
