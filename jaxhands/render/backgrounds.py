"""Backgrounds drawn from a seed, in families; each split has families of its own, and `other` has unseen ones.

Light is what cameras record, so these are sRGB pictures. Families named `studio...` look like a capture stage: nearly
black, with lamps or a rig.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from jaxhands.render import picture_size

Picture = UInt8[np.ndarray, "h w 3"]
_Drawer = Callable[[np.random.Generator, int, int], np.ndarray]
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
SPLITS = ("train", "val", "test", "other")


def sample_background(
  rng: np.random.Generator,
  height: int,
  width: int,
  split: str = "train",
  photos: tuple[pathlib.Path, ...] = (),
  photo_share: float = 0.3,
) -> tuple[Picture, str]:
  """A background of a family of the split, and the family's name (`photo` for a photo).

  Args:
    rng: source of chance.
    height, width: size in px.
    split: one of `SPLITS`.
    photos: the split's photos, as `photos_of_split` gives them.
    photo_share: how often a photo is taken where there are any.
  Raises:
    KeyError: an unknown split.
    ValueError: a photo that cannot be read, or has over 100 megapixels.
  """
  families = FAMILIES[split]
  if photos and rng.uniform() < photo_share:
    return _photo(rng, height, width, photos[int(rng.integers(len(photos)))]), "photo"
  name = sorted(families)[int(rng.integers(len(families)))]
  return _bytes(families[name](rng, height, width)), name


def photos_in(folder: pathlib.Path) -> list[pathlib.Path]:
  """The files of a folder and its sub-folders that are called as photos, sorted; no folders, no links to nothing."""
  named = (path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
  return sorted(path for path in named if os.path.isfile(path))  # pathlib's fails where one may not look


def photos_of_split(folder: pathlib.Path, split: str) -> tuple[pathlib.Path, ...]:
  """The photos of a folder (and its sub-folders) that belong to a split: about 70 % train, 10 % each of the others.

  A photo's split depends on its bytes only, so that copies under other names stay in their split.

  Raises:
    FileNotFoundError: the folder has no photo.
    KeyError: an unknown split.
  """
  if split not in FAMILIES:
    raise KeyError(f"unknown split {split!r}; there are {SPLITS}")
  paths = photos_in(folder)
  if not paths:
    raise FileNotFoundError(f"{folder} has no photo ({', '.join(PHOTO_SUFFIXES)})")
  return tuple(path for path in paths if _split_of(path) == split)


def read_picture(path: pathlib.Path, flags: int) -> np.ndarray | None:
  """What `cv2.imread` gives; None where a file cannot be read. OpenCV itself crashes on a name that is not UTF-8.

  Raises:
    ValueError: it has over 100 megapixels.
  """
  try:
    with path.open("rb") as file:
      picture_size.check(path, file)
      file.seek(0)
      return cv2.imdecode(np.frombuffer(file.read(), np.uint8), flags)
  except (OSError, cv2.error):  # it has gone; it is empty, or too large for OpenCV
    return None


def _split_of(path: pathlib.Path) -> str:
  tenth = hashlib.sha256(path.read_bytes()).digest()[0] * 10 // 256
  return {7: "val", 8: "test", 9: "other"}.get(tenth, "train")


def _photo(rng: np.random.Generator, height: int, width: int, path: pathlib.Path) -> np.ndarray:
  """A crop of a photo, perhaps mirrored, its colours a little changed."""
  photo = read_picture(path, cv2.IMREAD_COLOR)
  if photo is None:
    raise ValueError(f"cannot read the photo {path}; remove it from the folder of backgrounds")
  rows, columns = photo.shape[:2]
  scale = rng.uniform(0.5, 1.0) * min(rows / height, columns / width)
  crop_rows, crop_columns = max(1, int(height * scale)), max(1, int(width * scale))
  y, x = int(rng.integers(rows - crop_rows + 1)), int(rng.integers(columns - crop_columns + 1))
  crop = cv2.resize(photo[y : y + crop_rows, x : x + crop_columns, ::-1], (width, height), interpolation=cv2.INTER_AREA)
  crop = crop[:, :: int(rng.choice([-1, 1]))]
  picture = crop * (rng.uniform(0.6, 1.15) * rng.uniform(0.9, 1.1, 3)) + rng.uniform(-15, 15)
  return np.clip(picture, 0, 255).astype(np.uint8)


def _colours(rng: np.random.Generator, count: int) -> Float32[np.ndarray, "N 3"]:
  """Colours, half of them quiet ones near grey, of all brightnesses."""
  grey = rng.uniform(10, 245, (count, 1))
  spread = rng.choice([12.0, 70.0])
  return np.clip(grey + rng.normal(0, spread, (count, 3)), 0, 255).astype(np.float32)


def _noise(rng: np.random.Generator, height: int, width: int, coarsest: int, octaves: int, decay: float) -> np.ndarray:
  """Smooth noise [h, w], mean about 0, standard deviation about 1; `coarsest` cells across."""
  total, weight = np.zeros((height, width), np.float32), 0.0
  for octave in range(octaves):
    cells = coarsest * 2**octave
    grid = rng.standard_normal((cells + 1, cells + 1), np.float32)
    total += decay**octave * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    weight += decay ** (2 * octave)
  return total / np.float32(np.sqrt(weight) * 0.7)


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
  """y [h, 1] and x [w] of the pixels, float32."""
  return np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)


def _mix(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
  """Between two colours, by a map [h, w] of 0..1."""
  return first + share[..., None].astype(np.float32) * (second - first)


def _ramp(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  """Linear map [h, w] from 0 to 1 across the picture in some direction."""
  angle = rng.uniform(0, 2 * np.pi)
  y, x = np.linspace(-1, 1, height, dtype=np.float32)[:, None], np.linspace(-1, 1, width, dtype=np.float32)
  return np.float32(np.cos(angle) / 2.83) * x + np.float32(np.sin(angle) / 2.83) * y + np.float32(0.5)


def _bytes(picture: np.ndarray) -> np.ndarray:
  """0..255 as bytes, which OpenCV blurs and enlarges several times faster than floats."""
  return picture if picture.dtype == np.uint8 else np.clip(picture, 0, 255).astype(np.uint8)


def _soft(draw: _Drawer) -> _Drawer:
  """The same at half the size, enlarged: for pictures without fine detail, at a quarter of the time; bytes."""

  def enlarged(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    small = _bytes(draw(rng, (height + 1) // 2, (width + 1) // 2))
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)

  return enlarged


def _clouds(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  a, b, c = _colours(rng, 3)
  coarse = _noise(rng, height, width, int(rng.integers(2, 6)), 5, rng.uniform(0.4, 0.8))
  fine = _noise(rng, height, width, int(rng.integers(4, 12)), 3, 0.6)
  picture = _mix(a, b, 1 / (1 + np.exp(-1.5 * coarse)))
  return _mix(picture, c, np.clip(0.3 * fine, 0, 0.6))


def _gradient(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  a, b = _colours(rng, 2)
  return _mix(a, b, _ramp(rng, height, width)) + 3 * _noise(rng, height, width, 3, 2, 0.5)[..., None]


def _polygons(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  picture = _soft(_gradient)(rng, height, width)
  for colour in _colours(rng, int(rng.integers(5, 18))):
    centre, radius = rng.uniform(0, (width, height)), rng.uniform(0.05, 0.5) * max(height, width)
    angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
    corners = centre + radius * rng.uniform(0.5, 1, (len(angles), 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
    cv2.fillPoly(picture, [corners.round().astype(np.int32)], colour.tolist(), cv2.LINE_8)
  return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 4.0))


def _dark(rng: np.random.Generator, height: int, width: int, level: float) -> np.ndarray:
  """The black of a stage: a little light, a little haze."""
  tint = np.clip(rng.uniform(0.3, 1.0) * level * (1 + rng.normal(0, 0.15, 3)), 0, 255).astype(np.float32)
  return np.maximum(0.0, tint * (1 + 0.5 * _noise(rng, height, width, 2, 3, 0.5)[..., None]))


def _dim(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  return _dark(rng, height, width, 10.0)


def _dim_person(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  return _body(rng, _dim(rng, height, width))


def _studio_lamps(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  """A grid of small bright lamps with glare before black, often a body in cloth at one side."""
  picture = _soft(_dim_person if rng.uniform() < 0.5 else _dim)(rng, height, width)
  light = np.zeros((height, width), np.float32)
  step, turn, lamp = rng.uniform(55, 110), rng.uniform(-0.3, 0.3), rng.uniform(2.0, 5.0)
  i, j = np.mgrid[-4:5, -4:5].reshape(2, -1)
  along, across = (np.stack([i + 0.5 * (j % 2), j]) * step) + rng.normal(0, 5, (2, i.size))
  x, y = (
    width / 2 + along * np.cos(turn) - across * np.sin(turn),
    height / 2 + along * np.sin(turn) + across * np.cos(turn),
  )
  shines = (rng.uniform(size=i.size) < 0.75) & (x > -9) & (x < width + 9) & (y > -9) & (y < height + 9)
  # Lamps hang behind the body.
  before = picture[np.clip(y, 0, height - 1).astype(int), np.clip(x, 0, width - 1).astype(int)].max(1) > 25
  for k in np.flatnonzero(shines & ~before):
    radius = lamp * rng.uniform(0.8, 1.2)
    cv2.circle(light, (round(16 * x[k]), round(16 * y[k])), round(16 * radius), 1.0, -1, cv2.LINE_AA, 4)
  glare = 260 * cv2.GaussianBlur(light, (0, 0), 0.8) + 120 * cv2.GaussianBlur(light, (0, 0), 4.0)
  return cv2.add(picture, cv2.cvtColor(_bytes(glare), cv2.COLOR_GRAY2RGB))


def _body(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
  """A torso in cloth, plain or checked, over a part of the picture."""
  height, width = picture.shape[:2]
  middle, half = rng.uniform(-0.1, 1.1) * width, rng.uniform(0.3, 0.6) * width
  left, right = middle - half, middle + half
  shape = np.array([[left, height], [left + rng.uniform(0, 20), -5], [right - rng.uniform(0, 20), -5], [right, height]])
  mask = np.zeros((height, width), np.float32)
  cv2.fillPoly(mask, [shape.round().astype(np.int32)], 1.0, cv2.LINE_8)
  a, b = _colours(rng, 2) * rng.uniform(0.15, 0.7)
  cloth = _mix(a, np.zeros(3, np.float32), np.clip(0.25 + 0.25 * _noise(rng, height, width, 3, 4, 0.6), 0, 0.8))
  if rng.uniform() < 0.4:
    y, x = _grid(height, width)
    period = rng.uniform(4, 15)
    checks = 0.5 * ((x + 3 * np.sin(y / 20)) % period < 0.4 * period) + 0.5 * (y % period < 0.4 * period)
    cloth = _mix(cloth, b, 0.8 * checks)
  return _mix(picture, cloth, cv2.GaussianBlur(mask, (0, 0), 1.0))


def _person(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  lit = rng.uniform() < 0.5
  return _body(rng, _gradient(rng, height, width) if lit else _dark(rng, height, width, 40.0))


def _desk(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  """Wood: long grain in one direction, with the gaps between boards."""
  angle = rng.uniform(0, np.pi)
  y, x = _grid(height, width)
  along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
  bend = _noise(rng, height, width, 2, 3, 0.5)
  rings = np.sin(across / rng.uniform(3, 9) + 3 * bend + 0.02 * along)
  dark = np.array([110.0, 72.0, 45.0], np.float32) * rng.uniform(0.4, 1.2)
  picture = _mix(dark, dark * rng.uniform(1.3, 1.9), 0.5 + 0.35 * rings + 0.1 * bend)
  board = rng.uniform(40, 120)
  gaps = np.exp(-(((across % board) - board / 2) ** 2) / 2.0)
  return picture * (1 - 0.6 * gaps[..., None]) * (0.8 + 0.4 * _ramp(rng, height, width)[..., None])


def _blobs(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  """Discs out of focus."""
  picture = np.full((height, width, 3), _colours(rng, 1)[0].astype(np.uint8))
  for colour in _colours(rng, int(rng.integers(8, 30))):
    place = rng.uniform(0, (width, height))
    cv2.circle(picture, (int(place[0]), int(place[1])), int(rng.uniform(8, 70)), colour.tolist(), -1, cv2.LINE_8)
  return cv2.GaussianBlur(picture, (0, 0), rng.uniform(4, 14))


def _stripes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  a, b = _colours(rng, 2)
  wave = np.sin(_ramp(rng, height, width) * rng.uniform(20, 120) + 0.8 * _noise(rng, height, width, 2, 2, 0.5))
  return _mix(a, b, 0.5 + 0.5 * np.tanh(rng.uniform(0.5, 4) * wave))


def _studio_haze(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  """Black with one or two soft lights from outside the picture."""
  picture = _dark(rng, height, width, 25.0)
  y, x = _grid(height, width)
  for colour in _colours(rng, int(rng.integers(1, 3))):
    place, radius = rng.uniform(-0.2, 1.2, 2) * (width, height), rng.uniform(40, 160)
    picture = picture + 0.4 * colour * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / radius**2)[..., None]
  return picture


def _room(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  """Walls and floor that meet in a corner, with a window or a picture frame or two."""
  floor, left, right = _colours(rng, 3)
  corner = rng.uniform(0.2, 0.8, 2) * (width, height)
  picture = np.ascontiguousarray(np.broadcast_to(left, (height, width, 3)), np.float32)
  slope = rng.uniform(0.05, 0.4, 2) * width
  cv2.rectangle(picture, (int(corner[0]), 0), (width, height), right.tolist(), -1)
  outline = [[0, corner[1] + slope[0]], corner, [width, corner[1] + slope[1]], [width, height], [0, height]]
  cv2.fillPoly(picture, [np.array(outline).round().astype(np.int32)], floor.tolist(), cv2.LINE_8)
  for colour in _colours(rng, int(rng.integers(0, 4))):
    at, size = rng.uniform(0, (width, corner[1])), rng.uniform(15, 90, 2)
    cv2.rectangle(picture, (int(at[0]), int(at[1])), (int(at[0] + size[0]), int(at[1] + size[1])), colour.tolist(), -1)
  light = 0.75 + 0.5 * _ramp(rng, height, width) + 0.04 * _noise(rng, height, width, 4, 4, 0.8)
  return cv2.GaussianBlur(picture * light[..., None], (0, 0), rng.uniform(0.6, 2.5))


def _studio_rig(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  """Grey bars of a rig before black."""
  picture = np.ascontiguousarray(_dark(rng, height, width, 18.0))
  for grey in rng.uniform(25, 110, int(rng.integers(3, 9))):
    a, b = rng.uniform(-0.1, 1.1, (2, 2)) * (width, height)
    thickness = int(rng.integers(2, 12))
    cv2.line(picture, (int(a[0]), int(a[1])), (int(b[0]), int(b[1])), (grey, grey, 1.05 * grey), thickness, cv2.LINE_8)
  return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.8, 2.5))


def _tiles(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  """Bricks or tiles with joints."""
  a, joint = _colours(rng, 2)
  y, x = _grid(height, width)
  tall, wide = rng.uniform(12, 50, 2)
  row = np.floor(y / tall)
  across = x / wide + 0.5 * (row % 2)
  shade = rng.uniform(0.75, 1.25, 4096)[((row * 57 + np.floor(across)) % 4096).astype(int)]
  gap = (y % tall < 2) | ((across % 1) * wide < 2)
  return _mix(a * shade[..., None].astype(np.float32), joint, gap) * (0.8 + 0.4 * _ramp(rng, height, width)[..., None])


def _leaves(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  """Many small ellipses over one another, like foliage or gravel."""
  base = _colours(rng, 1)[0]
  picture = np.full((height, width, 3), (base * 0.4).astype(np.uint8))
  count = int(rng.integers(120, 260))
  places, axes = rng.uniform(0, (width, height), (count, 2)), rng.uniform(4, 24, (count, 2))
  shades, turns = rng.uniform(0.4, 1.3, count), rng.uniform(0, 180, count)
  for (x, y), (a, b), shade, turn in zip(places, axes, shades, turns, strict=True):
    cv2.ellipse(picture, ((float(x), float(y)), (float(a), float(b)), float(turn)), (base * shade).tolist(), -1)
  return cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.6, 2.0))


def _rings(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  """Waves around a few centres."""
  a, b = _colours(rng, 2)
  y, x = _grid(height, width)
  wave = np.zeros((height, width), np.float32)
  for _ in range(int(rng.integers(1, 4))):
    place, length = rng.uniform(-0.2, 1.2, 2) * (width, height), rng.uniform(4, 20)
    wave += np.sin(np.hypot(x - place[0], y - place[1]) / length)
  return _mix(a, b, 0.5 + 0.5 * np.tanh(1.5 * wave))


FAMILIES: dict[str, dict[str, _Drawer]] = {
  "train": {
    "clouds": _soft(_clouds),
    "desk": _soft(_desk),
    "gradient": _soft(_gradient),
    "person": _soft(_person),
    "polygons": _polygons,
    "studio_lamps": _studio_lamps,
  },
  "val": {"blobs": _soft(_blobs), "stripes": _soft(_stripes), "studio_haze": _soft(_studio_haze)},
  "test": {"room": _room, "tiles": _tiles, "studio_rig": _studio_rig},
  "other": {"leaves": _leaves, "rings": _soft(_rings)},
}
