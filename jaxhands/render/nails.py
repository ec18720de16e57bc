"""Where on a nail each vertex lies, so that nails have smooth outlines however coarse the mesh is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Integer

from jaxhands.hands import skeleton

FAR = 9.0  # a place that is on no nail
_HALF_FROM_SPREAD = 1.9  # half the side of a rounded rectangle, in standard deviations of its area
_HALF_LENGTH_MM, _HALF_WIDTH_MM = (4.5, 8.0), (3.8, 6.5)
_FACES_AWAY = 0.15  # cosine to the nail's direction, below which the skin is round the corner


def nail_places(
  skin_mm: Float[np.ndarray, "V 3"],
  normals: Float[np.ndarray, "V 3"],
  faces: Integer[np.ndarray, "F 3"],
  nail: Float[np.ndarray, " V"],
  weights: Float[np.ndarray, "V 16"],
  tips_mm: Float[np.ndarray, "5 3"],
  joints_mm: Float[np.ndarray, "16 3"],
) -> Float32[np.ndarray, "V 2"]:
  """Place along (1 = free edge) and across (1 = side) the nail of the vertex's finger; `FAR` where there is none.

  A point is on the nail where the fourth powers sum to less than 1. All lengths in skin coordinates; fingers in MANO's
  order; a model whose nails are not marked (`nail` 0 everywhere) gets none.
  """
  # Between two vertices places are interpolated: signs are kept so that no nail lies between two that are on none.
  places = np.full((len(skin_mm), 2), -FAR, np.float32)
  owner = weights.argmax(1)
  corners = skin_mm[faces]
  area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
  for joint, tip in zip(skeleton.MANO_LEVELS[3], tips_mm, strict=True):
    share = area * nail[faces].mean(1) * (owner == joint)[faces].all(1)
    if share.sum() <= 0:
      continue
    share = share / share.sum()
    centre = share @ corners.mean(1)
    outwards = _unit(share @ normals[faces].mean(1))
    along = tip - joints_mm[joint]
    along = _unit(along - (along @ outwards) * outwards)
    across = np.cross(outwards, along)
    spread = np.sqrt(share @ ((corners.mean(1) - centre) @ np.stack([along, across], axis=1)) ** 2)
    half = np.clip(_HALF_FROM_SPREAD * spread, *np.transpose([_HALF_LENGTH_MM, _HALF_WIDTH_MM]))
    finger = (owner <= joint) & (owner > joint - 3)
    place = (skin_mm[finger] - centre) @ np.stack([along, across], axis=1) / half
    facing = (normals[finger] @ outwards)[:, None] > _FACES_AWAY
    places[finger] = np.where(facing, place, np.copysign(FAR, place))
  return places


def _unit(v: np.ndarray) -> np.ndarray:
  return v / np.linalg.norm(v)
