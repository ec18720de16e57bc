"""Paths that begin with a tilde."""

import pathlib
import re

import pytest

from data_builders import synthetic
from jaxhands import paths, run
from jaxhands.commands import train
from jaxhands.data import folders
from jaxhands.runs import lock
from jaxhands.terminal.arguments import Parser
from jaxhands.train import checkpoint, distributed, initialise

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_a_home_takes_the_place_of_a_tilde(kind, monkeypatch):
  monkeypatch.setenv("HOME", "/of/mine")
  assert paths.expanded(kind("~/a")) == pathlib.Path("/of/mine/a")
  assert paths.expanded(kind("a/~/b")) == pathlib.Path("a/~/b")


@pytest.mark.parametrize("name", ["~nobody-is-called-so/a.json", "~nobody-is-called-so.json"])
def test_without_such_a_home_it_is_a_file_of_that_name(name):
  assert paths.expanded(name) == pathlib.Path(name)


def test_nothing_else_expands_paths():
  """pathlib's raises RuntimeError where there is no such home."""
  files = [path for top in ("jaxhands", "data_builders", "benchmarks") for path in (ROOT / top).rglob("*.py")]
  found = [path for path in files if re.search(r"\bexpanduser\(", path.read_text(encoding="utf-8"))]
  assert found == [ROOT / "jaxhands" / "paths.py"]


@pytest.mark.parametrize("kind", [str, pathlib.Path])
@pytest.mark.parametrize("address", ["gs://bucket", "gs://bucket/a/b", "s3://bucket/a", "https://example.org/a.pth"])
def test_an_address_is_no_folder(kind, address):
  """Of which pathlib would make the folder `gs:` of the working directory."""
  with pytest.raises(FileNotFoundError, match=rf"^{address} is not on a disk.*copy it to one, or mount its bucket$"):
    paths.expanded(kind(address))


@pytest.mark.parametrize(
  "name", ["a/b", "runs/a:backbone", "/mnt/gs/b", "c:/a", "kept/internet:.", "synthetic/demo:val"]
)
def test_other_names_are_those_of_folders(name):
  paths.check_on_disk(name)


def test_nothing_reads_from_or_writes_to_an_address(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv("JAXHANDS_DATA", "gs://bucket/data")
  refused = [
    folders.root, lambda: folders.root("gs://bucket"), lambda: folders.parse("gs://bucket/interhand26m:test"),
    lambda: initialise.parse("gs://bucket/resnet50.pth"), lambda: checkpoint.check_name(pathlib.Path("gs://bucket/runs/a")),
    lambda: lock.only(pathlib.Path("gs://bucket/out")).__enter__(),
    lambda: synthetic.build(synthetic.SyntheticConfig(train=1, val=0, test=0), pathlib.Path("gs://bucket/a"), jobs=1),
  ]  # fmt: skip
  for call in refused:
    with pytest.raises(FileNotFoundError, match=r"gs://bucket.* is not on a disk"):
      call()
  assert not list(tmp_path.iterdir())


def test_options_that_are_paths_have_a_home_for_a_tilde(monkeypatch, capsys):
  monkeypatch.setenv("HOME", "/of/mine")
  parser = Parser(prog="program")
  parser.add_argument("--out", type=pathlib.Path)
  parser.add_subparsers().add_parser("add").add_argument("run", nargs="+", type=pathlib.Path)
  found = parser.parse_args(["--out=~/a", "add", "~/b", "c"])
  assert (found.out, found.run) == (pathlib.Path("/of/mine/a"), [pathlib.Path("/of/mine/b"), pathlib.Path("c")])
  with pytest.raises(SystemExit):
    parser.parse_args(["--out=gs://bucket"])
  assert "argument --out: gs://bucket is not on a disk" in capsys.readouterr().err


def test_the_folder_of_a_run_may_be_below_a_tilde(monkeypatch):
  monkeypatch.setenv("HOME", "/of/mine")
  asked = []
  monkeypatch.setattr(run, "run", lambda config, workdir, *_, **__: asked.append(workdir) or True)
  monkeypatch.setattr(distributed, "use_compilation_cache", lambda: None)
  values = {"config": None, "mode": "eval", "workdir": "~/runs/x", "distributed": "off", "stage": "", "profile": 0}
  assert train._work(values, [])
  assert asked == [pathlib.Path("/of/mine/runs/x")]
