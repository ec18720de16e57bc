"""Losses: pure functions on arrays, one value per example or entry, masked, in float32.

Masks select, they never multiply: where a mask is False the value is 0 and the gradient is 0, whatever the target
holds. Means count masked entries in their denominator, as InterNet, DIGIT and Intershape do, unless said otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, UInt8

from jaxhands import schema
from jaxhands.codecs import gaussian_factors
from jaxhands.geometry.arrays import Array
from jaxhands.hands import skeleton


def weighted_mean(values: Float[Array, " b"], weight: Float[Array, " b"]) -> Float[jax.Array, ""]:
  """Mean over the examples of a batch; padding (weight 0) neither counts nor leaks. 0 for nothing but padding."""
  total = jnp.where(weight > 0, values * weight, 0).sum()
  return total / jnp.maximum(weight.sum(), 1e-12)


def absolute_error(
  predicted: Float[Array, "*b"], target: Float[Array, "*b"], mask: Bool[Array, "*b"]
) -> Float[jax.Array, "*b"]:
  """|predicted - target|, 0 where `mask` is False."""
  return jnp.abs(jnp.where(mask, jnp.asarray(predicted, jnp.float32) - target, 0))


def squared_error(
  predicted: Float[Array, "*b"], target: Float[Array, "*b"], mask: Bool[Array, "*b"]
) -> Float[jax.Array, "*b"]:
  """(predicted - target)^2, 0 where `mask` is False."""
  return jnp.square(jnp.where(mask, jnp.asarray(predicted, jnp.float32) - target, 0))


def binary_cross_entropy(
  scores: Float[Array, "*b"], target: Float[Array, "*b"], mask: Bool[Array, "*b"]
) -> Float[jax.Array, "*b"]:
  """Cross-entropy of sigmoid(scores) with targets in 0..1, 0 where `mask` is False.

  Each logarithm is at least -100, as in PyTorch; computed from scores, so without its loss of digits near 0 and 1.
  """
  scores = jnp.where(mask, jnp.asarray(scores, jnp.float32), 0)
  target = jnp.where(mask, target, 0)
  loss = target * jnp.minimum(jax.nn.softplus(-scores), 100)
  loss += (1 - target) * jnp.minimum(jax.nn.softplus(scores), 100)
  return jnp.where(mask, loss, 0)


def label_cross_entropy(
  scores: Float[Array, "b h w c"], labels: UInt8[Array, "b h w"], mask: Bool[Array, " b"]
) -> Float[jax.Array, " b"]:
  """Mean over an example's pixels of the cross-entropy of softmax(scores) with the pixel's class, 0 where masked.

  Labels beyond the last class count as 0 each, and should not be there.
  """
  scores = jnp.where(mask[:, None, None, None], jnp.asarray(scores, jnp.float32), 0)
  chosen = labels[..., None] == jnp.arange(scores.shape[-1], dtype=labels.dtype)
  entropy = jnp.where(chosen, jax.nn.logsumexp(scores, axis=-1, keepdims=True) - scores, 0).sum(-1).mean((1, 2))
  return jnp.where(mask, entropy, 0)


def gaussian_heatmap(
  heatmaps: Float[jax.Array, "b h w j d"],
  voxels: Float[Array, "b j 3"],
  mask: Bool[Array, "b j"],
  sigma: float,
  peak: float,
) -> Float[jax.Array, "b j"]:
  """Mean over a joint's voxels of (heatmap - peak x Gaussian around its voxel)^2, 0 where `mask` is False.

  The target is never held in memory: it is the product of three small factors, formed in the same pass that reads
  the heatmap, once for the loss and once for its gradient. Voxels get no gradient; there is no forward-mode
  derivative.

  Args:
    heatmaps: as a head gives them, any float dtype; the loss is summed in float32.
    voxels: true (x, y, z); anything where `mask` is False.
    mask: joints that count.
    sigma: of the Gaussian, in cells and bins.
    peak: its height.
  """
  return _gaussian_heatmap(heatmaps, jnp.where(mask[..., None], voxels, 0), mask, sigma, peak)


def _difference(heatmaps: jax.Array, voxels: jax.Array, sigma: float, peak: float) -> jax.Array:
  _, h, w, _, d = heatmaps.shape
  rows, columns, bins = gaussian_factors(voxels, (h, w, d), sigma)
  # Without the barrier the compiler may evaluate the exponentials anew at every voxel.
  rows, columns, bins = jax.lax.optimization_barrier((rows, columns, peak * bins))
  plane = rows[:, :, None, :] * columns[:, None, :, :]
  return heatmaps.astype(jnp.float32) - plane[..., None] * bins[:, None, None]


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _gaussian_heatmap(heatmaps: jax.Array, voxels: jax.Array, mask: jax.Array, sigma: float, peak: float) -> jax.Array:
  mean = jnp.mean(jnp.square(_difference(heatmaps, voxels, sigma, peak)), axis=(1, 2, 4))
  return jnp.where(mask, mean, 0)


def _gaussian_heatmap_forward(heatmaps, voxels, mask, sigma, peak):
  return _gaussian_heatmap(heatmaps, voxels, mask, sigma, peak), (heatmaps, voxels, mask)


def _gaussian_heatmap_backward(sigma, peak, residuals, cotangent):
  heatmaps, voxels, mask = residuals
  _, h, w, _, d = heatmaps.shape
  scale = jnp.where(mask, cotangent * (2 / (h * w * d)), 0)[:, None, None, :, None]
  gradient = jnp.where(scale == 0, 0, scale * _difference(heatmaps, voxels, sigma, peak))
  return gradient.astype(heatmaps.dtype), jnp.zeros_like(voxels), None


_gaussian_heatmap.defvjp(_gaussian_heatmap_forward, _gaussian_heatmap_backward)


def heatmap_cross_entropy(
  scores: Float[Array, "b h w j"], cells: Float[Array, "b j 2"], mask: Bool[Array, "b j"], sigma: float
) -> Float[jax.Array, "b j"]:
  """Cross-entropy of softmax(scores) over a joint's cells with a Gaussian around its true cell, 0 where masked.

  The Gaussian sums to one over the grid, so that a joint near the border weighs as much as any other.

  Args:
    scores: of all cells.
    cells: true (x, y); anything where `mask` is False.
    mask: joints that count.
    sigma: of the Gaussian, in cells.
  """
  scores = jnp.asarray(scores, jnp.float32)
  _, h, w, _ = scores.shape
  cells = jnp.where(mask[..., None], cells, 0)
  voxels = jnp.concatenate([cells, jnp.zeros_like(cells[..., :1])], axis=-1)
  rows, columns, _ = gaussian_factors(voxels, (h, w, 1), sigma)
  rows, columns = rows / rows.sum(1, keepdims=True), columns / columns.sum(1, keepdims=True)
  expected = jnp.einsum("bhwj,bhj,bwj->bj", scores, rows, columns, precision="highest")
  return jnp.where(mask, jax.nn.logsumexp(scores, axis=(1, 2)) - expected, 0)


def feature_distance(
  features: Sequence[Float[jax.Array, "b _ _ _"]], targets: Sequence[Float[jax.Array, "b _ _ _"]]
) -> Float[jax.Array, " b"]:
  """Perceptual loss: the mean absolute difference of each pair of feature maps, summed over the pairs."""
  return sum((jnp.abs(a - b).mean((1, 2, 3)) for a, b in zip(features, targets, strict=True)), jnp.float32(0))


def style_distance(
  features: Sequence[Float[jax.Array, "b _ _ _"]], targets: Sequence[Float[jax.Array, "b _ _ _"]]
) -> Float[jax.Array, " b"]:
  """Style loss: the mean absolute difference of each pair of Gram matrices, summed over the pairs."""
  pairs = zip(features, targets, strict=True)
  return sum((jnp.abs(gram(a) - gram(b)).mean((1, 2)) for a, b in pairs), jnp.float32(0))


def gram(features: Float[jax.Array, "b h w c"]) -> Float[jax.Array, "b c c"]:
  """Products of all channels with each other, summed over pixels, divided by h w c."""
  products = jnp.einsum("bhwc,bhwd->bcd", features, features, precision="highest")
  return products / (features.shape[1] * features.shape[2] * features.shape[3])


def total_variation(image: Float[jax.Array, "b h w c"]) -> Float[jax.Array, " b"]:
  """Mean absolute difference of neighbours in a row plus that of neighbours in a column."""
  across, down = jnp.diff(image, axis=2), jnp.diff(image, axis=1)
  return jnp.abs(across).mean((1, 2, 3)) + jnp.abs(down).mean((1, 2, 3))


def adversarial(
  scores: Float[jax.Array, "b _ _"],
  role: Literal["real", "fake", "generator"],
  kind: Literal["nsgan", "lsgan", "hinge"] = "nsgan",
) -> Float[jax.Array, " b"]:
  """What a discriminator's scores, before the sigmoid, cost: it, of real or fake pictures; or the generator, of fakes.

  "nsgan": cross-entropy with 1 for real pictures and 0 for fake ones, and with 1 for the generator; "lsgan": squares
  of the probabilities' differences from these; "hinge": max(0, 1 - score) and max(0, 1 + score), -score.
  """
  scores = jnp.asarray(scores, jnp.float32)
  target = jnp.full(scores.shape, 0.0 if role == "fake" else 1.0)
  if kind == "nsgan":
    loss = binary_cross_entropy(scores, target, jnp.ones(scores.shape, bool))
  elif kind == "lsgan":
    loss = jnp.square(jax.nn.sigmoid(scores) - target)
  elif role == "generator":
    loss = -scores
  else:
    loss = jax.nn.relu(1 + scores if role == "fake" else 1 - scores)
  return loss.mean(tuple(range(1, scores.ndim)))


def right_relative_error(
  predicted: Float[Array, "b 2 21 3"], truth: Float[Array, "b 2 21 3"], valid: Bool[Array, "b 2 21"], unit_mm: float
) -> Float[jax.Array, " b"]:
  """Mean squared distance of the joints, both relative to the right wrist, in squares of `unit_mm`.

  Args:
    predicted, truth: joints, mm.
    valid: that count; none does without the right wrist.
    unit_mm: of the distances.
  """
  right = schema.RIGHT
  counted = valid & valid[:, right : right + 1, skeleton.WRIST :]
  relative = [joints - joints[:, right : right + 1, skeleton.WRIST :] for joints in (predicted, truth)]
  mask = jnp.repeat(counted[..., None], 3, -1)
  error = squared_error(relative[0] / unit_mm, relative[1] / unit_mm, mask)
  return error.sum((1, 2, 3)) / jnp.maximum(jnp.sum(counted, (1, 2)), 1)
