"""Data sets of a config, by their names: what others built is found, embedded data are built."""

from __future__ import annotations

import pathlib
from typing import Any

from data_builders import aih, synthetic
from data_builders.aih import AihConfig
from data_builders.command import shown_progress
from data_builders.synthetic import SyntheticConfig
from jaxhands.data import folders


def find(name: str, variant: str, data: Any) -> pathlib.Path:
  """The folder of a data set; what can be built of what is there is built, or completed, first.

  Args:
    name: "synthetic", "aih", that of another builder, or a path.
    variant: of the data set; "" = the only or the usual one.
    data: a config's `data`: the folder `dir` of all data sets, and `synthetic` and `aih`, what those are made of.
  Raises:
    FileNotFoundError, ValueError: see `jaxhands.data.folders.find`; or there is no such variant.
    data_builders.shards.BuildError: the data cannot be built.
  """
  root = folders.root(data.dir)
  if name == "synthetic":
    with shown_progress("synthetic data") as progress:
      return synthetic.build(SyntheticConfig(**data.synthetic, variant=variant or "full"), progress=progress, root=root)
  if name == "aih" and variant != aih.RELEASED:
    with shown_progress("AIH data") as progress:
      return aih.build(AihConfig(**data.aih, variant=variant or "full"), progress=progress, root=root)
  return folders.find(name, variant, data.dir)
