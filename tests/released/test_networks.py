"""Every released network at full size, as its user goes about it: import, load, predict, evaluate, keep."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from data_builders.interhand26m import InterHandConfig, build
from jaxhands import cli
from tests.released import releases

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What README shows, from the file and from its import.
LOAD = """
import sys
from collections.abc import Iterator
import cv2, numpy as np
import jaxhands

file, system, config, run, photo, *batch_sizes = sys.argv[1:]
picture = cv2.imread(photo)[..., ::-1]
of_file = jaxhands.load(file, system=system, config=config, batch_size=int(batch_sizes[0])).maps([picture])[0]
of_run = jaxhands.load(run, batch_size=int(batch_sizes[1])).maps([picture])[0]
np.savez("of_file.npz", **of_file)
np.savez("of_run.npz", **of_run)
"""


@dataclasses.dataclass(frozen=True)
class Imported:
  """A release's file in a folder of its own, the run "run" beside it that was made of it, and what that said."""

  release: releases.Release
  file: pathlib.Path
  out: str
  err: str

  @property
  def run(self) -> pathlib.Path:
    return self.file.parent / "run"


def _python(*arguments, cwd: pathlib.Path) -> subprocess.CompletedProcess:
  """A command in a process of its own, which has one device; what it says where it fails."""
  environment = os.environ | {"PYTHONPATH": str(ROOT)}
  command = [sys.executable, *map(str, arguments)]
  done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr[-3000:]
  return done


# Two releases of one network are imported in the same way: of Intershape's, CI takes the newer.
_NETWORKS = [
  pytest.param(release, id=release.name, marks=pytest.mark.nightly if release.name == "intershape.v1" else ())
  for release in releases.NETWORKS
]


@pytest.fixture(scope="module", params=_NETWORKS)
def imported(request, goldens, tmp_path_factory) -> Iterator[Imported]:
  """Each network once, for all tests of it, which follow each other."""
  release, folder = request.param, tmp_path_factory.mktemp("released")
  file = release.write_into(folder, goldens)
  out, err = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    command = ["import", "--system", release.system, str(file), "--out", str(folder / "run")]
    assert cli.main([*command, "--config", release.config_name]) == 0, err.getvalue()
  yield Imported(release, file, out.getvalue(), err.getvalue())
  shutil.rmtree(folder)  # up to a gigabyte


@pytest.fixture
def photo(tmp_path) -> pathlib.Path:
  noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
  path = tmp_path / "photo.jpg"
  assert cv2.imwrite(str(path), cv2.resize(noise, (400, 300), interpolation=cv2.INTER_CUBIC))
  return path


@pytest.fixture(scope="session")
def interhand26m(shared, tmp_path_factory) -> pathlib.Path:
  """Four real frames, of which the first two are evaluated."""
  source = InterHandConfig(str(shared / "samples" / "interhand" / "mini_dataset"))
  return build(source, tmp_path_factory.mktemp("interhand26m") / "interhand26m", jobs=1)[0]


def test_file_and_import_predict_the_same_with_any_batch_size(imported, tmp_path, photo):
  release, file, run = imported.release, imported.file, imported.run
  assert "each was used once" in imported.out
  assert f"config {release.config.replace('.py', '')}" in imported.err

  told = release.system, release.config_name
  _python("-c", LOAD, file, *told, run, photo, *release.batch_sizes, cwd=tmp_path)
  with np.load(tmp_path / "of_file.npz") as of_file, np.load(tmp_path / "of_run.npz") as of_run:
    assert set(of_file) == set(of_run)
    for key in of_file:
      found, again = (np.asarray(values[key], np.float64) for values in (of_file, of_run))
      assert found.shape[0] == 1, key
      np.testing.assert_allclose(found, again, rtol=0, atol=1e-3 * max(np.abs(found).max(), 1), err_msg=key)
    varied = [key for key in of_file if np.ptp(np.asarray(of_file[key], np.float64)) > 0]
  assert set(varied) >= {"joints_img"} & set(of_file) or varied

  if "joints_img" in varied:
    _python(
      "-m", "jaxhands", "predict", photo, "--run", run, "--out", tmp_path / "hands",
      "--batch-size", release.batch_sizes[1], cwd=tmp_path,
    )  # fmt: skip
    (picture,) = json.loads((tmp_path / "hands" / "predictions.json").read_text())["pictures"]
    assert picture["width"] == 400


def test_real_frames_are_evaluated(imported, interhand26m, tmp_path):
  """Of whom has the test data alone; two of its frames are two examples, or one for each hand."""
  release, run = imported.release, imported.run
  done = _python(
    ROOT / "launch.py", f"--config={ROOT}/configs/{release.config}", f"--workdir={run}", "--mode=eval",
    f"--config.data.eval.name={interhand26m}", "--config.data.eval.split=test[:2]", f"--config.data.dir={tmp_path}",
    cwd=tmp_path,
  )  # fmt: skip
  answer = json.loads((run / "eval" / "metrics.json").read_text())
  assert 2 <= answer["examples"] <= 4
  assert answer["mean_pose"] == {}
  assert all(np.isfinite(value) for value in answer["metrics"].values())
  if release.system in ("internet", "digit", "hdr.shpe", "intershape"):
    assert answer["metrics"]["mpjpe/all"] > 0
    assert "no mean pose" in done.stderr
  assert re.search(r"report: .*index\.html", done.stdout)


def test_an_import_is_looked_at_kept_and_loaded(goldens, tmp_path, photo, capsys):
  """The smallest network stands for all."""
  (release,) = (network for network in releases.NETWORKS if network.system == "hdr.shpe")
  file = release.write_into(tmp_path, goldens)
  command = ["import", "--system", release.system, str(file), "--out", str(tmp_path / "run")]
  assert cli.main([*command, "--config", release.config_name]) == 0
  for arguments in (["inspect", file], ["inspect", tmp_path / "run"], ["doctor", "--runs", tmp_path]):
    assert cli.main([str(argument) for argument in arguments]) == 0, arguments
  assert "run: hdr.shpe, step 0, not evaluated" in capsys.readouterr().out
  assert cli.main(["keep", str(tmp_path / "run"), "--out", str(tmp_path / "kept")]) == 0
  _python("-c", LOAD, file, release.system, "", tmp_path / "kept", photo, *release.batch_sizes, cwd=tmp_path)
  with np.load(tmp_path / "of_file.npz") as whole, np.load(tmp_path / "of_run.npz") as half:
    np.testing.assert_allclose(half["confidence"], whole["confidence"], atol=0.02)  # float16 weights
