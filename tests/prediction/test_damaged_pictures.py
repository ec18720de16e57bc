"""Files that are cut or changed on purpose: each is refused in a line that names it, and none stops the others."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from jaxhands.prediction import picture_files
from jaxhands.prediction.picture_files import BadPicture

_PNG = b"\x89PNG\r\n\x1a\n"


def _jpeg():
  stream = io.BytesIO()
  Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)).save(stream, "JPEG")
  return stream.getvalue()


def _refused(path, content, message):
  path.write_bytes(content)
  with pytest.raises(BadPicture, match=rf"{re.escape(str(path))}: {message}"):
    picture_files.read(path)


@pytest.mark.parametrize("length", range(9, 34))
def test_a_png_that_ends_in_its_head(length, tmp_path):
  chunk = b"\0\0\0\x11tRNS" + bytes(17)
  _refused(tmp_path / "a.png", (_PNG + chunk)[:length], "it is")


def test_what_the_mending_of_a_cut_picture_raises_does_not_matter(tmp_path, monkeypatch):
  def fail(content):
    raise SyntaxError("as decoders do")

  monkeypatch.setattr(picture_files, "_lacks_only_its_end", fail)
  _refused(tmp_path / "a.jpg", _jpeg()[:-2], "it is cut short; copy it again")


def test_what_opencv_raises_of_a_picture_is_a_line(tmp_path, monkeypatch):
  def fail(path, content, bits=16):
    raise MemoryError("no more")

  monkeypatch.setattr(picture_files, "_by_opencv", fail)
  _refused(tmp_path / "a.pfm", b"PF\n12 9\n-1.0\n" + bytes(12 * 9 * 12), "it cannot be decoded: no more")


@pytest.mark.parametrize(
  ("head", "message"),
  [
    (
      "#?RADIANCE\n-Y 40 +X 60\nFORMAT=32-bit_rle_rgbe\n\n-Y 9000 +X 12000\n",
      "12000 x 9000 pixels are over 50 megapixels; make it smaller",
    ),
    (
      "P7\nHEIGHT 9000\nWIDTH 12000\nDEPTH 1\nMAXVAL 255\nENDHDR\nWIDTH 60\nHEIGHT 40\n",
      "it is no picture that can be decoded$",
    ),
  ],
)
def test_a_size_where_opencv_does_not_look_is_none(head, message, tmp_path):
  _refused(tmp_path / "a.hdr", head.encode() + bytes(99), message)


@pytest.mark.parametrize("seed", range(8))
def test_changed_bytes_are_read_or_refused(seed, tmp_path):
  """Whatever decoders make of them."""
  rng = np.random.default_rng(seed)
  files, refused = [_jpeg()], []
  for kind in ("PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"):
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(stream, kind)
    files.append(stream.getvalue())
  for number, content in enumerate(files):
    changed = bytearray(content[: rng.integers(9, len(content) + 1)])
    for at in rng.integers(0, min(len(changed), 64), 4):
      changed[at] = rng.integers(0, 256)
    path = tmp_path / f"{number}.jpg"
    path.write_bytes(changed)
    try:
      picture_files.read(path)
    except BadPicture as error:
      refused.append(str(error).startswith(f"{path}: "))
  assert all(refused)
