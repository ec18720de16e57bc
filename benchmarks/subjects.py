"""What is measured: every stage of every config at one size, with a batch of rendered hands to see.

Configs are found by their files, so that a new system is measured without being named here.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

import configs
from data_builders import synthetic
from data_builders.synthetic import SyntheticConfig
from jaxhands.data import source
from jaxhands.data.records import DataSet, Records
from jaxhands.runs import stages
from jaxhands.systems import base, construct
from jaxhands.train import time_budget

_RECORDS = 32


@dataclasses.dataclass(frozen=True)
class Subject:
  """One stage of a config at one size.

  Attributes:
    name: "internet"; of a config with stages "hdr/hasm".
    size: "demo", "paper", ...
    config: of this stage.
  """

  name: str
  size: str
  config: Any

  @functools.cached_property
  def system(self) -> base.System:
    return construct.load(self.config)

  def batches(self, size: int, train: bool, reading: source.Reading | None = None) -> Iterator[dict[str, np.ndarray]]:
    """Host batches of `size` examples of the records that everything is measured on, again and again in training."""
    arguments = (self.records, self.system.host_ops(train), self.system.needs, size)
    if train:
      return source.train_batches(*arguments, seed=0, reading=reading)
    return source.eval_batches(*arguments, reading=reading)

  def batch(self, size: int, train: bool) -> dict[str, np.ndarray]:
    """The first of them."""
    return next(iter(self.batches(size, train)))

  @functools.cached_property
  def records(self) -> list[Records]:
    return source.open_all([DataSet(str(records_folder()), "train")], self.system.view, self.system.needs)


def all_of(size: str, names: Sequence[str] = ()) -> list[Subject]:
  """The subjects of a size, those of `names` only, if there are any ("hdr" is all of its stages).

  Raises:
    ValueError: a name that there is not.
  """
  found = []
  files = sorted(path.stem for folder in configs.__path__ for path in pathlib.Path(folder).glob("*.py"))
  for name in (file for file in files if file not in ("__init__", "base")):
    whole = importlib.import_module(f"configs.{name}").get_config(size)
    found += [
      Subject(f"{name}/{stage}" if stage else name, size, config)
      for stage, config in stages.of(whole)
      if stage != time_budget.METHOD  # the last stage's system once more, with other weights
    ]
  known = {part for one in found for part in (one.name, one.name.split("/")[0])}
  if unknown := sorted(set(names) - known):
    raise ValueError(f"there is no system {unknown[0]!r}; there are {sorted(known)}")
  return [one for one in found if not names or {one.name, one.name.split("/")[0]} & set(names)]


def records_folder() -> pathlib.Path:
  """Rendered records with every label and picture, built once in the user's cache."""
  return synthetic.build(SyntheticConfig(train=_RECORDS, val=0, test=0, pictures="all"))


def parameters(variables: base.Variables) -> int:
  """How many numbers the networks have; of arrays or shapes."""
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variables["params"]))
