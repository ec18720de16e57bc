"""The builders' command lines: progress in a log, errors in a line."""

import signal
import subprocess
import sys

import pytest
import rich.console

from data_builders import command
from data_builders.shards import BuildError


@pytest.mark.parametrize("kind", [BuildError, FileNotFoundError])
def test_an_error_is_one_line_and_status_one(kind):
  with pytest.raises(SystemExit) as caught, command.clear_exit("builder"):
    raise kind("the disk is full")
  assert caught.value.code == "builder: error: the disk is full"


def test_a_programming_error_keeps_its_traceback():
  with pytest.raises(KeyError), command.clear_exit("builder"):
    raise KeyError("joints")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_with_130(capsys, number):
  before = signal.getsignal(signal.SIGTERM)
  with pytest.raises(SystemExit) as caught, command.clear_exit("builder"):
    signal.raise_signal(number)
  assert caught.value.code == 130
  assert capsys.readouterr().err == "builder: interrupted; run the same command to go on with what is missing\n"
  assert signal.getsignal(signal.SIGTERM) is before


def test_a_log_file_gets_a_line_now_and_then(capsys, monkeypatch):
  now = [0.0]
  monkeypatch.setattr(command.time, "monotonic", lambda: now[0])
  lines = command._Lines(rich.console.Console(stderr=True, width=200), "synthetic")
  for second in range(100):
    now[0] = float(second)
    lines(100 + 2 * second, 400)
  out = capsys.readouterr().err.splitlines()
  assert out[0] == "synthetic: 160 of 400 records, 2.0 records/s, 2 minutes left"
  assert len(out) == 3


def test_work_that_begins_late_has_a_speed_from_there_on(capsys, monkeypatch):
  now = [0.0]
  monkeypatch.setattr(command.time, "monotonic", lambda: now[0])
  lines = command._Lines(rich.console.Console(stderr=True, width=200), "synthetic")
  now[0] = 100.0
  lines(7, 64)
  assert capsys.readouterr().err == ""
  now[0] = 130.0
  lines(37, 97)
  assert capsys.readouterr().err == "synthetic: 37 of 97 records, 1.0 records/s, 1 minutes left\n"


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
  monkeypatch.setenv("FORCE_COLOR", "1")
  monkeypatch.setenv("COLUMNS", "120")
  with command.shown_progress("synthetic") as show:
    show(3, 10)
    show(10, 10)
  out = capsys.readouterr().err
  assert "synthetic" in out
  assert "10/10" in out


@pytest.mark.parametrize("name", ["synthetic", "aih", "interhand26m", "preview"])
def test_a_wrong_flag_of_a_builder_is_refused_in_a_line(name):
  command = [sys.executable, "-m", f"data_builders.{name}", "--no-such-flag", "3"]
  found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
  assert (found.returncode, found.stderr.count("\n")) == (2, 1)
  assert found.stderr.startswith(f"python -m data_builders.{name}: error: ")
