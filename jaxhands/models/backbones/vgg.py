"""VGG-16 (Simonyan and Zisserman, 2015) up to its third pooling: what perceptual losses and distances compare with.

Never trained here; its weights come from a file (`weights.vgg`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxhands.geometry.arrays import Array
from jaxhands.models.conv_forms import convolve
from jaxhands.models.pooling import max_pool

LAYERS = (("conv1_1", "conv1_2"), ("conv2_1", "conv2_2"), ("conv3_1", "conv3_2", "conv3_3"))


def pools(params: Mapping[str, Any], image: Float[Array, "b h w 3"]) -> list[Float[jax.Array, "b p q c"]]:
  """The maps after the three poolings, float32.

  Args:
    params: layer -> {"kernel" [3, 3, in, out], "bias" [out]}.
    image: RGB normalised with ImageNet's mean and deviation; at least 8 x 8 px.
  """
  x, found = jnp.asarray(image, jnp.float32), []
  for layers in LAYERS:
    for layer in layers:
      kernel, bias = jnp.asarray(params[layer]["kernel"]), params[layer]["bias"]
      x = jax.nn.relu(convolve(x, kernel, padding=1) + bias)
    x = max_pool(x, 2, 2)
    found.append(x)
  return found
