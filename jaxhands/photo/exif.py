"""What a picture's EXIF says of its lens; a few fields are read, and whatever is odd is passed over."""

from __future__ import annotations

import math
import struct

FILM_DIAGONAL_MM = math.hypot(36, 24)
_FOCAL_MM, _FOCAL_35MM, _EXIF_IFD = 0x920A, 0xA405, 0x8769
_PLANE_X, _PLANE_Y, _PLANE_UNIT = 0xA20E, 0xA20F, 0xA210
_WIDTH, _HEIGHT = 0xA002, 0xA003
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0}
_MAX_ENTRIES = 512


def focal_px(content: bytes, width: int, height: int) -> float | None:
  """Focal length in pixels of a picture of this size; None where the file does not say.

  From the equivalent on 35 mm film, whose diagonal is the picture's; else from the focal length and the sensor's
  pixels per unit, if the picture still has the sensor's size (width and height may have been exchanged).
  """
  tags = _tags(content)
  film = tags.get(_FOCAL_35MM, 0)
  if film > 0:
    return film * math.hypot(width, height) / FILM_DIAGONAL_MM
  focal, per_unit = tags.get(_FOCAL_MM, 0), tags.get(_PLANE_X, 0)
  unit = _UNIT_MM.get(int(tags.get(_PLANE_UNIT, 2)))
  sizes = {int(tags.get(_WIDTH, 0)), int(tags.get(_HEIGHT, 0))}
  if focal > 0 and per_unit > 0 and unit and sizes == {width, height}:
    return focal * per_unit / unit
  return None


def _tags(content: bytes) -> dict[int, float]:
  """Numbers of the first and of the EXIF directory of a JPEG or PNG."""
  tiff = _tiff(content)
  if tiff is None or tiff[:2] not in (b"II", b"MM") or len(tiff) < 8:
    return {}
  order = "<" if tiff[:2] == b"II" else ">"
  found = _directory(tiff, struct.unpack(f"{order}I", tiff[4:8])[0], order)
  if _EXIF_IFD in found:
    found |= _directory(tiff, int(found[_EXIF_IFD]), order)
  return found


def _tiff(content: bytes) -> bytes | None:
  if content.startswith(b"\x89PNG"):
    at = content.find(b"eXIf")
    return None if at < 4 else content[at + 4 : at + 4 + struct.unpack(">I", content[at - 4 : at])[0]]
  at = content.find(b"Exif\0\0", 0, 1 << 16) if content.startswith(b"\xff\xd8") else -1
  return None if at < 0 else content[at + 6 : at + 6 + (1 << 16)]


def _directory(tiff: bytes, at: int, order: str) -> dict[int, float]:
  found: dict[int, float] = {}
  if not 8 <= at <= len(tiff) - 2:
    return found
  (count,) = struct.unpack(f"{order}H", tiff[at : at + 2])
  for index in range(min(count, _MAX_ENTRIES)):
    entry = tiff[at + 2 + 12 * index : at + 14 + 12 * index]
    if len(entry) < 12:
      break
    tag, kind, number = struct.unpack(f"{order}HHI", entry[:8])
    if number != 1:
      continue
    if kind == 3:
      found[tag] = float(struct.unpack(f"{order}H", entry[8:10])[0])
    elif kind == 4:
      found[tag] = float(struct.unpack(f"{order}I", entry[8:12])[0])
    elif kind in (5, 10):
      (place,) = struct.unpack(f"{order}I", entry[8:12])
      if place + 8 <= len(tiff):
        above, below = struct.unpack(f"{order}{'II' if kind == 5 else 'ii'}", tiff[place : place + 8])
        found[tag] = above / below if below else 0.0
  return found
