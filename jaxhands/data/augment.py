"""Random crops: InterNet's augmentation and SegFormer's, with their constants.

They change the example's affine and, where they mirror, the labels; colours change on the device. InterNet's constants
are the limits that its paper gives as +-15 %, +-25 %, +-90 degrees; the released distributions, clipped normals for
scale and rotation, are kept.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

_ATTEMPTS = 10


@dataclasses.dataclass(frozen=True)
class CropDraw:
  """One example's crop: how its box moves, scales and turns, and whether the scene is mirrored."""

  translation: tuple[float, float] = (0.0, 0.0)  # shares of the box's width and height
  scale: float = 1.0  # of the box; above 1 shows more
  rotation: float = 0.0  # rad
  mirror: bool = False


NEUTRAL = CropDraw()
ShareOfMasks = Callable[[CropDraw], float]


@runtime_checkable
class RandomCrop(Protocol):
  """Draws crops, for `host_ops.Crop`. `share_of_masks(draw)` is the share of set pixels of all masks of that crop."""

  def draw(self, rng: np.random.Generator, share_of_masks: ShareOfMasks | None = None) -> CropDraw: ...


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """Distributions of `CropDraw`. The defaults are InterNet's, DIGIT's and HDR's.

  Attributes:
    translation: half range of the uniform shift, share of the box.
    scale: times a normal clipped at +-1, added to 1.
    rotation_deg: times a normal clipped at +-2.
    rotation_probability: of turning at all.
    mirror_probability: of mirroring the scene, with the hands changing places.
  """

  translation: float = 0.15
  scale: float = 0.25
  rotation_deg: float = 45.0
  rotation_probability: float = 0.6
  mirror_probability: float = 0.5

  def draw(self, rng: np.random.Generator, share_of_masks: ShareOfMasks | None = None) -> CropDraw:
    """A crop, whatever its masks; every call takes the same number of values of each kind from `rng`."""
    shift_x, shift_y = rng.uniform(-self.translation, self.translation, 2)
    scale, turn = rng.standard_normal(2)
    turns, mirrors = rng.random(2)
    rotation = math.radians(self.rotation_deg) * float(np.clip(turn, -2, 2))
    return CropDraw(
      translation=(float(shift_x), float(shift_y)),
      scale=1.0 + self.scale * float(np.clip(scale, -1, 1)),
      rotation=rotation if turns < self.rotation_probability else 0.0,
      mirror=bool(mirrors < self.mirror_probability),
    )


@dataclasses.dataclass(frozen=True)
class Zoom:
  """A window of random size and place: SegFormer's resizing and cropping, as one affine.

  A magnified crop is looked at through a window anywhere in it. A crop that shrank lies anywhere in the window, which
  shows more of the picture around it (SegFormer's release puts it into the upper left corner).

  Attributes:
    low, high: of the uniform magnification.
    most_of_one_class: of a magnified crop, places are drawn up to ten times until no class, background or hand, covers
      a larger share of all masks together; 1 = the first place.
    mirror_probability: of mirroring the scene, with the hands changing places.
  """

  low: float = 0.5
  high: float = 2.0
  most_of_one_class: float = 1.0
  mirror_probability: float = 0.5

  def draw(self, rng: np.random.Generator, share_of_masks: ShareOfMasks | None = None) -> CropDraw:
    """A crop; see `RandomCrop`."""
    zoom = float(rng.uniform(self.low, self.high))
    mirror = bool(rng.random() < self.mirror_probability)
    reach = abs(1 - 1 / zoom) / 2
    drawn = NEUTRAL
    for _ in range(_ATTEMPTS):
      x, y = rng.uniform(-reach, reach, 2)
      drawn = CropDraw((float(x), float(y)), 1 / zoom, 0.0, mirror)
      if zoom <= 1 or self.most_of_one_class >= 1 or share_of_masks is None:
        break
      hands = share_of_masks(drawn)
      if max(hands, 1 - hands) < self.most_of_one_class:
        break
    return drawn


INTERNET = Augmentation()
ROOTNET = Augmentation(translation=0.0, scale=0.0, rotation_deg=30.0)
FINDER = Augmentation(translation=0.1, scale=0.2, rotation_deg=20.0)
