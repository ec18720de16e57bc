"""Part segmentation: intersection over union of the hands' parts, and of the hands that they make up."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxhands import schema
from jaxhands.evaluation.metrics.base import Metric, Quantity

_PER_HAND = (schema.NUM_PARTS - 1) // 2
_NEEDS, _PREDICTS = frozenset({"parts", "parts_valid"}), frozenset({"parts"})


def parts_iou() -> Metric:
  """Mean over the 32 parts that occur of their intersection over union; the background does not count.

  Pixels are counted over all examples before dividing. DIGIT's release has such a function and does not call it.
  """
  return _iou("parts", np.arange(schema.NUM_PARTS))


def hands_iou() -> Metric:
  """The same of the two hands: each is the union of its parts, as far as it is visible."""
  return _iou("hands", (np.arange(schema.NUM_PARTS) + _PER_HAND - 1) // _PER_HAND)


def mean_iou(counts: Float[np.ndarray, "n c 2"], weight: Float[np.ndarray, " n"]) -> float:
  """Mean over the classes but the first of (intersection, union) summed over examples; NaN where no class occurs."""
  shared, total = np.einsum("nck,n->kc", counts[:, 1:], weight, dtype=np.float64)
  return float((shared[total > 0] / total[total > 0]).mean()) if (total > 0).any() else float("nan")


def _iou(name: str, class_of_part: np.ndarray) -> Metric:
  classes = jnp.arange(class_of_part.max() + 1)

  def fn(prediction: schema.Prediction, batch: schema.Batch) -> tuple[Any, Any]:
    if prediction["parts"].shape != batch["parts"].shape:
      raise ValueError(f"predicted parts are {prediction['parts'].shape}, true ones {batch['parts'].shape}")
    ours, true = (jnp.asarray(class_of_part)[x["parts"]][..., None] == classes for x in (prediction, batch))
    counts = jnp.stack([(ours & true).sum((1, 2)), (ours | true).sum((1, 2))], axis=-1)
    return counts.astype(jnp.float32), batch["parts_valid"].astype(jnp.float32)

  quantity = Quantity(f"{name}_pixels", fn, _NEEDS, _PREDICTS)
  return Metric(f"iou/{name}", "0..1", quantity, mean_iou, better="higher", optional=True)
