"""Data sets of a config, by their names: what others built is found, embedded data are built."""

from __future__ import annotations

import pathlib
from typing import Any

from data_builders import synthetic
from data_builders.command import shown_progress
from jaxhands.data import folders


def find(name: str, variant: str, data: Any) -> pathlib.Path:
  """The folder of a data set; the embedded one is built, or completed, first.

  Args:
    name: "synthetic", that of another builder, or a path.
    variant: of the data set; "" = the only or the usual one.
    data: a config's `data`: the folder `dir` of all data sets, and `synthetic`, what the embedded one is made of.
  Raises:
    FileNotFoundError, ValueError: see `jaxhands.data.folders.find`; or there is no such variant of the embedded data.
    data_builders.shards.BuildError: the embedded data cannot be written.
  """
  if name != "synthetic":
    return folders.find(name, variant, data.dir)
  config = synthetic.SyntheticConfig(**data.synthetic, variant=variant or "full")
  with shown_progress("synthetic data") as progress:
    return synthetic.build(config, progress=progress, root=folders.root(data.dir))
