"""Every command that a page, a docstring or a `--help` shows is one that its program understands."""

import argparse
import ast
import importlib
import importlib.util
import pathlib
import re
import shlex
import subprocess
import sys
import tomllib

import pytest

from jaxhands import __version__, cli
from jaxhands.commands import train
from jaxhands.configuration import command_line, requirements
from jaxhands.runs import stages

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "data_builders" / "README.md"]
HOOKS = ROOT / ".pre-commit-config.yaml"
SOURCES = [ROOT / "launch.py"] + [
  path
  for folder in ("configs", "jaxhands", "data_builders", "benchmarks", "cluster")
  for path in (ROOT / folder).rglob("*")
  if path.suffix in (".py", ".sh")
]
# How a line with a command begins: its environment, and the program.
_BEGINS = re.compile(
  r"(?:[A-Z_]+=\S+ +)*(?:python3?|pip|jaxhands|pre-commit|sbatch|cluster/\w+\.sh|gcloud|git|export|cat) "
)
# Programs of others, whose arguments nobody here can judge.
OTHERS = {"cat", "cd", "export", "gcloud", "git", "pre-commit", "python3"}
OTHER_MODULES = {"build", "twine"}
TOOLS = {"ruff", "basedpyright"}


def _of_page(text):
  """What code blocks and inline code say to type."""
  for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
    if language in ("", "bash"):
      yield from _lines(block)
  prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
  yield from _lines("\n".join(re.findall(r"^ {4}(.*)", prose, re.MULTILINE)))
  for code in re.findall(r"`([^`]+)`", prose):
    yield from _lines(" ".join(code.split()))


def _of_source(path):
  """What a module's docstring, or the comments of a script, say to type: lines further in than the text around them."""
  text = path.read_text()
  if path.suffix == ".py":
    text = ast.get_docstring(ast.parse(text), clean=False) or ""
  whole = re.sub(r"\\+\n(?:#| )\s*", " ", text)
  yield from _lines("\n".join(re.findall(r"^(?:#   | {4}) *(.*)", whole, re.MULTILINE)))


def _lines(text):
  """Words of each command, without its comment or what is said behind a gap, and without its environment."""
  for line in re.sub(r"\\+\n\s*", " ", text).splitlines():
    for command in re.split(r" && ", re.split(r"\s{3,}", line.strip())[0]):
      if _BEGINS.match(command + " "):
        words = shlex.split(command, comments=True)
        while "=" in words[0]:
          words.pop(0)
        yield words


def _is_pattern(words):
  """Whether this shows what a command looks like, or is of the guide's system, which a test of its own makes."""
  return any(re.search(r"…|^\.\.\.$|\[\w*:|NAME|COMMAND|^CONFIG$|\bmini\b", word) for word in words)


def _all():
  for entry in re.findall(r"^ *entry: (.*)", HOOKS.read_text(), re.MULTILINE):
    yield pytest.param(shlex.split(entry), id=f"{HOOKS.name}: {entry}")
  for path in sorted({*PAGES, *SOURCES}):
    for words in _of_page(path.read_text()) if path.suffix == ".md" else _of_source(path):
      if len(words) > 1 and not _is_pattern(words):
        yield pytest.param(words, id=f"{path.relative_to(ROOT)}: {shlex.join(words)}")


# 2026-11-29: ml_collections imports config files by a deprecated method of Python's.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
EXAMPLES = list({param.id: param for param in _all()}.values())


class _Understood(BaseException):
  """Raised in place of what a program does after it has read its arguments."""


def _understand(*arguments):
  raise _Understood


@pytest.fixture
def only_arguments(monkeypatch):
  """Programs end when their arguments are read."""
  read = argparse.ArgumentParser.parse_args

  def understood(self, *arguments, **options):
    read(self, *arguments, **options)
    raise _Understood

  monkeypatch.setattr(argparse.ArgumentParser, "parse_args", understood)
  return monkeypatch


def _launch(words, monkeypatch, folder, command=train):
  """Reads the flags, and checks what a run would check before it builds anything.

  Args:
    words: the flags.
    monkeypatch: of the test.
    folder: an empty one, where a page's data sets lie.
    command: whose flags they are.
  """
  (folder / "interhand26m").mkdir()
  (folder / "interhand26m" / "features.json").touch()
  words = [word.replace("/data/jaxhands", str(folder)) for word in words]
  monkeypatch.chdir(ROOT)
  values = command_line.read("launch.py", "--config=configs/NAME.py", "", words, command.define_flags)
  config, only = values["config"], values["stage"]
  described = dict(stages.of(config))
  assert only in ("", *described)
  if command is train and values["mode"] != "eval":
    requirements.check(config, described, [only] if only else list(described))


@pytest.mark.parametrize("words", EXAMPLES)
def test_an_example_is_understood(words, only_arguments, tmp_path, pytestconfig):
  program, *rest = words if words[0] != "jaxhands" else ["python", "-m", *words]
  if program == "python" and rest[0] == "launch.py":
    _launch(rest[1:], only_arguments, tmp_path)
  elif program.startswith("cluster/") or program == "sbatch":
    script = next(word for word in words if word.startswith("cluster/"))
    assert (ROOT / script).stat().st_mode & 0o100, script
    arguments = words[words.index(script) + 1 :]
    if arguments != ["stop"]:
      _launch(arguments, only_arguments, tmp_path)
  elif program == "python" and rest[:2] == ["-m", "jaxhands"]:
    if rest[2:] == ["joints"]:  # needs nothing, and is quick
      only_arguments.undo()
      assert cli.main(["joints"]) == 0
    elif len(rest) > 3 and cli.COMMANDS[rest[2]].has_config:
      _launch(rest[3:], only_arguments, tmp_path, importlib.import_module(cli.COMMANDS[rest[2]].module))
    elif len(rest) > 3:  # otherwise prose that names a command
      only_arguments.setattr(importlib.import_module(cli.COMMANDS[rest[2]].module), "main", _understand)
      with pytest.raises(_Understood):
        cli.main(rest[2:])
  elif program == "python" and rest[:2] == ["-m", "pytest"]:
    assert all((ROOT / word).exists() for word in rest if word.startswith("tests")), rest
    _, unknown = pytestconfig._parser.parse_known_and_unknown_args(rest[2:])
    assert not unknown
  elif program == "python" and rest[1].startswith("jaxhands.hands.assets."):
    # How the committed assets were made; their whole numbers do not pass the tests' check of annotated floats.
    assert importlib.util.find_spec(rest[1]) is not None
  elif program == "python" and rest[1] in TOOLS:
    subprocess.run([sys.executable, *rest, "--help"], check=True, capture_output=True)
  elif program == "python" and rest[1] in OTHER_MODULES:
    pass
  elif program == "python" and rest[0] == "-m":
    module = importlib.import_module(f"{rest[1]}.__main__" if _is_package(rest[1]) else rest[1])
    only_arguments.setattr(sys, "argv", [rest[1], *rest[2:]])
    with pytest.raises(_Understood):
      module.main()
  elif program == "pip" and rest[0] == "install":
    _installs(rest[1:])
  else:
    assert program in OTHERS or words[:2] == ["pip", "download"], words


def _is_package(name):
  return (ROOT / name.replace(".", "/") / "__main__.py").is_file()


def _installs(words):
  """Files are there, and extras exist."""
  known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
  for word in words:
    if word.endswith(".txt"):
      assert (ROOT / word).is_file()
    elif extras := re.search(r"\[([\w,]+)\]", word):
      assert set(extras[1].split(",")) <= set(known), word


def test_what_is_looked_at_before_a_commit_is_what_the_tests_look_at():
  found = {" ".join(param.values[0][2:]) for param in EXAMPLES if param.id.startswith(HOOKS.name)}
  assert found == {"ruff check", "ruff format --check", "basedpyright"}


def test_the_changelog_begins_with_this_version():
  first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
  assert first is not None
  assert first[1] == __version__


def test_examples_are_found_where_they_are():
  """A change of the pages' form must not leave this with nothing to check."""
  places = {param.id.split(":")[0] for param in EXAMPLES}
  assert {
    "README.md",
    "CONTRIBUTING.md",
    ".pre-commit-config.yaml",
    "docs/data.md",
    "docs/tpu.md",
    "data_builders/README.md",
    "launch.py",
  } <= places
  assert {"cluster/slurm.sh", "cluster/hdr_stages.sh", "cluster/tpu_pod.sh"} <= places
  assert {"configs/hdr.py", "configs/internet.py", "configs/digit.py", "configs/rootnet.py"} <= places
  assert {cli.COMMANDS[name].module.replace(".", "/") + ".py" for name in ("predict", "keep", "import")} <= places
  assert len(EXAMPLES) > 60
