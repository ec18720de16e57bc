"""Notebooks run in their smallest size where jaxhands is not installed, and are committed without outputs."""

import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import venv

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

_GIT = """#!/bin/bash
[[ $1 == clone ]] || exit 1
printf '%s\\n' "$@" >"$NOTES/git"
ln -s "$ORIGIN" "${@: -1}"
"""
_PIP = """
import pathlib, os, sys
notes = pathlib.Path(os.environ["NOTES"])
(notes / "pip").write_text("\\n".join(sys.argv[1:]))
(notes / "constraints").write_bytes(pathlib.Path(sys.argv[sys.argv.index("--constraint") + 1]).read_bytes())
"""


@pytest.fixture
def bare(tmp_path):
  """An interpreter without jaxhands, notes of how `git` and `pip` are called, the environment for both."""
  folder, notes, stubs = tmp_path / "bare", tmp_path / "notes", tmp_path / "stubs"
  venv.create(folder, with_pip=False, symlinks=True)
  (site,) = folder.glob("lib/python*/site-packages")
  # Whatever lies in these folders; their own .pth files, which add jaxhands where it is developed, are not read.
  (site / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
  (stubs / "pip").mkdir(parents=True)
  (stubs / "pip" / "__init__.py").touch()
  (stubs / "pip" / "__main__.py").write_text(_PIP)
  (stubs / "git").write_text(_GIT)
  (stubs / "git").chmod(0o755)
  notes.mkdir()
  environment = {key: value for key, value in os.environ.items() if not key.startswith("COV_")} | {
    "PATH": f"{stubs}:{os.environ['PATH']}", "PYTHONPATH": str(stubs), "NOTES": str(notes), "ORIGIN": str(ROOT),
    "JAXHANDS_SMOKE": "1", "JAXHANDS_DATA": str(tmp_path / "data"), "JAXHANDS_REPOSITORY": "https://example.org/x",
  }  # fmt: skip
  return folder / "bin" / "python", notes, environment


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_alone_in_an_empty_folder_installs_what_it_needs_and_runs(path, bare, tmp_path):
  python, notes, environment = bare
  alone = tmp_path / "alone"
  alone.mkdir()
  (alone / path.name).write_text(path.read_text())
  command = [str(python), "-m", "pytest", "--nbmake", "--nbmake-timeout=600", "-q", "-p", "no:cacheprovider"]
  done = subprocess.run(
    [*command, "-c", os.devnull, "--rootdir", str(alone), path.name],
    cwd=alone, env=environment, capture_output=True, text=True, check=False,
  )  # fmt: skip
  assert done.returncode == 0, done.stdout + done.stderr
  assert "https://example.org/x" in (notes / "git").read_text().splitlines()
  installed = (notes / "pip").read_text().splitlines()
  assert installed[0] == "install"
  assert installed[-2:] == ["--editable", str(alone / "jaxhands-repository")]
  kept = (notes / "constraints").read_text().splitlines()
  assert sorted(kept) == [f"{name}=={importlib.metadata.version(name)}" for name in ("jax", "jaxlib")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_jax_that_is_too_old_is_replaced_and_that_is_said(path, bare, tmp_path):
  python, notes, environment = bare
  old = tmp_path / "stubs" / "jax-0.9.2.dist-info"
  old.mkdir()
  (old / "METADATA").write_text("Metadata-Version: 2.1\nName: jax\nVersion: 0.9.2\n")
  setup = "".join(_code(path)[0]).replace('name in ("jax", "jaxlib")', 'name == "jax" and d.version == "0.9.2"')
  done = subprocess.run(
    [str(python), "-c", setup], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
  assert "jax 0.9.2 is missing or too old" in done.stdout
  assert (notes / "constraints").read_text() == ""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_clone_beside_the_notebook_is_installed_and_not_taken_for_the_package(path, bare, tmp_path):
  python, notes, environment = bare
  (tmp_path / "jaxhands").symlink_to(ROOT)
  setup = "".join(_code(path)[0]) + "\nfrom jaxhands import schema\n"
  done = subprocess.run(
    [str(python), "-c", setup], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
  assert not (notes / "git").exists()
  assert (notes / "pip").read_text().splitlines()[-2:] == ["--editable", str(tmp_path / "jaxhands")]


def test_the_repositorys_address_is_the_same_everywhere():
  address = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
  for path in [ROOT / "README.md", *NOTEBOOKS]:
    text = path.read_text()
    named = set(re.findall(r"github(?:\.com)?/([\w.-]+/jaxhands)\b", text))
    assert named == {address.removeprefix("https://github.com/")}, path.name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_committed_without_outputs(path):
  for cell in json.loads(path.read_text())["cells"]:
    assert not cell.get("outputs"), f"{path.name}: clear its outputs"
    assert cell.get("execution_count") is None


def test_there_is_a_notebook():
  assert NOTEBOOKS


def _code(path):
  return [cell["source"] for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
