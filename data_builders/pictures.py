"""Whether the files of pictures are whole, and how large the pictures are, without decoding them."""

from __future__ import annotations

import pathlib

from data_builders.schema import picture_size
from jaxhands.schema import SchemaError

# Of JPEG and of PNG: how a file begins, what it ends with.
_KINDS = {".jpg": (b"\xff\xd8", b"\xff\xd9", "JPEG"), ".png": (b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82", "PNG")}
_HEADER_BYTES = 4096
_PADDING_BYTES = 32  # that some writers leave behind the end


Fault = tuple[str, str]


def look_at(path: pathlib.Path) -> tuple[Fault | None, tuple[int, int]]:
  """Kind of problem and detail of a picture that is missing or cut, None when its file is whole; and height and width.

  Only the first and last bytes are read: a JPEG or PNG that was cut lacks its end mark. Which it is, its name says. The
  size of what is not whole is (0, 0).
  """
  begins, ends, name = _KINDS[".png" if path.suffix.lower() == ".png" else ".jpg"]
  try:
    with path.open("rb") as file:
      start = file.read(_HEADER_BYTES)
      size = file.seek(0, 2)
      file.seek(max(0, size - _PADDING_BYTES))
      end = file.read()
    if not size:
      return ("cut picture", "empty file"), (0, 0)
    if not start.startswith(begins):
      return ("cut picture", f"no {name}"), (0, 0)
    if ends not in end:
      return ("cut picture", f"no end mark after {size:,} bytes"), (0, 0)
    hw = _size(start) or _size(path.read_bytes())
    return (None, hw) if hw else (("cut picture", "its header is damaged"), (0, 0))
  except FileNotFoundError:
    return ("missing picture", ""), (0, 0)
  except OSError as error:
    return ("cut picture", error.strerror or str(error)), (0, 0)


def _size(encoded: bytes) -> tuple[int, int] | None:
  try:
    hw = picture_size(encoded)
    return hw if min(hw) > 0 else None
  except SchemaError:
    return None
