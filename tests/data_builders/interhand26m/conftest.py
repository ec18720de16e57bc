"""A made-up download, the embedded hand as a MANO file, and a copy of the four real frames."""

import shutil

import pytest

from tests.data_builders.interhand26m import download as made_up


@pytest.fixture(scope="session")
def pristine(tmp_path_factory):
  """The made-up download with what is known of it; not to be changed."""
  folder = tmp_path_factory.mktemp("download")
  return folder, made_up.write(folder)


@pytest.fixture
def download(pristine, tmp_path):
  """A copy of it that may be damaged."""
  return shutil.copytree(pristine[0], tmp_path / "download")


@pytest.fixture
def real(shared, tmp_path):
  """A copy of four frames of InterHand2.6M, which may be damaged and never leaves the test's folder."""
  return shutil.copytree(shared / "samples" / "interhand" / "mini_dataset", tmp_path / "real")


@pytest.fixture(scope="session")
def mano_folder(tmp_path_factory):
  """Of a file in MANO's layout."""
  return made_up.write_mano(tmp_path_factory.mktemp("mano"))
