#!/bin/bash
# Several nodes with GPUs under Slurm:
#
#   sbatch cluster/slurm.sh --config=configs/internet.py:paper --workdir=/shared/runs/internet
#
# One task a GPU, all GPUs of a node visible to its tasks: launch.py (--distributed=auto) then takes the task's own.
# JAXHANDS_DATA and the workdir must lie on a file system that all nodes share.
#SBATCH --job-name=jaxhands
#SBATCH --nodes=2
#SBATCH --gpus-per-node=4
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
# Five minutes before the end, and when the job is preempted, this script gets SIGTERM.
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
#SBATCH --open-mode=append

set -u
cd "$SLURM_SUBMIT_DIR" || exit 1

# The run then finishes its step, saves and ends with status 0; the job is put back into the queue and goes on.
stopped=0
stop() {
  stopped=1
  kill -TERM "$step"
}
trap stop TERM

srun --kill-on-bad-exit=1 python launch.py --config.data.threads=8 "$@" &
step=$!
wait "$step" # comes back early when the signal does
wait "$step"
status=$?

if [[ $stopped == 1 && $status == 0 ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
