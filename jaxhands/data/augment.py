"""Random crops: InterNet's augmentation with its constants. It changes the example's affine and nothing else.

Colours change on the device. The constants are the limits that the InterNet paper gives as +-15 %, +-25 %, +-90
degrees; the released distributions, clipped normals for scale and rotation, are kept.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class CropDraw:
  """One example's crop: how its box moves, scales and turns, and whether the scene is mirrored."""

  translation: tuple[float, float] = (0.0, 0.0)  # shares of the box's width and height
  scale: float = 1.0  # of the box; above 1 shows more
  rotation: float = 0.0  # rad
  mirror: bool = False


NEUTRAL = CropDraw()


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

  def draw(self, rng: np.random.Generator) -> CropDraw:
    """A crop; every call takes the same number of values of each kind from `rng`, whatever they turn out to be."""
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


INTERNET = Augmentation()
ROOTNET = Augmentation(translation=0.0, scale=0.0, rotation_deg=30.0)
