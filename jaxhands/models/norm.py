"""Batch norm with the references' conventions."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class BatchNorm(nn.Module):
  """Batch norm over all axes but the last; parameters, statistics and their arithmetic are float32.

  As in PyTorch, the running variance is fed the unbiased batch variance (n / (n - 1)), while normalising uses the
  biased one. Flax's own layer stores the biased one, so that neither imported statistics nor a comparison of a
  training step with the reference would fit.

  Attributes:
    momentum: share of the old running statistic that is kept (PyTorch's 0.1 is 0.9 here).
    epsilon: added to the variance.
    groups: the batch is normalised in this many equal consecutive parts, as with one part on each of so many
      devices; running statistics come from the first part, as with PyTorch's `DataParallel`. 1: the global batch.
    dtype: of the result.
  """

  momentum: float = 0.9
  epsilon: float = 1e-5
  groups: int = 1
  dtype: jnp.dtype | type = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, "b *space c"], train: bool) -> Float[Array, "b *space c"]:
    """Normalises with batch statistics and updates the running ones (`train`), or with the running ones.

    Raises:
      ValueError: the batch does not divide into `groups`.
    """
    channels = x.shape[-1]
    scale = self.param("scale", nn.initializers.ones, (channels,))
    shift = self.param("bias", nn.initializers.zeros, (channels,))
    running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
    running_var = self.variable("batch_stats", "var", jnp.ones, (channels,))
    if not train:
      factor = scale * jax.lax.rsqrt(running_var.value + self.epsilon)
      return (x * factor + (shift - running_mean.value * factor)).astype(self.dtype)

    if x.shape[0] % self.groups:
      raise ValueError(f"a batch of {x.shape[0]} does not divide into bn_groups={self.groups}")
    parts = x.reshape(self.groups, -1, channels).astype(jnp.float32)
    # One pass over the activations; float32 sums keep enough digits as activations are centred near zero.
    mean = jnp.mean(parts, axis=1)
    var = jnp.maximum(jnp.mean(jnp.square(parts), axis=1) - jnp.square(mean), 0)
    if not self.is_initializing():
      count = parts.shape[1]
      unbiased = var[0] * (count / max(count - 1, 1))
      running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean[0]
      running_var.value = self.momentum * running_var.value + (1 - self.momentum) * unbiased
    factor = scale * jax.lax.rsqrt(var + self.epsilon)
    normalised = parts * factor[:, None] + (shift - mean * factor)[:, None]
    return normalised.reshape(x.shape).astype(self.dtype)
