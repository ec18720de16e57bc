"""Creases of the palm and the fingers, wrinkles over the knuckles, veins: pictures in skin coordinates, drawn once."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
from jaxtyping import Float, Float32

from jaxhands.hands import skeleton

_TEXEL_MM = 0.6
_MARGIN_MM = 60.0  # of forearm behind the wrist, and around
_SUBTEXEL_BITS = 4
# Lines of the palm and veins of the back: x from the wrist (0) to the knuckles (1), y from little (-1) to index (1).
_PALM_LINES = (
  ((0.74, -1.35), (0.73, -0.9), (0.77, -0.4), (0.88, 0.05), (1.02, 0.35)),
  ((0.79, 1.25), (0.76, 0.8), (0.66, 0.25), (0.57, -0.3), (0.45, -0.85)),
  ((0.79, 1.25), (0.72, 0.9), (0.56, 0.52), (0.38, 0.3), (0.2, 0.26), (0.06, 0.4)),
)
_WRIST_LINES = (((-0.06, -1.0), (-0.09, 0.0), (-0.05, 1.0)), ((-0.14, -1.0), (-0.16, 0.0), (-0.13, 1.0)))
_VEINS = (
  ((0.9, 0.5), (0.7, 0.45), (0.5, 0.1), (0.2, 0.2), (-0.5, 0.4)),
  ((0.9, -0.2), (0.7, -0.15), (0.5, 0.1)),
  ((0.9, -0.75), (0.65, -0.7), (0.4, -0.45), (0.2, -0.5), (-0.5, -0.2)),
  ((0.7, -0.15), (0.55, -0.6)),
)


@dataclasses.dataclass(frozen=True, eq=False)
class SkinMarks:
  """`strength[side, x, y, kind]` 0..1: side 0 back, 1 palm; kind 0 line, 1 vein. Texel (0, 0) lies at `origin_mm`."""

  strength: Float32[np.ndarray, "2 X Y 2"]
  origin_mm: Float32[np.ndarray, " 2"]
  texel_mm: float


def draw_marks(
  skin_mm: Float[np.ndarray, "V 3"], joints_mm: Float[np.ndarray, "16 3"], tips_mm: Float[np.ndarray, "5 3"]
) -> SkinMarks:
  """The marks of a hand, from its vertices, joints (MANO's order) and finger tips, all in skin coordinates."""
  low, high = skin_mm[:, :2].min(0) - _MARGIN_MM, skin_mm[:, :2].max(0) + _MARGIN_MM
  size = np.ceil((high - low) / _TEXEL_MM).astype(int)
  # OpenCV's x runs along the second axis: y of the skin.
  back, palm, veins, palm_veins = (np.zeros(tuple(size), np.uint8) for _ in range(4))

  def line(picture: np.ndarray, points_mm: np.ndarray, width_mm: float, strength: float) -> None:
    """A line that fades at both ends."""
    texels = ((points_mm[:, ::-1] - low[::-1]) / _TEXEL_MM * 2**_SUBTEXEL_BITS).round().astype(np.int32)
    fade = np.sin(np.linspace(0, np.pi, len(texels) + 1)[1:-1]) ** 0.5
    drawn, width = np.zeros_like(picture), max(1, round(width_mm / _TEXEL_MM))
    for start, end, share in zip(texels, texels[1:], fade, strict=False):
      cv2.line(drawn, start.tolist(), end.tolist(), 255.0 * strength * share, width, cv2.LINE_AA, _SUBTEXEL_BITS)
    np.maximum(picture, drawn, out=picture)

  joint = {name: place[:2] for name, place in zip(skeleton.MANO_JOINT_NAMES, joints_mm, strict=True)}
  for finger, tip in zip(("index", "middle", "little", "ring", "thumb"), tips_mm[:, :2], strict=True):
    base, middle, end = (joint[f"{finger}{i}"] for i in (1, 2, 3))
    thumb = finger == "thumb"
    for place, ahead in ((base + (middle - base) * (0.9 if thumb else 0.52), middle - base), (middle, end - base)):
      line(palm, _across(place, ahead, 8.0), 0.6, 0.9)
    line(palm, _across(middle - _unit(end - base) * 1.6, end - base, 7.0), 0.6, 0.5)
    line(palm, _across(end, tip - middle, 7.0), 0.6, 0.8)
    for offset, strength in ((-3.2, 0.45), (-1.4, 0.8), (0.4, 0.9), (2.0, 0.7), (3.6, 0.4)):
      line(back, _across(middle + _unit(end - base) * offset, end - base, 5.5), 0.6, strength * (0.6 if thumb else 1))
    for offset, strength in ((-1.0, 0.5), (0.6, 0.6), (2.0, 0.35)):
      line(back, _across(end + _unit(tip - middle) * offset, tip - middle, 4.5), 0.6, strength)

  reach = joint["middle1"][0]
  half = np.abs(joint["index1"][1] - joint["little1"][1]) / 2
  centre = (joint["index1"][1] + joint["little1"][1]) / 2

  def on_palm(points: tuple[tuple[float, float], ...]) -> np.ndarray:
    return _curve(np.array(points) * (reach, half) + (0.0, centre))

  for points in _PALM_LINES:
    line(palm, on_palm(points), 0.6, 1.0)
  for points in _WRIST_LINES:
    line(palm, on_palm(points), 0.6, 0.6)
  for points in _VEINS:
    line(veins, on_palm(points), 3.0, 1.0)

  def soft(picture: np.ndarray, blur_mm: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), blur_mm / _TEXEL_MM).astype(np.float32) / 255

  strength = np.stack(
    [
      np.stack([soft(back, 0.4), soft(veins, 1.2)], axis=-1),
      np.stack([soft(palm, 0.4), soft(palm_veins, 1.2)], axis=-1),
    ]
  )
  return SkinMarks(np.ascontiguousarray(strength), low.astype(np.float32), _TEXEL_MM)


def _unit(v: np.ndarray) -> np.ndarray:
  return v / np.linalg.norm(v)


def _across(place: np.ndarray, ahead: np.ndarray, half_mm: float) -> np.ndarray:
  """A short line over a finger at `place`, slightly bowed towards the tip."""
  ahead = _unit(ahead)
  side = np.array([-ahead[1], ahead[0]])
  t = np.linspace(-1, 1, 11)[:, None]
  return place + side * half_mm * t + ahead * 0.8 * (1 - t**2)


def _curve(points: np.ndarray, samples: int = 24) -> np.ndarray:
  """A smooth curve through the points (Catmull-Rom)."""
  padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
  t = np.linspace(0, 1, samples, endpoint=False)[:, None]
  pieces = [
    0.5 * ((2 * b) + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False)
  ]
  return np.concatenate([*pieces, points[-1:]])
