"""Built data sets as a list of (record, view), read by index without TensorFlow.

A folder is one that `data_builders` wrote: TFDS metadata and ArrayRecord shards. Only the keys that are asked for are
parsed, and nothing is decoded here.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import logging
import pathlib
import threading
import urllib.parse
from collections.abc import Callable, Collection, Iterable
from typing import Any, Literal

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Bool, Float, Integer

from jaxhands import schema
from jaxhands.data import host_ops, shard_files
from jaxhands.data.fits import Fits
from jaxhands.runs import folder as files

Kind = Literal["all", "single", "interacting"]

_log = logging.getLogger(__name__)
_ESTIMATES = {"root_depth_estimated", "root_depth_estimated_valid"}
_OF_FITS = {"source", "hand_present", "mano_valid"}  # what says whether and which parameters a record gets
_INDEX_KEYS = {"record_id", "hand_present", "joints_img_valid", "removed_valid", "hand_model"}


@dataclasses.dataclass(frozen=True)
class DataSet:
  """What is read of one folder.

  Attributes:
    folder: with the data set's `features.json`.
    split: of TFDS, e.g. "train" or "val[:10%]".
    kind: pictures of exactly one hand, of two, or all.
    limit: the first examples only, after `kind`; 0 = all.
    root_depths: file of `RootDepths` with RootNet's results for this split; "" = none.
    fits: file with parameters of hands that have none of their own, see `data.fits`; "" = none.
  """

  folder: str
  split: str
  kind: Kind = "all"
  limit: int = 0
  root_depths: str = ""
  fits: str = ""


class Records:
  """Random access to one data set's examples: `records[i]` is a record with its `view`, ready for the host ops.

  Args:
    data_set: what to read.
    view: "pair" = one example a record; "hand" = one for each hand that is in the picture with joints, or with a
      picture of it alone.
    needs: keys of the `Batch` to be made.
  Raises:
    FileNotFoundError: no data set, or none that is finished, in the folder.
    DamagedFile: what TFDS keeps of it is damaged.
    ValueError: no such split, a key that the data set lacks, no example of this kind, or a shard that is damaged or
      missing, which reading an example may raise as well.
  """

  def __init__(self, data_set: DataSet, view: Literal["pair", "hand"], needs: Collection[str]):
    self.data_set = data_set
    builder = _open(data_set.folder)
    try:
      self._raw: Any = builder.as_data_source(data_set.split).data_source
      _ = len(self._raw)  # which "train[4:2]" has none of
    except ValueError as error:
      raise ValueError(
        f"{data_set.folder} has no split {data_set.split!r}, but {sorted(builder.info.splits)}"
      ) from error
    except Exception as error:  # as of a data set whose files are of another format
      raise ValueError(
        f"{data_set.folder} cannot be read by index ({shard_files.words(error)}); build it again"
      ) from error
    self._fits = Fits.read(data_set.fits) if data_set.fits and "mano" in needs else None
    keys = host_ops.record_keys(needs) | (_OF_FITS if self._fits else set())
    self._features = _subset(builder, keys, data_set.folder)
    self._decoders = _skip_decoding(self._features)
    self._index = _Index.of(builder, data_set, self._raw)
    self._rows, self._views = self._index.examples(data_set.kind, view)
    if data_set.limit:
      self._rows, self._views = self._rows[: data_set.limit], self._views[: data_set.limit]
    if not len(self._rows):
      raise ValueError(f"{data_set.folder}:{data_set.split} has no example of kind {data_set.kind!r} in view {view!r}")
    # Training data need no row in a table that only evaluation reads.
    wanted = data_set.root_depths and _ESTIMATES & set(needs)
    self._depths = RootDepths.read(data_set.root_depths) if wanted else None
    if self._depths is not None or self._fits is not None:
      self[0]  # a table of other data is found before anything is computed

  @property
  def hand_model(self) -> str:
    """Identity of the hand model that all parameters belong to; "" where there are none.

    Raises:
      ValueError: the records belong to different models.
    """
    models = sorted({*self._index.hand_models, self._fits.hand_model if self._fits else ""} - {""})
    if len(models) > 1:
      fits = f" with {self.data_set.fits}" if self._fits else ""
      raise ValueError(f"{self.data_set.folder}{fits} mixes parameters of the hand models {models}")
    return models[0] if models else ""

  @property
  def labels(self) -> frozenset[str]:
    """Flags, like "parts_valid", that are set in any record of the split, parameters of `DataSet.fits` included."""
    return frozenset(self._index.labels) | ({"mano_valid"} if self._fits and self._fits.valid.any() else set())

  def __len__(self) -> int:
    return len(self._rows)

  def __getitem__(self, index: int) -> dict[str, Any]:
    row = int(self._rows[index])
    try:
      record = shard_files.example(self._raw[row], self._features, self._decoders)
    except Exception as error:  # a damaged shard raises nearly anything
      builder = _open(self.data_set.folder)
      raise ValueError(shard_files.unreadable(builder, self.data_set.split, row, self.name(index), error)) from error
    record["view"] = schema.VIEWS[self._views[index]]
    if self._fits is not None:
      record = self._fits.filled(record)
    if self._depths is not None:
      identity = schema.record_hash(record["source"], record["box_img"])
      try:
        depths = self._depths.of(int(record["record_id"]), int(identity))
      except KeyError as error:
        raise ValueError(f"{self.data_set.root_depths} {error.args[0]}: {self.name(index)}") from None
      record["root_depth_estimated"], record["root_depth_estimated_valid"] = depths
    return record

  def name(self, index: int) -> str:
    """Which record an example is, for messages."""
    return f"{self.data_set.folder}:{self.data_set.split}[{self._rows[index]}] ({schema.VIEWS[self._views[index]]})"


class Cached:
  """A source whose elements stay in memory once `prepare` has made them, up to a number of bytes; others are remade.

  For data sets that fit: reading and decoding then cost nothing from the second epoch on.
  """

  def __init__(self, source: Any, prepare: Callable[[Any, int], dict[str, Any]], limit_bytes: int):
    self._source, self._prepare, self._limit = source, prepare, limit_bytes
    self._kept: dict[int, dict[str, Any]] = {}
    self._bytes = 0
    self._lock = threading.Lock()

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> dict[str, Any]:
    kept = self._kept.get(index)
    if kept is None:
      kept = self._prepare(self._source[index], index)
      size = sum(getattr(value, "nbytes", 0) for value in kept.values())
      with self._lock:
        if self._bytes + size <= self._limit and index not in self._kept:
          self._kept[index] = kept
          self._bytes += size
    return dict(kept)

  def __getstate__(self) -> dict[str, Any]:
    return {"_source": self._source, "_prepare": self._prepare, "_limit": self._limit}

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__init__(state["_source"], state["_prepare"], state["_limit"])


@dataclasses.dataclass(frozen=True, eq=False)
class RootDepths:
  """RootNet's results: wrist depths of pair-view examples, read as `root_depth_estimated`.

  A row says not only which record it belongs to, but also, by `schema.record_hash`, which picture and box that was: ids
  are unique within one data set only, so a table may hold several sets, and is refused for any that it does not hold.

  Attributes:
    example_id: of the pair view.
    record_hash: see `schema.BATCH`.
    depth_mm: (right, left).
    valid: which of them are known.
  """

  example_id: Integer[np.ndarray, " N"]
  record_hash: Integer[np.ndarray, " N"]
  depth_mm: Float[np.ndarray, "N 2"]
  valid: Bool[np.ndarray, "N 2"]

  @classmethod
  def of_views(
    cls,
    example_id: Integer[np.ndarray, " M"],
    record_hash: Integer[np.ndarray, " M"],
    depth_mm: Float[np.ndarray, "M 2"],
    valid: Bool[np.ndarray, "M 2"],
  ) -> RootDepths:
    """A row for each record, of examples of any view: a hand view has its one hand's depth at place 0."""
    record, view = np.divmod(example_id, schema.IDS_OF_RECORD)
    keys, row = np.unique(_key(schema.example_id(record, "pair"), record_hash), return_inverse=True)
    depths, known = np.zeros((len(keys), 2), np.float32), np.zeros((len(keys), 2), bool)
    for place, name in enumerate(schema.VIEWS):
      seen = view == place
      if name == "pair":
        depths[row[seen]], known[row[seen]] = depth_mm[seen], valid[seen]
      else:
        hand = schema.HANDS.index(name)
        depths[row[seen], hand], known[row[seen], hand] = depth_mm[seen, 0], valid[seen, 0]
    return cls(*_ids_and_hash(keys), np.where(known, depths, 0), known)

  @classmethod
  def read(cls, path: str | pathlib.Path) -> RootDepths:
    """The table in a file, in the order of its keys.

    Raises:
      FileNotFoundError: there is no such file.
      DamagedFile: it holds something else.
    """
    names = [field.name for field in dataclasses.fields(cls)]
    found = files.read_arrays(pathlib.Path(path), "write this table of wrist depths anew", names)
    table = cls(*(found[name] for name in names))
    _, first = np.unique(_key(table.example_id, table.record_hash), return_index=True)
    return cls(*(getattr(table, name)[first] for name in names))

  def write(self, path: pathlib.Path) -> None:
    """Writes the table, whole or not at all."""
    arrays: dict[str, Any] = dataclasses.asdict(self) | {"depth_mm": self.depth_mm.astype(np.float32)}
    with files.written(path) as file:
      np.savez(file, **arrays)

  def of(self, record_id: int, record_hash: int) -> tuple[np.ndarray, np.ndarray]:
    """Depths (mm) and validity of both wrists of a record.

    Raises:
      KeyError: there is no row for the record, or only one of another picture or box; the argument says which.
    """
    wanted = _key(np.array([schema.example_id(record_id, "pair")]), np.array([record_hash]))[0]
    place = np.searchsorted(self._keys, wanted)
    if place < len(self._keys) and self._keys[place] == wanted:
      return self.depth_mm[place], self.valid[place]
    if (self.example_id == schema.example_id(record_id, "pair")).any():
      raise KeyError(f"is of another data set: its record {record_id} is another picture, or has another box")
    raise KeyError(f"has no row for record {record_id}; write it anew, of this data set")

  @functools.cached_property
  def _keys(self) -> np.ndarray:
    return _key(self.example_id, self.record_hash)

  def __len__(self) -> int:
    return len(self.example_id)


def _key(example_id: np.ndarray, record_hash: np.ndarray) -> np.ndarray:
  """One number of both, ordered by the example."""
  return example_id.astype(np.int64) << 32 | record_hash.astype(np.int32).view(np.uint32).astype(np.int64)


def _ids_and_hash(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Undoes `_key`."""
  return (keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.uint32).view(np.int32)


@dataclasses.dataclass(frozen=True)
class _Index:
  """What is known of every record without reading it; kept beside the data after the first reading."""

  hand_present: Bool[np.ndarray, "N 2"]
  annotated: Bool[np.ndarray, "N 2"]  # the hand has a joint in the picture, or a picture of it alone
  hand_models: tuple[str, ...]
  labels: tuple[str, ...]  # flags that are set in any record
  content: str  # which build these are of

  @classmethod
  def of(cls, builder: Any, data_set: DataSet, raw: Any) -> _Index:
    # Quoted, so that no two splits have one file.
    path = pathlib.Path(data_set.folder) / f"index-{urllib.parse.quote(data_set.split, safe='')}.npz"
    content = _content(path.parent)
    try:
      found = files.read_arrays(path, "it is made anew")
      if str(found.get("content")) == content:  # one of before this was kept has none
        models, labels = (tuple(found[key].tolist()) for key in ("hand_models", "labels"))
        return cls(found["hand_present"], found["annotated"], models, labels, content)
    except files.DamagedFile as error:
      _log.warning("%s", error)
    except OSError:  # there is none, or a split of many parts has too long a name
      pass
    index = cls._read(builder, data_set, raw, content)
    index._write(path)
    return index

  @classmethod
  def _read(cls, builder: Any, data_set: DataSet, raw: Any, content: str) -> _Index:
    flags = {key for key in builder.info.features if key.endswith("_valid")}
    present: list[np.ndarray] = []
    annotated: list[np.ndarray] = []
    models: set[str] = set()
    labels: set[str] = set()
    try:
      for at in range(0, len(raw), 256):
        features = _subset(builder, frozenset(_INDEX_KEYS | (flags - labels)), data_set.folder)  # few: each takes long
        for encoded in _together(raw, range(at, min(at + 256, len(raw)))):
          row = shard_files.example(encoded, features, {})
          present.append(row["hand_present"])
          annotated.append(row["joints_img_valid"].any(-1) | row["removed_valid"])
          models.add(row["hand_model"].decode())
          labels |= {flag for flag in flags - labels if np.any(row[flag])}
    except Exception as error:
      name = f"{data_set.folder}:{data_set.split}[{len(present)}]"
      raise ValueError(shard_files.unreadable(builder, data_set.split, len(present), name, error)) from error
    of_hands = [np.array(rows, bool).reshape(-1, 2) for rows in (present, annotated)]
    return cls(of_hands[0], of_hands[1], tuple(sorted(models)), tuple(sorted(labels)), content)

  def _write(self, path: pathlib.Path) -> None:
    """Whole or not at all; a folder that cannot be written to costs only the next reading."""
    arrays: dict[str, Any] = {key: np.array(value) for key, value in dataclasses.asdict(self).items()}
    with contextlib.suppress(OSError), files.written(path) as file:
      np.savez(file, **arrays)

  def examples(self, kind: Kind, view: Literal["pair", "hand"]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and indices into `schema.VIEWS`, in the order of the records, right before left."""
    hands = self.hand_present.sum(-1)
    wanted = np.isin(hands, {"all": (0, 1, 2), "single": (1,), "interacting": (2,)}[kind])
    if view == "pair":
      rows = np.flatnonzero(wanted)
      return rows, np.zeros(len(rows), np.int8)
    rows, hands = np.nonzero(wanted[:, None] & self.hand_present & self.annotated)
    return rows, (hands + 1).astype(np.int8)


def _content(folder: pathlib.Path) -> str:
  """Stands for what was built into a folder."""
  found = hashlib.sha256((folder / "dataset_info.json").read_bytes())
  with contextlib.suppress(FileNotFoundError):
    found.update((folder / "build.json").read_bytes())
  return found.hexdigest()


def _together(raw: Any, rows: range) -> Iterable[bytes]:
  """Records, read at once; one after the other where that fails, so that the error is of the first bad one."""
  try:
    return raw.__getitems__(list(rows))
  except Exception:  # nearly any
    return map(raw.__getitem__, rows)


def _open(folder: str) -> Any:
  if not (pathlib.Path(folder) / "features.json").is_file():
    raise FileNotFoundError(f"no finished data set in {folder}; build it with `python -m data_builders.NAME`")
  again = "delete it and build the data set again: what is whole of it is kept"
  for name in ("features.json", "dataset_info.json"):
    files.read_json(pathlib.Path(folder) / name, again, ())
  try:
    return tfds.builder_from_directory(folder)
  except Exception as error:  # whatever TFDS makes of other content
    raise files.DamagedFile(pathlib.Path(folder) / "dataset_info.json", error, again) from error


def _subset(builder: Any, keys: frozenset[str], folder: str) -> Any:
  features = builder.info.features
  missing = sorted(keys - set(features))
  if missing:
    raise ValueError(f"the data set in {folder} has no {missing}; it has {sorted(features)}")
  return tfds.features.FeaturesDict({key: features[key] for key in sorted(keys)})


def _skip_decoding(features: Any) -> dict[str, Any]:
  skip: Any = tfds.decode.SkipDecoding
  return {key: skip() for key, feature in features.items() if isinstance(feature, tfds.features.Image)}
