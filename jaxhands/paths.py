"""Paths as people type them."""

from __future__ import annotations

import os
import pathlib
import re

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/+(.*)", re.IGNORECASE | re.DOTALL)  # pathlib leaves one slash of two


def expanded(path: str | os.PathLike[str]) -> pathlib.Path:
  """The path with a home in place of `~` or `~NAME`; as it is where there is no such home, but perhaps such a file.

  Raises:
    FileNotFoundError: of `check_on_disk`.
  """
  check_on_disk(path)
  try:
    return pathlib.Path(path).expanduser()
  except RuntimeError:
    return pathlib.Path(path)


def check_on_disk(path: str | os.PathLike[str]) -> None:
  """Raises `FileNotFoundError` if a path is an address, as gs://BUCKET, which would become a folder named `gs:`."""
  if found := _ADDRESS.fullmatch(os.fspath(path)):
    raise FileNotFoundError(
      f"{found[1]}://{found[2]} is not on a disk, where folders and files must be: copy it to one, or mount its bucket"
    )
