"""Names of files as people have them: of any bytes, too long, alike; and what is shown and written instead."""

from __future__ import annotations

import os
import pathlib
import re
import unicodedata

_RESERVED = frozenset({"index"})  # the first page
_FORBIDDEN = frozenset('\\/:*?"<>|%#')  # on some file systems, or in links
_DEVICES = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)\d)(?:\..*)?", re.IGNORECASE)  # of Windows, with any suffix
_LONGEST = 100  # bytes of a name in UTF-8; file systems take 255


def printable(path: str | pathlib.PurePath) -> str:
  """A path on one line; bytes that are no UTF-8, and what a terminal or page would obey, as in `\\x1b`."""
  return "".join(each if each.isprintable() else _escaped(each) for each in os.fspath(path))


def _escaped(character: str) -> str:
  byte = ord(character) - 0xDC00  # of a name that is no UTF-8
  return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else character.encode("unicode_escape").decode()


class Names:
  """Gives each file the name of what is written for it, without suffix; no two that some file system takes for one."""

  def __init__(self) -> None:
    self._taken = set(_RESERVED)

  def of(self, file: pathlib.PurePath) -> str:
    """The file's own stem where it can be; else with "_" for odd characters, cut short, and with a number."""
    stem = os.fsencode(file.stem).decode("utf-8", "replace")
    stem = "".join("_" if each in _FORBIDDEN or not each.isprintable() or each == "\ufffd" else each for each in stem)
    stem = stem.encode()[:_LONGEST].decode("utf-8", "ignore").rstrip(" .")
    stem = f"_{stem[1:]}" if not stem or stem[0] in "-. " else f"_{stem}" if _DEVICES.fullmatch(stem) else stem
    name, count = stem, 1
    while _folded(name) in self._taken:
      count += 1
      name = f"{stem}-{count}"
    self._taken.add(_folded(name))
    return name


def _folded(name: str) -> str:
  return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
