"""What a camera makes of light: blur, exposure, white balance, noise, monochrome sensors, the gamma curve."""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from jaxhands.geometry.compiled import kernel
from jaxhands.render.skin import srgb_from_linear

_NOISE_SIDE = 512
_NOISE_SEED = 11
_CURVE = 4096  # steps of the gamma curve's table


@dataclasses.dataclass(frozen=True)
class Sensor:
  """`jpeg_quality` is for whoever encodes the picture: the artefacts come with the encoding."""

  exposure: float = 1.0
  white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
  monochrome: bool = False
  defocus_px: float = 0.0  # standard deviation
  motion_px: tuple[float, float] = (0.0, 0.0)  # way of the picture during the exposure
  read_noise: float = 0.0  # standard deviation in linear light
  shot_noise: float = 0.0  # standard deviation at white, grows with the root of the light
  noise_shift: tuple[int, int] = (0, 0)
  jpeg_quality: int = 95


def sample_sensor(rng: np.random.Generator, studio: bool = False) -> Sensor:
  """A camera's settings; `studio`: like a capture stage's (darker, often greenish or monochrome)."""
  monochrome = bool(rng.uniform() < (0.35 if studio else 0.06))
  warm, green = rng.normal(0, 0.035), rng.normal(0.0, 0.02)  # what balancing leaves
  if studio:
    warm, green = rng.normal(0.12, 0.08), abs(rng.normal(0.0, 0.06))
  speed = 0.0 if rng.uniform() < 0.7 else rng.uniform(1.0, 7.0)
  angle = rng.uniform(0, 2 * np.pi)
  exposure = np.exp(rng.normal(-0.4, 0.3) if studio else rng.normal(0.0, 0.25))
  return Sensor(
    exposure=float(exposure),
    white_balance=(float(np.exp(warm)), float(np.exp(green)), float(np.exp(-1.5 * warm))),
    monochrome=monochrome,
    defocus_px=float(max(0.0, rng.normal(0.45, 0.35))),
    motion_px=(float(speed * np.cos(angle)), float(speed * np.sin(angle))),
    read_noise=float(rng.uniform(0.0002, 0.0015)),
    shot_noise=float(rng.uniform(0.002, 0.022)),
    noise_shift=(int(rng.integers(_NOISE_SIDE)), int(rng.integers(_NOISE_SIDE))),
    jpeg_quality=int(rng.integers(70, 97)),
  )


def develop(linear: Float32[np.ndarray, "h w 3"], sensor: Sensor) -> UInt8[np.ndarray, "h w 3"]:
  """The picture, sRGB. Two pictures that agree in a region agree there afterwards: the noise is the sensor's own."""
  linear = _blurred(linear, sensor)
  height, width = linear.shape[:2]
  gain = np.tile(np.float32(sensor.exposure) * np.array(sensor.white_balance, np.float32), width)
  picture = np.empty((height, 3 * width), np.uint8)
  _develop(
    np.ascontiguousarray(linear).reshape(height, 3 * width), gain, sensor.monochrome,
    np.float32(sensor.read_noise), np.float32(sensor.shot_noise),
    _noise(), sensor.noise_shift[0], 3 * sensor.noise_shift[1], _curve(), picture,
  )  # fmt: skip
  return picture.reshape(height, width, 3)


def _blurred(linear: np.ndarray, sensor: Sensor) -> np.ndarray:
  way = np.array(sensor.motion_px)
  if np.abs(way).max() >= 1:
    half = int(np.ceil(np.abs(way).max() / 2))
    line = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    for t in np.linspace(-0.5, 0.5, 8 * half + 1):
      x, y = way * t + half
      i, j = int(y), int(x)
      for row, column, share in ((i, j, (1 - y + i) * (1 - x + j)), (i, j + 1, (1 - y + i) * (x - j)),
                                 (i + 1, j, (y - i) * (1 - x + j)), (i + 1, j + 1, (y - i) * (x - j))):  # fmt: skip
        if share > 0:
          line[row, column] += share
    linear = cv2.filter2D(linear, -1, line / line.sum(), borderType=cv2.BORDER_REFLECT)
  if sensor.defocus_px > 0.2:
    linear = cv2.GaussianBlur(linear, (0, 0), sensor.defocus_px, borderType=cv2.BORDER_REFLECT)
  return linear


@kernel
def _develop(linear, gain, monochrome, read_noise, shot_noise, noise, shift_y, shift_x, curve, picture):
  """Rows of red, green, blue, ...; whole rows at a time, which the compiler turns into wide instructions."""
  height, width = linear.shape
  steps = np.float32(curve.shape[0] - 1)
  light, draws, step = np.empty(width, np.float32), np.empty(width, np.float32), np.empty(width, np.int32)
  for y in range(height):
    row = noise[(y + shift_y) & (noise.shape[0] - 1)]
    at, start = 0, shift_x % row.shape[0]
    while at < width:  # the noise repeats
      count = min(width - at, row.shape[0] - start)
      draws[at : at + count] = row[start : start + count]
      at, start = at + count, 0
    if monochrome:
      for x in range(0, width, 3):
        grey = (
          np.float32(0.25) * linear[y, x] + np.float32(0.5) * linear[y, x + 1] + np.float32(0.25) * linear[y, x + 2]
        ) * gain[1]
        light[x], light[x + 1], light[x + 2] = grey, grey, grey
        draws[x + 1], draws[x + 2] = draws[x], draws[x]
    else:
      for x in range(width):
        light[x] = linear[y, x] * gain[x]
    for x in range(width):
      value = light[x] + draws[x] * (read_noise + shot_noise * np.sqrt(light[x]))
      step[x] = np.int32(min(np.float32(1.0), max(np.float32(0.0), value)) * steps + np.float32(0.5))
    for x in range(width):
      picture[y, x] = curve[step[x]]


@functools.cache
def _noise() -> Float32[np.ndarray, "S N"]:
  return np.random.default_rng(_NOISE_SEED).standard_normal((_NOISE_SIDE, 3 * _NOISE_SIDE), np.float32)


@functools.cache
def _curve() -> UInt8[np.ndarray, " T"]:
  light = np.linspace(0, 1, _CURVE)
  return np.rint(srgb_from_linear(light)).astype(np.uint8)
