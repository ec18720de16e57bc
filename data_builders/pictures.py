"""Whether the files of pictures are whole, without decoding them."""

from __future__ import annotations

import pathlib

from data_builders.schema import picture_size
from jaxhands.schema import SchemaError

# Of JPEG and of PNG: how a file begins, what it ends with.
_KINDS = {".jpg": (b"\xff\xd8", b"\xff\xd9", "JPEG"), ".png": (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82", "PNG")}
_HEADER_BYTES = 4096
_PADDING_BYTES = 32  # that some writers leave behind the end


def picture_fault(path: pathlib.Path) -> tuple[str, str] | None:
  """Kind of problem and detail of a picture that is missing or cut; None when its file is whole.

  Only the first and last bytes are read: a JPEG or PNG that was cut lacks its end mark. Which it is, its name says.
  """
  begins, ends, name = _KINDS[".png" if path.suffix.lower() == ".png" else ".jpg"]
  try:
    with path.open("rb") as file:
      start = file.read(_HEADER_BYTES)
      size = file.seek(0, 2)
      file.seek(max(0, size - _PADDING_BYTES))
      end = file.read()
    if not size:
      return "cut picture", "empty file"
    if not start.startswith(begins):
      return "cut picture", f"no {name}"
    if ends not in end:
      return "cut picture", f"no end mark after {size:,} bytes"
    if not (_has_size(start) or _has_size(path.read_bytes())):
      return "cut picture", "its header is damaged"
  except FileNotFoundError:
    return "missing picture", ""
  except OSError as error:
    return "cut picture", error.strerror or str(error)
  return None


def _has_size(encoded: bytes) -> bool:
  try:
    return min(picture_size(encoded)) > 0
  except SchemaError:
    return False
