"""Reads pictures as people have them, all in one way; what is broken gets one clear line."""

from __future__ import annotations

import hashlib
import importlib
import io
import os
import pathlib
import re
import warnings
import zlib
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from jaxhands.prediction import exif
from jaxhands.prediction.picture import Picture
from jaxhands.render import picture_size
from jaxhands.render.picture_size import MAX_PIXELS, PNG, File

PICTURES = frozenset(
  {
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".ppm",
    ".pgm", ".pbm", ".pnm", ".pam", ".pfm", ".hdr", ".jp2", ".j2k", ".avif", ".heic", ".heif", ".hif",
  }
)  # fmt: skip
VIDEOS = frozenset(
  {
    ".mp4", ".m4v", ".mov", ".qt", ".avi", ".divx", ".mkv", ".webm", ".mpg", ".mpeg", ".mpe", ".vob", ".wmv", ".asf",
    ".mts", ".m2ts", ".ts", ".3gp", ".3g2", ".flv", ".ogv", ".mxf",
  }
)  # fmt: skip
_OURS = frozenset({"index.html", "overlays", "meshes", "predictions.json", "predictions.npz"})
_LOCK = ".lock"  # of whoever writes into the folder now (`runs.lock`)
MIN_SIDE = 8
_MAX_BYTES = 1 << 30  # of a file
_MAX_SCANS = 100  # of a progressive JPEG, each of which goes over all pixels; encoders write about ten
_FROM_CAMERAS = frozenset({"JPEG", "MPO", "PNG", "TIFF", "HEIF"})
_MAX_PIXELS_OF_OTHERS = MAX_PIXELS // 2  # decoding a WebP takes 20 bytes a pixel
_MOST_MENDED = 1 << 28  # bytes of a file
_JPEG, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_FOLLOWS = 4096  # bytes
_PIXELS_OF_PNG, _BESIDE_PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"}), frozenset({b"tRNS", b"eXIf"})
_COLOUR_AT = 25  # of a PNG: the byte that says of what kind its colours are
_LENGTHS_OF_TRNS = {b"\0": 2, b"\2": 6}  # by that kind
_WIDE_JPEG_2000 = re.compile(rb"\xff\x4f\xff\x51.{38}([\x08-\x0f])", re.DOTALL)  # bits of a channel less 1: 9 to 16
_HEIF_BRANDS = (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypheim", b"ftyphevm", b"ftypmif1", b"ftypmsf1")
_WHITES = (1.0, 255.0, 65535.0)
# By EXIF's orientation.
_TURNS = {
  2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}  # fmt: skip
# What a transparent value of a PNG is multiplied with, and shifted by, to be one of the pixels as Pillow unpacks them.
_UNPACKED = {"1": (255, 0), "L;2": (85, 0), "L;4": (17, 0), "RGB;16B": (1, 8)}


class BadPicture(ValueError):
  """A file cannot be used; the message names it and says why."""


class CutPicture(BadPicture):
  """The end of a picture is missing."""


def find(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
  """Files that are given, and those in folders that are given (pictures and videos by their names, in order).

  Raises:
    FileNotFoundError: a path that is not there.
    BadPicture: a folder without pictures or videos.
  """
  files: list[pathlib.Path] = []
  for path in paths:
    if path.is_dir():
      inside = sorted(filter(_is_looked_at, path.iterdir()))
      if not inside:
        raise BadPicture(f"{path}: it is a folder without pictures or videos ({', '.join(sorted(PICTURES | VIDEOS))})")
      files += inside
    elif path.exists():
      files.append(path)
    else:
      raise FileNotFoundError(f"there is no picture, folder or video {path}")
  return list(dict.fromkeys(files))


def passed_over(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
  """What is in the folders among `paths` and `find` does not give: other files, hidden ones, folders.

  What an earlier call of `predict` wrote there is not among them.
  """
  inside = [file for path in dict.fromkeys(paths) if path.is_dir() for file in sorted(path.iterdir())]
  return [file for file in inside if not _is_looked_at(file) and not _is_ours(file)]


def _is_looked_at(file: pathlib.Path) -> bool:
  return file.suffix.lower() in PICTURES | VIDEOS and not file.name.startswith(".") and os.path.isfile(file)


def _is_ours(file: pathlib.Path) -> bool:
  # Unlike pathlib's, this says no of what is in a folder that may not be looked into.
  page = file.suffix == ".html" and os.path.isfile(file.parent / "overlays" / f"{file.stem}.mp4")
  beside = (page or file.name in _OURS) and os.path.isfile(file.parent / "predictions.json")
  return beside or file.name == _LOCK or os.path.isfile(file / "predictions.json")


def is_video(path: pathlib.Path) -> bool:
  """By its name."""
  return path.suffix.lower() in VIDEOS


def read(path: pathlib.Path) -> Picture:
  """Reads one picture; of a file with several, the first one.

  16 bit and floats become 8 bit, grey and CMYK become RGB, what is transparent lies on white, and EXIF's orientation
  is followed. HEIC needs the extra `heif`.

  Raises:
    BadPicture: no file, empty, cut, no picture, over 100 megapixels (50 in formats that cameras do not write), or
      smaller than 8 pixels a side.
  """
  try:
    if not path.is_file() and not path.is_dir():
      raise BadPicture(f"{path}: it cannot be read: it is no file")  # a pipe would never end
    with path.open("rb") as file, warnings.catch_warnings():
      # Pillow's, of damaged metadata, and of sizes that are checked here.
      warnings.simplefilter("ignore")
      return _read(path, file)
  except OSError as error:
    raise BadPicture(f"{path}: it cannot be read: {error.strerror or error}") from error


def _read(path: pathlib.Path, file: io.BufferedReader) -> Picture:
  head = file.read(picture_size.HEAD_BYTES)
  if not head:
    raise BadPicture(f"{path}: it is empty")
  if path.stat().st_size > _MAX_BYTES:
    raise BadPicture(f"{path}: it is over {_MAX_BYTES >> 20} MB, which no picture is")
  try:
    return _picture(path, head, file)
  except BadPicture as error:
    file.seek(0)
    try:
      mended = _mended(file.read(_MOST_MENDED), error)
    except Exception:  # as of a decoder
      mended = None
    if mended is None:
      raise
    return _picture(path, head, io.BytesIO(mended))


def _mended(content: bytes, error: BadPicture) -> bytes | None:
  """A file without damage that no pixel shows; None if there is none of that kind."""
  if content.startswith(_JPEG) and isinstance(error, CutPicture) and _lacks_only_its_end(content):
    return content + _JPEG_END
  bare = _bare_png(content) if content.startswith(PNG) else content
  return None if bare == content else bare


def _bare_png(content: bytes) -> bytes:
  """A PNG without texts, profiles and further pictures, of which Pillow takes none that is damaged; browsers do."""
  kept, at, colour = [PNG], len(PNG), content[_COLOUR_AT : _COLOUR_AT + 1]
  while at < len(content):
    chunk = content[at : at + 12 + int.from_bytes(content[at : at + 4])]
    at, name, data = at + len(chunk), chunk[4:8], chunk[8:-4]
    fits = name != b"tRNS" or 0 < len(data) == _LENGTHS_OF_TRNS.get(colour, len(data))
    whole = fits and zlib.crc32(name + data) == int.from_bytes(chunk[-4:])
    if name in _PIXELS_OF_PNG or (name in _BESIDE_PIXELS and whole):
      kept.append(chunk)
  return b"".join(kept)


def _lacks_only_its_end(content: bytes) -> bool:
  """Whether a JPEG has all pixels, and only its end mark is missing: then what follows the pixels changes none.

  Some cameras leave it out. The decoder takes no JPEG without; with one it makes up the pixels that are missing.
  """
  found = set()
  for follows in (b"\0", b"\x55"):
    with Image.open(io.BytesIO(content + follows * _FOLLOWS + _JPEG_END), formats=("JPEG",)) as image:
      found.add(hashlib.sha256(image.convert("RGB").tobytes()).digest())
  return len(found) == 1


def _picture(path: pathlib.Path, head: bytes, file: File) -> Picture:
  try:
    return _opened(path, head, file)
  except BadPicture:
    raise
  except Image.DecompressionBombError as error:
    raise BadPicture(f"{path}: it has over {MAX_PIXELS // 10**6} megapixels; make it smaller") from error
  except Exception as error:  # a decoder raises whatever a damaged file makes it raise
    if "truncated" in str(error).lower():
      raise CutPicture(f"{path}: it is cut short; copy it again") from error
    raise BadPicture(f"{path}: it cannot be decoded: {error}") from error


def _opened(path: pathlib.Path, head: bytes, file: File) -> Picture:
  formats = (*picture_size.FORMATS, "HEIF") if _reads_heif() else picture_size.FORMATS
  try:
    with Image.open(file, formats=formats) as image:
      _check_size(path, *image.size, MAX_PIXELS if image.format in _FROM_CAMERAS else _MAX_PIXELS_OF_OTHERS)
      if "progressive" in image.info and _scans(file) > _MAX_SCANS:
        raise BadPicture(f"{path}: it has over {_MAX_SCANS} scans, which no encoder writes")
      return _decoded(path, image, file)
  except UnidentifiedImageError as error:
    size = picture_size.of_opencv(head)
    if size is None:
      raise BadPicture(f"{path}: {_what(head)}") from error
    file.seek(0)
    _check_size(path, *size, _MAX_PIXELS_OF_OTHERS)
    return Picture(path, np.asarray(_rgb(_by_opencv(path, file.read()), "")), None)


def _by_opencv(path: pathlib.Path, content: bytes, bits: int = 16) -> Image.Image:
  """A picture as 8 bit; where a channel has more, it has `bits`, or floats."""
  try:
    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
  except cv2.error as error:
    raise BadPicture(f"{path}: it cannot be decoded: {error.err}") from error
  if values is None:
    raise BadPicture(f"{path}: it cannot be decoded")
  if values.dtype == np.uint16:
    values = np.right_shift(values, bits - 8)
  elif values.dtype != np.uint8:
    values = _by_white(values, _WHITES)
  order = [2, 1, 0, 3][: values.shape[2]] if values.ndim == 3 and values.shape[2] > 2 else slice(None)
  return Image.fromarray(np.ascontiguousarray(values[..., order], np.uint8))


def _reads_heif() -> bool:
  """Whether Pillow reads HEIC now, as the extra is installed."""
  try:
    importlib.import_module("pillow_heif").register_heif_opener()
  except ImportError:
    return False
  return True


def _decoded(path: pathlib.Path, image: Image.Image, file: File) -> Picture:
  raw_mode, several = _raw_mode(image), _holds_several(image)
  _forget_xmp(image)  # before TIFFs are turned
  image.load()
  _forget_xmp(image)  # of a PNG, where it may stand behind the pixels
  found = _exif(image)
  if image.format == "JPEG2000" and image.mode in ("RGB", "RGBA"):
    file.seek(0)
    if wide := _WIDE_JPEG_2000.search(content := file.read()):
      image = _by_opencv(path, content, wide[1][0] + 1)  # Pillow makes black of the whitest
  turn = _TURNS.get(found.get(ExifTags.Base.Orientation, 1))
  focal_px, remark = exif.focal_px(found, *image.size)
  rgb = _rgb(image, raw_mode)
  pixels = np.asarray(rgb if turn is None else rgb.transpose(turn))
  remarks = ("it holds several pictures: the first one is used",) if several else ()
  return Picture(path, pixels, focal_px, (*remarks, remark) if remark else remarks)


def _holds_several(image: Image.Image) -> bool:
  try:
    return getattr(image, "is_animated", False)
  except Exception:  # as of a decoder: there is a second one, and it is damaged
    return True


def _forget_xmp(image: Image.Image) -> None:
  """Pillow would turn a picture by it where EXIF says nothing; browsers and OpenCV do not."""
  for key in ("xmp", "XML:com.adobe.xmp"):
    image.info.pop(key, None)


def _exif(image: Image.Image) -> Image.Exif:
  """Its EXIF; an empty one where it is damaged, which is no reason to refuse the picture."""
  try:
    exif = image.getexif()
    _ = dict(exif), dict(exif.get_ifd(ExifTags.IFD.Exif))  # it is parsed as it is asked for
  except Exception:  # as of a decoder
    return Image.Exif()
  return exif


def _check_size(path: pathlib.Path, width: int, height: int, most: int = MAX_PIXELS) -> None:
  if width * height > most:
    raise BadPicture(f"{path}: {width} x {height} pixels are over {most // 10**6} megapixels; make it smaller")
  if min(width, height) < MIN_SIDE:
    raise BadPicture(f"{path}: {width} x {height} pixels show no hand; at least {MIN_SIDE} a side are needed")


def _scans(file: File) -> int:
  file.seek(0)
  return file.read().count(b"\xff\xda")


def _raw_mode(image: Image.Image) -> str:
  """How the file packs its pixels, in Pillow's words; "" = not known."""
  tiles = getattr(image, "tile", [])
  return tiles[0][3] if tiles and isinstance(tiles[0][3], str) else ""


def _rgb(image: Image.Image, raw_mode: str) -> Image.Image:
  """Any image as RGB, on white."""
  key = image.info.get("transparency")
  if raw_mode in _UNPACKED and key is not None:
    factor, shift = _UNPACKED[raw_mode]
    values = tuple(value * factor >> shift for value in (key if isinstance(key, tuple) else (key,)))
    image.info["transparency"] = values if isinstance(key, tuple) else values[0]
  if image.mode in ("I", "F") or image.mode.startswith("I;16"):
    image = _eight_bit(image, key)
  if not image.has_transparency_data:
    return image.convert("RGB")
  image = image.convert("RGBA")
  white = Image.new("RGB", image.size, "white")
  white.paste(image, mask=image.getchannel("A"))
  return white


def _eight_bit(image: Image.Image, key: object) -> Image.Image:
  """Grey of 16 or 32 bit, or of floats, as 8 bit; the value `key` becomes transparent.

  White is the largest number of 16 bit; where 32 bit hold a pixel, the smallest of 1 (floats), 255 and 65,535 that no
  value is above.
  """
  values = np.array(image)
  alpha = None if key is None else Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8))
  if values.dtype.itemsize == 2:
    grey = (values >> 8).astype(np.uint8)
  else:
    whites = _WHITES[2:] if (image.mode, image.format) == ("I", "PPM") else _WHITES[image.mode != "F" :]
    grey = _by_white(values, whites)
  return Image.fromarray(grey) if alpha is None else Image.merge("LA", (Image.fromarray(grey), alpha))


def _by_white(values: np.ndarray, whites: Sequence[float]) -> np.ndarray:
  """Numbers as 8 bit, where white is the first that none is above, or the largest of all."""
  values = np.nan_to_num(values.astype(np.float32, copy=False), copy=False, posinf=0, neginf=0)
  np.maximum(values, 0, out=values)
  largest = float(values.max())
  return cv2.convertScaleAbs(values, alpha=255 / next((white for white in whites if largest <= white), largest))


def _what(head: bytes) -> str:
  if head[4:12] in _HEIF_BRANDS and not _reads_heif():
    return "it is a HEIC picture; install the extra that reads them: pip install 'jaxhands[heif]'"
  if head[:4] in (b"II*\0", b"MM\0*"):
    return "it is a TIFF that is damaged, or of a kind that is not read, as colours in floats; save it with 8 or 16 bit"
  if all(byte in b"\t\r\n" or byte >= 32 for byte in head) and _is_text(head):
    return "it is a text, not a picture"
  return "it is no picture that can be decoded"


def _is_text(head: bytes) -> bool:
  try:
    head.decode()
  except UnicodeDecodeError as error:
    return error.start > len(head) - 4
  return True
