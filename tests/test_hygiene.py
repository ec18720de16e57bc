"""Lint, types, and what must not be in the repository: all part of the one test command."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def _run(*command: str) -> None:
  done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stdout + done.stderr


def _tracked() -> list[pathlib.Path]:
  listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
  if listed.returncode:  # an unpacked archive without its history
    return [p for p in ROOT.rglob("*") if p.is_file() and not any(part.startswith(".") for part in p.parts)]
  paths = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
  return [path for path in paths if path.is_file()]


def test_lint():
  _run("ruff", "check", ".")


def test_format():
  _run("ruff", "format", "--check", ".")


def test_types():
  # Without a path it looks for packages in whatever python comes first on PATH.
  _run("basedpyright", "--pythonpath", sys.executable)


def test_no_machine_is_named():
  pattern = re.compile(r"(?<![\w.])/(work|root|opt|home)/|https?://(localhost|127\.|10\.|192\.168\.)")
  for path in _tracked():
    if path.suffix in {".py", ".md", ".toml", ".txt", ".ipynb", ".sh", ".json", ".html"} and path != pathlib.Path(
      __file__
    ):
      found = pattern.search(path.read_text(errors="replace"))
      assert not found, f"{path.relative_to(ROOT)} names a path of one machine: {found.group()!r}"


def test_large_files_are_on_purpose():
  sizes = {p.relative_to(ROOT): p.stat().st_size for p in _tracked()}
  # Whole networks, which `python -m jaxhands keep` has made small.
  weights = {pathlib.Path("results", "weights"), pathlib.Path("jaxhands", "weights", "kept")}
  large = {str(p): size for p, size in sizes.items() if size > (12_000_000 if weights & {*p.parents} else 2_000_000)}
  assert not large, f"over 2 MB, or 12 MB of weights: {large}"
