"""The command line, as a user types it."""

import fnmatch
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tomllib

import pytest

from jaxhands import cli
from tests.data.conftest import build

ROOT = pathlib.Path(__file__).resolve().parents[1]


def _launch(*arguments, cwd=ROOT):
  command = [sys.executable, str(ROOT / "launch.py"), *arguments]
  return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("--config.sede=3",), 'Did you mean "seed"'),
    (("--config.optimizer.learning_rte=3",), 'Did you mean "learning_rate"'),
    (("--config.system.qqq=3",), "launch.py: error: --config.system.qqq=3: the config has no field 'qqq'"),
    (("--config.qqq.learning_rate=3",), "--config.qqq.learning_rate=3: the config has no field 'qqq'"),
    (("--config.batch_size=2.5",), "--config.batch_size=2.5: invalid literal for int"),
    (("--mode=trian",), "train|eval|train_and_eval"),
    (("--wrokdir=x",), "Did you mean: workdir"),
    (("runs/x",), "unknown arguments ['runs/x']"),
    (("--config.data.eval.dir=/x",), "--config.data.eval.dir needs --config.data.eval.name=NAME"),
    (("--config.batch_size=0",), "launch.py: error: config.batch_size=0: expected a whole number, 1 or more\n"),
    (("--config.data.eval=('/no/such/set:val',)",), "launch.py: error: there is no data set in /no/such/set\n"),
    (("--distributed=everywhere",), "launch.py: error: --distributed=everywhere: write auto, off, local or HOST:PORT"),
    (("--workdir=",), "--workdir=: name a folder"),
    (("--workdir=run\udcff",), "launch.py: error: the name 'run\\udcff' is not UTF-8, or this locale is not"),
    (("--stage=hasm",), "launch.py: error: there is no stage 'hasm'; config.stages are none\n"),
  ],
)
def test_what_is_not_known_is_refused_with_a_suggestion(arguments, message):
  found = _launch(f"--config={ROOT}/configs/internet.py:tiny", *arguments)
  assert found.returncode != 0
  assert message in found.stderr
  assert found.stderr.startswith("launch.py: error: ")
  assert found.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["", "configs", "configs/intrenet.py:tiny", "README.md"])
def test_a_config_that_is_none_is_refused_in_a_line(name):
  found = _launch(f"--config={name}")
  assert (found.returncode, found.stderr.count("\n")) == (1, 1)
  assert f"--config={name.split(':')[0]}: there is no such file" in found.stderr


def test_a_wrong_variant_names_the_right_one():
  found = _launch(f"--config={ROOT}/configs/internet.py:tinny")
  assert (found.returncode, found.stderr.count("\n")) == (1, 1)
  assert "internet.py:tinny: unknown variant 'tinny': did you mean 'tiny'?" in found.stderr


def test_an_error_in_a_config_of_ones_own_is_shown_with_its_place(tmp_path):
  (tmp_path / "mine.py").write_text("def get_config(variant=''):\n  return missing\n")
  found = _launch("--config", "mine.py", cwd=tmp_path)
  assert found.returncode == 1
  assert "mine.py" in found.stderr
  assert "line 2" in found.stderr


def test_no_config_at_all_is_refused_in_a_line():
  found = _launch()
  assert (found.returncode, found.stderr.count("\n")) == (1, 1)
  assert "write --config=configs/NAME.py[:VARIANT]" in found.stderr


# 2026-11-29: ml_collections imports config files by a deprecated method of Python's.
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ((), "there is no config; write CONFIG[:VARIANT]"),
    (("intrenet:tiny",), "intrenet: there is no such file; did you mean 'internet'?; write CONFIG[:VARIANT]"),
    (("internet:tinny",), "unknown variant 'tinny': did you mean 'tiny'?"),
    (("configs/hdr.py:tiny", "--config.sede=3"), 'Did you mean "seed"'),
    (("internet:tiny", "--config=hdr:tiny"), "--config=hdr:tiny: there is a config already"),
    (("internet:tiny", "--workdri=x"), "Did you mean: workdir"),
    (("internet:tiny", "runs/x"), "unknown arguments ['runs/x']"),
  ],
)
def test_the_command_refuses_what_launch_refuses(arguments, message, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)  # where no configs lie
  with pytest.raises(SystemExit) as end:
    cli.main(["train", *arguments])
  line = str(end.value.code)  # goes to standard error, with status 1
  assert line.startswith("python -m jaxhands train: error: ")
  assert message in line
  assert "\n" not in line


def _installed(folder):
  """What a wheel brings: the packages and their data that pyproject.toml names."""
  settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
  for init in ROOT.glob("**/__init__.py"):
    inside = init.parent.relative_to(ROOT)
    package = ".".join(inside.parts)
    if any(fnmatch.fnmatch(package, pattern) for pattern in settings["packages"]["find"]["include"]):
      for pattern in ("*.py", *settings["package-data"].get(package, ())):
        for path in init.parent.glob(pattern):
          target = folder / path.relative_to(ROOT)
          target.parent.mkdir(parents=True, exist_ok=True)
          shutil.copy(path, target)
  return folder


def test_what_is_installed_trains_without_a_checkout(tmp_path):
  data = build(tmp_path / "data", train=13, val=7)
  site = _installed(tmp_path / "site")
  module, _, function = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"][
    "jaxhands"
  ].partition(":")
  script = tmp_path / "bin" / "jaxhands"  # as pip writes it
  script.parent.mkdir()
  script.write_text(
    f"import sys\nfrom {module} import {function}\nif __name__ == '__main__':\n  sys.exit({function}())\n"
  )
  found = subprocess.run(
    [
      sys.executable, str(script), "train", "internet:tiny", f"--config.data.train=('{data}:train',)",
      f"--config.data.eval=('{data}:val',)", "--config.train_for=1 steps", "--config.eval_every=0 steps",
      "--mode=train", "--config.eval.mean_pose=0", "--config.data.processes=1",
    ],
    cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(site)}, capture_output=True, text=True, timeout=600, check=False,
  )  # fmt: skip
  assert found.returncode == 0, found.stderr
  assert "step 1/1  pose/loss" in found.stdout
  assert (tmp_path / "runs" / "internet-tiny" / "checkpoints" / "1").is_dir()


def test_a_run_ends_with_a_table_and_a_report_and_can_be_evaluated_again(tmp_path):
  folder = build(tmp_path / "data", train=13, val=7)
  arguments = (
    f"--config={ROOT}/configs/internet.py:tiny",
    f"--config.data.train=('{folder}:train',)",
    "--config.data.eval.name=tiny",
    f"--config.data.eval.dir={folder}",
    "--config.data.eval.split=val",
    "--config.train_for=2 steps",
  )
  found = _launch(*arguments, cwd=tmp_path)
  assert found.returncode == 0, found.stderr
  workdir = tmp_path / "runs" / "internet-tiny"
  assert "step 2/2  pose/loss" in found.stdout
  assert "mpjpe/all" in found.stdout
  assert (workdir / "report" / "index.html").is_file()
  first = json.loads((workdir / "eval" / "metrics.json").read_text())
  again = _launch(*arguments, "--mode=eval", "--workdir=runs/internet-tiny", cwd=tmp_path)
  assert again.returncode == 0, again.stderr
  second = json.loads((workdir / "eval" / "metrics.json").read_text())
  assert second["metrics"]["mpjpe/all"] == pytest.approx(first["metrics"]["mpjpe/all"], rel=1e-5)

  # The last lines of a log, whose columns are as wide as they need to be.
  numbers, report = found.stdout.splitlines()[-2:]
  assert report == "report: runs/internet-tiny/report/index.html"
  said = r"mpjpe/all [\d.]+ mm, too few scenes to tell from the mean pose \([\d.]+\); mpjpe/.*"
  assert re.fullmatch(f"internet on .* val, 7 examples: {said}", numbers)
  assert "handedness_accuracy" in found.stdout
  assert "…" not in found.stdout
  assert re.search(r"compiling the step \(usually .*\) \.\.\.\ncompiling the step: done in \d+ s\n", found.stdout)
  assert "\x1b" not in found.stdout + found.stderr

  other = _launch(*arguments, "--config.optimizer.learning_rate=3e-4", cwd=tmp_path)
  assert other.returncode != 0
  assert "optimizer.learning_rate was 0.001 and is 0.0003" in other.stderr


def test_a_second_launch_is_refused_and_a_stopped_one_ends_with_75(tmp_path):
  folder = build(tmp_path / "data", train=13, val=7)
  data = [f"--config.data.{use}=('{folder}:{split}',)" for use, split in (("train", "train"), ("eval", "val"))]
  arguments = (
    "--config=configs/internet.py:tiny",
    *data,
    "--config.train_for=100000 steps",
    "--config.eval_every=0 steps",
    "--workdir=run",
  )
  command = [sys.executable, str(ROOT / "launch.py"), *arguments]  # whose config lies beside launch.py alone
  pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
  with subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONUNBUFFERED": "1"}, **pipes) as first:
    assert first.stdout is not None
    for line in first.stdout:
      if line.startswith("step 1/"):
        break
    second = _launch(*arguments, cwd=tmp_path)
    first.send_signal(signal.SIGTERM)
    shown, errors = first.communicate(timeout=120)
  assert second.returncode == 1
  assert second.stderr.startswith(f"launch.py: error: {tmp_path}/run is in use: process {first.pid} of")
  assert second.stderr.count("\n") == 1
  assert first.returncode == 75, errors
  assert "stopped and saved after step" in shown
  assert "the same command goes on" in errors
  doctor = subprocess.run(
    [sys.executable, "-m", "jaxhands", "doctor", "--runs", str(tmp_path)],
    cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
  )  # fmt: skip
  assert re.search(r"run: internet, unfinished: step \d+ of 100000, not evaluated -> the command", doctor.stdout)
