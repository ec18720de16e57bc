"""One small data set for all tests of its labels."""

import pytest
import tensorflow_datasets as tfds

from data_builders.synthetic import SyntheticConfig, build

CONFIG = SyntheticConfig(train=30, val=6, test=6, seed=3)


@pytest.fixture(scope="session")
def data_set(tmp_path_factory):
  """Folder of a finished data set with all pictures."""
  return build(CONFIG, tmp_path_factory.mktemp("synthetic"), jobs=1)


@pytest.fixture(scope="session")
def records(data_set):
  """All its records by split, decoded as a reader has them."""
  builder = tfds.builder_from_directory(data_set)
  return {split: list(builder.as_data_source(split)) for split in builder.info.splits}


@pytest.fixture(scope="session")
def every(records):
  return [record for split in records.values() for record in split]
