"""The trainings that a config consists of, and what their folders hold; `runs.stage` does one of them."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from jaxhands.hands.model import EMBEDDED, HandModel
from jaxhands.runs import folder as files
from jaxhands.runs import lock
from jaxhands.train import checkpoint, plan

# What decides the numbers of a run: a folder that was begun with other values is not continued.
_DECISIVE = (
  "seed", "compute_dtype", "hand_model", "system", "batch_size", "accumulation", "optimizer", "schedule", "clip_norm",
  "ema", "freeze", "init_from", "data.train", "data.kind", "data.limit", "data.crop_hw",
  "data.shrink", "data.augmentation", "data.synthetic", "data.aih", "data.multihands", "data.rough", "data.fits", "vgg",
)  # fmt: skip
_NAMED = 8  # changes at most, in an error


def of(config: Any) -> list[tuple[str, Any]]:
  """The trainings that a run consists of, in order, as (name, whole config); one without stages is called ""."""
  return [(name, stage.copy_and_resolve_references()) for name, stage in config.stages.items() or [("", config)]]


def sources(config: Any) -> tuple[str, ...]:
  """Stages of the same run whose weights, or estimated depths, a stage starts from, in order."""
  weights = (pathlib.PurePath(str(value).split(":")[0]).parts for value in config.init_from.values())
  named = {parts[1:] for parts in weights if parts[:1] == (files.STAGES,)}
  depths = pathlib.PurePath(config.data.root_depths).parts
  if depths[:1] == (files.STAGES,):
    named.add(depths[1:2])  # of which it may name the file, too
  return tuple(sorted("/".join(parts) for parts in named))


def check_sources(described: Mapping[str, Any]) -> None:
  """Raises `ValueError` if a stage starts from one that is not among those before it; takes what `of` gives."""
  for index, (name, config) in enumerate(described.items()):
    earlier = [one for one in list(described)[:index] if one]
    if unknown := [source for source in sources(config) if source not in earlier]:
      who = f"stage {name!r}" if name else "the config"
      raise ValueError(
        f"{who} starts from stages/{unknown[0]}, by init_from or data.root_depths; the stages before it are "
        f"{', '.join(earlier) or 'none'}"
      )


def progress(folder: pathlib.Path, examples: int = 0) -> tuple[int, int] | None:
  """Steps that are saved of a run or stage, and steps of the whole; None before the first checkpoint.

  Args:
    folder: of the run or stage.
    examples: that it is trained on; 0 = as many as it has noted. What is only assembled, or imported, notes none: it
      is whole with the step that it has.
  Raises:
    ValueError: its config, or what it has noted, is damaged.
  """
  try:
    done = int(checkpoint.checkpoint_folder(folder, "latest").name)
    config = checkpoint.read_config(folder)
  except FileNotFoundError:
    return None
  notes = folder / files.TRAINED_WITH
  if not examples and not notes.is_file():
    return done, done
  try:
    examples = examples or sum(data["examples"] for data in files.read_json(notes, "delete it")[-1]["data"])
  except (IndexError, KeyError, TypeError) as error:
    raise files.DamagedFile(notes, error, "delete it") from error
  return done, plan.Plan.of(config, examples).steps


def is_finished(folder: pathlib.Path, examples: int = 0) -> bool:
  """Whether the folder of a run or stage has the checkpoint of its last step; arguments and errors of `progress`."""
  steps = progress(folder, examples)
  return steps is not None and steps[0] >= steps[1]


@contextlib.contextmanager
def only_writer(folders: Sequence[pathlib.Path]) -> Iterator[None]:
  """Within this context no other run writes into these folders; of several processes the first one sees to that.

  Raises, on all processes:
    lock.FolderInUseError: another run does.
    OSError: one cannot be written.
  """
  with contextlib.ExitStack() as stack:
    refused: OSError | None = None
    if jax.process_index() == 0:
      try:
        for folder in dict.fromkeys(folders):
          stack.enter_context(lock.only(folder))
      except OSError as error:
        refused = error
    # The others must not go on to where they would wait for the first.
    if jax.process_count() > 1 and multihost_utils.broadcast_one_to_all(np.int32(refused is not None)):
      refused = refused or lock.FolderInUseError(f"{folders[-1]} is in use or not writable, as process 0 says")
    if refused:
      raise refused
    yield


def check_continues(workdir: pathlib.Path, config: Any) -> None:
  """Raises `ValueError` if `workdir` was begun with other numbers: sizes, rates, data; durations may change."""
  if not (workdir / files.CONFIG).is_file():
    return
  begun = checkpoint.read_config(workdir)
  changes = []
  if list(begun.stages) != list(config.stages):
    changes = [f"stages were {list(begun.stages)} and are {list(config.stages)}"]
  elif not begun.stages or isinstance(begun.stages, ConfigDict):  # else of before stages were whole configs: see theirs
    # Through JSON both, so that tuples and lists are the same.
    before, now = (
      traverse_util.flatten_dict(json.loads(one.to_json()), keep_empty_nodes=True, sep=".") for one in (begun, config)
    )
    changes = [
      f"{key} was {before.get(key)!r} and is {now.get(key)!r}"
      for key in sorted(before.keys() | now.keys())
      # What stages share is in each of them, so that a version which shares more decides nothing by that.
      if (key in before and key in now) or _in_stage(key) != key or not begun.stages
      if _in_stage(key).startswith(_DECISIVE) and not _is_same(key, before, now)
      if not (_in_stage(key).startswith("init_from") and checkpoint.is_kept(workdir))  # which starts from nothing
    ]
  if changes:
    more = f"; and {len(changes) - _NAMED} more" if len(changes) > _NAMED else ""
    raise ValueError(
      f"{workdir} was begun with another config: {'; '.join(changes[:_NAMED])}{more}. Choose another --workdir"
    )


def evaluated_anew(workdir: pathlib.Path, config: Any) -> Any:
  """The config that a folder was begun with, which is to be evaluated as `config` says; `config` of a new folder."""
  if not (workdir / files.CONFIG).is_file():
    return config
  begun, now = (json.loads(one.to_json()) for one in (checkpoint.read_config(workdir), config))
  if isinstance(begun["stages"], list):  # of before stages were whole configs
    return config
  for old, new in ((begun, now), *((stage, now["stages"][name]) for name, stage in begun["stages"].items())):
    old |= {key: new[key] for key in ("eval",) if key in new}
    old["data"] |= {key: new["data"][key] for key in ("eval", "root_depths") if key in new["data"]}
  return ConfigDict(begun)


def _is_same(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
  """Whether a field decides the same; nothing is nothing, also where an older config has no such field."""
  one, other, field = before.get(key) or None, now.get(key) or None, _in_stage(key)
  if field == "vgg" or field.startswith("init_from."):  # the same weights may have moved
    return (one is None) == (other is None)
  if field == "hand_model" and one and other and one != other:
    return EMBEDDED not in (one, other) and len({_identity(one), _identity(other)} - {None}) < 2
  return one == other


def _identity(hand_model: str) -> str | None:
  """Of the model that a config names; None where its files are not there any more: whoever reads them says so."""
  try:
    return HandModel.named(hand_model).identity
  except (ValueError, OSError):
    return None


def _in_stage(key: str) -> str:
  """The field of a stage: "batch_size" of "stages.first.batch_size"; other keys as they are."""
  words = key.split(".")
  return ".".join(words[2:]) if words[0] == "stages" else key
