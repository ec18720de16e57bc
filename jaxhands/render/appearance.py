"""Draws how a scene looks: one person's hands and sleeves, and surroundings in which light and camera fit."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from jaxhands.render.arm import sample_forearm, sample_sleeve
from jaxhands.render.backgrounds import sample_background
from jaxhands.render.lighting import UP, VIEWER, Lighting, sample_lighting
from jaxhands.render.scene import Hand
from jaxhands.render.sensor import Sensor, sample_sensor
from jaxhands.render.skin import Skin, sample_skin
from jaxhands.render.surface import HandSurface
from jaxhands.render.texture import Texture, skin_of

_BARE_ARMS = 0.5
_ODD_SLEEVES = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Surroundings:
  """What is around the hands; `family` names the kind of background."""

  background: UInt8[np.ndarray, "h w 3"]
  family: str
  lighting: Lighting
  sensor: Sensor


def sample_surroundings(
  rng: np.random.Generator,
  height: int,
  width: int,
  split: str = "train",
  photos: tuple[pathlib.Path, ...] = (),
  up: Float[np.ndarray, " 3"] = UP,
  viewer: Float[np.ndarray, " 3"] | None = VIEWER,
) -> Surroundings:
  """Background, light and camera for one view; before a studio's background they are a studio's.

  Args as `backgrounds.sample_background` and `lighting.sample_lighting`.
  """
  background, family = sample_background(rng, height, width, split, photos)
  studio = family.startswith("studio")
  return Surroundings(background, family, sample_lighting(rng, up, viewer, studio), sample_sensor(rng, studio))


def sample_hands(
  rng: np.random.Generator,
  surfaces: tuple[HandSurface, HandSurface],
  vertices_world: Float32[np.ndarray, "2 V 3"],
  present: Bool[np.ndarray, " 2"],
  skin: Skin | None = None,
  textures: tuple[Texture, Texture] | None = None,
) -> tuple[Hand | None, Hand | None]:
  """The hands of one person as a scene takes them.

  Args:
    rng: source of chance.
    surfaces: of the right and the left hand.
    vertices_world: posed vertices in mm; those of a missing hand are not read.
    present: which hands there are.
    skin: of a known person; drawn when None.
    textures: of the right and the left hand, in place of the skin's colours.
  """
  skin = sample_skin(rng) if skin is None else skin
  if textures is not None:
    skin = skin_of(textures[0], skin)
  bare = rng.uniform() < _BARE_ARMS
  sleeve = sample_sleeve(rng)
  hands: list[Hand | None] = [None, None]
  for side in np.flatnonzero(present):
    others = vertices_world[1 - side] if present[1 - side] else None
    odd = rng.uniform() < _ODD_SLEEVES
    own = None if bare != odd else sleeve
    arm = sample_forearm(rng, surfaces[side], vertices_world[side], others, own)
    hands[side] = Hand(surfaces[side], vertices_world[side], skin, arm, None if textures is None else textures[side])
  return hands[0], hands[1]
