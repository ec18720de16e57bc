"""The command: what it prints, its status, one clear line for whatever is wrong."""

import pathlib
import sys

import cv2
import pytest

from data_builders.interhand26m import __main__


def run(monkeypatch, *arguments):
  monkeypatch.setattr(sys, "argv", ["interhand26m", *(str(argument) for argument in arguments)])
  __main__.main()


def test_it_builds_and_shows(download, tmp_path, monkeypatch, capsys):
  (download / "images/test/Capture1/0003_pray/cam410001/image11.jpg").unlink()
  run(monkeypatch, "--source", download, "--out", tmp_path / "out", "--jobs", 1, "--show", 4)
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].startswith("No --human-ids: which of V1.0's annotations people made is not known")
  assert lines[1].startswith("No --mano: ")
  missing = "test: 1 x missing picture [record left out]: Capture1/0003_pray/cam410001/image11.jpg"
  assert lines[2] == missing
  assert lines[3].startswith(f"{tmp_path / 'out'}: 4 records (test 4), ")
  assert lines[3].endswith(f"problems in {tmp_path / 'out' / 'quarantine.tsv'}")
  assert cv2.imread(lines[4]).shape == (4 * 240, 9 * 240, 3)
  run(monkeypatch, "--source", download, "--out", tmp_path / "out", "--jobs", 1)
  lines = capsys.readouterr().out.splitlines()
  # What was wrong is said again.
  assert missing in lines
  assert lines[-1] == f"Look at them: python -m data_builders.preview {tmp_path / 'out'}"


def test_verify_only_looks(download, tmp_path, monkeypatch, capsys):
  before = sorted(path for path in download.rglob("*"))
  run(monkeypatch, "--source", download, "--verify")
  lines = capsys.readouterr().out.splitlines()
  assert lines[0] == "test: 5 records can be built"
  assert lines[1].startswith("0 problems found in ")
  assert sorted(path for path in download.rglob("*")) == before


def test_verify_says_by_its_status_that_something_is_wrong(download, tmp_path, monkeypatch, capsys):
  name = "Capture1/0003_pray/cam410001/image11.jpg"
  (download / "images" / "test" / name).unlink()
  with pytest.raises(SystemExit) as caught:
    run(monkeypatch, "--source", download, "--verify", "--list", tmp_path / "all.tsv")
  assert caught.value.code == 1
  lines = capsys.readouterr().out.splitlines()
  assert lines[1] == f"test: 1 x missing picture [record left out]: {name}"
  header, row = (tmp_path / "all.tsv").read_text().splitlines()
  assert header.split("\t")[0] == "problem"
  assert row.split("\t") == ["missing picture", "test", name, "", "record left out"]


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("--branch", "human"), "branch is 'human'"),
    (("--jobs", "0"), "jobs is 0, expected at least 1"),
    (("--show", "0"), "show is 0"),
    (("--list", "x.tsv"), "--list goes with --verify"),
    (("--branch", "H"), "branch H of test needs --human-ids"),
  ],
)
def test_a_bad_argument_is_one_clear_line(pristine, tmp_path, monkeypatch, arguments, message):
  with pytest.raises(SystemExit) as caught:
    run(monkeypatch, "--source", pristine[0], "--out", tmp_path / "out", *arguments)
  assert caught.value.code.startswith("python -m data_builders.interhand26m: error: ")
  assert message in caught.value.code
  assert "\n" not in caught.value.code


def test_a_list_that_cannot_be_written_is_one_clear_line(pristine, tmp_path, monkeypatch):
  with pytest.raises(SystemExit, match="error: cannot write"):
    run(monkeypatch, "--source", pristine[0], "--verify", "--list", pathlib.Path("/nowhere/x.tsv"))
