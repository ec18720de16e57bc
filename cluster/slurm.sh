#!/bin/bash
# One run on several nodes with GPUs under Slurm; submit it from the repository's folder:
#
#   sbatch cluster/slurm.sh --config=configs/internet.py:synth --workdir=/shared/runs/internet
#   sbatch --nodes=1 cluster/slurm.sh --config=configs/hdr.py:synth --workdir=/shared/runs/hdr --stage=hasm
#
# One task a GPU, all GPUs of a node visible to its tasks: launch.py (--distributed=auto) then takes the task's own.
# JAXHANDS_DATA and the workdir must lie on a file system that all nodes share; PYTHON is the interpreter, if it is not
# the `python` of the environment that is active when you submit. `scancel` stops a run for good.
#SBATCH --job-name=jaxhands
#SBATCH --nodes=2
#SBATCH --gpus-per-node=4
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# This script gets SIGTERM five minutes before the end; when the job is preempted, the tasks may get it instead.
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append

set -u
SAVED=75 # status of launch.py when a signal stopped a run that can go on

cd "${SLURM_SUBMIT_DIR:?start this script with sbatch}" || exit 1
if [[ ! -f launch.py ]]; then
  echo "cluster/slurm.sh: there is no launch.py in $PWD; submit from the repository's folder" >&2
  exit 1
fi
cpus=${SLURM_CPUS_PER_TASK:-8}
[[ " $*" == *" --config.data.threads="* ]] || set -- "$@" "--config.data.threads=$cpus" # after --config

step=
signalled=0
stop() {
  signalled=1
  [[ -z $step ]] || kill -TERM "$step"
}
trap stop TERM USR1 # the latter where --signal=B:USR1@300 is given to sbatch

# Since Slurm 22.05 srun does not take --cpus-per-task from the job. It passes SIGTERM on to the tasks, which save; the
# first that ends must not cost the others their last seconds, but those of a failed one do not wait for ever.
srun --cpus-per-task="$cpus" --kill-on-bad-exit=0 --wait=120 "${PYTHON:-python}" launch.py "$@" &
step=$!
((signalled)) && kill -TERM "$step" # a signal that came before the step had a number
while kill -0 "$step" 2>/dev/null; do
  wait "$step" # a signal ends the waiting, not the step
done
wait "$step"
status=$?

# A signal that came before launch.py could catch it leaves nothing to save, but the job is as unfinished.
if ((status == SAVED || (signalled && status == 143))); then
  job=${SLURM_JOB_ID:-}
  if scontrol show job "$job" 2>/dev/null | grep -q JobState=CANCELLED; then
    echo "cluster/slurm.sh: job $job was cancelled; submit it again to go on" >&2
  elif ! scontrol requeue "$job"; then
    echo "cluster/slurm.sh: job $job could not be requeued; submit it again to go on" >&2
  fi
fi
exit "$status"
