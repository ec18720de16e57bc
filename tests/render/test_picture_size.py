"""Sizes by heads, beside what OpenCV makes of the same bytes."""

import io
import pathlib
import struct
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from jaxhands.render import picture_size

_FORMAT = b"FORMAT=32-bit_rle_rgbe\n"
_PIXELS = bytes([1, 2, 3, 4]) * 1000
_REST = b"DEPTH 1\nMAXVAL 255\nENDHDR\n"
HEADS = {
  "PFM": b"PF\n12 9\n-1.0\n",
  "PAM": b"P7\nWIDTH 12\nHEIGHT 9\n" + _REST,
  "PAM with a comment": b"P7\n# of a program\nDEPTH 1\nWIDTH 12\nHEIGHT 9\nMAXVAL 255\nENDHDR\n",
  "Radiance": b"#?RADIANCE\n" + _FORMAT + b"\n-Y 9 +X 12\n",
  "RGBE": b"#?RGBE\n" + _FORMAT + b"EXPOSURE=1\n\n-Y 9 +X 12\n",
  "Radiance with another size above": b"#?RADIANCE\n-Y 8 +X 8\n" + _FORMAT + b"\n-Y 9 +X 12\n",
  "Radiance with a line of 127 bytes": b"#?RADIANCE\n" + _FORMAT + b"#" * 127 + b"\n-Y 9 +X 12\n\n-Y 8 +X 8\n",
  "Radiance with a long first line": b"#?RADIANCE" + b" " * 130 + b"\n" + _FORMAT + b"\n-Y 9 +X 12\n",
  "Radiance without blanks": b"#?RADIANCE\n" + _FORMAT + b"\n-Y9+X+12\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_the_size_is_that_which_opencv_reads(head):
  decoded = cv2.imdecode(np.frombuffer(head + _PIXELS, np.uint8), cv2.IMREAD_UNCHANGED)
  assert decoded.shape[:2] == (9, 12)
  assert picture_size.of_opencv(head + _PIXELS) == (12, 9)


@pytest.mark.parametrize(
  "head",
  [
    b"P7\nHEIGHT 30000\nWIDTH 30000\n" + _REST + b"WIDTH 8\nHEIGHT 8\n",
    b"P7\nHEIGHT 30000\n# a\rWIDTH 30000\nDEPTH 1\nMAXVAL 255\nENDHDR\nWIDTH 8\nHEIGHT 8\n",
    b"#?RADIANCE\n" + _FORMAT + b"-Y 8 +X 8\n",
    b"\x89PNG\r\n\x1a\n",
    b"",
  ],
)
def test_what_says_no_size_where_it_belongs_has_none(head):
  assert picture_size.of_opencv(head + bytes(99)) is None


def _saved(kind, side=60):
  stream = io.BytesIO()
  Image.new("RGB", (side, 40), "brown").save(stream, kind)
  return stream.getvalue()


def _with_side(content, at, packed):
  return content[:at] + packed + content[at + len(packed) :]


def _large(width, height):
  """Files that say that they are so large."""
  png, jpeg = _saved("PNG"), _saved("JPEG")
  big = _with_side(png, 16, struct.pack(">II", width, height))
  return {
    "a.png": big,
    "damaged.png": big[:33] + struct.pack(">I", 1) + b"tEXtx????" + big[33:],
    "a.jpg": _with_side(jpeg, jpeg.index(b"\xff\xc0") + 5, struct.pack(">HH", height, width)),
    "a.bmp": _with_side(_saved("BMP"), 18, struct.pack("<ii", width, height)),
    "a.hdr": b"#?RADIANCE\n-Y 8 +X 8\n" + _FORMAT + f"\n-Y {height} +X {width}\n".encode() + bytes(99),
    "a.pam": f"P7\nWIDTH {width}\nHEIGHT {height}\n".encode() + _REST + bytes(99),
  }


@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (12_000, 9_000), (30_000, 30_000)])
def test_over_a_hundred_megapixels_are_refused(width, height):
  for name, content in _large(width, height).items():
    with pytest.raises(ValueError, match=rf"{name} has over 100 megapixels; make it smaller"):
      picture_size.check(pathlib.Path(name), io.BytesIO(content))


def test_all_else_is_for_the_decoder(tmp_path):
  others = {kind: _saved(kind) for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")}
  others |= {"empty": b"", "text": b"hands", "head.png": b"\x89PNG\r\n\x1a\n", "cut.jpg": _saved("JPEG")[:20]}
  for name, content in (others | _large(10_000, 10_000)).items():
    (tmp_path / name).write_bytes(content)
  with warnings.catch_warnings():
    warnings.simplefilter("error")  # Pillow's, of 90 megapixels
    picture_size.check_all(sorted(tmp_path.iterdir()))
