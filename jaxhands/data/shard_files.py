"""Records of the files that a data set consists of (shards), and what is said of one that cannot be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def example(raw: bytes, features: Any, decoders: Mapping[str, Any]) -> dict[str, Any]:
  """A record as arrays, with the pictures that `decoders` skip encoded.

  Raises:
    Exception: nearly any, of bytes that are no record; ValueError of none, which is what a shard that was cut gives.
  """
  if not raw:
    raise ValueError("the shard is cut")
  return features.deserialize_example_np(raw, decoders=decoders)


def unreadable(builder: Any, split: str, row: int, record: str, error: BaseException) -> str:
  """One line about a record that cannot be read, with the file that it should be in and what to do.

  Args:
    builder: TFDS's, of the data set.
    split: as it was opened, e.g. "val[:10%]".
    row: in that split.
    record: its name.
    error: of reading or parsing it.
  """
  first, path = 0, "its shard"
  for part in builder.info.splits[split].file_instructions:
    if first <= row < first + part.take:
      path = part.filename
    first += part.take
  return (
    f"{record} cannot be read ({words(error)}); if {path} is damaged or missing, delete what is left of it and build "
    "again: what is whole of the data set is kept"
  )


def words(error: BaseException) -> str:
  """What an error of a library says, in a line that is not too long."""
  return " ".join(f"{type(error).__name__}: {error}".split())[:200]
