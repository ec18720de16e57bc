"""What a picture's EXIF says of its lens; whatever is odd is passed over."""

from __future__ import annotations

import math
from typing import Any

from PIL import Image
from PIL.ExifTags import IFD, Base

FILM_DIAGONAL_MM = math.hypot(36, 24)
_UNIT_MM = {2: 25.4, 3: 10.0, 4: 1.0}
_SIZES = ((Base.ExifImageWidth, Base.ExifImageHeight), (Base.ImageWidth, Base.ImageLength))


def focal_px(exif: Image.Exif, width: int, height: int) -> tuple[float | None, str]:
  """Focal length in pixels of a picture of this size, and a remark; (None, "") where the file does not say.

  From the equivalent on 35 mm film, whose diagonal is the picture's; else from the focal length and the sensor's
  pixels per unit. The file also says of which size the picture was as it was taken (width and height may have been
  exchanged): where it has another one, it was cut or scaled since, the focal length is not its own, and the remark
  says so.
  """
  tags = dict(exif) | dict(exif.get_ifd(IFD.Exif))
  film, focal, per_unit = (
    _number(tags.get(tag)) for tag in (Base.FocalLengthIn35mmFilm, Base.FocalLength, Base.FocalPlaneXResolution)
  )
  unit = _UNIT_MM.get(int(_number(tags.get(Base.FocalPlaneResolutionUnit, 2))), 0.0)
  taken = [size for pair in _SIZES if min(size := [_number(tags.get(tag)) for tag in pair]) > 0]
  found = None
  if film > 0:
    found = film * math.hypot(width, height) / FILM_DIAGONAL_MM
  elif taken and min(focal, per_unit, unit) > 0:
    found = focal * per_unit / unit
  for size in taken if found else ():
    if sorted(size) != sorted((width, height)):
      of = f"{size[0]:g} x {size[1]:g} pixels, and it has {width} x {height}"
      return None, f"its EXIF is of a picture of {of}: the focal length there is not used"
  return found, ""


def _number(value: Any) -> float:
  """A tag's value; 0 where it is none, or not finite."""
  try:
    number = float(value)
  except (TypeError, ValueError, ZeroDivisionError):
    return 0.0
  return number if math.isfinite(number) else 0.0
