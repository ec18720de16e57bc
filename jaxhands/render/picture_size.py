"""How large a picture is, by its head: what is too large for the memory is refused before it is decoded."""

from __future__ import annotations

import io
import pathlib
import re
import struct
import warnings
from collections.abc import Iterable

from PIL import Image

File = io.BufferedReader | io.BytesIO
MAX_PIXELS = 100_000_000
HEAD_BYTES = 512
# Pillow's readers of pictures with a head that is known by its first bytes; others run programs, or guess.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "SUN")
PNG = b"\x89PNG\r\n\x1a\n"
# OpenCV takes a Radiance picture's size from the line behind the first empty one, and reads by 127 bytes at most.
_RADIANCE_LINE = rb"(?:[^\n]{127}|[^\n]{1,126}\n)"
_OF_OPENCV = (
  re.compile(rb"PF\s+(?P<width>\d+)\s+(?P<height>\d+)\s"),
  re.compile(rb"P7\n(?:(?:#|DEPTH|MAXVAL|TUPLTYPE)[^\r\n]*\n)*WIDTH +(?P<width>\d+)\nHEIGHT +(?P<height>\d+)\n"),
  re.compile(rb"(?=#\?)" + _RADIANCE_LINE + rb"+\n-Y[ \t]*\+?(?P<height>\d+)[ \t]*\+X[ \t]*\+?(?P<width>\d+)[ \t]*\n"),
)


def of_opencv(head: bytes) -> tuple[int, int] | None:
  """Width and height of what OpenCV reads and Pillow does not: floats as colours, PAM, Radiance; None of all else."""
  found = next((found for kind in _OF_OPENCV if (found := kind.match(head))), None)
  return None if found is None else (int(found["width"]), int(found["height"]))


def check(path: pathlib.Path, file: File) -> None:
  """Refuses a picture that is too large; what is none, or has a damaged head, is for the decoder.

  Args:
    path: that is named.
    file: the picture's, at its beginning; it is read from.
  Raises:
    ValueError: it has over 100 megapixels.
  """
  head = file.read(HEAD_BYTES)
  size = of_opencv(head)
  if head.startswith(PNG) and len(head) >= 24:  # of which OpenCV reads more than Pillow does
    size = struct.unpack(">II", head[16:24])
  if size is None:
    size = _by_pillow(file)
  if size is not None and size[0] * size[1] > MAX_PIXELS:
    raise ValueError(f"{path} has over {MAX_PIXELS // 10**6} megapixels; make it smaller")


def check_all(paths: Iterable[pathlib.Path]) -> None:
  """Refuses files as `check` does.

  Raises:
    OSError: one cannot be opened.
    ValueError: one has over 100 megapixels.
  """
  for path in paths:
    with path.open("rb") as file:
      check(path, file)


def _by_pillow(file: File) -> tuple[int, int] | None:
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # of sizes that are checked here
      file.seek(0)
      with Image.open(file, formats=FORMATS) as image:
        return image.size
  except Image.DecompressionBombError:
    return MAX_PIXELS + 1, 1  # or more: Pillow does not say
  except Exception:  # a decoder raises whatever a damaged file makes it raise
    return None
