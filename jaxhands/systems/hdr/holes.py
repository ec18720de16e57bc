"""Where a hand's crop is to be recovered, what the network is told about it, and how its output is put in.

Equations 2 and 3 of the paper, for a right hand ("this"; a left one is mirrored) that another hand distracts from.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Shaped

from jaxhands.geometry.arrays import Array
from jaxhands.geometry.masks import presence
from jaxhands.models.conv_forms import convolve
from jaxhands.models.partial_conv import Mask

Distractor = Literal["visible", "amodal"]
Over = Literal["both", "occluded", "distractor"]


class Holes(NamedTuple):
  """Planes [B, h, w], 0 | 1.

  `occluded`: where this hand is hidden (M_D); `distractor`: where the other one is to be removed (M_R); the two never
  overlap. `visible`: this hand's part that is seen (M_rv); `background`: where neither hand is (M_bv).
  """

  occluded: Any
  distractor: Any
  visible: Any
  background: Any

  def region(self, over: Over = "both") -> Any:
    """What is to be recovered: both holes, or one of them (paper, Table 5, #2 and #3)."""
    if over == "both":
      return jnp.maximum(self.occluded, self.distractor)
    return self.occluded if over == "occluded" else self.distractor


def trusted(
  masks: Float[Array, "b 2 2 h w"],
) -> tuple[Float[jax.Array, "b 2 2 h w"], Float[jax.Array, "b 2"]]:
  """Predicted masks without what is no hand, and how sure it is that each hand is there (`geometry.masks.presence`).

  Of a hand that is there, its largest part is kept; of another one, nothing. What hides a hand is the other one: a
  hand that is alone is visible as a whole, and nothing is removed from its picture.
  """
  amodal, visible = masks[:, :, 0], masks[:, :, 1]
  prob, part = presence(amodal)
  there = prob > 0.5
  kept = part & there[..., None, None]
  seen = jnp.where(there[:, ::-1, None, None], visible, amodal)
  return jnp.stack([jnp.where(kept, amodal, 0), jnp.where(kept, seen, 0)], axis=2), prob


def find(masks: Shaped[Array, "b 2 2 h w"], distractor: Distractor = "visible") -> Holes:
  """The holes of hand 0's crop.

  Args:
    masks: 0 | 1, by hand (this, other) and kind (amodal, visible). The other hand's amodal one may be 0 where nobody
      knows it (the released AIH's rendered pictures): its visible part stands for it.
    distractor: the other hand's part that is removed: the visible one (paper), or all of it (release). They differ
      where this hand's visible part hides the other hand outside of this hand's own mask: in masks that disagree.
  """
  amodal, visible, other_amodal, other_visible = (
    masks[:, hand, kind].astype(jnp.float32) for hand in range(2) for kind in range(2)
  )
  outside, other_whole = 1 - amodal, jnp.maximum(other_amodal, other_visible)
  return Holes(
    occluded=amodal * (1 - visible),
    distractor=outside * (other_visible if distractor == "visible" else other_whole),
    visible=visible,
    background=outside * (1 - other_whole),
  )


def network_input(image: Float[Array, "b h w 3"], holes: Holes) -> tuple[Float[jax.Array, "b h w 8"], Mask]:
  """What HDRNet sees of a normalised picture, and where it is valid; holes are 0, ImageNet's mean colour."""
  occluded_valid, distractor_valid = 1 - holes.occluded, 1 - holes.distractor
  parts = (
    image * occluded_valid[..., None],
    holes.visible[..., None],
    image * distractor_valid[..., None],
    holes.background[..., None],
  )
  return jnp.concatenate(parts, axis=-1), Mask((occluded_valid, distractor_valid), (4, 4))


def composite(
  output: Float[Array, "b h w 3"],
  image: Float[Array, "b h w 3"],
  holes: Holes,
  over: Over = "both",
  dilation: int = 9,
) -> Float[jax.Array, "b h w 3"]:
  """The picture with the network's output in the holes, enlarged by an ellipse of `dilation` px (0: not)."""
  region = dilate(holes.region(over), dilation)
  return jnp.where(region[..., None] > 0, output, image)


def dilate(region: Any, size: int) -> Any:
  """OpenCV's dilation of a plane of 0 | 1 by an ellipse of `size` x `size` pixels, odd; 0 = none."""
  if not size:
    return region
  ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)).astype(np.float32)
  count = convolve(region[..., None], jnp.asarray(ellipse)[..., None, None], padding=size // 2)
  return (count[..., 0] > 0.5).astype(jnp.float32)
