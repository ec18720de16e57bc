"""From masks of hands to boxes of hands. Everything serves NumPy and JAX, unless its types say otherwise."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from jaxhands.geometry import crop
from jaxhands.geometry.arrays import Array, namespace

_AMODAL = 0
_MOST_BLOCKS = 128  # a side, of those that are told apart


def hand_boxes(
  masks: Float[Array, "*b 2 2 h w"], crop_from_img: Float[Array, "*b 2 3"], crop_hw: tuple[int, int]
) -> tuple[Float[Array, "*b 2 4"], Bool[Array, "*b 2"]]:
  """Where the hands are in the picture, by their amodal masks; HDR's rule: the box of all pixels above one half.

  The crop may be turned and mirrored. Without that, `crop.box_of_mask` moved to the picture.

  `crop.process_box` of a box makes the crop of that hand (HDR enlarges twice).

  Args:
    masks: probabilities by hand and kind, as predicted for a crop.
    crop_from_img: of that crop.
    crop_hw: its size in pixels; that of the masks may be a part of it.
  Returns:
    Tight boxes [x, y, width, height] in pixels of the picture (right, left), 0 for a hand that was not found; and which
    were found.
  """
  whole = masks[..., _AMODAL, :, :] > 0.5
  height, width = whole.shape[-2:]
  img_from_map = crop.invert_affine(crop.resize_affine(crop_from_img, crop_hw, (height, width)))
  xp = namespace(masks, crop_from_img)
  columns, rows = xp.meshgrid(xp.arange(width, dtype=np.float32), xp.arange(height, dtype=np.float32))
  pixels = xp.stack([columns, rows], axis=-1).reshape(-1, 2)
  points_img = crop.apply_affine(img_from_map, xp.broadcast_to(pixels, (*crop_from_img.shape[:-2], *pixels.shape)))
  of_each_hand = xp.broadcast_to(points_img[..., None, :, :], (*whole.shape[:-2], *pixels.shape))
  inside = whole.reshape(*whole.shape[:-2], -1)
  return crop.box_around(of_each_hand, inside, margin=1.0), xp.asarray(inside.any(-1))


def presence(
  amodal: Float[Array, "*b h w"], least_share: float = 0.005
) -> tuple[Float[jax.Array, "*b"], Bool[jax.Array, "*b h w"]]:
  """How sure a hand's whole mask is that there is a hand, and where: in its largest part.

  A hand covers at least `least_share` of the map. The probability is the mean of so many pixels, the likeliest of the
  largest part, so that neither a stray pixel nor many of them far from each other are a hand; it is there above 0.5.

  Args:
    amodal: probabilities of the pixels.
    least_share: smaller where the map is of a whole picture.
  """
  part = largest_part(amodal > 0.5)
  counts = part | ~part.any((-2, -1), keepdims=True)  # below one half, all pixels say how near to it
  pixels = jnp.where(counts, amodal, 0).reshape(*amodal.shape[:-2], -1)
  return jax.lax.top_k(pixels, max(1, round(least_share * pixels.shape[-1])))[0].mean(-1), part


def largest_part(mask: Bool[Array, "*b h w"]) -> Bool[jax.Array, "*b h w"]:
  """The pixels of a mask that belong together and are most; nothing of an empty mask.

  Pixels belong together that touch by sides or corners, in maps larger than 128 px those whose blocks of 2 x 2, 3 x 3,
  ... do: each of at most 128 x 128 blocks takes the largest number among its neighbours until none changes.
  """
  *batch, height, width = mask.shape
  block = -(-max(height, width) // _MOST_BLOCKS)
  fine = jnp.asarray(mask).reshape(-1, height, width)
  blocks = jnp.pad(fine, ((0, 0), (0, -height % block), (0, -width % block)))
  rows, columns = blocks.shape[1] // block, blocks.shape[2] // block
  area = blocks.reshape(-1, rows, block, columns, block).sum((2, 4))
  numbers = jnp.where(area > 0, 1 + jnp.arange(rows * columns).reshape(rows, columns), 0)

  def spread(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    numbers, _ = state
    wider = jax.lax.reduce_window(numbers, jnp.zeros((), numbers.dtype), jax.lax.max, (1, 3, 3), (1, 1, 1), "SAME")
    wider = jnp.where(area > 0, wider, 0)
    return wider, (wider != numbers).any()

  numbers, _ = jax.lax.while_loop(lambda state: state[1], spread, (numbers, jnp.array(True)))
  sizes = jax.vmap(lambda number, pixels: jnp.zeros(rows * columns + 1, area.dtype).at[number].add(pixels))(
    numbers, area
  )
  part = (numbers == sizes.argmax(-1)[:, None, None]) & (area > 0)
  part = part.repeat(block, 1).repeat(block, 2)[:, :height, :width] & fine
  return part.reshape(*batch, height, width)
