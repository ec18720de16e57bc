"""How programs end early: status and line, alone and with others."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from jaxhands.runs import lock

ROOT = pathlib.Path(__file__).resolve().parents[2]
_PROGRAM = """
import hashlib, pathlib, signal, sys, time
from jaxhands.runs import stages
from jaxhands.train import distributed, ending

how, folder, process = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
if how == "stuck":
  ending._STUCK_S = 0.5
if how == "background":
  signal.signal(signal.SIGINT, signal.SIG_IGN)
else:
  signal.signal(signal.SIGINT, signal.default_int_handler)

def compute():
  hashlib.pbkdf2_hmac("sha256", b"", b"", 2 * 10**9)  # returns to Python after hours, as a compiler does after minutes

class Slow:
  def __del__(self):
    print("collects", flush=True)
    time.sleep(2)  # an error in here is shown, and goes no further

def work():
  if process != "alone":
    distributed.initialize(process)
  index = 0 if process == "alone" else int(process[-1])
  if how != "twice":
    print("works", flush=True)
  if how == "done":
    return True
  if how == "saved":
    return False
  if how == "locked":
    with stages.only_writer([folder]):
      return True
  if how == "other fails":
    if index == 1:
      raise ValueError("the first\\n  example is damaged")
    compute()
  if how == "other stops":
    if index == 1:
      signal.raise_signal(signal.SIGTERM)
    compute()
  if how == "fails":
    raise ValueError("batch_size=0")
  if how == "breaks":
    raise KeyError("a fault of ours")
  if how == "stuck":
    compute()
  if how == "collects":
    Slow()
  try:
    if how == "twice":
      print("works", flush=True)
    time.sleep(60)
  finally:
    if how == "twice":
      print("unwinds", flush=True)
      time.sleep(60)

status = ending.status_of(work, "program")
if how == "done":
  signal.raise_signal(signal.SIGTERM)
sys.exit(status)
"""


def _start(how, folder, process="alone"):
  pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
  command = [sys.executable, "-c", _PROGRAM, how, str(folder), process]
  return subprocess.Popen(command, cwd=ROOT, env=os.environ, **pipes)


def _run(how, folder, *signals):
  with _start(how, folder) as program:
    for number in signals:
      program.stdout.readline()
      program.send_signal(number)
    _, errors = program.communicate(timeout=60)
  return program.returncode, errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
@pytest.mark.parametrize("how", ["sleeps", "stuck"])
def test_a_signal_that_finds_nothing_to_save_ends_the_program_with_75_and_a_line(how, number, tmp_path):
  status, errors = _run(how, tmp_path, number)
  assert status == 75
  assert re.fullmatch(
    rf"program: stopped by {signal.Signals(number).name}; .*the same command goes on from .*\n", errors
  )


def test_what_was_stopped_and_saved_ends_with_75(tmp_path):
  assert _run("saved", tmp_path) == (
    75,
    "program: the run was stopped and is saved; the same command goes on with it\n",
  )


def test_a_second_interrupt_does_not_wait(tmp_path):
  begun = time.monotonic()
  status, errors = _run("twice", tmp_path, signal.SIGINT, signal.SIGINT)
  assert status == 130
  assert errors.startswith("program: interrupted; ")
  assert time.monotonic() - begun < 50


def test_a_signal_that_finds_the_garbage_collector_is_not_lost(tmp_path):
  with _start("collects", tmp_path) as program:
    assert [program.stdout.readline() for _ in range(2)] == ["works\n", "collects\n"]
    program.terminate()
    _, errors = program.communicate(timeout=50)
  assert program.returncode == 75
  assert errors.startswith("program: stopped by SIGTERM; ")


def test_a_program_in_the_background_of_a_script_ignores_ctrl_c(tmp_path):
  with _start("background", tmp_path) as program:
    program.stdout.readline()
    program.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
      program.wait(1)
    program.terminate()
    assert program.wait(30) == 75


def test_a_signal_after_the_work_changes_nothing(tmp_path):
  assert _run("done", tmp_path) == (0, "")


def test_what_a_user_can_mend_is_a_line_and_our_faults_have_a_traceback(tmp_path, monkeypatch):
  assert _run("fails", tmp_path) == (1, "program: error: batch_size=0\n")
  status, errors = _run("breaks", tmp_path)
  assert status == 1
  assert errors.startswith("Traceback")
  assert errors.endswith("program: error: 'a fault of ours'\n")
  monkeypatch.setenv("JAXHANDS_TRACEBACK", "1")
  assert "Traceback" in _run("fails", tmp_path)[1]


def _two(how, folder):
  """Status and errors of each of two processes of one run."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  both = [_start(how, folder, f"{address},2,{index}") for index in range(2)]
  try:
    errors = [process.communicate(timeout=90)[1] for process in both]
  finally:
    for process in both:
      process.kill()
  return [process.returncode for process in both], errors


@pytest.mark.parametrize(
  ("how", "status", "why"),
  [
    ("other fails", 1, "error: the first example is damaged"),
    ("other stops", 75, "stopped by SIGTERM; what was finished is saved, and the same command goes on from there"),
  ],
)
def test_when_one_process_ends_the_others_end_with_it(how, status, why, tmp_path):
  statuses, errors = _two(how, tmp_path)
  assert statuses == [status, status]
  assert f"program: {why}\n" in errors[1]
  assert f"program: process 1 has ended, and this one with it: {why}\n" in errors[0]


def test_all_processes_end_when_the_folder_is_in_use(tmp_path):
  with lock.only(tmp_path):
    statuses, errors = _two("locked", tmp_path)
  assert statuses == [1, 1]
  assert f"program: error: {tmp_path} is in use: process {os.getpid()} of" in errors[0]
  assert f"program: error: {tmp_path} is in use or not writable, as process 0 says\n" in errors[1]
