"""Reads pictures as people have them: grey, RGBA, 16 bit, turned by EXIF; what is broken gets one clear line."""

from __future__ import annotations

import dataclasses
import pathlib
import struct
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from jaxhands.photo import exif

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
VIDEOS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"})
MAX_PIXELS = 100_000_000
MIN_SIDE = 8
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_JPEG_END = b"\xff\xd9"
# Markers without a length; those of a frame, which has height and width.
_BARE = {0x01, *range(0xD0, 0xD9)}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


class BadPicture(ValueError):
  """A file cannot be used; the message names it and says why."""


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
  """RGB pixels as they are looked at, and what the file says of the lens.

  Attributes:
    path: of the file.
    pixels: uint8 [H, W, 3].
    focal_px: focal length by EXIF, in pixels; None = the file does not say.
  """

  path: pathlib.Path
  pixels: np.ndarray
  focal_px: float | None


def find(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
  """Files that are given, and those in folders that are given (pictures and videos by their names, in order).

  Raises:
    FileNotFoundError: a path that is not there.
    BadPicture: a folder without pictures or videos.
  """
  found: list[pathlib.Path] = []
  for path in paths:
    if path.is_dir():
      inside = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES | VIDEOS and file.is_file())
      if not inside:
        raise BadPicture(f"{path}: it is a folder without pictures or videos ({', '.join(sorted(PICTURES | VIDEOS))})")
      found += inside
    elif path.exists():
      found.append(path)
    else:
      raise FileNotFoundError(f"there is no picture, folder or video {path}")
  return list(dict.fromkeys(found))


def is_video(path: pathlib.Path) -> bool:
  """By its name."""
  return path.suffix.lower() in VIDEOS


def read(path: pathlib.Path) -> Picture:
  """Reads one picture.

  16 bit become 8, grey becomes RGB, what is transparent lies on white, and EXIF's orientation is followed.

  Raises:
    BadPicture: no file, empty, cut, no picture, over 100 megapixels, or smaller than 8 pixels a side.
  """
  try:
    content = path.read_bytes()
  except OSError as error:
    raise BadPicture(f"{path}: it cannot be read: {error.strerror}") from error
  if not content:
    raise BadPicture(f"{path}: it is empty")
  size = _announced(content)
  if size is not None:
    _check_size(path, *size)
  if _is_cut(content):
    raise BadPicture(f"{path}: it is cut short; copy it again")
  transparent = content.startswith(_PNG) and len(content) > 25 and content[25] in (4, 6)
  flags = cv2.IMREAD_UNCHANGED if transparent else cv2.IMREAD_COLOR
  try:
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
  except cv2.error as error:
    raise BadPicture(f"{path}: it cannot be decoded: {' '.join(str(error).split())}") from error
  if decoded is None:
    raise BadPicture(f"{path}: {_what(content)}")
  _check_size(path, decoded.shape[1], decoded.shape[0])
  pixels = _on_white(decoded) if transparent else cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
  return Picture(path, pixels, exif.focal_px(content, pixels.shape[1], pixels.shape[0]))


def _check_size(path: pathlib.Path, width: int, height: int) -> None:
  if width * height > MAX_PIXELS:
    raise BadPicture(f"{path}: {width} x {height} pixels are over {MAX_PIXELS // 10**6} megapixels; make it smaller")
  if min(width, height) < MIN_SIDE:
    raise BadPicture(f"{path}: {width} x {height} pixels show no hand; at least {MIN_SIDE} a side are needed")


def _on_white(decoded: np.ndarray) -> np.ndarray:
  """Pixels [H, W, 3] (RGB) of what OpenCV decoded with its alpha, 8 or 16 bit, colour or grey."""
  if decoded.dtype == np.uint16:
    decoded = (decoded >> 8).astype(np.uint8)
  if decoded.ndim == 2 or decoded.shape[2] == 3:
    return cv2.cvtColor(decoded, cv2.COLOR_GRAY2RGB if decoded.ndim == 2 else cv2.COLOR_BGR2RGB)
  colours, alpha = decoded[..., :-1], decoded[..., -1:].astype(np.uint16)
  blended = ((colours * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)
  return np.repeat(blended, 3, -1) if blended.shape[2] == 1 else cv2.cvtColor(blended, cv2.COLOR_BGR2RGB)


def _announced(content: bytes) -> tuple[int, int] | None:
  """Width and height by the head of a PNG or JPEG, so that nothing huge is decoded; None = not found."""
  if content.startswith(_PNG) and len(content) >= 24:
    width, height = struct.unpack(">II", content[16:24])
    return width, height
  for marker, at, _ in _segments(content):
    if marker in _FRAMES and at + 9 <= len(content):
      height, width = struct.unpack(">HH", content[at + 5 : at + 9])
      return width, height
  return None


def _segments(content: bytes) -> Iterator[tuple[int, int, int]]:
  """Marker, position and end of each segment of a JPEG up to its pixels."""
  if not content.startswith(_JPEG):
    return
  at = 2
  while at + 4 <= len(content) and content[at] == 0xFF:
    marker = content[at + 1]
    if marker == 0xFF:  # padding
      at += 1
      continue
    length = 0 if marker in _BARE else struct.unpack(">H", content[at + 2 : at + 4])[0]
    yield marker, at, at + 2 + length
    if marker == 0xDA:
      return
    at += 2 + length


def _is_cut(content: bytes) -> bool:
  """Whether the end of a JPEG or PNG is missing; decoders fill the rest with grey and say nothing."""
  if content.startswith(_PNG):
    return b"IEND" not in content[-64:] and content.rfind(b"IEND") < 0
  if not content.startswith(_JPEG):
    return False
  pixels = next((end for marker, _, end in _segments(content) if marker == 0xDA), None)
  return pixels is None or content.find(_JPEG_END, pixels) < 0


def _what(content: bytes) -> str:
  text = content[:512]
  if all(byte in b"\t\r\n" or byte >= 32 for byte in text) and _is_text(text):
    return "it is a text, not a picture"
  return "it is no picture that can be decoded"


def _is_text(head: bytes) -> bool:
  try:
    head.decode()
  except UnicodeDecodeError as error:
    return error.start > len(head) - 4
  return True
