"""The commands, as a user types them: help with an example, one line for an error, a status that tells."""

import importlib
import json
import subprocess
import sys

import pytest

from jaxhands import cli, doctor


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


@pytest.mark.parametrize("error", [ValueError("a\n  b"), FileNotFoundError("a b"), ImportError("a b")])
def test_what_a_user_can_mend_is_one_line(error, capsys, monkeypatch):
  def fail(args):
    raise error

  monkeypatch.setattr(doctor, "main", fail)
  assert cli.main(["doctor"]) == 1
  assert capsys.readouterr().err == "python -m jaxhands doctor: error: a b\n"
  monkeypatch.setenv("JAXHANDS_TRACEBACK", "1")
  with pytest.raises(type(error)):
    cli.main(["doctor"])


def test_the_overview_imports_nothing_heavy():
  code = "import sys; from jaxhands import cli; cli.main(['--help']); assert 'jax' not in sys.modules"
  subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_doctor_tells_sets_that_are_whole_from_broken_ones(tmp_path):
  info = {"splits": [{"name": "train", "shardLengths": ["3", "4"]}, {"name": "val", "shardLengths": ["2"]}]}
  for name, content in (("good", json.dumps(info)), ("bad", "{")):
    (tmp_path / name).mkdir()
    (tmp_path / name / "dataset_info.json").write_text(content)
  found = {finding.found.split(":")[0]: finding for finding in doctor.examine(str(tmp_path)) if finding.what == "data"}
  assert found[str(tmp_path / "good")].found.endswith(": train 7, val 2")
  bad = next(finding for finding in found.values() if finding.state == "broken")
  assert str(tmp_path / "bad") in bad.found
  assert bad.todo


def test_the_doctor_says_what_it_found(tmp_path, capsys):
  assert doctor.main(doctor_arguments(tmp_path)) == 0
  shown = capsys.readouterr().out
  assert "of cpu" in shown
  assert f"free for data sets in {tmp_path}" in shown


def doctor_arguments(folder):
  return cli._parser("doctor", doctor.__doc__ or "", doctor.add_arguments).parse_args(["--data", str(folder)])
