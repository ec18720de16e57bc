"""Recovered pictures of single hands: PSNR, SSIM and a perceptual distance, in the holes alone.

The holes are those of the true masks: where this hand is hidden and where the other one is seen. What lies around them
is the picture itself and would flatter every method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxhands import schema
from jaxhands.evaluation.metrics.base import Baseline, Metric, Quantity, pooled_mean
from jaxhands.geometry.arrays import Array

Features = Callable[[Float[Array, "b h w 3"]], Sequence[jax.Array]]

_AMODAL, _VISIBLE = 0, 1
_NEEDS = frozenset({"removed", "removed_valid", "masks", "masks_valid", "example_id"})
_PREDICTS = frozenset({"recovered"})
_WINDOW, _SIGMA = 11, 1.5  # of SSIM (Wang et al., 2004)
_STABLE = (0.01**2, 0.03**2)
_LEAST = 1e-10  # of a mean square


def metrics(features: Features | None = None) -> tuple[Metric, ...]:
  """All metrics of recovered pictures.

  Args:
    features: of pictures in 0..1, whose distance is measured; None = without.
  """
  found = [
    Metric("psnr", "dB", _quantity("psnr", _psnr), pooled_mean, better="higher", optional=True),
    Metric("ssim", "0..1", _quantity("ssim", _ssim), pooled_mean, better="higher", optional=True),
  ]
  if features is not None:
    quantity = _quantity("perceptual", lambda seen, truth, hole: _perceptual(features, seen, truth, hole))
    found.append(Metric("perceptual", "", quantity, pooled_mean, optional=True))
  return tuple(found)


def baselines(features: Features | None = None) -> tuple[Baseline, ...]:
  """The picture as it is, and the mean colour of what is not to be recovered."""

  def as_it_is(_: schema.Prediction, batch: schema.Batch) -> schema.Prediction:
    image = _in_0_to_1(batch["image"])
    return {"recovered": jnp.stack([image, image], axis=1)}

  def mean_colour(_: schema.Prediction, batch: schema.Batch) -> schema.Prediction:
    keep = 1 - _holes(batch["masks"])[..., None]
    image = _in_0_to_1(batch["image"])[:, None]
    mean = (keep * image).sum((2, 3), keepdims=True) / jnp.maximum(keep.sum((2, 3), keepdims=True), 1)
    return {"recovered": jnp.where(keep > 0, image, mean)}

  measured, needs = metrics(features), _NEEDS | {"image"}
  rules = {"picture as it is": as_it_is, "mean colour": mean_colour}
  return tuple(Baseline(name, rule, measured, needs, _PREDICTS) for name, rule in rules.items())


def _quantity(name: str, compare: Callable[[Any, Any, Any], Any]) -> Quantity:
  """Of each hand [B, 2]; counted are hands of the view, with something to recover, and whose truth is known."""

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    hole = _holes(batch["masks"])
    seen, truth = prediction["recovered"], _in_0_to_1(batch["removed"])
    flat = [values.reshape(-1, *values.shape[2:]) for values in (seen, truth, hole)]
    value = compare(*flat).reshape(hole.shape[:2])
    valid = batch["masks_valid"]
    known = batch["removed_valid"] & valid.all(-1) & valid[:, ::-1, _VISIBLE]
    pair = batch["example_id"] % schema.IDS_OF_RECORD == schema.VIEWS.index("pair")
    of_view = pair[:, None] | (np.arange(2) == 0)  # the view of one hand has it at place 0
    counted = known & of_view & hole.any((2, 3))
    return jnp.where(counted, value, 0), counted.astype(jnp.float32)

  return Quantity(name, fn, _NEEDS, _PREDICTS)


def _holes(masks: Any) -> Float[Array, "b 2 h w"]:
  """Of each hand: where it is hidden, or the other one is seen outside of it; 0 | 1."""
  amodal, visible = masks[:, :, _AMODAL] > 0, masks[:, :, _VISIBLE] > 0
  return ((amodal & ~visible) | (~amodal & visible[:, ::-1])).astype(jnp.float32)


def _in_0_to_1(picture: Any) -> Any:
  """From bytes, or as it is."""
  return picture.astype(jnp.float32) / 255 if picture.dtype == np.uint8 else picture


def _psnr(seen: Any, truth: Any, hole: Any) -> Float[Array, " b"]:
  squares = (jnp.square(seen - truth).mean(-1) * hole).sum((1, 2)) / jnp.maximum(hole.sum((1, 2)), 1)
  return -10 * jnp.log10(jnp.maximum(squares, _LEAST))


def _ssim(seen: Any, truth: Any, hole: Any) -> Float[Array, " b"]:
  """Of each pixel of a hole, with a Gaussian window around it; mean over them and the channels."""
  mean_seen, mean_truth = _blurred(seen), _blurred(truth)
  var_seen = _blurred(seen * seen) - mean_seen**2
  var_truth = _blurred(truth * truth) - mean_truth**2
  shared = _blurred(seen * truth) - mean_seen * mean_truth
  small, smaller = _STABLE
  similar = (2 * mean_seen * mean_truth + small) * (2 * shared + smaller)
  similar /= (mean_seen**2 + mean_truth**2 + small) * (var_seen + var_truth + smaller)
  return (similar.mean(-1) * hole).sum((1, 2)) / jnp.maximum(hole.sum((1, 2)), 1)


def _blurred(picture: Any) -> Any:
  """Gaussian window, rows then columns; mirrored at the border."""
  reach = _WINDOW // 2
  window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _SIGMA) ** 2)
  window /= window.sum()
  for axis in (1, 2):
    pads = [(reach, reach) if i == axis else (0, 0) for i in range(4)]
    padded = jnp.pad(picture, pads, mode="reflect")
    size = picture.shape[axis]
    picture = sum(float(w) * jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i, w in enumerate(window))
  return picture


def _perceptual(features: Features, seen: Any, truth: Any, hole: Any) -> Float[Array, " b"]:
  """Mean absolute difference of each feature map, summed over the maps, everything around the hole being 0."""
  pairs = zip(features(hole[..., None] * seen), features(hole[..., None] * truth), strict=True)
  return sum((jnp.abs(a - b).mean((1, 2, 3)) for a, b in pairs), jnp.zeros(len(seen)))
