"""One writer for a folder, also when it is killed, and where file systems keep locks to one machine."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from jaxhands.runs import lock

ROOT = pathlib.Path(__file__).resolve().parents[2]
_HOLD = (
  "import pathlib, sys, time; from jaxhands.runs import lock\n"
  "with lock.only(pathlib.Path(sys.argv[1])): print('has it', flush=True); time.sleep(float(sys.argv[2]))"
)


def _other(folder, seconds=60.0):
  """Another process, that has the folder when this returns."""
  pipes = {"stdout": subprocess.PIPE, "text": True}
  process = subprocess.Popen([sys.executable, "-c", _HOLD, str(folder), str(seconds)], cwd=ROOT, **pipes)
  assert process.stdout is not None
  assert process.stdout.readline() == "has it\n"
  return process


def test_a_second_process_is_refused_at_once_until_the_first_is_killed(tmp_path):
  with _other(tmp_path / "run") as first:
    begun = time.monotonic()
    with pytest.raises(lock.FolderInUseError, match=f"run is in use: process {first.pid} of .* writes into it"), \
      lock.only(tmp_path / "run"):  # fmt: skip
      pass
    assert time.monotonic() - begun < 2
    with lock.only(tmp_path / "other"):
      pass
    assert not (tmp_path / "other").exists()  # nothing came into it
    first.send_signal(signal.SIGKILL)
    first.wait()
    begun = time.monotonic()
    with lock.only(tmp_path / "run"):
      pass
    assert time.monotonic() - begun < 2


def test_a_folder_is_taken_by_one_thread_of_a_process_and_is_free_after_an_error(tmp_path):
  refused = []

  def second():
    try:
      with lock.only(tmp_path / "." / "x" / ".."):
        pass
    except lock.FolderInUseError as error:
      refused.append(str(error))

  def first():
    with lock.only(tmp_path):
      (tmp_path / "x").mkdir()
      thread = threading.Thread(target=second)
      thread.start()
      thread.join()
      raise KeyError

  with pytest.raises(KeyError):
    first()
  assert refused == [f"this process writes into {tmp_path} already"]
  second()
  assert len(refused) == 1


def test_who_waits_says_so_and_has_it_after_the_other(tmp_path, caplog):
  with _other(tmp_path, 1.5) as first:
    with lock.only(tmp_path, wait=True):
      assert first.wait(10) == 0
    (record,) = caplog.records
    assert "writes into it" in record.message
    assert record.message.endswith("; this one waits")


def test_what_holds_a_folder_on_another_machine_counts_while_it_is_alive(tmp_path, monkeypatch):
  """As on a file system whose locks other machines do not see: the file names another machine and is touched."""
  monkeypatch.setattr(lock, "_BEAT_S", 0.3)
  (tmp_path / lock.LOCK).write_text("process 7 of elsewhere")
  ended = threading.Event()

  def touch():
    while not ended.wait(0.1):
      os.utime(tmp_path / lock.LOCK)

  alive = threading.Thread(target=touch)
  alive.start()
  with pytest.raises(lock.FolderInUseError, match="process 7 of elsewhere"), lock.only(tmp_path):
    pass
  ended.set()
  alive.join()
  with lock.only(tmp_path):
    assert "elsewhere" not in (tmp_path / lock.LOCK).read_text()
  assert list(tmp_path.iterdir()) == []


def test_the_owner_touches_the_file(tmp_path, monkeypatch):
  monkeypatch.setattr(lock, "_BEAT_S", 0.05)
  with lock.only(tmp_path):
    before = (tmp_path / lock.LOCK).stat().st_mtime_ns
    time.sleep(0.5)
    assert (tmp_path / lock.LOCK).stat().st_mtime_ns > before


def test_a_file_system_without_locks_has_the_names(tmp_path, monkeypatch):
  def lockf(handle, how):
    raise OSError(95, "Operation not supported")

  monkeypatch.setattr(lock.fcntl, "lockf", lockf)
  monkeypatch.setattr(lock, "_BEAT_S", 0.3)
  with _other(tmp_path) as first:
    # It holds the lock, but nobody here can see that; its name is that of this machine.
    monkeypatch.setattr(lock, "_BEAT_S", 4.0)
    with pytest.raises(lock.FolderInUseError, match=f"process {first.pid} of"), lock.only(tmp_path):
      pass
    first.kill()
