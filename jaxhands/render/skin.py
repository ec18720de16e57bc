"""How the skin of a person looks: colours, blotches, redness, lines, gloss; the same on both hands in every pose."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from jaxtyping import Float, Float32

Colour = tuple[float, float, float]

# Ends of the line on which the tones of skin lie, sRGB.
DARKEST, LIGHTEST = np.array([92.0, 58.0, 42.0]), np.array([240.0, 205.0, 180.0])
_PALEST_PALM = np.array([238.0, 196.0, 172.0])
_NAIL_TINT = np.array([236.0, 196.0, 184.0])
_VOLUME = 64  # texels per side of the noise volume
_VOLUME_SEED = 7


@dataclasses.dataclass(frozen=True)
class Skin:
  """Colours are linear light, 0..1. Strengths are relative changes of the reflected light, 0 = none."""

  back: Colour
  palm: Colour
  nail: Colour
  blotches: float
  grain: float
  flush: float  # redness of fingertips, knuckles and palm
  lines: float
  veins: float
  translucency: float  # how far light creeps round into the shade, most in red
  gloss: float
  sharpness: float  # Blinn exponent
  nail_gloss: float
  noise_offset_mm: tuple[float, float, float]


def sample_skin(rng: np.random.Generator, tone: float | None = None) -> Skin:
  """A person's skin; `tone` from 0 (darkest) to 1 (lightest), drawn evenly when None."""
  tone = float(rng.uniform() if tone is None else tone)
  srgb = DARKEST + tone * (LIGHTEST - DARKEST)
  red_shift, yellow_shift = rng.normal(0, 5), rng.normal(0, 4)
  srgb = (
    srgb + (red_shift, -0.4 * red_shift, -0.4 * red_shift) + (0.3 * yellow_shift, 0.3 * yellow_shift, -yellow_shift)
  )
  srgb = srgb * rng.uniform(0.94, 1.04)
  # Palms carry little pigment: the darker the back, the more they differ.
  palm = srgb + (0.25 + 0.3 * (1 - tone)) * (_PALEST_PALM - srgb) * rng.uniform(0.6, 1.1)
  nail = srgb + rng.uniform(0.3, 0.55) * (_NAIL_TINT - srgb)
  return Skin(
    back=_colour(linear_from_srgb(srgb)),
    palm=_colour(linear_from_srgb(palm)),
    nail=_colour(linear_from_srgb(nail)),
    blotches=float(rng.uniform(0.015, 0.07)),
    grain=float(rng.uniform(0.01, 0.045)),
    flush=float(rng.uniform(0.05, 0.32) * (0.55 + 0.45 * tone)),
    lines=float(rng.uniform(0.35, 0.8)),
    veins=float(max(0.0, rng.uniform(-0.1, 0.09))),
    translucency=float(rng.uniform(0.06, 0.2)),
    gloss=float(np.exp(rng.uniform(np.log(0.006), np.log(0.05)))),
    sharpness=float(np.exp(rng.uniform(np.log(8), np.log(40)))),
    nail_gloss=float(rng.uniform(0.01, 0.06)),
    noise_offset_mm=_colour(rng.uniform(0, 1000, 3)),
  )


def linear_from_srgb(srgb: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
  """Linear light 0..1 of sRGB values 0..255 (IEC 61966-2-1)."""
  x = np.clip(srgb, 0, 255) / 255
  return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
  """sRGB values 0..255 of linear light 0..1."""
  x = np.clip(linear, 0, 1)
  return 255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


@functools.cache
def noise_volume() -> Float32[np.ndarray, "S S S"]:
  """A cube of noise that tiles, mean 0, standard deviation 1, with detail of all sizes from 3 to 32 texels."""
  frequency = np.fft.fftfreq(_VOLUME) * _VOLUME
  radius = np.sqrt(sum(f**2 for f in np.meshgrid(frequency, frequency, frequency, indexing="ij")))
  band = (radius >= 2) & (radius <= _VOLUME / 3)
  amplitude = np.where(band, np.maximum(radius, 1.0) ** -1.9, 0.0)
  white = np.random.default_rng(_VOLUME_SEED).standard_normal((_VOLUME,) * 3)
  noise = np.fft.ifftn(np.fft.fftn(white) * amplitude).real
  return (noise / noise.std()).astype(np.float32)


def _colour(values: np.ndarray) -> Colour:
  red, green, blue = values
  return (float(red), float(green), float(blue))
