"""The command line, as a user types it."""

import json
import pathlib
import subprocess
import sys

import pytest

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
    (("--config.batch_size=2.5",), "--config.batch_size=2.5: invalid literal for int"),
    (("--mode=trian",), "train|eval|train_and_eval"),
    (("--wrokdir=x",), "Did you mean: workdir"),
    (("runs/x",), "unknown arguments ['runs/x']"),
    (("--config.data.eval.dir=/x",), "--config.data.eval.dir needs --config.data.eval.name=NAME"),
  ],
)
def test_what_is_not_known_is_refused_with_a_suggestion(arguments, message):
  found = _launch(f"--config={ROOT}/configs/internet.py:tiny", *arguments)
  assert found.returncode != 0
  assert message in found.stderr
  assert "Traceback" not in found.stderr


def test_a_wrong_variant_names_the_right_one():
  found = _launch(f"--config={ROOT}/configs/internet.py:tinny")
  assert found.returncode != 0
  assert "did you mean 'tiny'?" in found.stderr


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

  other = _launch(*arguments, "--config.optimizer.learning_rate=3e-4", cwd=tmp_path)
  assert other.returncode != 0
  assert "optimizer.learning_rate was 0.001 and is 0.0003" in other.stderr
