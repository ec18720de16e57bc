"""A program that begins anew for large pages is the same program, and begins anew once."""

import json
import os
import subprocess
import sys

import pytest

from jaxhands import huge_pages

PROGRAM = """
import json, os, sys
from jaxhands import huge_pages
print("begun", flush=True)
huge_pages.start_anew()
print(json.dumps([os.environ.get("GLIBC_TUNABLES"), sys.argv, sys.flags.dev_mode, __name__]))
"""


def _ran(tmp_path, **environment):
  file = tmp_path / "a program.py"
  file.write_text(PROGRAM)
  inherited = {key: value for key, value in os.environ.items() if key != "GLIBC_TUNABLES"}
  command = [sys.executable, "-X", "dev", str(file), "--name=two words", "*"]
  done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
  *begun, last = done.stdout.splitlines()
  return begun, json.loads(last), command[3:]


def test_it_begins_once_more_as_it_was_called(tmp_path):
  begun, (tunables, argv, dev_mode, name), called = _ran(tmp_path)
  wanted = "glibc.malloc.hugetlb=1" if huge_pages._can() else None
  assert (tunables, argv, dev_mode, name) == (wanted, called, True, "__main__")
  assert begun == ["begun"] * (2 if wanted else 1)


def test_who_has_chosen_is_left_alone(tmp_path):
  begun, (tunables, *_), _ = _ran(tmp_path, GLIBC_TUNABLES="glibc.malloc.hugetlb=0")
  assert (begun, tunables) == (["begun"], "glibc.malloc.hugetlb=0")


@pytest.mark.parametrize(
  ("library", "setting", "can"),
  [
    (("glibc", "2.36"), "always [madvise] never", True),
    (("glibc", "2.35.1"), "always [madvise] never", True),
    (("glibc", "2.31"), "always [madvise] never", False),
    (("", ""), "always [madvise] never", False),
    (("glibc", "2.36"), "[always] madvise never", False),
    (("glibc", "2.36"), "always madvise [never]", False),
    (("glibc", "2.36"), None, False),
  ],
)
def test_where_it_helps(monkeypatch, tmp_path, library, setting, can):
  file = tmp_path / "enabled"
  if setting is not None:
    file.write_text(setting)
  monkeypatch.setattr(huge_pages, "_SETTING", file)
  monkeypatch.setattr("platform.libc_ver", lambda: library)
  assert huge_pages._can() == can
