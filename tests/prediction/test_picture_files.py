"""Pictures as people have them, and files that are none."""

import io
import os
import pathlib
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from jaxhands.prediction import exif, picture_files
from jaxhands.prediction.picture_files import BadPicture

RNG = np.random.default_rng(0)
RGB = cv2.GaussianBlur(RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8), (0, 0), 4)
GREY = np.ascontiguousarray(RGB[..., 1])
HIDDEN = (
  np.where(np.arange(40)[:, None] < 20, 0, 255).astype(np.uint8).repeat(60, 1)
)  # alpha: the upper half is not seen
_35MM, _ORIENTATION = 0xA405, 0x0112


def _three(grey):
  return np.repeat(grey[..., None], 3, -1)


def _saved(pixels, kind, mode=None, **options):
  """A file's bytes, by Pillow."""
  stream = io.BytesIO()
  image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
  (image.convert(mode) if mode else image).save(stream, kind, **options)
  return stream.getvalue()


def _encoded(pixels, suffix):
  """A file's bytes, by OpenCV; RGB(A) or grey."""
  order = [2, 1, 0, 3][: pixels.shape[2]] if pixels.ndim == 3 else slice(None)
  ok, content = cv2.imencode(suffix, pixels[..., order] if pixels.ndim == 3 else pixels)
  assert ok
  return content.tobytes()


def _chunk(name, data):
  return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _png(rows, colour, depth, transparent, *chunks):
  """A PNG of packed rows with a chunk tRNS."""
  height = len(rows)
  head = struct.pack(">IIBBBBB", RGB.shape[1], height, depth, colour, 0, 0, 0)
  body = zlib.compress(b"".join(b"\0" + row for row in rows))
  parts = [(b"IHDR", head), *chunks, (b"tRNS", transparent), (b"IDAT", body), (b"IEND", b"")]
  return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


def _read(folder, content, name="x"):
  path = folder / name
  path.write_bytes(content)
  return picture_files.read(path)


def _with(tags, lens=None):
  found = Image.Exif()
  for tag, value in tags.items():
    found[tag] = value
  for tag, value in (lens or {}).items():
    found.get_ifd(0x8769)[tag] = value
  return found


def test_plain_pictures_are_what_opencv_reads(tmp_path):
  for quality in (60, 92):
    content = _saved(RGB, "JPEG", quality=quality)
    by_opencv = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_allclose(_read(tmp_path, content).pixels.astype(int), by_opencv, atol=1)
  found = _read(tmp_path, _encoded(RGB, ".png"))
  np.testing.assert_array_equal(found.pixels, RGB)
  assert (found.focal_px, found.remarks) == (None, ())


CLEAR = np.dstack([RGB, HIDDEN])
UPPER = np.where(HIDDEN[..., None] > 0, 255, RGB)
BRIGHT = np.minimum(RGB.astype(int) * 2, 255).astype(np.uint8)
KINDS = {
  "bmp": (lambda: _saved(RGB, "BMP"), RGB, 0),
  "tiff": (lambda: _saved(RGB, "TIFF", compression="tiff_lzw"), RGB, 0),
  "ppm": (lambda: _encoded(RGB, ".ppm"), RGB, 0),
  "jpeg 2000": (lambda: _saved(RGB, "JPEG2000"), RGB, 0),
  "16 bit JPEG 2000": (lambda: _encoded(BRIGHT.astype(np.uint16) * 257, ".jp2"), BRIGHT, 12),
  "transparent JPEG 2000": (
    lambda: _encoded(np.dstack([RGB, 255 - HIDDEN]).astype(np.uint16) * 257, ".jp2"),
    UPPER,
    12,
  ),
  "PAM": (lambda: _encoded(RGB, ".pam"), RGB, 0),
  "colours as floats": (lambda: _encoded(RGB.astype(np.float32) / 255, ".pfm"), RGB, 1),
  "Radiance": (lambda: _encoded(RGB.astype(np.float32) / 255, ".hdr"), RGB, 2),
  "avif": (lambda: _saved(RGB, "AVIF", quality=100), RGB, 12),
  "grey": (lambda: _saved(GREY, "PNG"), _three(GREY), 0),
  "grey JPEG": (lambda: _saved(GREY, "JPEG", quality=100), _three(GREY), 2),
  "1 bit": (lambda: _saved(GREY > 128, "TIFF", compression="group4"), _three((GREY > 128) * np.uint8(255)), 0),
  "CMYK JPEG": (lambda: _saved(RGB, "JPEG", "CMYK", quality=100), RGB, 3),
  "CMYK TIFF": (lambda: _saved(RGB, "TIFF", "CMYK"), RGB, 1),
  "16 bit": (lambda: _encoded(RGB.astype(np.uint16) * 257, ".png"), RGB, 0),
  "16 bit grey": (lambda: _encoded(GREY.astype(np.uint16) * 257, ".png"), _three(GREY), 0),
  "16 bit TIFF": (lambda: _encoded(GREY.astype(np.uint16) * 257, ".tif"), _three(GREY), 0),
  "16 bit PGM": (lambda: _encoded(GREY.astype(np.uint16) * 257, ".pgm"), _three(GREY), 0),
  "dark 16 bit PGM": (lambda: _encoded(GREY.astype(np.uint16), ".pgm"), np.zeros_like(RGB), 1),
  "floats to 1": (lambda: _saved(GREY.astype(np.float32) / 255, "TIFF"), _three(GREY), 1),
  "floats to 255": (lambda: _saved(GREY.astype(np.float32), "TIFF"), _three(GREY), 1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_eight_bit_rgb(kind, tmp_path):
  make, expected, atol = KINDS[kind]
  found = _read(tmp_path, make()).pixels
  assert found.dtype == np.uint8
  np.testing.assert_allclose(found.astype(int), expected, atol=atol)


def test_floats_that_are_no_numbers_are_black(tmp_path):
  values = GREY.astype(np.float32) / 255
  values[0, :3] = np.nan, np.inf, -5
  found = _read(tmp_path, _saved(values, "TIFF")).pixels
  assert not found[0, :3].any()
  np.testing.assert_allclose(found[1:, :, 0].astype(int), GREY[1:], atol=1)


TRANSPARENT = {
  "RGBA PNG": lambda: _saved(CLEAR, "PNG"),
  "grey PNG": lambda: _saved(Image.merge("LA", (Image.fromarray(GREY), Image.fromarray(HIDDEN))), "PNG"),
  "16 bit PNG": lambda: _encoded(CLEAR.astype(np.uint16) * 257, ".png"),
  "WebP": lambda: _saved(CLEAR, "WEBP", lossless=True),
  "TIFF": lambda: _saved(CLEAR, "TIFF"),
  "TIFF by OpenCV": lambda: _encoded(CLEAR, ".tif"),
  "AVIF": lambda: _saved(CLEAR, "AVIF", quality=100),
  "GIF": lambda: _saved(CLEAR, "GIF"),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_what_is_transparent_is_white(kind, tmp_path):
  found = _read(tmp_path, TRANSPARENT[kind]()).pixels.astype(int)
  assert (found[:18] == 255).all()
  assert np.abs(found[22:] - (_three(GREY) if kind == "grey PNG" else RGB)[22:]).mean() < 8  # a GIF has 256 colours


def test_half_of_it_shows_half_of_the_colour(tmp_path):
  half = np.dstack([RGB, np.full_like(GREY, 128)])
  expected = (RGB * 128.0 + 255 * 127.0) / 255
  np.testing.assert_allclose(_read(tmp_path, _saved(half, "PNG")).pixels.astype(int), expected, atol=1)


@pytest.mark.parametrize(("depth", "most"), [(1, 1), (2, 3), (4, 15), (8, 255), (16, 65535)])
def test_one_transparent_grey_of_a_png(depth, most, tmp_path):
  """Packed as 1 to 16 bit; the grey of the middle is named as transparent."""
  values = (GREY.astype(np.uint32) * most // 255).astype(np.uint32)
  bits = (values[..., None] >> np.arange(depth)[::-1]) & 1
  rows = [np.packbits(row.reshape(-1).astype(np.uint8)).tobytes() for row in bits]
  key = int(values[20, 30])
  found = _read(tmp_path, _png(rows, 0, depth, struct.pack(">H", key))).pixels
  expected = np.where(values == key, 255, values * 255 // most)
  np.testing.assert_allclose(found[..., 0].astype(int), expected, atol=1)


@pytest.mark.parametrize("depth", [8, 16])
def test_one_transparent_colour_of_a_png(depth, tmp_path):
  values = RGB if depth == 8 else (RGB.astype(">u2") * 257).astype(">u2")
  key = struct.pack(">HHH", *(int(value) for value in values[20, 30]))
  found = _read(tmp_path, _png([row.tobytes() for row in values], 2, depth, key)).pixels
  same = (RGB[20, 30] == RGB).all(-1)
  np.testing.assert_array_equal(found, np.where(same[..., None], 255, RGB))


def test_a_transparent_entry_of_a_palette(tmp_path):
  rows = [bytes([column % 2 for column in range(60)])] * 40
  found = _read(tmp_path, _png(rows, 3, 8, b"\0\xff", (b"PLTE", bytes([200, 30, 30, 10, 20, 30])))).pixels
  assert (found[:, 0::2] == 255).all()
  assert (found[:, 1::2] == (10, 20, 30)).all()


TURNED = {
  2: lambda p: p[:, ::-1],
  3: lambda p: p[::-1, ::-1],
  4: lambda p: p[::-1],
  5: lambda p: p.transpose(1, 0, 2),
  6: lambda p: np.rot90(p, -1),
  7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
  8: lambda p: np.rot90(p),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("alpha", [False, True])
def test_a_turned_picture_is_turned_back(kind, alpha, tmp_path):
  pixels = np.dstack([RGB, np.full_like(GREY, 255)]) if alpha and kind != "JPEG" else RGB
  plain = _read(tmp_path, _saved(pixels, kind, quality=95)).pixels
  for orientation, turned in TURNED.items():
    found = _read(tmp_path, _saved(pixels, kind, quality=95, exif=_with({_ORIENTATION: orientation})))
    np.testing.assert_allclose(found.pixels.astype(int), turned(plain), atol=6, err_msg=f"{orientation}")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_only_exif_turns_a_picture(kind, tmp_path):
  """XMP's orientation is often what a program left of a picture that it turned; browsers do not follow it."""
  xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
  if kind == "PNG":
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("XML:com.adobe.xmp", xmp.decode())
    content = _saved(RGB, kind, pnginfo=notes)
  else:
    content = _saved(RGB, kind, **({"tiffinfo": {700: xmp}} if kind == "TIFF" else {"xmp": xmp}))
  assert b"tiff:Orientation" in content
  assert _read(tmp_path, content).pixels.shape == RGB.shape


def test_the_focal_length_of_a_turned_picture(tmp_path):
  content = _saved(RGB, "JPEG", exif=_with({_ORIENTATION: 6}, {_35MM: 26}))
  assert _read(tmp_path, content).focal_px == pytest.approx(26 * np.hypot(40, 60) / np.hypot(36, 24))


def test_focal_length_of_sensor_and_lens():
  """4.2 mm on a sensor of 2,500 pixels per cm: 1,050 pixels."""
  lens = {0x920A: 4.2, 0xA20E: 2500.0, 0xA210: 3, 0xA002: 60, 0xA003: 40}
  assert exif.focal_px(_with({}, lens), 60, 40) == (pytest.approx(1050), "")
  assert exif.focal_px(_with({}, lens), 40, 60) == (pytest.approx(1050), "")
  assert exif.focal_px(_with({}, {0x920A: 4.2, 0xA20E: 2500.0}), 60, 40) == (None, "")  # of a sensor of unknown size


@pytest.mark.parametrize("tags", [{}, {0x920A: 4.2, 0xA20E: 2500.0, 0xA210: 3}])
@pytest.mark.parametrize("size", [(120, 80), (60, 30)])
def test_the_lens_of_what_a_picture_was_cut_from_is_not_its_own(tags, size, tmp_path):
  lens = {_35MM: 26, 0xA002: size[0], 0xA003: size[1]} | tags
  found = _read(tmp_path, _saved(RGB, "JPEG", exif=_with({}, lens)))
  assert found.focal_px is None
  assert found.remarks == (
    f"its EXIF is of a picture of {size[0]} x {size[1]} pixels, and it has 60 x 40: the focal length there is not used",
  )


@given(st.data())
def test_damaged_exif_is_no_reason_to_refuse_a_picture(tmp_path_factory, data):
  """Bytes of its EXIF are changed, or cut off; the pixels are there, turned or not."""
  segment = bytearray(_with({_ORIENTATION: 6}, {_35MM: 26, 0x920A: 4.2}).tobytes())
  for _ in range(data.draw(st.integers(1, 8))):
    segment[data.draw(st.integers(6, len(segment) - 1))] = data.draw(st.integers(0, 255))
  content = _saved(RGB, "JPEG", exif=bytes(segment[: data.draw(st.integers(6, len(segment)))]))
  found = _read(tmp_path_factory.mktemp("exif"), content)
  assert sorted(found.pixels.shape) == [3, 40, 60]


@pytest.mark.parametrize(
  ("name", "data"),
  [
    (b"tEXt", b"of nothing"), (b"iCCP", b"x"), (b"pHYs", b"\0"), (b"gAMA", b""), (b"tRNS", b""), (b"tRNS", bytes(7)),
    (b"acTL", bytes(3)), (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 21))),
  ],
)  # fmt: skip
def test_what_is_damaged_beside_the_pixels_of_a_png_does_not_matter(name, data, tmp_path):
  content = _saved(RGB, "PNG", exif=_with({_ORIENTATION: 6}))
  at = 8 + 25  # behind the head
  turned = np.rot90(RGB, -1)
  for chunk in (_chunk(name, data), _chunk(name, data)[:-1] + b"?"):
    np.testing.assert_array_equal(_read(tmp_path, content[:at] + chunk + content[at:]).pixels, turned)
    with pytest.raises(BadPicture, match="it is cut short"):
      _read(tmp_path, content[:at] + chunk + content[at : len(content) // 2])


def test_of_several_pictures_the_first_is_read(tmp_path):
  images = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
  for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("PNG", {}), ("MPO", {})):
    stream = io.BytesIO()
    images[0].save(stream, kind, save_all=True, append_images=images[1:], **options)
    found = _read(tmp_path, stream.getvalue())
    assert found.remarks == ("it holds several pictures: the first one is used",), kind
    assert np.abs(found.pixels.astype(int) - RGB).mean() < 10, kind


def test_heic_is_read_or_the_extra_is_named(tmp_path, monkeypatch):
  head = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200)
  with monkeypatch.context() as patch:
    patch.setitem(sys.modules, "pillow_heif", None)  # as where it is not installed
    with pytest.raises(BadPicture, match=r"HEIC picture; .*pip install 'jaxhands\[heif\]'"):
      _read(tmp_path, head)
  heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
  heif.register_heif_opener()
  with pytest.raises(BadPicture, match="decoded"):
    _read(tmp_path, head)
  np.testing.assert_allclose(_read(tmp_path, _saved(RGB, "HEIF", quality=-1)).pixels.astype(int), RGB, atol=12)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0, "quality": 97}])
def test_a_jpeg_without_its_end_mark_has_all_pixels(options, tmp_path):
  """As some cameras write it; where pixels are missing, if only of the last block, it is cut."""
  content = _saved(np.tile(RGB, (3, 3, 1)), "JPEG", **options)
  plain = _read(tmp_path, content).pixels
  np.testing.assert_array_equal(_read(tmp_path, content[:-2]).pixels, plain)
  np.testing.assert_array_equal(_read(tmp_path, content + b"and more").pixels, plain)
  for cut in (12, 40, len(content) // 3, len(content) // 2):
    with pytest.raises(BadPicture, match="it is cut short"):
      _read(tmp_path, content[:-cut])


def test_bad_files_are_named(tmp_path):
  good = _saved(np.kron(RGB, np.ones((4, 4, 1), np.uint8)), "JPEG")
  png = _saved(RGB, "PNG")
  cases = {
    "empty.jpg": (b"", "it is empty"),
    "text.jpg": (b"hands are hard to draw\n" * 9, "it is a text, not a picture"),
    "noise.jpg": (RNG.bytes(300), "it is no picture that can be decoded"),
    "cut.jpg": (good[: len(good) * 2 // 3], "it is cut short"),
    "cut.png": (png[: len(png) * 2 // 3], "it is cut short"),
    "cut.gif": (_saved(RGB, "GIF")[:-400], "it is cut short"),
    "cut.bmp": (_saved(RGB, "BMP")[:-400], "it is cut short"),
    "cut.webp": (_saved(RGB, "WEBP")[:-40], "it cannot be decoded"),
    "cut.avif": (_saved(RGB, "AVIF")[:-1], "it is cut short"),
    "cut.jp2": (_saved(RGB, "JPEG2000")[:-400], "it cannot be decoded"),
    "head.jpg": (good[:20], "it is no picture that can be decoded"),
    "colours.tif": (_encoded(RGB.astype(np.float32), ".tif"), "save it with 8 or 16 bit"),
    "tiny.png": (_saved(RGB[:1, :1], "PNG"), "1 x 1 pixels show no hand"),
  }
  for name, (content, message) in cases.items():
    with pytest.raises(BadPicture, match=rf"{name}: .*{message}"):
      _read(tmp_path, content, name)
  with pytest.raises(BadPicture, match="cannot be read"):
    picture_files.read(tmp_path)
  os.mkfifo(tmp_path / "pipe.jpg")
  with pytest.raises(BadPicture, match=r"pipe\.jpg: it cannot be read: it is no file"):
    picture_files.read(tmp_path / "pipe.jpg")


def _huge():
  """Small files of 900 megapixels, or a WebP of 51."""
  side = 30_000
  ihdr = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
  png = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", ihdr) + _chunk(b"IDAT", zlib.compress(bytes(9))) + _chunk(b"IEND", b"")
  rle = (b"\xff\x00" * (side // 255) + b"\0\0") * 4 + b"\0\1"
  size = 1078 + len(rle)
  bmp = struct.pack("<IHHI", size, 0, 0, 1078) + struct.pack(
    "<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(rle), *[0] * 4
  )
  jpeg = bytearray(_saved(RGB, "JPEG"))
  at = jpeg.index(b"\xff\xc0")
  jpeg[at + 5 : at + 9] = struct.pack(">HH", side, side)
  tiff = bytearray(_saved(np.zeros((200, 300), np.uint8), "TIFF"))
  for tag, value in ((256, 300), (257, 200)):
    at = tiff.index(struct.pack("<HHII", tag, 4, 1, value))
    tiff[at + 8 : at + 12] = struct.pack("<I", side)
  gif = bytearray(_saved(GREY, "GIF"))
  gif[6:10] = struct.pack("<HH", side, side)
  return {
    "x.png": png,
    "x.bmp": b"BM" + bmp + bytes(1024) + rle,
    "x.jpg": bytes(jpeg),
    "x.tif": bytes(tiff),
    "x.gif": bytes(gif),
    "x.ppm": f"P6 {side} {side} 255\n".encode() + bytes(99),
    "damaged.png": png[:33] + _chunk(b"tEXt", b"")[:-1] + b"?" + png[33:],
    "x.pfm": f"PF\n{side} {side}\n-1.0\n".encode() + bytes(99),
    "x.hdr": f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {side} +X {side}\n".encode() + bytes(99),
    "x.pam": f"P7\nWIDTH {side}\nHEIGHT {side}\nDEPTH 1\nMAXVAL 255\nENDHDR\n".encode() + bytes(99),
    "x.webp": _saved(np.zeros((3100, 16383), np.uint8), "WEBP", method=0),  # over 50 megapixels
  }


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="Linux tells how much a process takes")
def test_huge_pictures_are_refused_by_their_heads(tmp_path):
  """In a process that may not have 1 GB more than the imports took."""
  for name, content in _huge().items():
    (tmp_path / name).write_bytes(content)
  code = (
    "import pathlib, resource, sys\nfrom jaxhands.prediction import picture_files\n"
    "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
    "resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), used + (1 << 30)))\n"
    "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
    "  try: print(path.name, picture_files.read(path).pixels.shape)\n"
    "  except picture_files.BadPicture as error: print(error)\n"
  )
  told = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True).stdout
  lines = told.splitlines()
  assert len(lines) == len(_huge())
  assert all("megapixels; make it smaller" in line for line in lines), told


def test_a_jpeg_of_endless_scans_is_refused(tmp_path):
  content = _saved(RGB, "JPEG", progressive=True)
  last = content[content.rindex(b"\xff\xda") : -2]
  with pytest.raises(BadPicture, match="over 100 scans"):
    _read(tmp_path, content[:-2] + last * 100 + content[-2:])


def test_folders_are_looked_into(tmp_path):
  (tmp_path / "empty").mkdir()
  for name in (
    "b.jpg",
    "a.PNG",
    "c.mp4",
    "d.heic",
    "e.gif",
    "f.jfif",
    "g.MTS",
    "h.wmv",
    "i.mpg",
    "j.avif",
    "notes.txt",
  ):
    (tmp_path / name).touch()
  for name in (".DS_Store", "._b.jpg", "without"):
    (tmp_path / name).touch()
  (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
  looked_at = ["a.PNG", "b.jpg", "c.mp4", "d.heic", "e.gif", "f.jfif", "g.MTS", "h.wmv", "i.mpg", "j.avif"]
  given_ = [tmp_path, tmp_path / "b.jpg", tmp_path / "notes.txt"]
  assert [path.name for path in picture_files.find(given_)] == [*looked_at, "notes.txt"]
  rest = [path.name for path in picture_files.passed_over(given_)]
  assert rest == [".DS_Store", "._b.jpg", "empty", "gone.jpg", "notes.txt", "without"]
  assert [picture_files.is_video(tmp_path / name) for name in ("g.MTS", "i.mpg", "e.gif")] == [True, True, False]
  with pytest.raises(BadPicture, match="a folder without pictures"):
    picture_files.find([tmp_path / "empty"])
  with pytest.raises(FileNotFoundError, match=r"no picture, folder or video .*nothing.jpg"):
    picture_files.find([tmp_path / "nothing.jpg"])


def test_a_folder_inside_that_may_not_be_looked_into_is_passed_over(tmp_path, monkeypatch):
  (tmp_path / "in" / "locked.jpg").mkdir(parents=True, mode=0)
  (tmp_path / "in" / "a.jpg").touch()
  monkeypatch.chdir(tmp_path)
  tmp_path.chmod(0o755)  # others may not come from above; they start here
  user = os.geteuid()
  os.seteuid(user or 65534)  # root may look everywhere
  try:
    folder = pathlib.Path("in")
    assert (picture_files.find([folder]), picture_files.passed_over([folder])) == (
      [folder / "a.jpg"],
      [folder / "locked.jpg"],
    )
  finally:
    os.seteuid(user)
  (tmp_path / "in" / "locked.jpg").chmod(0o755)


def test_what_was_written_before_is_not_passed_over(tmp_path):
  for name in ("a.jpg", "index.html", "predictions.json", "predictions.npz", "other.html"):
    (tmp_path / name).touch()
  for name in ("overlays", "hands", "more"):
    (tmp_path / name).mkdir()
  (tmp_path / "hands" / "predictions.json").touch()
  assert [path.name for path in picture_files.passed_over([tmp_path])] == ["more", "other.html"]
