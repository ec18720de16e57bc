"""How much the two hands cover each other in the picture: by which results are read apart."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxhands import schema
from jaxhands.geometry import crop

NEEDS = frozenset({"hand_present", "joints_img", "joints_img_valid", "masks", "masks_valid"})
_AMODAL = 0


class Overlap(NamedTuple):
  """For each example [B]: intersection over union, whether it is known, and whether masks told it (else boxes)."""

  overlap: Any
  known: Any
  from_masks: Any


def overlap(batch: schema.Batch) -> Overlap:
  """Intersection over union of the hands' whole (amodal) masks in the crop, as in DIGIT's analysis by overlap.

  Where there are no masks, of the tight boxes of their joints. Unknown with less than two hands, or without either.
  """
  both = batch["hand_present"].all(-1)
  valid = batch["joints_img_valid"]
  boxes = crop.box_around(batch["joints_img"], valid, margin=1.0)
  right, left = boxes[:, schema.RIGHT], boxes[:, schema.LEFT]
  low = jnp.maximum(right[:, :2], left[:, :2])
  high = jnp.minimum(right[:, :2] + right[:, 2:], left[:, :2] + left[:, 2:])
  shared_box = jnp.maximum(high - low, 0).prod(-1)
  all_boxes = boxes[..., 2:].prod(-1).sum(-1) - shared_box

  from_masks, shared, total = jnp.zeros_like(both), shared_box, all_boxes
  if "masks" in batch:
    from_masks = both & batch["masks_valid"][:, :, _AMODAL].all(-1)
    masks = batch["masks"][:, :, _AMODAL] > 0
    shared = jnp.where(from_masks, masks.all(1).sum((1, 2)), shared_box)
    total = jnp.where(from_masks, masks.any(1).sum((1, 2)), all_boxes)
  known = both & (from_masks | valid.any(-1).all(-1)) & (total > 0)
  return Overlap(jnp.where(known, shared / jnp.where(known, total, 1), 0), known, from_masks & known)
