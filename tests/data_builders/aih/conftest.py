"""One small data set of each part for all tests of their records."""

import dataclasses

import pytest
import tensorflow_datasets as tfds

from data_builders.aih import AihConfig, build

CONFIG = AihConfig(train=16, val=6, test=6, seed=3)


@pytest.fixture(scope="session")
def root(tmp_path_factory):
  """Folder of the data sets, with the single hands that were built first."""
  return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def folders_of(root):
  """Part -> folder of a finished data set."""
  return {part: build(dataclasses.replace(CONFIG, variant=part), jobs=1, root=root) for part in ("render", "syn")}


@pytest.fixture(scope="session")
def records(folders_of):
  """Part -> split -> all its records, decoded as a reader has them."""
  found = {}
  for part, folder in folders_of.items():
    builder = tfds.builder_from_directory(folder)
    found[part] = {split: list(builder.as_data_source(split)) for split in builder.info.splits}
  return found


@pytest.fixture(scope="session")
def syn(records):
  return [record for split in records["syn"].values() for record in split]


@pytest.fixture(scope="session")
def render(records):
  return [record for split in records["render"].values() for record in split]
