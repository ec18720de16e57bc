"""What pictures show besides hands: clutter, faces, bare arms and legs, skin-coloured lumps, things like fingers.

Drawn over a background in sRGB, as plain as the backgrounds are: for networks that are to tell hands from all else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from jaxhands.render.skin import DARKEST, LIGHTEST

Picture = UInt8[np.ndarray, "h w 3"]
_CLUTTERED = 0.5  # share of the pictures with leaves of clutter
_MOST = {"face": 2, "limb": 2, "lump": 2, "sticks": 1}  # of each kind in a picture; none to so many
_SUB, _SUB_BITS = 16, 4  # OpenCV's places in parts of a pixel


def add_bystanders(
  rng: np.random.Generator, background: Picture, skin: Float[np.ndarray, " 3"] | None = None
) -> Picture:
  """The background with a few of them, the same for the same chance; at times with none.

  Args:
    rng: source of chance.
    background: sRGB.
    skin: sRGB of the person whose hands the picture shows, whom half of the faces and limbs belong to; None = nobody.
  """
  picture = background.copy()
  if rng.uniform() < _CLUTTERED:
    picture = _clutter(rng, picture)
  kinds = [kind for kind, most in _MOST.items() for _ in range(int(rng.integers(most + 1)))]
  for kind in rng.permutation(kinds):
    own = skin if skin is not None and rng.uniform() < 0.5 else skin_tone(rng)
    picture = _DRAWERS[str(kind)](rng, picture, np.asarray(own, np.float32))
  if rng.uniform() < 0.3:  # as far away as it is, it may be out of focus
    picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 3.0))
  return picture


def skin_tone(rng: np.random.Generator) -> Float32[np.ndarray, " 3"]:
  """sRGB of a person, evenly between the darkest and the lightest, more or less red."""
  tone = DARKEST + rng.uniform() * (LIGHTEST - DARKEST) + rng.normal(0, 6, 3)
  return np.clip(tone * rng.uniform(0.6, 1.1), 0, 255).astype(np.float32)


# ---- clutter ---------------------------------------------------------------------------------------------------------


def _clutter(rng: np.random.Generator, picture: Picture) -> Picture:
  """Leaves of all sizes over one another, whose edges are about as frequent as those of photographs."""
  height, width = picture.shape[:2]
  side = max(height, width)
  count = int(rng.integers(10, 160))
  # Radii fall off with their third power; large ones first, so that small ones are seen.
  radii = np.sort(0.025 * side / np.sqrt(rng.uniform(0.002, 1.0, count)))[::-1]
  spread, base = rng.choice([15.0, 60.0]), rng.uniform(20, 235, 3)
  colours = np.clip(base + rng.normal(0, spread, (count, 3)) + rng.normal(0, 35, (count, 1)), 0, 255)
  for radius, colour in zip(radii, colours, strict=True):
    x, y = rng.uniform(0, (width, height))
    kind = rng.integers(3)
    if kind == 0:
      axes = (float(radius * rng.uniform(0.3, 2.0)), float(radius))
      cv2.ellipse(picture, ((x, y), axes, float(rng.uniform(0, 180))), colour.tolist(), -1, cv2.LINE_AA)
      continue
    corners = int(rng.integers(3, 7)) if kind == 1 else 4
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) if kind == 1 else rng.uniform(0, np.pi) + _SQUARE
    stretch = (1.0, 1.0) if kind == 1 else (1.0, rng.uniform(0.1, 1.0))
    outline = np.stack([np.cos(angles), stretch[1] * np.sin(angles)], 1) @ _turn(rng.uniform(0, 2 * np.pi))
    _fill(picture, outline * radius + (x, y), colour)
  grain = rng.normal(0, rng.uniform(0, 12), (height, width)).astype(np.float32)
  shade = cv2.resize(rng.uniform(0.7, 1.15, (3, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
  return _bytes(picture * shade[..., None] + grain[..., None])


_SQUARE = np.arange(4) * np.pi / 2 + np.pi / 4


# ---- people ----------------------------------------------------------------------------------------------------------


def _face(rng: np.random.Generator, picture: Picture, skin: Float32[np.ndarray, " 3"]) -> Picture:
  """A head with hair, ears, eyes, nose and mouth, mostly with neck and shoulders, upright or not."""
  height, width = picture.shape[:2]
  size = max(height, width) * float(np.exp(rng.uniform(np.log(0.04), np.log(0.35))))  # half the head's height
  centre = rng.uniform(-0.05, 1.05, 2) * (width, height)
  turn = _turn(rng.normal(0, 0.25) if rng.uniform() < 0.85 else rng.uniform(0, 2 * np.pi))
  slim, look = rng.uniform(0.68, 0.82), rng.uniform(-0.18, 0.18)  # across; where the nose points
  before = picture
  picture = picture.copy()
  hair, cloth = _dark_or_fair(rng), rng.uniform(10, 240, 3)

  def at(points: object) -> np.ndarray:
    return np.asarray(points, np.float64) @ turn * size + centre

  def oval(x: float, y: float, across: float, along: float, colour: np.ndarray) -> None:
    _fill(picture, at(np.stack([x + across * _COS, y + along * _SIN], 1)), colour)

  if rng.uniform() < 0.8:
    oval(0.0, 2.9, rng.uniform(1.5, 2.2), 1.7, cloth)
    _fill(picture, at([[-0.42, 0.5], [0.42, 0.5], [0.5, 1.6], [-0.5, 1.6]]), skin * 0.8)
  long_hair = rng.uniform() < 0.4
  if long_hair:
    oval(0.0, 0.25, 1.12, 1.45, hair * 0.8)
  for side in (-1, 1):
    oval(side * slim, 0.05, 0.12, 0.22, skin * 0.9)
  if rng.uniform() < 0.85:
    oval(0.0, -0.22, slim + 0.1, 0.95, hair)
  oval(0.0, 0.05, slim, 0.95, skin)
  if rng.uniform() < 0.8:  # the hair above the forehead
    oval(look * 0.5, -0.85, slim * 0.85, rng.uniform(0.18, 0.4), hair)
  for side in (-1, 1):
    x = look + side * 0.34
    oval(x, -0.08, 0.17, 0.11, skin * 0.75)
    oval(x, -0.08, 0.13, 0.06, np.array([225.0, 220.0, 215.0]))
    oval(x, -0.08, 0.06, 0.06, np.array([50.0, 35.0, 25.0]))
    oval(x, -0.27, 0.18, 0.03, hair * 0.8)
  oval(look * 1.3, 0.2, 0.05, 0.25, skin * 1.08)
  oval(look * 1.3, 0.32, 0.13, 0.05, skin * 0.72)
  oval(look, 0.58, rng.uniform(0.2, 0.3), rng.uniform(0.04, 0.12), skin * [0.85, 0.55, 0.55])
  return _lit(rng, before, picture, size)


def _limb(rng: np.random.Generator, picture: Picture, skin: Float32[np.ndarray, " 3"]) -> Picture:
  """An arm or a leg without hand or foot: two tapered tubes, bare or in cloth, to an edge or ending in the picture."""
  height, width = picture.shape[:2]
  side = max(height, width)
  thick = side * float(np.exp(rng.uniform(np.log(0.015), np.log(0.14))))
  start, heading = rng.uniform(-0.1, 1.1, 2) * (width, height), rng.uniform(0, 2 * np.pi)
  points, radii = [start], [thick]
  for _ in range(2):
    step = thick * rng.uniform(3, 9)
    points.append(points[-1] + step * np.array([np.cos(heading), np.sin(heading)]))
    radii.append(radii[-1] * rng.uniform(0.65, 0.95))
    heading += rng.normal(0, 0.9)
  for (a, b), ends in zip(itertools.pairwise(points), itertools.pairwise(radii), strict=True):
    colour = skin if rng.uniform() < 0.8 else rng.uniform(10, 230, 3)
    picture = _tube(rng, picture, np.array([a, b]), ends, colour)
  return picture


def _lump(rng: np.random.Generator, picture: Picture, skin: Float32[np.ndarray, " 3"]) -> Picture:
  """Skin without any form that says of what: a smooth outline, shaded and spotted."""
  height, width = picture.shape[:2]
  size = max(height, width) * float(np.exp(rng.uniform(np.log(0.03), np.log(0.3))))
  angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
  radius = np.ones(60)
  for wave in range(2, 5):
    radius += rng.normal(0, 0.3 / wave) * np.cos(wave * angles + rng.uniform(0, 2 * np.pi))
  outline = np.stack([np.cos(angles), rng.uniform(0.4, 1.0) * np.sin(angles)], 1) * np.maximum(radius, 0.3)[:, None]
  before = picture
  picture = picture.copy()
  _fill(picture, outline @ _turn(rng.uniform(0, 2 * np.pi)) * size + rng.uniform(0, (width, height)), skin)
  return _lit(rng, before, picture, size)


def _sticks(rng: np.random.Generator, picture: Picture, skin: Float32[np.ndarray, " 3"]) -> Picture:
  """A few tubes side by side, as pencils or sausages lie: like fingers, but of no hand; at times of skin's colour."""
  height, width = picture.shape[:2]
  thick = max(height, width) * float(np.exp(rng.uniform(np.log(0.008), np.log(0.04))))
  heading, length = rng.uniform(0, 2 * np.pi), thick * rng.uniform(5, 20)
  along, across = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
  place = rng.uniform(0, (width, height))
  alike = skin if rng.uniform() < 0.4 else rng.uniform(20, 235, 3)
  for number in range(int(rng.integers(2, 9))):
    start = place + across * thick * rng.uniform(2.0, 3.5) * number + along * thick * rng.normal(0, 1.5)
    tilt = along + across * rng.normal(0, 0.08)
    colour = alike if rng.uniform() < 0.7 else rng.uniform(20, 235, 3)
    ends = (thick, thick * rng.uniform(0.8, 1.0))
    picture = _tube(rng, picture, np.array([start, start + tilt * length]), ends, colour)
  return picture


_DRAWERS: dict[str, Callable[[np.random.Generator, Picture, Float32[np.ndarray, " 3"]], Picture]] = {
  "face": _face, "limb": _limb, "lump": _lump, "sticks": _sticks,
}  # fmt: skip


# ---- how it is drawn -------------------------------------------------------------------------------------------------

_ROUND = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_COS, _SIN = np.cos(_ROUND), np.sin(_ROUND)


def _turn(angle_rad: float) -> Float[np.ndarray, "2 2"]:
  """Turns rows of points by an angle, by a product from the right."""
  cos, sin = np.cos(angle_rad), np.sin(angle_rad)
  return np.array([[cos, sin], [-sin, cos]])


def _fill(picture: Picture, outline_px: Float[np.ndarray, "n 2"], colour: np.ndarray) -> None:
  """Fills an outline in place, with smooth edges."""
  # Far outside, OpenCV's whole numbers would run over.
  places = np.clip(outline_px, -5000, 5000)
  fill = np.clip(colour, 0, 255).tolist()
  cv2.fillPoly(picture, [(places * _SUB).round().astype(np.int32)], fill, cv2.LINE_AA, _SUB_BITS)


def _tube(
  rng: np.random.Generator, picture: Picture, ends_px: Float[np.ndarray, "2 2"], radii_px: tuple[float, float],
  colour: np.ndarray,
) -> Picture:  # fmt: skip
  """A tapered tube with round ends, light on one side."""
  height, width = picture.shape[:2]
  (x0, y0), (dx, dy) = ends_px[0], ends_px[1] - ends_px[0]
  length = float(np.hypot(dx, dy))
  y, x = (
    np.arange(height, dtype=np.float32)[:, None] - np.float32(y0),
    np.arange(width, dtype=np.float32) - np.float32(x0),
  )
  along = (x * np.float32(dx / length) + y * np.float32(dy / length)) / np.float32(length)
  across = y * np.float32(dx / length) - x * np.float32(dy / length)
  held = np.clip(along, 0, 1)
  radius = np.float32(radii_px[0]) + held * np.float32(radii_px[1] - radii_px[0])
  beyond = (along - held) * np.float32(length)
  distance = np.sqrt(across * across + beyond * beyond)
  cover = np.clip(radius - distance + 0.5, 0, 1)
  light = 1 - rng.uniform(0.15, 0.5) * (np.clip(across / radius + rng.uniform(-0.5, 0.5), -1.3, 1.3) ** 2)
  spots = 1 + rng.normal(0, 0.03, (height, width)).astype(np.float32)
  shaded = np.asarray(colour, np.float32) * (rng.uniform(0.8, 1.15) * light * spots)[..., None]
  return _bytes(picture + cover[..., None] * (shaded - picture))


def _lit(rng: np.random.Generator, before: Picture, after: Picture, size_px: float) -> Picture:
  """What was drawn, under light from one side and with the spots of skin."""
  height, width = after.shape[:2]
  drawn = (before != after).any(-1)
  angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.4) / size_px
  y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
  ramp = np.cos(angle) * x + np.sin(angle) * y
  light = np.clip(1 + strength * (ramp - ramp[drawn].mean() if drawn.any() else ramp * 0), 0.4, 1.4)
  cells = int(np.clip(max(height, width) / size_px * 3, 3, 60))
  spots = cv2.resize(rng.standard_normal((cells, cells), np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
  shaded = after * (light * (1 + 0.04 * spots)).astype(np.float32)[..., None]
  soft = cv2.GaussianBlur(shaded, (0, 0), max(0.3, 0.012 * size_px))
  return np.where(drawn[..., None], _bytes(soft), before)


def _dark_or_fair(rng: np.random.Generator) -> Float[np.ndarray, " 3"]:
  """A colour of hair."""
  colours = np.array([[25, 20, 18], [60, 40, 28], [110, 75, 45], [190, 150, 95], [150, 150, 150], [130, 60, 30]], float)
  return colours[int(rng.integers(len(colours)))] * rng.uniform(0.7, 1.2)


def _bytes(picture: np.ndarray) -> Picture:
  return np.clip(picture, 0, 255).astype(np.uint8)
