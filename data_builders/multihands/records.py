"""One record of the data set: the source's, with annotations that its picture allows as well as its fit."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import numpy as np
from jaxtyping import Integer

from data_builders.built import Built
from data_builders.multihands import perturb
from data_builders.multihands.config import SPLITS, MultiHandsConfig
from data_builders.schema import RECORD, Record
from data_builders.shards import BuildError, damaged_table, read_table
from jaxhands.geometry import crop
from jaxhands.hands import proxies
from jaxhands.hands.model import HandModel

CROP_PX = 224  # of the crop that `config.pixels` is about


@dataclasses.dataclass(frozen=True)
class Source:
  """What records are made of; small, so that worker processes can receive it.

  Attributes:
    config: of the data set.
    built: the source.
    survey: folder with the rows of each split that are taken, and how fingers bend (`survey.survey`).
  """

  config: MultiHandsConfig
  built: Built
  survey: str

  def row(self, split: str, index: int) -> int:
    """Of the source, that record `index` of a split is made of; BuildError of a damaged table."""
    rows = rows_of(self.survey, split)
    if index >= len(rows):
      survey = pathlib.Path(self.survey)
      raise BuildError(damaged_table(_path_of_rows(self.survey, split), survey, f"it has {len(rows)} rows"))
    return int(rows[index])


@functools.cache
def rows_of(survey: str, split: str) -> Integer[np.ndarray, " n"]:
  """Rows of the source that a split is made of; none of a split that the source does not have."""
  path = _path_of_rows(survey, split)
  return read_table(path, path.parent, np.load) if path.is_file() else np.zeros(0, np.int32)


def _path_of_rows(survey: str, split: str) -> pathlib.Path:
  return pathlib.Path(survey) / f"rows-{split}.npy"


@functools.cache
def likely(folder: str) -> perturb.Likely:
  """How the source's fingers bend."""

  def read(path: pathlib.Path) -> perturb.Likely:
    with path.open("rb") as file, np.load(file) as arrays:
      return perturb.Likely(*(arrays[name] for name in perturb.Likely._fields))

  return read_table(pathlib.Path(folder) / "likely.npz", pathlib.Path(folder), read)


@functools.cache
def hand_model(mano: str) -> HandModel:
  return HandModel.from_mano(mano) if mano else HandModel.default()


@functools.lru_cache(maxsize=64)
def _deviations(mano: str, shape: bytes) -> np.ndarray:
  """Proxies of a person's hands, who is in many records."""
  return proxies.deviations_mm(hand_model(mano), np.frombuffer(shape, np.float32).reshape(2, 10))


def scene_of(record: Record, config: MultiHandsConfig) -> perturb.Scene:
  """What decides a record's annotations."""
  box = np.asarray(crop.process_box(record["box_img"], (CROP_PX, CROP_PX)))
  mano = np.asarray(record["mano"], np.float32)
  return perturb.Scene(
    mano,
    np.asarray(record["camera_img"], np.float32),
    np.float32(config.pixels * box[2] / CROP_PX),
    np.asarray(record["joints_visible"], bool),
    _deviations(config.mano, np.ascontiguousarray(mano[:, 48:58]).tobytes()),
  )


def found(source: Source, split: str, index: int, record: Record) -> perturb.Found:
  """The annotations of record `index` of a split, on the host."""
  config = source.config
  key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), SPLITS.index(split)), index)
  result = perturb.plausible(
    key, scene_of(record, config), likely(source.survey), hand_model(config.mano).tips_only(), config.annotations,
    config.population, config.rounds, (config.finger_share, config.turn_rad, config.depth_mm),
  )  # fmt: skip
  return jax.device_get(result)


def make_record(source: Source, split: str, index: int) -> Record:
  """Record `index` of `split`: a pure function of these and of the source.

  Raises:
    BuildError: the source, or a table of the survey, cannot be read.
  """
  record: dict[str, Any] = source.built.read(split, source.row(split, index), RECORD.keys())
  result = found(source, split, index, record)
  # Poses that never moved are copies of the fit, and come last: one is enough.
  return record | {"annotations_mano": np.asarray(result.mano[: int(result.moved) + 1], np.float32)}
