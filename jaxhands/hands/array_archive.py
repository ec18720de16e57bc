"""Reads NumPy's archives, and other zips of arrays, within limits that hold for the archive as a whole."""

from __future__ import annotations

import io
import math
import zipfile

import numpy as np


class RefusedArchive(ValueError):
  """An archive holds or announces more than it may; the message lacks its subject ("unpacks to …")."""


class HoldsObjects(ValueError):
  """An array is of Python's objects."""


def opened(file: io.BufferedIOBase, most_bytes: int) -> zipfile.ZipFile:
  """Opens a zip whose members are each there once, and unpack to no more than `most_bytes` in all.

  Raises:
    RefusedArchive: it is another one, or packed as NumPy and torch never do.
    zipfile.BadZipFile: it is damaged.
  """
  size = file.seek(0, io.SEEK_END)
  archive = zipfile.ZipFile(file)
  members = archive.infolist()
  if len({member.filename for member in members}) < len(members):
    raise RefusedArchive("has two members of one name")
  for member in members:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
      raise RefusedArchive(f"has a member {member.filename!r} that is encrypted, or packed in a way that is not read")
  if sum(member.compress_size for member in members) > size:
    raise RefusedArchive("has members that overlap")
  if sum(member.file_size for member in members) > most_bytes:
    raise RefusedArchive(f"unpacks to over {most_bytes >> 20} MB")
  return archive


def array(content: bytes) -> np.ndarray:
  """The array of a `.npy`.

  Raises:
    HoldsObjects: they are not read.
    ValueError: it is damaged, or announces more than is there.
  """
  stream = io.BytesIO(content)
  version = np.lib.format.read_magic(stream)
  read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
  shape, fortran, dtype = read(stream)
  if dtype.hasobject:
    raise HoldsObjects("it holds objects, not numbers")
  values = np.frombuffer(content, dtype, math.prod(shape), stream.tell())
  return values.reshape(shape, order="F" if fortran else "C")
