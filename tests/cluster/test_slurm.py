"""Slurm's scripts, with Slurm's commands replaced by small scripts that note how they were called."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from configs import hdr
from jaxhands.runs import stages

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Runs what follows its options, and passes SIGTERM on, as srun does. It catches signals before anyone can see it.
_SRUN = """#!/bin/bash
task= asked=
trap 'asked=1; [[ -z $task ]] || kill -TERM $task' TERM
printf '%s\\n' "$@" >"$NOTES/srun"
while [[ $1 == -* ]]; do shift; done
"$@" & task=$!
[[ -z $asked ]] || kill -TERM $task
while kill -0 $task 2>/dev/null; do wait $task; done
wait $task
"""
_SCONTROL = """#!/bin/bash
echo "$@" >>"$NOTES/scontrol"
case $1 in show) echo "JobId=$3 JobState=${STATE:-RUNNING} Reason=None";; requeue) exit ${REQUEUE:-0};; esac
"""
_SBATCH = """#!/bin/bash
echo "$@" >>"$NOTES/sbatch"
echo "$((100 + $(wc -l <"$NOTES/sbatch")));cluster"
"""
_INTERPRETER = """#!/bin/bash
trap 'exit 75' TERM
printf '%s\\n' "$@" >"$NOTES/python"
[[ ${TASK:-} == wait ]] || exit "$TASK"
while :; do sleep 0.05; done
"""


@pytest.fixture
def slurm(tmp_path):
  """A bare environment that has nothing but Slurm's commands, in a folder with a space in its name."""
  notes, commands = tmp_path / "some notes", tmp_path / "some commands"
  notes.mkdir()
  commands.mkdir()
  stubs = {"srun": _SRUN, "scontrol": _SCONTROL, "sbatch": _SBATCH, "python": _INTERPRETER}
  for name, content in stubs.items():
    (commands / name).write_text(content)
    (commands / name).chmod(0o755)
  path = f"{commands}:/usr/bin:/bin"
  return notes, {"PATH": path, "NOTES": str(notes), "SLURM_SUBMIT_DIR": str(ROOT), "SLURM_JOB_ID": "7"}


def _job(environment, *arguments, **more):
  command = ["bash", str(ROOT / "cluster" / "slurm.sh"), *arguments]
  return subprocess.Popen(command, env=environment | more, cwd="/", stderr=subprocess.PIPE, text=True)


def _ended(job, seconds=20):
  """Status and standard error."""
  error = job.communicate(timeout=seconds)[1]
  return job.returncode, error


def _wait_for(path):
  for _ in range(200):
    if path.exists() and path.read_text() != "":
      return
    time.sleep(0.05)
  raise AssertionError(f"{path} did not come")


def test_tasks_get_the_cores_of_the_job_and_arguments_with_spaces(slurm):
  notes, environment = slurm
  job = _job(
    environment, "--config=configs/hdr.py:tiny", "--workdir=/shared/my runs", TASK="0", SLURM_CPUS_PER_TASK="3"
  )
  assert _ended(job)[0] == 0
  assert "--cpus-per-task=3" in (notes / "srun").read_text().splitlines()
  assert (notes / "python").read_text().splitlines() == [
    "launch.py", "--config=configs/hdr.py:tiny", "--workdir=/shared/my runs", "--config.data.threads=3",
  ]  # fmt: skip
  assert not (notes / "scontrol").exists()


def test_launch_takes_the_arguments_as_the_script_orders_them(slurm):
  _, environment = slurm
  arguments = ("--config=configs/internet.py:tiny", "--stage=nothing")
  job = _job(environment, *arguments, PYTHON=sys.executable, HOME=os.environ.get("HOME", "/"), JAX_PLATFORMS="cpu")
  status, error = _ended(job, 300)
  assert status not in (0, 75)
  assert "there is no stage 'nothing'" in error
  assert "before a value for --config" not in error


def test_threads_that_the_caller_sets_are_kept(slurm):
  notes, environment = slurm
  assert _ended(_job(environment, "--config=c.py", "--config.data.threads=2", TASK="0"))[0] == 0
  assert (notes / "python").read_text().count("threads") == 1


@pytest.mark.parametrize(
  ("receiver", "number"), [("script", signal.SIGTERM), ("script", signal.SIGUSR1), ("task", signal.SIGTERM)]
)
def test_a_run_that_was_stopped_and_saved_is_requeued_whoever_got_the_signal(slurm, receiver, number):
  notes, environment = slurm
  job = _job(environment, "--config=c.py", TASK="wait" if receiver == "script" else "75")
  if receiver == "script":
    _wait_for(notes / "python")
    job.send_signal(number)
  assert _ended(job)[0] == 75
  assert "requeue 7" in (notes / "scontrol").read_text().splitlines()


def test_two_signals_do_not_hide_the_status(slurm):
  notes, environment = slurm
  job = _job(environment, "--config=c.py", TASK="wait")
  _wait_for(notes / "python")
  job.send_signal(signal.SIGTERM)
  job.send_signal(signal.SIGTERM)
  assert _ended(job)[0] == 75


def test_a_job_that_cannot_be_requeued_says_so_and_keeps_its_status(slurm):
  _, environment = slurm
  job = _job(environment, "--config=c.py", TASK="75", REQUEUE="1")
  status, error = _ended(job)
  assert status == 75
  assert "job 7 could not be requeued; submit it again" in error


def test_a_job_that_its_user_cancelled_is_not_requeued(slurm):
  notes, environment = slurm
  job = _job(environment, "--config=c.py", TASK="75", STATE="CANCELLED")
  status, error = _ended(job)
  assert status == 75
  assert "requeue" not in (notes / "scontrol").read_text()
  assert "was cancelled" in error


@pytest.mark.parametrize("status", ["0", "1", "143"])
def test_a_run_that_ended_by_itself_is_not_requeued(slurm, status):
  notes, environment = slurm
  assert _ended(_job(environment, "--config=c.py", TASK=status))[0] == int(status)
  assert not (notes / "scontrol").exists()


def test_a_job_from_another_folder_is_told_where_to_submit(slurm, tmp_path):
  _, environment = slurm
  job = _job(environment, "--config=c.py", SLURM_SUBMIT_DIR=str(tmp_path))
  status, error = _ended(job)
  assert status == 1
  assert "submit from the repository's folder" in error


def _hdr_stages(environment, *arguments):
  command = ["bash", str(ROOT / "cluster" / "hdr_stages.sh"), *arguments]
  return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)


def test_stages_of_hdr_wait_for_those_that_they_start_from(slurm):
  notes, environment = slurm
  arguments = ["--config=configs/hdr.py:paper,internet_pose", "--workdir=/shared/my runs"]
  found = _hdr_stages(environment, *arguments)
  assert (found.returncode, found.stderr) == (0, "")
  assert found.stdout == "hasm 101, internet 102, hdrm 103, hdrm_finetune 104, pipeline 105\n"
  jobs = (notes / "sbatch").read_text().splitlines()
  assert [job.split("--stage=")[1] for job in jobs] == ["hasm", "internet", "hdrm", "hdrm_finetune", "pipeline"]
  assert ["--dependency" in job for job in jobs] == [False, False, False, True, True]
  assert "--dependency=afterok:101:103 " in jobs[3]
  assert "--dependency=afterok:101:102:104 " in jobs[4]
  assert all(job.split(" cluster/slurm.sh ")[1].startswith(" ".join(arguments)) for job in jobs)


@pytest.mark.parametrize(
  "variant", ["", "demo", "pipeline", "internet_pose", "demo, internet_pose", "demo,scratch", "no_removal", "small"]
)
def test_stages_of_hdr_are_those_of_the_variant(slurm, variant):
  """Whatever its folder is called."""
  _, environment = slurm
  config = f"--config={ROOT}/configs/hdr.py" + (f":{variant}" if variant else "")
  found = _hdr_stages(environment, config, "--workdir=/shared/internet_pose/hdr.py:small")
  assert (found.returncode, found.stderr) == (0, "")
  submitted = {one.split()[0] for one in found.stdout.split(", ")}
  assert submitted == {name for name, _ in stages.of(hdr.get_config(variant))}


def test_stages_of_another_config_are_refused(slurm):
  notes, environment = slurm
  found = _hdr_stages(environment, "--config=configs/internet.py:synth", "--workdir=/shared/hdr.py")
  assert found.returncode == 1
  assert "there is no --config=configs/hdr.py[:VARIANT] in '--config=configs/internet.py:synth" in found.stderr
  assert not (notes / "sbatch").exists()
