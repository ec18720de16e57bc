"""A program begins anew for huge pages once, as it was called, and only where Python runs it by itself."""

import os
import pathlib
import subprocess
import sys

import pytest

from jaxhands import huge_pages

# A module of the name that its file has; as on a machine that has huge pages for those that ask.
PROGRAM = """
import json, os, sys
from jaxhands import huge_pages
print("begun", flush=True)
huge_pages._supported = lambda: True
huge_pages.start_anew()
print(json.dumps([os.environ.get("GLIBC_TUNABLES"), sys.argv[1:], sys.flags.dev_mode, __name__]))
"""
ROOT = pathlib.Path(__file__).resolve().parents[1]
ARGUMENTS = ["--name=two words", "*"]


@pytest.fixture
def run(tmp_path):
  """How often the program of `command` began, after [python], and its last line; in a folder where it lies."""
  (tmp_path / "program.py").write_text(PROGRAM)

  def ran(*command, stdin="", **environment):
    inherited = {key: value for key, value in os.environ.items() if key != "GLIBC_TUNABLES"}
    done = subprocess.run(
      [sys.executable, *command], env=inherited | {"PYTHONPATH": str(ROOT)} | environment, input=stdin,
      capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    return lines.count("begun"), lines[-1]

  return ran


@pytest.mark.parametrize("how", [["program.py"], ["-X", "dev", "program.py"], ["-m", "program"], ["-Wd", "program.py"]])
def test_it_begins_once_more_as_it_was_called(run, how):
  begun, last = run(*how, *ARGUMENTS)
  dev_mode = "true" if "dev" in how else "false"
  assert last == f'["glibc.malloc.hugetlb=1", ["--name=two words", "*"], {dev_mode}, "__main__"]'
  assert begun == 2


@pytest.mark.parametrize("chosen", ["", "glibc.malloc.hugetlb=0"])
def test_who_has_chosen_is_left_alone(run, chosen):
  begun, last = run("program.py", *ARGUMENTS, GLIBC_TUNABLES=chosen)
  assert last.startswith(f'["{chosen}"')
  assert begun == 1


def test_what_another_program_runs_does_not_begin_anew(run):
  by_runpy = "import runpy, sys; sys.argv = ['program.py']; runpy.run_path('program.py', run_name='__main__')"
  for command, stdin in ((["-c", by_runpy], ""), (["-"], PROGRAM), (["-m", "cProfile", "-o", "p", "program.py"], "")):
    begun, last = run(*command, stdin=stdin)
    assert (begun, last.startswith("[null")) == (1, True), command


def test_it_does_not_begin_a_third_time_where_the_environment_is_lost(run):
  begun, last = run("-X", huge_pages._AGAIN, "program.py")
  assert (begun, last.startswith("[null")) == (1, True)


def test_it_goes_on_where_nothing_can_be_started(monkeypatch):
  def refuse(*_):
    raise OSError("no")

  monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
  monkeypatch.setattr(huge_pages, "_runs_by_itself", lambda: True)
  monkeypatch.setattr(huge_pages, "_supported", lambda: True)
  monkeypatch.setattr(os, "execv", refuse)
  huge_pages.start_anew()
  assert "GLIBC_TUNABLES" not in os.environ


@pytest.mark.parametrize(
  ("library", "setting", "supported"),
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
def test_where_it_helps(monkeypatch, tmp_path, library, setting, supported):
  file = tmp_path / "enabled"
  if setting is not None:
    file.write_text(setting)
  monkeypatch.setattr(huge_pages, "_KERNELS_CHOICE", file)
  monkeypatch.setattr("platform.libc_ver", lambda: library)
  assert huge_pages._supported() == supported
