"""Finding data sets by name."""

import ast
import pathlib

import pytest

from data_builders import shards, synthetic
from jaxhands.data import folders


def _make(*paths: pathlib.Path):
  for path in paths:
    path.mkdir(parents=True)
    (path / "features.json").write_text("{}")


@pytest.mark.parametrize(
  ("text", "parts"),
  [
    ("synthetic:train", ("synthetic", "", "train")),
    ("synthetic/other:test[:10%]", ("synthetic", "other", "test[:10%]")),
    ("/data/set:val", ("/data/set", "", "val")),
    ("../set:val", ("../set", "", "val")),
    ("/data/2024-01-01T10:30/set:val", ("/data/2024-01-01T10:30/set", "", "val")),
    ("./a:b:test[1:5]+train[:2]", ("./a:b", "", "test[1:5]+train[:2]")),
    ("~/a[1:2]:train", ("~/a[1:2]", "", "train")),
    ("synthetic:test[1:5]+train[:2]", ("synthetic", "", "test[1:5]+train[:2]")),
  ],
)
def test_names_are_taken_apart(text, parts):
  assert folders.parse(text) == parts


@pytest.mark.parametrize("text", ["synthetic", ":train", "synthetic:", "", "/data/set", "/data/set:", "/data/set[1:2]"])
def test_names_without_a_split_are_refused(text):
  with pytest.raises(ValueError, match="NAME:SPLIT"):
    folders.parse(text)


def test_the_root_is_given_or_from_the_environment_or_the_cache(monkeypatch, tmp_path):
  monkeypatch.setenv("JAXHANDS_DATA", "/somewhere")
  assert folders.root("~/here") == pathlib.Path.home() / "here"
  assert folders.root("~nobody-is-called-so/here") == pathlib.Path("~nobody-is-called-so/here")
  assert folders.root() == pathlib.Path("/somewhere")
  monkeypatch.delenv("JAXHANDS_DATA")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  assert folders.root() == tmp_path / "jaxhands"


def test_data_sets_are_found_by_name_hash_or_path(tmp_path):
  _make(tmp_path / "stb", tmp_path / "rhd-0a1b2c3d", tmp_path / "rhd-small-0a1b2c3e")
  (tmp_path / "unfinished-00000000").mkdir()
  assert folders.find("stb", folder=str(tmp_path)).name == "stb"
  assert folders.find("rhd", folder=str(tmp_path)).name == "rhd-0a1b2c3d"
  assert folders.find("rhd", "small", str(tmp_path)).name == "rhd-small-0a1b2c3e"
  assert folders.find(str(tmp_path / "stb")) == tmp_path / "stb"
  with pytest.raises(FileNotFoundError, match=r"python -m data_builders\.unfinished"):
    folders.find("unfinished", folder=str(tmp_path))
  with pytest.raises(FileNotFoundError, match="nowhere"):
    folders.find(str(tmp_path / "nowhere"))
  with pytest.raises(FileNotFoundError, match="no data set in ~nobody-is-called-so"):
    folders.find("~nobody-is-called-so")
  _make(tmp_path / "rhd-11111111")
  with pytest.raises(ValueError, match=r"several data sets 'rhd'.*rhd-11111111"):
    folders.find("rhd", folder=str(tmp_path))


@pytest.mark.parametrize("variant", ["", "demo", "other"])
def test_what_the_builder_of_embedded_data_wrote_is_found(tmp_path, monkeypatch, variant):
  built = []
  monkeypatch.setattr(shards, "build", lambda plan, folder, jobs, progress, beam: built.append(folder))
  for name in ("full", "demo", "other"):
    synthetic.build(synthetic.SyntheticConfig(variant=name), root=tmp_path)
  _make(*built)
  assert folders.find("synthetic", variant, str(tmp_path)) == built[["", "demo", "other"].index(variant)]


def test_flags_may_name_a_data_set_without_a_tuple(tmp_path):
  _make(tmp_path / "all" / "interhand26m", tmp_path / "own")
  others = ["launch.py", "--config=x.py:tiny", "--mode=eval", "--config.data.eval=('a:val',)"]
  assert folders.named_in_flags(others) == others

  def made(*flags):
    return folders.named_in_flags(["launch.py", *(f"--config.data.{flag}" for flag in flags)])[1:]

  assert made("eval.name=interhand26m") == ["--config.data.eval=('interhand26m:test',)"]
  assert made("train.name=interhand26m/human") == ["--config.data.train=('interhand26m/human:train',)"]
  assert made("eval.name=a", "eval.split=val[:9]") == ["--config.data.eval=('a:val[:9]',)"]
  found = made("eval.name=interhand26m", f"eval.dir={tmp_path / 'all'}")
  assert found == [f"--config.data.eval=('{tmp_path / 'all' / 'interhand26m'}:test',)"]
  own = made("eval.name=interhand26m", f"eval.dir={tmp_path / 'own'}", "train.name=b")
  assert own == ["--config.data.train=('b:train',)", f"--config.data.eval=('{tmp_path / 'own'}:test',)"]


@pytest.mark.parametrize(
  ("flags", "error", "message"),
  [
    (("eval.dir=/x",), ValueError, r"--config\.data\.eval\.dir needs --config\.data\.eval\.name=NAME"),
    (("eval.nme=a",), ValueError, r"--config\.data\.eval\.nme: write name=, split= or dir="),
    (("eval.name=a", "eval.dir=/nowhere"), FileNotFoundError, "there is no data set 'a' below /nowhere"),
  ],
)
def test_flags_that_name_no_data_set_are_refused(flags, error, message):
  with pytest.raises(error, match=message):
    folders.named_in_flags([f"--config.data.{flag}" for flag in flags])


def test_a_folder_with_a_colon_or_a_quote_can_be_named_in_flags(tmp_path):
  for name in ("a:b", "o'brien"):
    own = tmp_path / name
    _make(own)
    flags = folders.named_in_flags(["--config.data.eval.name=tiny", f"--config.data.eval.dir={own}"])
    (text,) = ast.literal_eval(flags[0].removeprefix("--config.data.eval="))
    assert folders.find(*folders.parse(text)[:2]) == own


def test_without_a_home_there_is_no_cache_and_data_need_a_folder(tmp_path, monkeypatch):
  for name in ("HOME", "XDG_CACHE_HOME", "JAXHANDS_DATA"):
    monkeypatch.delenv(name, raising=False)

  def getpwuid(uid):
    raise KeyError(uid)

  monkeypatch.setattr("pwd.getpwuid", getpwuid)
  assert folders.cache() is None
  with pytest.raises(FileNotFoundError, match="set JAXHANDS_DATA to a folder"):
    folders.root()
  assert folders.root(str(tmp_path)) == tmp_path
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  assert folders.root() == folders.cache() == tmp_path / "jaxhands"


def test_whether_a_folder_can_be_written_is_found_by_writing(tmp_path):
  assert folders.why_not_writable(tmp_path / "new") == ""
  assert list((tmp_path / "new").iterdir()) == []
  (tmp_path / "file").touch()
  assert str(tmp_path / "file") in folders.why_not_writable(tmp_path / "file" / "new")
