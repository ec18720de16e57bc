"""From a configuration to the folder of a data set."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from data_builders.multihands.config import MultiHandsConfig
from jaxhands.paths import expanded

NAME = "multihands"
_SURVEY = ".survey"
_DESCRIPTION = (
  "Pictures of two hands, each with many poses that it may show: as MultiHands of HandFlow (Wang et al., VMV 2022), "
  "made by changing, testing and keeping poses of another data set."
)
_RECORDS_PER_SHARD = 20  # a record takes long


def build(
  config: MultiHandsConfig,
  out: pathlib.Path | None = None,
  jobs: int | None = None,
  progress: Callable[[int, int], None] | None = None,
  root: pathlib.Path | None = None,
  say: Callable[[str, int, int], None] = lambda what, done, total: None,
  beam: Sequence[str] | None = None,
) -> pathlib.Path:
  """Builds the data set, or goes on with it, or finds it complete.

  Args:
    config: what is in it.
    out: its folder; None: `multihands-SOURCE-HASH` in `root`.
    jobs: processes; None: one a core, or a single one where JAX has an accelerator. With more than one, a script that
      calls this needs the usual `if __name__ == "__main__":`.
    progress: called now and then with the numbers of finished and of all records.
    root: folder of all data sets; None: `$JAXHANDS_DATA`, or the user's cache.
    say: told what is read before records are written.
    beam: see `data_builders.shards.build`.
  Returns:
    The folder.
  Raises:
    data_builders.shards.BuildError: the source is not there or does not fit; besides those of
      `data_builders.shards.build`.
  """
  source, folder = source_of(config, out, root, say)
  from data_builders import shards  # TFDS takes seconds to import
  from data_builders.multihands.records import make_record

  plan = shards.Plan(
    name=NAME,
    arguments=_arguments(config, source.built),
    counts=_counts(source),
    make_record=functools.partial(make_record, source),
    description=_DESCRIPTION,
    records_per_shard=_RECORDS_PER_SHARD,
  )
  return shards.build(plan, folder, _jobs() if jobs is None else jobs, progress, beam)


def _jobs() -> int:
  """An accelerator has no room for several processes."""
  import jax

  from data_builders import shards

  return shards.usable_cores() if jax.default_backend() == "cpu" else 1


def source_of(
  config: MultiHandsConfig,
  out: pathlib.Path | None = None,
  root: pathlib.Path | None = None,
  say: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> tuple[Any, pathlib.Path]:
  """What the records are made of (`records.Source`), surveyed; and the folder. Arguments and errors as of `build`."""
  from data_builders import shards
  from data_builders.built import find_built
  from data_builders.multihands.records import Source
  from data_builders.multihands.survey import survey
  from jaxhands.runs import lock

  built = find_built(config.source, "" if root is None else str(root))
  arguments = _arguments(config, built)
  folder = shards.default_folder(f"{NAME}-{_short(built.folder)}", arguments, root) if out is None else out
  folder = expanded(folder).absolute()
  surveyed = folder / f"{_SURVEY}-{shards.arguments_hash(arguments)}"
  shards.is_claimed(NAME, arguments, folder)  # an error, before anything is written into a folder of something else
  with shards.clear_errors(folder), lock.only(folder, wait=True):
    survey(surveyed, config, built, _hand_model(config), say)
  return Source(config, built, str(surveyed)), folder


def _arguments(config: MultiHandsConfig, built: Any) -> dict[str, Any]:
  return config.arguments(built.identity(), _hand_model(config))


def _counts(source: Any) -> dict[str, int]:
  from data_builders.shards import read_survey

  def missing() -> None:
    raise AssertionError(f"{source.survey} was just made")

  return read_survey(pathlib.Path(source.survey), missing, ("counts",))["counts"]


def _hand_model(config: MultiHandsConfig) -> str:
  """Identity of the model that the fits must belong to."""
  from data_builders.multihands.records import hand_model
  from data_builders.shards import BuildError
  from jaxhands.hands.mano_files import ManoFileError

  try:
    return hand_model(config.mano).identity
  except ManoFileError as error:
    raise BuildError(str(error)) from error


def _short(folder: str) -> str:
  """A data set's name without what stands for its arguments: "synthetic-demo-pair-1f2e3d4c" is "demo"."""
  words = pathlib.Path(folder).name.split("-")
  if len(words) > 1 and len(words[-1]) == 8 and all(c in "0123456789abcdef" for c in words[-1]):
    words = words[:-1]
  if words[0] != "synthetic":
    return "-".join(words)
  return next((word for word in words[1:] if word not in ("pair", "single")), "full")
