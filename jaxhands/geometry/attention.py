"""Attention maps rendered from joints (Zhang et al., ICCV 2021)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from jaxhands.geometry.arrays import Array, namespace

_VARIANCE_PX = 1.5


def joint_attention(points_px: Float[Array, "*b N 2"], size: int) -> Float[Array, "*b size size"]:
  """Intershape's Eq. 3: 1 - prod_j (1 - H_j), H_j a Gaussian of variance 1.5 px about joint j, rows y, columns x.

  `points_px` are in pixels of the map itself, so that the blobs are wider in image terms on a smaller map.
  """
  xp = namespace(points_px)
  grid = np.arange(size, dtype=np.float32)
  along_x, along_y = (xp.exp(-((points_px[..., i, None] - grid) ** 2) / (2 * _VARIANCE_PX)) for i in range(2))
  return 1 - xp.prod(1 - along_y[..., :, None] * along_x[..., None, :], axis=-3)
