"""Values of a large JSON file one after another, so that memory holds one of them and never the file."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

_CHUNK = 1 << 20  # characters
_LARGEST = 1 << 26  # characters of one value; a frame's 42 joints take 3,000
# Words and ends of numbers that a cut file may end inside of, as Python writes them.
_WORDS = ("true", "false", "null", "NaN", "Infinity", "-Infinity", ".", "e+", "e-", "E+", "E-")
_LOOK_AHEAD = 4  # characters
_CUT = "the file is cut"
_SPACE = re.compile(r"[ \t\n\r]*")

Path = tuple[str | int, ...]


class JsonError(ValueError):
  """A file that is no JSON; one line that names it, the place, and the last value before it."""


def values(path: pathlib.Path, depth: int, progress: Callable[[int], None] | None = None) -> Iterator[tuple[Path, Any]]:
  """The values `depth` levels below the top, each with its keys (of an object) and indices (of a list).

  With depth 2, {"a": {"b": 1, "c": [2]}, "d": [3], "e": 4} gives ("a", "b") 1, ("a", "c") [2], ("d", 0) 3, ("e",) 4.
  Keys that occur twice are given twice.

  Args:
    path: the file, UTF-8, with or without a byte order mark.
    depth: levels that are walked through; what is below is parsed as a whole.
    progress: called now and then with the characters read so far.
  Raises:
    JsonError: the file is cut, is no JSON, or holds a value of over 64 million characters at that depth.
    OSError: it cannot be read.
  """
  with path.open(encoding="utf-8-sig", errors="strict") as file:
    reader = _Reader(file, progress or (lambda characters: None))
    last: Path = ()
    try:
      for at, value in reader.walk((), depth):
        last = at
        yield at, value
      if reader.peek():
        raise ValueError("something follows the end")
    except (ValueError, RecursionError) as error:
      if isinstance(error, JsonError):
        raise
      after = f" after {format_path(last)}" if last else ""
      raise JsonError(f"{path}: broken JSON at character {reader.place}{after}: {error}") from None


def load(path: pathlib.Path) -> Any:
  """The whole of a small file.

  Raises:
    JsonError: it is no JSON.
    OSError: it cannot be read.
  """
  try:
    return json.loads(path.read_bytes())
  except (ValueError, RecursionError) as error:
    raise JsonError(f"{path}: broken JSON: {error}") from None


def format_path(path: Path) -> str:
  """Keys and indices as one reads them: `images[2].id`."""
  text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
  return text.removeprefix(".")


def digest(path: pathlib.Path, algorithm: str = "sha256") -> str:
  """Hexadecimal digest of a file of any size."""
  with path.open("rb") as file:
    return hashlib.file_digest(file, algorithm).hexdigest()


def _is_tail(rest: str) -> bool:
  return any(word.startswith(rest) for word in _WORDS)


class _Reader:
  """Text of which only what is still needed is in memory."""

  def __init__(self, file: io.TextIOWrapper, progress: Callable[[int], None]):
    self._file, self._progress = file, progress
    self._text, self._at, self._before = "", 0, 0
    self._parse = json.JSONDecoder().raw_decode

  @property
  def place(self) -> int:
    return self._before + self._at

  def _fill(self) -> bool:
    """Reads on; drops what was parsed."""
    if len(self._text) - self._at > _LARGEST:
      raise ValueError(f"no end of a value after {_LARGEST} characters")
    more = self._file.read(max(_CHUNK, len(self._text) - self._at))
    self._before += self._at
    self._text, self._at = self._text[self._at :] + more, 0
    self._progress(self._before + len(self._text))
    return bool(more)

  def peek(self) -> str:
    """The next character that is no white space, "" at the end."""
    while True:
      found = _SPACE.match(self._text, self._at)
      assert found is not None
      self._at = found.end()
      if self._at < len(self._text) or not self._fill():
        return self._text[self._at : self._at + 1]

  def _take(self, expected: str) -> str:
    found = self.peek()
    if found not in expected or not found:
      if _is_tail(self._text[self._at :]) and not self._fill():
        raise ValueError(_CUT)
      raise ValueError(f"expected {' or '.join(expected)}, found {found!r}")
    self._at += 1
    return found

  def value(self) -> Any:
    """The next value as a whole."""
    self.peek()
    while True:
      try:
        value, end = self._parse(self._text, self._at)
      except json.JSONDecodeError as error:
        rest = self._text[error.pos : error.pos + 10]
        if self._fill():
          continue
        escape = error.msg.startswith("Invalid \\u") and len(rest) < len(r"\uXXXX")
        cut = escape or error.msg.startswith("Unterminated string") or _is_tail(rest)
        raise ValueError(_CUT if cut else error.msg) from None
      length = end - self._at  # filling moves the text
      # A number may go on in the next chunk, which may begin inside of "e+5".
      if len(self._text) - end < _LOOK_AHEAD and isinstance(value, int | float) and self._fill():
        continue
      self._at += length
      return value

  def walk(self, path: Path, depth: int) -> Iterator[tuple[Path, Any]]:
    opening = self.peek() if depth else ""
    if opening == "{":
      yield from self._members(path, depth)
    elif opening == "[":
      yield from self._elements(path, depth)
    else:
      yield path, self.value()

  def _members(self, path: Path, depth: int) -> Iterator[tuple[Path, Any]]:
    self._take("{")
    if self.peek() == "}":
      self._at += 1
      return
    while True:
      if self.peek() != '"':
        self._take('"')
      key = self.value()
      self._take(":")
      yield from self.walk((*path, key), depth - 1)
      if self._take(",}") == "}":
        return

  def _elements(self, path: Path, depth: int) -> Iterator[tuple[Path, Any]]:
    self._take("[")
    if self.peek() == "]":
      self._at += 1
      return
    index = 0
    while True:
      yield from self.walk((*path, index), depth - 1)
      if self._take(",]") == "]":
        return
      index += 1
