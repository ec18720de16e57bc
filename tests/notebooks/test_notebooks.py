"""Notebooks run from top to bottom in their smallest size, and are committed without outputs."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

NOTEBOOKS = sorted((pathlib.Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path, tmp_path):
  root = path.parent.parent
  environment = os.environ | {"JAXHANDS_SMOKE": "1", "JAXHANDS_DATA": str(tmp_path / "data"), "PYTHONPATH": str(root)}
  copy = tmp_path / path.name
  copy.write_text(path.read_text())
  command = [sys.executable, "-m", "pytest", "--nbmake", "--nbmake-timeout=600", "-q", "-p", "no:cacheprovider"]
  done = subprocess.run(
    [*command, "-c", os.devnull, "--rootdir", str(tmp_path), str(copy)],
    cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
  )  # fmt: skip
  assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_committed_without_outputs(path):
  for cell in json.loads(path.read_text())["cells"]:
    assert not cell.get("outputs"), f"{path.name}: clear its outputs"
    assert cell.get("execution_count") is None


def test_there_is_a_notebook():
  assert NOTEBOOKS
