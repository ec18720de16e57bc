"""Data sets of a config, by their names: what others built is found, embedded data are built."""

from __future__ import annotations

import pathlib
from typing import Any

from data_builders import aih, multihands, synthetic
from data_builders.aih import AihConfig
from data_builders.command import shown_progress
from data_builders.multihands import MultiHandsConfig
from data_builders.synthetic import SyntheticConfig
from data_builders.synthetic.config import VARIANTS as EMBEDDED
from jaxhands.data import folders


def find(name: str, variant: str, data: Any) -> pathlib.Path:
  """The folder of a data set; what can be built of what is there is built, or completed, first.

  Args:
    name: "synthetic", "aih", "multihands", that of another builder, or a path.
    variant: of the data set; "" = the only or the usual one. Of "multihands" one of the embedded data's, whose pictures
      of two hands get annotations, and which has no others unless `data.synthetic.hands` says so; or the name of
      another source, found among what was built.
    data: a config's `data`: the folder `dir` of all data sets, and `synthetic`, `aih` and `multihands`, what those are
      made of.
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
  if name == "multihands" and (variant or "full") in EMBEDDED:
    embedded = {"hands": "pair", **data.synthetic, "variant": variant or "full"}
    with shown_progress("synthetic data") as progress:
      source = synthetic.build(SyntheticConfig(**embedded), progress=progress, root=root)
    with shown_progress("annotations") as progress:
      return multihands.build(MultiHandsConfig(str(source), **data.multihands), progress=progress, root=root)
  return folders.find(name, variant, data.dir)
