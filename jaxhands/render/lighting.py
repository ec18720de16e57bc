"""Light of a scene: a few distant lights, the first of which casts shadows, and the light of the surroundings."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float, Float32

from jaxhands.render import zbuffer

_SHADOW_TEXELS = 160
_SHADOW_MARGIN_MM = 30.0
UP, VIEWER = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, -1.0])
_TINT = 0.045  # cameras balance the light's colour: what is left, and what lights differ by
_FAR_MM = 10_000.0  # larger than any distance along the light within a scene


@dataclasses.dataclass(frozen=True, eq=False)
class Lighting:
  """Lights in the world's frame; colours in linear light, 1 = a white surface that faces the light is white.

  `towards` are unit vectors from the scene to the lights. The surroundings shine with `sky` from `up` and with
  `ground` from below.
  """

  towards: Float32[np.ndarray, "L 3"]
  colours: Float32[np.ndarray, "L 3"]
  up: Float32[np.ndarray, " 3"]
  sky: Float32[np.ndarray, " 3"]
  ground: Float32[np.ndarray, " 3"]

  def turned(self, rotation: Float[np.ndarray, "3 3"]) -> Lighting:
    """The same light in the frame that `rotation` leads to."""
    turn = rotation.T.astype(np.float32)
    return dataclasses.replace(self, towards=self.towards @ turn, up=self.up @ turn)


def sample_lighting(
  rng: np.random.Generator,
  up: Float[np.ndarray, " 3"] = UP,
  viewer: Float[np.ndarray, " 3"] | None = VIEWER,
  studio: bool = False,
) -> Lighting:
  """Light from one to three lamps.

  Args:
    rng: source of chance.
    up: up in the world's frame (default: the world is a camera's frame).
    viewer: direction from the scene to the camera, so that the side that is seen is lit; None: cameras all around.
    studio: light from all around with weak shadows, as on a capture stage.
  """
  count = 3 if studio else int(rng.integers(1, 4))
  up = np.asarray(up, np.float64) / np.linalg.norm(up)
  towards = rng.normal(size=(count, 3))
  towards = towards / np.linalg.norm(towards, axis=1, keepdims=True) + up * rng.uniform(0.0, 1.4, (count, 1))
  if viewer is not None:
    towards += viewer * rng.uniform(0.1, 1.2, (count, 1))
  towards /= np.linalg.norm(towards, axis=1, keepdims=True)
  total = rng.uniform(0.5, 0.9) if studio else rng.uniform(0.7, 1.5)
  shares = rng.dirichlet([6.0] + [3.0] * (count - 1)) if count > 1 else np.ones(1)
  shares = np.sort(shares)[::-1]
  tint = _tints(rng, count, 0.03 if studio else _TINT)
  ambient = rng.uniform(0.18, 0.36) if studio else rng.uniform(0.12, 0.4)
  sky, ground = _tints(rng, 2, _TINT)
  return Lighting(
    towards=towards.astype(np.float32),
    colours=(total * shares[:, None] * tint).astype(np.float32),
    up=up.astype(np.float32),
    sky=(ambient * sky * 1.15).astype(np.float32),
    ground=(ambient * ground * rng.uniform(0.45, 0.85)).astype(np.float32),
  )


def _tints(rng: np.random.Generator, count: int, spread: float) -> Float[np.ndarray, "N 3"]:
  """Whites from warm to cold, with a little green or magenta."""
  warm, green = rng.normal(0, spread, count), rng.normal(0, spread / 3, count)
  return np.exp(np.stack([warm, green, -warm], axis=1))


def light_matrix(towards: Float[np.ndarray, " 3"], receivers: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "3 4"]:
  """The parallel projection along a light that covers `receivers`, in their frame.

  Returns:
    A matrix from points (mm, homogeneous) to column, row and nearness (mm, larger is nearer to the light) of the
    shadow map.
  """
  z = np.asarray(towards, np.float64)
  x = np.cross(z, (0.0, 1.0, 0.0) if abs(z[1]) < 0.9 else (1.0, 0.0, 0.0))
  x /= np.linalg.norm(x)
  axes = np.stack([x, np.cross(z, x), z])
  seen = receivers.astype(np.float64) @ axes.T
  low = seen.min(0) - _SHADOW_MARGIN_MM
  texel = float((seen[:, :2].max(0) + _SHADOW_MARGIN_MM - low[:2]).max()) / (_SHADOW_TEXELS - 1)
  scale = np.array([1 / texel, 1 / texel, 1.0])
  return np.concatenate([axes * scale[:, None], (np.array([0.0, 0.0, _FAR_MM]) - low * scale)[:, None]], axis=1)


def shadow_map(
  matrix: Float[np.ndarray, "3 4"], vertices: Float[np.ndarray, "N 3"], faces: np.ndarray
) -> Float32[np.ndarray, "S S"]:
  """Nearness to the light of what it hits first, 0 where it hits nothing; in the frame of `matrix`."""
  points = vertices.astype(np.float64) @ matrix[:, :3].T + matrix[:, 3]
  face_map, nearness = zbuffer.buffers(_SHADOW_TEXELS, _SHADOW_TEXELS)
  zbuffer.rasterize(points, faces, face_map, nearness)
  return nearness
