"""What Numba compiles runs whatever happens to its files."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
_SUM = """
import resource, sys
if sys.argv[1] == "full":
  resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file may grow: as a disk without room
if sys.argv[1] == "read-only":
  import tempfile
  def refuse(**arguments):
    raise OSError(30, "Read-only file system")
  tempfile.TemporaryFile = refuse
import numpy as np
from jaxhands.hands import contact
print(contact._means(np.ones((3, 3)), np.array([[0, 1, 2]])).sum())
"""


def _run(cache, disk):
  environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONDONTWRITEBYTECODE": "1"}
  command = [sys.executable, "-c", _SUM, disk]
  found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
  assert found.stdout == "3.0\n", found.stderr
  return found.stderr


def test_a_full_disk_is_a_line_and_compiles_anew(tmp_path):
  assert _run(tmp_path, "full").startswith("loops that Numba compiles are not kept for the next start: ")
  assert not list(tmp_path.rglob("*.nbc"))


def test_damaged_files_are_made_anew(tmp_path):
  assert _run(tmp_path, "empty") == ""
  for suffix in ("nbi", "nbc"):
    (path,) = tmp_path.rglob(f"*_means*.{suffix}")
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2]):
      path.write_bytes(content)
      assert _run(tmp_path, "empty") == ""
    assert path.read_bytes() == whole or suffix == "nbi"


def test_where_no_folder_can_be_written_it_compiles_anew_after_a_line(tmp_path):
  errors = _run(tmp_path, "read-only")
  assert errors.startswith("loops that Numba compiles are not kept for the next start: no folder for it can be written")
  assert errors.count("\n") == 1
