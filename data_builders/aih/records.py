"""One record of the data set, from its split and index: of AIH_Render or of AIH_Syn."""

from __future__ import annotations

import dataclasses

import numpy as np

from data_builders.aih.config import RENDER, AihConfig
from data_builders.aih.render import Fits, make_render
from data_builders.aih.survey import Surveyed
from data_builders.aih.syn import make_syn
from data_builders.built import Built
from data_builders.schema import Record
from data_builders.synthetic.records import FIRST_ID


@dataclasses.dataclass(frozen=True)
class Source:
  """What records are made of; small, so that worker processes can receive it. `fits` None: the pose bank's poses."""

  config: AihConfig
  singles: Built | None
  surveyed: Surveyed
  fits: Fits | None


def make_record(source: Source, split: str, index: int) -> Record:
  """Record `index` of `split`: a pure function of these three and of the data sets that it is made of.

  `source` (the key) begins with the part that it belongs to.

  Raises:
    BuildError: something that it is made of cannot be read.
  """
  part, number = source.config.part_of(index)
  if part == RENDER:
    record = make_render(source.config.embedded_pairs, source.fits, split, number)
  else:
    assert source.singles is not None
    record = make_syn(source.singles, source.surveyed, source.config.seed, split, number)
  return record | {"record_id": np.int32(FIRST_ID[split] + index), "source": f"{part}/{record['source']}"}
