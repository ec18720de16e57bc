"""Writing a data set so that a killed build goes on with what is missing and nothing half-written is ever read.

A record is a pure function of its split and index, so a shard is one too: any process can write any shard. A shard gets
a temporary name until it is whole, on the disk and counted; TFDS's metadata, without which nobody reads the folder,
come last. `build.json` holds the arguments: a folder is only continued with the arguments it was begun with.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from etils import epath
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from data_builders.schema import FORMAT, Record, check_record, encode_example, features
from jaxhands.data import folders
from jaxhands.paths import expanded
from jaxhands.runs import lock

_FULL = {errno.ENOSPC: "No space left on device", errno.EDQUOT: "Disk quota exceeded"}
_PARTIAL = ".partial"

Progress = Callable[[int, int], None]  # finished records, all records
_T = TypeVar("_T")


class BuildError(RuntimeError):
  """A build that cannot go on; the message is the one line that the user reads."""


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is built. `make_record(split, index)` is pure and can be pickled; `arguments` are JSON and decide it fully."""

  name: str
  arguments: Mapping[str, Any]
  counts: Mapping[str, int]
  make_record: Callable[[str, int], Record]
  description: str
  records_per_shard: int = 100


@dataclasses.dataclass(frozen=True)
class Shard:
  split: str
  path: pathlib.Path
  start: int
  stop: int


def usable_cores() -> int:
  """Cores that this process may run on."""
  return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def arguments_hash(arguments: Mapping[str, Any]) -> str:
  """Eight hexadecimal digits that name a set of arguments."""
  return hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()[:8]


def default_folder(name: str, arguments: Mapping[str, Any], root: pathlib.Path | None = None) -> pathlib.Path:
  """NAME-HASH in `root`, the folder of all data sets; None: `$JAXHANDS_DATA`, or the user's cache."""
  return (folders.root() if root is None else root) / f"{name}-{arguments_hash(arguments)}"


def build(
  plan: Plan,
  folder: pathlib.Path,
  jobs: int = 1,
  progress: Progress | None = None,
  beam: Sequence[str] | None = None,
) -> pathlib.Path:
  """Writes the shards that are missing, then TFDS's metadata; does nothing where the data set is complete.

  Args:
    plan: what is built.
    folder: the data set's folder; made if it is not there.
    jobs: processes that write shards; 1 writes in this one. The files do not depend on it.
    progress: called a few times a second with the numbers of finished and of all records.
    beam: options of an Apache Beam pipeline, `key=value`, that writes the shards; without a runner among them the local
      one with `jobs` processes. None: without Beam.
  Returns:
    `folder`.
  Raises:
    BuildError: the folder belongs to something else, the disk is full, a worker died. What is whole stays.
  """
  if jobs < 1:
    raise BuildError(f"jobs is {jobs}, expected at least 1")
  folder = expanded(folder).absolute()
  if os.fsencode(folder) != str(folder).encode(errors="replace"):  # array_record writes into no other
    raise BuildError(f"the name {str(folder)!r} is not UTF-8, or this locale is not; name another folder")
  shards = _shards(plan, folder)
  if is_complete(plan, folder):
    return folder
  with clear_errors(folder), lock.only(folder, wait=True):
    if not is_claimed(plan.name, plan.arguments, folder):
      _write_json(folder / "build.json", _identity(plan))
    # The lock is ours, so whatever is unfinished here was left by a killed build.
    for partial in folder.glob(f".*{_PARTIAL}"):
      shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
    if not _is_complete(folder, shards):
      _remove_damaged(shards)
      (folder / "dataset_info.json").unlink(missing_ok=True)
      _write_shards(plan, shards, jobs, beam, progress or (lambda finished, total: None))
      _write_metadata(plan, folder, shards)
  return folder


def is_complete(plan: Plan, folder: pathlib.Path) -> bool:
  """Whether `build` would have nothing to do.

  Raises:
    BuildError: the folder belongs to something else.
  """
  folder = expanded(folder).absolute()
  return is_claimed(plan.name, plan.arguments, folder) and _is_complete(folder, _shards(plan, folder))


def _shards(plan: Plan, folder: pathlib.Path) -> list[Shard]:
  shards = []
  for split, count in plan.counts.items():
    number = -(-count // plan.records_per_shard)
    for i in range(number):
      path = _template(plan, folder, split).sharded_filepath(shard_index=i, num_shards=number)
      start = i * plan.records_per_shard
      shards.append(Shard(split, pathlib.Path(path), start, min(start + plan.records_per_shard, count)))
  if not shards:
    raise BuildError(f"nothing to build: {dict(plan.counts)} records")
  return shards


def _template(plan: Plan, folder: pathlib.Path, split: str) -> tfds.core.ShardedFileTemplate:
  return tfds.core.ShardedFileTemplate(
    data_dir=epath.Path(folder), dataset_name=plan.name, split=split, filetype_suffix="array_record"
  )


def _is_complete(folder: pathlib.Path, shards: list[Shard]) -> bool:
  """Whether all is there, with as many bytes as were written."""
  try:
    info, _ = (json.loads((folder / name).read_text()) for name in ("dataset_info.json", "features.json"))
    announced = {split["name"]: int(split["numBytes"]) for split in info["splits"]}
    found = dict.fromkeys(announced, 0)
    for shard in shards:
      found[shard.split] += shard.path.stat().st_size
  except (FileNotFoundError, ValueError, KeyError, TypeError):
    return False
  return found == announced


def _remove_damaged(shards: list[Shard]) -> None:
  """Removes the shards that lack something: what was written here was whole, but perhaps not what was copied here."""
  for shard in shards:
    if shard.path.exists() and (found := _count(shard.path)) != shard.stop - shard.start:
      words = f"has {found} of {shard.stop - shard.start} records" if found is not None else "cannot be read"
      logging.getLogger(__name__).warning("%s %s; it is written anew", shard.path, words)
      shard.path.unlink()


def _count(path: pathlib.Path) -> int | None:
  """Records of a shard; None if it cannot be read."""
  try:
    reader = ArrayRecordReader(str(path))
    try:
      return reader.num_records()
    finally:
      reader.close()
  except Exception:  # whatever its library makes of a damaged one
    return None


def _identity(plan: Plan) -> dict[str, Any]:
  return {"builder": plan.name, "format": FORMAT, "hash": arguments_hash(plan.arguments), "arguments": plan.arguments}


def is_claimed(name: str, arguments: Mapping[str, Any], folder: pathlib.Path) -> bool:
  """Whether the folder was begun with a plan's name and arguments.

  Raises:
    BuildError: the folder belongs to something else.
  """
  if not folder.exists():
    return False
  if not folder.is_dir():
    raise BuildError(f"{folder} is a file; give the path of a folder")
  if not (folder / "build.json").exists():
    strangers = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if strangers:
      raise BuildError(f"{folder} has no build.json but holds {strangers[0]}; give a new or an empty folder")
    return False
  try:
    found = json.loads((folder / "build.json").read_text())
    theirs = {"builder": found["builder"], "format": found["format"], **found["arguments"]}
  except (ValueError, KeyError, TypeError) as error:
    raise BuildError(f"{folder}/build.json is damaged ({error}); delete the folder or give another") from error
  ours = json.loads(json.dumps({"builder": name, "format": FORMAT, **arguments}))
  differing = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
  if differing:
    each = ", ".join(f"{key} {theirs.get(key)!r} there and {ours.get(key)!r} here" for key in differing)
    raise BuildError(f"{folder} was built with other arguments: {each}; give another folder or delete this one")
  return True


def is_begun(folder: pathlib.Path, name: str) -> bool:
  """Whether a folder is that of a builder, by its `build.json`."""
  try:
    return json.loads((folder / "build.json").read_text())["builder"] == name
  except (OSError, ValueError, KeyError, TypeError):
    return False


def read_survey(folder: pathlib.Path, make: Callable[[], None], keys: Sequence[str]) -> dict[str, Any]:
  """The summary of a survey, which is made where there is none, and made anew where it is damaged.

  Args:
    folder: of the survey.
    make: makes the folder, `survey.json` in it last.
    keys: of the summary.
  """
  path = folder / "survey.json"
  if not path.is_file():
    make()
  try:
    found = json.loads(path.read_text())
    if not isinstance(found, dict) or not found.keys() >= set(keys):
      raise ValueError(f"it lacks one of {', '.join(keys)}")
    return found
  except ValueError as error:
    logging.getLogger(__name__).warning("%s is damaged (%s); it is made anew", path, error)
    shutil.rmtree(folder)
    make()
    return json.loads(path.read_text())


def read_table(path: pathlib.Path, survey: pathlib.Path, read: Callable[[pathlib.Path], _T]) -> _T:
  """A table of a survey.

  Args:
    path: of its file.
    survey: the survey's folder.
    read: path -> the table.
  Raises:
    BuildError: `read` raises anything, as the file is missing, cut or something else.
  """
  try:
    return read(path)
  except Exception as error:  # nearly anything, of a damaged file
    raise BuildError(damaged_table(path, survey, f"{type(error).__name__}: {error}")) from error


def damaged_table(path: pathlib.Path, survey: pathlib.Path, why: str) -> str:
  """One line about a table of a survey that cannot be what was written, and what to do; arguments of `read_table`."""
  return f"{path} is damaged or missing ({' '.join(why.split())[:200]}); delete {survey}; it is made anew"


@contextlib.contextmanager
def clear_errors(folder: pathlib.Path) -> Iterator[None]:
  """Turns what a disk can do to us into one line; array_record reports it as RuntimeError with the system's words."""
  try:
    yield
  except (OSError, RuntimeError) as error:
    if isinstance(error, BuildError):
      raise
    if getattr(error, "errno", None) in _FULL or any(words in str(error) for words in _FULL.values()):
      raise BuildError(
        f"the disk is full under {folder}; make room and run the same command, it goes on with what is missing"
      ) from error
    if isinstance(error, concurrent.futures.BrokenExecutor):
      raise BuildError(
        "a worker process was killed, perhaps for want of memory; run the same command with fewer --jobs, it goes on "
        "with what is missing"
      ) from error
    if isinstance(error, OSError) or "open() failed" in str(error):
      raise BuildError(f"cannot write under {folder}: {error}") from error
    raise


def _write_json(path: pathlib.Path, content: Any) -> None:
  partial = path.with_name(f".{path.name}{_PARTIAL}")
  partial.write_text(json.dumps(content, indent=2) + "\n")
  _publish(partial, path)


def _publish(partial: pathlib.Path, path: pathlib.Path) -> None:
  """Gives a whole file its name, once it is on the disk."""
  with partial.open("rb") as file:
    os.fsync(file.fileno())
  partial.replace(path)


def write_shard(plan: Plan, shard: Shard, after_record: Callable[[], None]) -> None:
  """Writes one shard, which gets its name when it is whole; `after_record` is called after every record.

  Raises:
    BuildError, OSError, SchemaError, RuntimeError: a record cannot be made or written.
  """
  partial = shard.path.with_name(f".{shard.path.name}.{os.getpid()}{_PARTIAL}")
  try:
    of = features()
    serializer = ExampleSerializer(cast(Any, of.get_serialized_info()))
    writer = ArrayRecordWriter(str(partial), "group_size:1")
    try:
      for index in range(shard.start, shard.stop):
        record = plan.make_record(shard.split, index)
        check_record(record)
        example = serializer.get_tf_example(cast(Any, encode_example(record, of)))
        # Otherwise the order of the keys changes from process to process.
        writer.write(example.SerializeToString(deterministic=True))
        after_record()
    finally:
      writer.close()
    found, expected = _count(partial), shard.stop - shard.start
    if found != expected:
      raise BuildError(f"{shard.path.name} holds {found} of {expected} records after writing; the disk is not sound")
    _publish(partial, shard.path)
  finally:
    partial.unlink(missing_ok=True)


def _write_shards(plan: Plan, shards: list[Shard], jobs: int, beam: Sequence[str] | None, progress: Progress) -> None:
  missing = [shard for shard in shards if not shard.path.exists()]
  total = sum(shard.stop - shard.start for shard in shards)
  there = total - sum(shard.stop - shard.start for shard in missing)
  progress(there, total)
  if beam is not None:
    from data_builders import beam as pipelines  # which most builds do without

    pipelines.write_shards(plan, missing, jobs, beam, lambda new: progress(there + new, total))
  elif jobs == 1 or len(missing) < 2:
    finished = there

    def after_record() -> None:
      nonlocal finished
      finished += 1
      progress(finished, total)

    for shard in missing:
      write_shard(plan, shard, after_record)
  else:
    from data_builders import workers  # which imports this module

    workers.write_shards(plan, missing, min(jobs, len(missing)), lambda new: progress(there + new, total))


def _write_metadata(plan: Plan, folder: pathlib.Path, shards: list[Shard]) -> None:
  partial = pathlib.Path(tempfile.mkdtemp(prefix=".metadata.", suffix=_PARTIAL, dir=folder))
  split_infos = []
  for split, count in plan.counts.items():
    of_split = [shard for shard in shards if shard.split == split]
    if count:
      split_infos.append(
        tfds.core.SplitInfo(
          name=split,
          shard_lengths=[shard.stop - shard.start for shard in of_split],
          num_bytes=sum(shard.path.stat().st_size for shard in of_split),
          filename_template=_template(plan, folder, split),
        )
      )
  # write_metadata takes the names of the data set and of its splits from the names of the files beside it.
  for shard in shards:
    (partial / shard.path.name).touch()
  tfds.folder_dataset.write_metadata(
    data_dir=partial, features=features(), split_infos=split_infos, check_data=False, description=plan.description
  )
  # dataset_info.json is what makes the folder a data set, so it comes last.
  for name in ("features.json", "dataset_info.json"):
    _publish(partial / name, folder / name)
  shutil.rmtree(partial)
