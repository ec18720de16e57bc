"""The data of a run: the data sets that its config names, opened, and the batches that it is trained on.

The batches of an evaluation, whose keys the evaluator decides, are in `runs.stage`: `Stage.eval_batches`.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, get_args

import jax
import numpy as np

from jaxhands.data import folders, source
from jaxhands.data.records import DataSet, Kind, Records
from jaxhands.hands.model import HandModel
from jaxhands.paths import expanded
from jaxhands.runs import folder as files
from jaxhands.systems import base

FindData = Callable[[str, str, Any], pathlib.Path]


@dataclasses.dataclass(frozen=True)
class RunData:
  """What a run, or one stage, reads.

  Attributes:
    config: of this stage.
    system: that it builds.
    top: folder of the whole run, that "stages/NAME" in the config is relative to.
    find: `(name, variant, config.data) -> folder` of a data set.
  """

  config: Any
  system: base.System
  top: pathlib.Path
  find: FindData

  @functools.cached_property
  def training(self) -> list[Records]:
    """The opened training sets, which have what the system learns from; errors as of `open`."""
    opened = self.open(self.config.data.train, self.system.needs, self.config.data.kind, self.config.data.fits)
    source.check_labels(opened, self.system.needs)
    return opened

  def open(self, names: Collection[str], needs: Collection[str], kind: str = "all", fits: str = "") -> list[Records]:
    """Opens data sets.

    Args:
      names: as `config.data.train` has them.
      needs: keys of the `Batch`.
      kind: as `config.data.kind`.
      fits: as `config.data.fits`.
    Raises:
      FileNotFoundError: there is no such data set.
      ValueError: an unknown kind; or parameters of another hand model than the run's.
    """
    data = self.config.data
    kinds = [word.strip() for word in kind.split(",")] if "," in kind else [kind] * len(names)
    if unknown := sorted(set(kinds) - set(get_args(Kind))):
      raise ValueError(f"data.kind: there is no kind {unknown[0]!r}; there are {get_args(Kind)}")
    if len(kinds) != len(names):
      raise ValueError(f"data.kind is {kind!r}: one kind for all of {tuple(names)}, or one for each of them")
    sets = [
      DataSet(str(self.find(name, variant, data)), split, own, data.limit, root_depths(self.config, self.top), fits)  # pyright: ignore[reportArgumentType]
      for (name, variant, split), own in zip(map(folders.parse, names), kinds, strict=True)
    ]
    records = source.open_all(sets, self.system.view, needs)
    for identity in {one.hand_model for one in records if {"mano", "annotations_mano"} & set(needs)} - {""}:
      HandModel.named(self.config.hand_model).check_identity(identity)
    return records

  @property
  def reading(self) -> source.Reading:
    """How this process reads."""
    data = self.config.data
    return source.Reading(data.threads, data.processes, data.keep_mb * 10**6, jax.process_index(), jax.process_count())

  def train_batches(self, start: int) -> Iterator[Mapping[str, np.ndarray]]:
    """This process's batches of the steps from `start` on, as NumPy arrays."""
    return source.train_batches(
      self.training, self.system.host_ops(True), self.system.needs, self.config.batch_size, self.config.seed, start,
      self.reading,
    )  # fmt: skip


def root_depths(config: Any, top: pathlib.Path) -> str:
  """The table of wrist depths: a file, or that of a run or stage (below `top`) which estimated them; "" = none."""
  given = config.data.root_depths
  path = top / given if given.startswith("stages/") else expanded(given)
  return "" if not given else str(path / files.ROOT_DEPTHS if path.suffix != ".npz" else path)
