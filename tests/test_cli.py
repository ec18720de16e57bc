"""The commands, as a user types them: help with an example, one line for an error, a status that tells."""

import importlib
import io
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from configs import base as base_config
from jaxhands import cli
from jaxhands.commands import doctor
from jaxhands.runs import lock
from jaxhands.train import checkpoint
from jaxhands.weights import kept
from tests.train import toys

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example(name, capsys):
  with pytest.raises(SystemExit) as end:
    cli.main([name, "--help"])
  assert end.value.code == 0
  shown = capsys.readouterr().out
  assert f"usage: python -m jaxhands {name}" in shown
  assert f"    python -m jaxhands {name}" in shown
  module = importlib.import_module(cli.COMMANDS[name].module)
  assert " ".join(module.__doc__.partition("\n\n")[0].split()) in " ".join(shown.split())


def test_the_overview_names_every_command(capsys):
  assert cli.main(["--help"]) == 0
  shown = capsys.readouterr().out
  for name, command in cli.COMMANDS.items():
    assert f"{name}  " in shown
    assert command.summary in shown
  assert cli.main([]) == 2


def test_a_wrong_command_is_refused_with_the_nearest(capsys):
  assert cli.main(["docter"]) == 2
  assert "no command 'docter'; did you mean 'doctor'?" in capsys.readouterr().err


@pytest.mark.parametrize(
  "error", [ValueError("a\n  b"), FileNotFoundError("a b"), ImportError("a b"), OverflowError("a b")]
)
def test_what_a_user_can_mend_is_one_line(error, capsys, monkeypatch):
  def fail(args):
    raise error

  monkeypatch.setattr(doctor, "main", fail)
  assert cli.main(["doctor"]) == 1
  assert capsys.readouterr().err == "python -m jaxhands doctor: error: a b\n"
  monkeypatch.setenv("JAXHANDS_TRACEBACK", "1")
  with pytest.raises(type(error)):
    cli.main(["doctor"])


def test_the_line_has_the_notes_of_an_error(capsys, monkeypatch):
  """But for what JAX notes of its traceback."""

  def fail():
    error = ValueError("it cannot be decoded")
    error.add_note("while reading\n  data:train[3]")
    raise error

  monkeypatch.setattr(doctor, "main", lambda args: jax.jit(fail)())
  assert cli.main(["doctor"]) == 1
  line = "python -m jaxhands doctor: error: it cannot be decoded; while reading data:train[3]\n"
  assert capsys.readouterr().err == line


@pytest.mark.parametrize("name", ["page.png", os.fsdecode(b"caf\xe9.PNG")])
def test_the_page_of_joint_orders_is_written_whole(name, tmp_path, capsys):
  assert cli.main(["joints", "--draw", str(tmp_path / name)]) == 0
  assert capsys.readouterr().out.splitlines()[-1].startswith(str(tmp_path))
  assert [path.name for path in tmp_path.iterdir()] == [name]
  with Image.open(io.BytesIO((tmp_path / name).read_bytes())) as image:
    assert np.asarray(image).std() > 10
  assert cli.main(["joints", "--draw", str(tmp_path / "page.jpg")]) == 1
  shown = capsys.readouterr()
  assert "the page is a PNG; name a file .png" in shown.err
  assert not shown.out


def test_the_overview_imports_nothing_heavy():
  code = "import sys; from jaxhands import cli; cli.main(['--help']); assert 'jax' not in sys.modules"
  subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def _data_set(folder, sizes, announced=None):
  """Two splits of a data set, their files of so many bytes."""
  folder.mkdir()
  splits = []
  for name, files in sizes.items():
    for index, size in enumerate(files):
      (folder / f"x-{name}.array_record-{index:05d}-of-{len(files):05d}").write_bytes(bytes(size))
    total = sum(files) if announced is None else announced
    splits.append({"name": name, "shardLengths": ["4"] * len(files), "numBytes": str(total)})
  mark = b"\xef\xbb\xbf"  # as some editors write it
  (folder / "dataset_info.json").write_bytes(mark + json.dumps({"splits": splits}).encode())


def _findings(what, *arguments):
  return {
    finding.found.split(":")[0].split(" has ")[0]: finding
    for finding in doctor.examine(*arguments)
    if finding.what == what
  }


def test_the_doctor_tells_sets_that_are_whole_from_broken_ones(tmp_path):
  _data_set(tmp_path / "good", {"train": (5, 6), "val": (7,)})
  _data_set(tmp_path / "copy", {"train": (5, 6), "val": (7,)})
  _data_set(tmp_path / "other", {"train": (5, 7), "val": (7,)})
  _data_set(tmp_path / "cut", {"train": (5, 6)}, announced=12)
  _data_set(tmp_path / "lost", {"train": (5, 6)})
  (tmp_path / "lost" / "x-train.array_record-00001-of-00002").unlink()
  (tmp_path / "odd").mkdir()
  (tmp_path / "odd" / "dataset_info.json").write_text("{")
  found = _findings("data", str(tmp_path), "nowhere", True)
  checksums = {name: found[str(tmp_path / name)].found.rpartition(" ")[2] for name in ("good", "copy", "other")}
  assert checksums["good"] == checksums["copy"] != checksums["other"]
  assert "train 8, val 4" in found[str(tmp_path / "good")].found
  for name, words in (("cut", "11 bytes, announced were 12"), ("lost", "1 of 2 files"), ("odd", "cannot be read")):
    finding = found[str(tmp_path / name)]
    assert (finding.state, words in finding.found, bool(finding.todo)) == ("broken", True, True)


def _checkpoint(run, step):
  """What a whole one has at least."""
  folder = run / "checkpoints" / str(step)
  for part in ("variables", "meta"):
    (folder / part).mkdir(parents=True)
  for mark in ("_CHECKPOINT_METADATA", "meta/metadata"):
    (folder / mark).write_text("{}")


def test_the_doctor_lists_runs(tmp_path):
  assert next(iter(_findings("weights", str(tmp_path), str(tmp_path)).values())).state == "note"
  for name in ("begun", "trained", "kept", "odd"):
    (tmp_path / name).mkdir()
    (tmp_path / name / "config.json").write_text("[" if name == "odd" else '\ufeff{"system": {"name": "internet"}}')
  (tmp_path / "locked" / "config.json").mkdir(parents=True)  # is not read, as what belongs to another user
  _checkpoint(tmp_path / "trained", 12)
  (tmp_path / "kept" / kept.FILE).touch()
  found = _findings("weights", str(tmp_path), str(tmp_path))
  assert found[str(tmp_path / "trained")].found.endswith(": internet, step 12, not evaluated")
  assert found[str(tmp_path / "kept")].found.endswith(": internet, kept weights")
  states = [found[str(tmp_path / name)].state for name in ("begun", "trained", "kept", "odd", "locked")]
  assert states == ["note", "ok", "ok", "broken", "broken"]


def test_the_doctor_says_which_runs_and_stages_are_unfinished(tmp_path, capsys):
  config = base_config.staged(toys.config(), {name: toys.config() for name in ("first", "second", "third")})
  checkpoint.write_config(tmp_path / "run", config)
  single = toys.config()
  for name, step in (("run/stages/first", 8), ("run/stages/second", 5), ("alone", 5)):
    checkpoint.write_config(tmp_path / name, single)
    (tmp_path / name / "origin.json").write_text(json.dumps([{"data": [{"examples": toys.EXAMPLES}]}]))
    _checkpoint(tmp_path / name, step)
  found = _findings("weights", str(tmp_path), str(tmp_path))
  run, alone = found[str(tmp_path / "run")], found[str(tmp_path / "alone")]
  assert "toy, unfinished: stage 'second', step 5 of 8, not evaluated" in run.found
  assert "toy, unfinished: step 5 of 8, not evaluated" in alone.found
  assert run.state == alone.state == "note"
  parser = cli._parser("doctor", doctor.__doc__ or "", doctor.add_arguments)
  assert doctor.main(parser.parse_args([str(tmp_path / "run")])) == 0
  assert capsys.readouterr().out.splitlines() == [f"note   weights: {run.found} -> {run.todo}"]
  assert doctor.main(parser.parse_args([str(tmp_path)])) == 1
  assert "is no run" in capsys.readouterr().out
  _checkpoint(tmp_path / "alone", 8)
  assert _findings("weights", str(tmp_path), str(tmp_path))[str(tmp_path / "alone")].state == "ok"


def test_the_doctor_needs_no_home(tmp_path, monkeypatch):
  for name in ("HOME", "XDG_CACHE_HOME", "JAXHANDS_DATA", "JAX_COMPILATION_CACHE_DIR"):
    monkeypatch.delenv(name, raising=False)

  def getpwuid(uid):
    raise KeyError(uid)

  monkeypatch.setattr("pwd.getpwuid", getpwuid)  # as for a user id that the system does not know
  found = {finding.what: finding for finding in doctor.examine(runs=str(tmp_path))}
  assert "set JAXHANDS_DATA to a folder" in found["disk"].found
  assert "no home" in found["compiled"].found


def test_our_configs_are_found_beside_foreign_ones(tmp_path):
  (tmp_path / "configs").mkdir()
  (tmp_path / "configs" / "__init__.py").write_text("raise RuntimeError('not ours')")
  code = "from jaxhands.runs import released; print(released.released_config('rootnet').variant)"
  environment = os.environ | {"PYTHONPATH": str(ROOT)}
  command = [sys.executable, "-c", code]
  found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
  assert found.stdout == "paper-released\n", found.stderr


def test_one_process_at_a_time_fills_a_folder(tmp_path, capsys):
  with lock.only(tmp_path / "run"):
    assert cli.main(["import", "--system", "internet", str(tmp_path / "x.pth"), "--out", str(tmp_path / "run")]) == 1
  assert "writes into" in capsys.readouterr().err
  assert not (tmp_path / "run").exists()


# 2026-11-29: ml_collections imports config files by a deprecated method of Python's.
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("hdr:tiny", "--stage=pipeline"), "'pipeline' is assembled of other trainings and sees nothing itself"),
    (("internet:tiny", "--config.batch_size=7", "--config.accumulation=2"), "batch_size=7 cannot be divided among 1"),
    (("internet:tiny", "--config.system.name=hdr"), "config.system and config.data make no network: AttributeError"),
  ],
)
def test_what_is_not_trained_so_is_not_shown(arguments, message, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert cli.main(["show", *arguments]) == 1
  shown = capsys.readouterr().err
  assert message in shown
  assert shown.count("\n") == 1
  assert not list(tmp_path.iterdir())


def test_no_character_stops_a_program_whose_terminal_lacks_it():
  code = (
    "from jaxhands.terminal import console; console.accept_all_characters(); "
    "console.make().print('30 \u00b0, caf\u00e9')"
  )
  for encoding, shown in (("ascii", "30 \\xb0, caf\\xe9\n"), ("utf-8", "30 \u00b0, caf\u00e9\n")):
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert found.stdout.decode() == shown


def test_the_doctor_says_what_it_found(tmp_path, capsys):
  assert doctor.main(doctor_arguments(tmp_path)) == 0
  shown = capsys.readouterr().out
  assert "of cpu" in shown
  assert f"free for data sets in {tmp_path}" in shown


def doctor_arguments(folder):
  return cli._parser("doctor", doctor.__doc__ or "", doctor.add_arguments).parse_args(["--data", str(folder)])
