"""Data sets by the names of a config: the folder that is asked for is honoured, and the name alone says the variant."""

import json
import pathlib

import pytest

from configs import handflow, internet
from data_builders.find import find
from data_builders.synthetic import SyntheticConfig
from jaxhands.data import folders
from tests.data.conftest import build


@pytest.mark.parametrize(("name", "variant"), [("synthetic/demo", "demo"), ("synthetic", "full")])
def test_embedded_data_are_built_in_the_given_folder_as_the_variant_of_the_name(tmp_path, name, variant, monkeypatch):
  monkeypatch.setenv("JAXHANDS_DATA", str(tmp_path / "elsewhere"))
  data = internet.get_config("tiny").data
  data.dir = str(tmp_path / "here")
  data.synthetic.update(train=1, val=0, test=0)
  name, wanted, _ = folders.parse(f"{name}:train")
  folder = find(name, wanted, data)
  assert folder.parent == tmp_path / "here"
  assert json.loads((folder / "build.json").read_text())["arguments"]["variant"] == variant
  assert find(name, wanted, data) == folders.find(name, wanted, data.dir) == folder
  assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(("name", "stem"), [("aih/render", "aih-render-"), ("aih/syn", "aih-syn-")])
def test_aih_is_built_of_embedded_hands_with_the_configs_numbers(tmp_path, name, stem):
  data = internet.get_config("tiny").data
  data.dir = str(tmp_path)
  data.aih.update(train=1, val=0, test=0, upright_deg=60.0)
  name, wanted, _ = folders.parse(f"{name}:train")
  folder = find(name, wanted, data)
  assert folder.parent == tmp_path
  assert folder.name.startswith(stem)
  assert json.loads((folder / "build.json").read_text())["arguments"]["upright"] == 60.0
  assert find(name, wanted, data) == folders.find(name, wanted, data.dir) == folder
  with pytest.raises(ValueError, match="variant is 'both', expected one of full, render, syn"):
    find("aih", "both", data)
  with pytest.raises(FileNotFoundError, match="there is no data set 'aih-released'"):
    find("aih", "released", data)


def test_multihands_is_made_of_embedded_pairs_with_the_configs_numbers(tmp_path, monkeypatch):
  data = handflow.get_config("tiny").data
  data.dir = str(tmp_path)
  made = {}

  def builder(name):
    def build(config, progress, root):
      made[name] = config, root
      return tmp_path / name

    return build

  monkeypatch.setattr("data_builders.synthetic.build", builder("pairs"))
  monkeypatch.setattr("data_builders.multihands.build", builder("annotated"))
  name, wanted, _ = folders.parse(data.train[0])
  assert find(name, wanted, data) == tmp_path / "annotated"
  pairs, annotated = made["pairs"][0], made["annotated"][0]
  assert (pairs.hands, pairs.variant, pairs.train) == ("pair", "demo", data.synthetic.train)
  assert (annotated.source, annotated.population) == (str(tmp_path / "pairs"), data.multihands.population)
  assert {root for _, root in made.values()} == {tmp_path}
  # Those of the pictures that other systems have, where a config asks for them.
  kept = handflow.get_config("kept").data
  kept.dir = str(tmp_path)
  find(name, wanted, kept)
  assert made["pairs"][0] == SyntheticConfig(**internet.get_config("kept").data.synthetic, variant="demo")
  assert (made["annotated"][0].train, made["annotated"][0].test) == (kept.multihands.train, kept.multihands.test)
  with pytest.raises(FileNotFoundError, match="there is no data set 'multihands-interhand26m'"):
    find("multihands", "interhand26m", data)


def test_other_data_are_found_in_the_given_folder(tmp_path):
  folder = pathlib.Path(build(tmp_path / "stb", train=1))
  data = internet.get_config("tiny").data
  data.dir = str(tmp_path)
  assert find("stb", "", data) == find(str(folder), "", data) == folder
