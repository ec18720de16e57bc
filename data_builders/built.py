"""Records of a finished data set, for builders that make a new one of it."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from collections.abc import Collection
from typing import Any, cast

import numpy as np
import tensorflow_datasets as tfds

from data_builders.schema import RECORD
from data_builders.shards import BuildError
from jaxhands.data import folders, shard_files
from jaxhands.paths import expanded
from jaxhands.terminal.console import one_line


@dataclasses.dataclass(frozen=True)
class Built:
  """A finished data set by the path of its folder; small, so that worker processes can receive it."""

  folder: str

  def splits(self) -> dict[str, int]:
    """Split -> number of records.

    Raises:
      BuildError: what TFDS keeps of the data set is damaged.
    """
    return {name: info.num_examples for name, info in _builder(self.folder).info.splits.items()}

  def read(self, split: str, row: int, keys: Collection[str]) -> dict[str, Any]:
    """Some keys of a record as `schema.RECORD` describes them; pictures stay encoded.

    Raises:
      BuildError: the record, or what TFDS keeps of the data set, cannot be read.
    """
    raw, features, encoded = _reader(self.folder, split, frozenset(keys))
    record = read_record(_builder(self.folder), raw, split, row, features, encoded)
    return {key: _as_stored(key, value) for key, value in record.items()}

  def identity(self) -> dict[str, Any]:
    """Stands for its content: builder and hash of its arguments.

    Raises:
      BuildError: there is no `build.json`.
    """
    try:
      found = json.loads((pathlib.Path(self.folder) / "build.json").read_text())
      return {"builder": found["builder"], "hash": found["hash"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise BuildError(f"{self.folder} has no readable build.json; build it with data_builders ({error})") from error


def _as_stored(key: str, value: Any) -> Any:
  dtype = RECORD[key].dtype
  if dtype == "text":
    return value.decode()
  return value if dtype == "bytes" else np.asarray(value, dtype)


def find_built(text: str, root: str = "") -> Built:
  """The finished data set that a path or NAME[/VARIANT] stands for.

  Args:
    text: a folder, or a name as configs have it.
    root: folder of all data sets; "": `$JAXHANDS_DATA`, or the user's cache.
  Raises:
    BuildError: there is none, or there are several.
  """
  path = expanded(text)
  if (path / "dataset_info.json").is_file():
    return Built(str(path.absolute()))
  name, _, variant = text.partition("/")
  try:
    return Built(str(folders.find(*((text, "") if path.is_absolute() else (name, variant)), root).absolute()))
  except (FileNotFoundError, ValueError) as error:
    raise BuildError(f"{text}: {error}") from error


def open_folder(folder: str) -> Any:
  """TFDS's reader of a finished data set.

  Raises:
    BuildError: what TFDS keeps of the data set is damaged.
  """
  path = root = pathlib.Path(folder)
  try:
    for path in (root / "features.json", root / "dataset_info.json"):
      json.loads(path.read_bytes())
    return cast(Any, tfds.builder_from_directory(folder))  # its methods are wrapped in ways checkers cannot read
  except Exception as error:  # whatever TFDS makes of other content
    again = "delete it and build the data set again: what is whole of it is kept"
    raise BuildError(f"{path} is damaged, or something else ({one_line(error)}); {again}") from error


def raw_records(builder: Any, split: str) -> Any:
  """The records of a split as bytes, by index.

  Raises:
    BuildError: there is no such split, or its files are of another format.
  """
  try:
    return builder.as_data_source(split).data_source
  except Exception as error:  # whatever TFDS has against it
    folder, splits = builder.data_path, sorted(builder.info.splits)
    raise BuildError(f"{folder}:{split} cannot be read ({one_line(error)}); it has the splits {splits}") from error


def read_record(builder: Any, raw: Any, split: str, row: int, features: Any, decoders: dict[str, Any]) -> Any:
  """A record of `raw_records`, parsed.

  Raises:
    BuildError: it cannot be read; names its file, and says what to do.
  """
  try:
    return shard_files.example(raw[row], features, decoders)
  except Exception as error:  # a damaged shard raises nearly anything
    name = f"{builder.data_path}:{split}[{row}]"
    raise BuildError(shard_files.unreadable(builder, split, row, name, error)) from error


_builder = functools.cache(open_folder)


@functools.lru_cache(maxsize=8)
def _reader(folder: str, split: str, keys: frozenset[str]) -> tuple[Any, Any, dict[str, Any]]:
  builder = _builder(folder)
  features = builder.info.features
  if missing := sorted(keys - set(features)):
    raise BuildError(f"the data set in {folder} has no {missing[0]!r}; build it anew")
  chosen = tfds.features.FeaturesDict({key: features[key] for key in sorted(keys)})
  skip = cast(Any, tfds.decode.SkipDecoding)
  encoded = {key: skip() for key, feature in chosen.items() if isinstance(feature, tfds.features.Image)}
  return raw_records(builder, split), chosen, encoded
