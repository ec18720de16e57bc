"""Pictures as people have them, and files that are none."""

import struct

import cv2
import numpy as np
import pytest

from jaxhands.photo import exif, pictures
from jaxhands.photo.pictures import BadPicture

RNG = np.random.default_rng(0)
PIXELS = cv2.GaussianBlur(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8), (0, 0), 4)  # BGR


def _write(path, pixels, *options):
  assert cv2.imwrite(str(path), pixels, list(options))
  return path


def _tiff(order, entries):
  """A TIFF header with one directory of (tag, type, value)."""
  head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
  after = 8 + 2 + 12 * len(entries) + 4
  body, tail = b"", b""
  for tag, kind, value in entries:
    body += struct.pack(f"{order}HHI", tag, kind, 1)
    if kind == 3:
      body += struct.pack(f"{order}HH", value, 0)
    elif kind == 4:
      body += struct.pack(f"{order}I", value)
    else:
      body += struct.pack(f"{order}I", after + len(tail))
      tail += struct.pack(f"{order}II", *value)
  return head + body + bytes(4) + tail


def _with_exif(content, tiff):
  segment = b"Exif\0\0" + tiff
  return content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]


def test_colours_are_rgb(tmp_path):
  found = pictures.read(_write(tmp_path / "x.png", PIXELS))
  np.testing.assert_array_equal(found.pixels, PIXELS[..., ::-1])
  assert found.focal_px is None


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".webp", ".tif", ".ppm"])
def test_other_formats(suffix, tmp_path):
  found = pictures.read(_write(tmp_path / f"x{suffix}", PIXELS))
  np.testing.assert_allclose(found.pixels, PIXELS[..., ::-1], atol=16)


def test_grey_16_bit_and_transparent(tmp_path):
  grey = PIXELS[..., 0]
  found = pictures.read(_write(tmp_path / "grey.png", grey)).pixels
  np.testing.assert_array_equal(found, np.repeat(grey[..., None], 3, -1))
  deep = PIXELS.astype(np.uint16) * 257
  np.testing.assert_array_equal(pictures.read(_write(tmp_path / "deep.png", deep)).pixels, PIXELS[..., ::-1])
  np.testing.assert_array_equal(pictures.read(_write(tmp_path / "deepgrey.png", deep[..., 0])).pixels, found)
  alpha = np.dstack([PIXELS, np.full(grey.shape, 255, np.uint8)])
  alpha[:20, :, 3] = 0
  for factor, name in ((1, "rgba"), (257, "rgba16")):
    seen = pictures.read(
      _write(tmp_path / f"{name}.png", alpha * np.array(factor, np.uint8 if factor == 1 else np.uint16))
    )
    np.testing.assert_array_equal(seen.pixels[20:], PIXELS[20:, :, ::-1])
    assert (seen.pixels[:20] == 255).all()


def test_a_turned_picture_is_turned_back(tmp_path):
  """EXIF's orientation 6: the camera was held upright, rows are columns."""
  content = _write(tmp_path / "x.jpg", PIXELS, cv2.IMWRITE_JPEG_QUALITY, 100).read_bytes()
  plain = pictures.read(tmp_path / "x.jpg").pixels
  (tmp_path / "y.jpg").write_bytes(_with_exif(content, _tiff("<", [(0x0112, 3, 6), (0xA405, 3, 26)])))
  found = pictures.read(tmp_path / "y.jpg")
  np.testing.assert_array_equal(found.pixels, np.rot90(plain, -1))
  assert found.focal_px == pytest.approx(26 * np.hypot(40, 60) / np.hypot(36, 24))


@pytest.mark.parametrize("order", ["<", ">"])
def test_focal_length_of_sensor_and_lens(order):
  """4.2 mm on a sensor of 2,500 pixels per cm: 1,050 pixels; not if the picture was made smaller since."""
  entries = [(0x920A, 5, (42, 10)), (0xA20E, 5, (2500, 1)), (0xA210, 3, 3), (0xA002, 4, 60), (0xA003, 4, 40)]
  content = _with_exif(b"\xff\xd8\xff\xd9", _tiff(order, entries))
  assert exif.focal_px(content, 60, 40) == pytest.approx(1050)
  assert exif.focal_px(content, 40, 60) == pytest.approx(1050)
  assert exif.focal_px(content, 30, 20) is None
  for length in range(len(content)):  # whatever is cut off, nothing breaks
    exif.focal_px(content[:length], 60, 40)


def test_bad_files_are_named(tmp_path):
  good = _write(tmp_path / "x.jpg", np.repeat(np.repeat(PIXELS, 4, 0), 4, 1)).read_bytes()
  png = _write(tmp_path / "x.png", PIXELS).read_bytes()
  huge = png[:16] + struct.pack(">II", 20_000, 20_000) + png[24:]
  cases = {
    "empty.jpg": (b"", "it is empty"),
    "text.jpg": (b"hands are hard to draw\n" * 9, "it is a text, not a picture"),
    "noise.jpg": (RNG.bytes(300), "it is no picture that can be decoded"),
    "cut.jpg": (good[: len(good) * 2 // 3], "it is cut short"),
    "cut.png": (png[:-20], "it is cut short"),
    "head.jpg": (good[:20], "it is cut short"),
    "huge.png": (huge, "20000 x 20000 pixels are over 100 megapixels"),
    "tiny.png": (cv2.imencode(".png", PIXELS[:1, :1])[1].tobytes(), "1 x 1 pixels show no hand"),
  }
  for name, (content, message) in cases.items():
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadPicture, match=f"{name}: {message}"):
      pictures.read(tmp_path / name)
  with pytest.raises(BadPicture, match="cannot be read"):
    pictures.read(tmp_path)


def test_a_huge_jpeg_is_not_decoded(tmp_path):
  content = bytearray(_write(tmp_path / "x.jpg", PIXELS).read_bytes())
  at = content.index(b"\xff\xc0")
  content[at + 5 : at + 9] = struct.pack(">HH", 20_000, 20_000)
  (tmp_path / "huge.jpg").write_bytes(content)
  with pytest.raises(BadPicture, match="over 100 megapixels"):
    pictures.read(tmp_path / "huge.jpg")


def test_folders_are_looked_into(tmp_path):
  (tmp_path / "empty").mkdir()
  for name in ("b.jpg", "a.PNG", "c.mp4", "notes.txt"):
    (tmp_path / name).touch()
  names = [path.name for path in pictures.find([tmp_path, tmp_path / "b.jpg", tmp_path / "notes.txt"])]
  assert names == ["a.PNG", "b.jpg", "c.mp4", "notes.txt"]
  with pytest.raises(BadPicture, match="a folder without pictures"):
    pictures.find([tmp_path / "empty"])
  with pytest.raises(FileNotFoundError, match=r"no picture, folder or video .*nothing.jpg"):
    pictures.find([tmp_path / "nothing.jpg"])
