#!/bin/bash
# A Cloud TPU slice of any size: the same command on all of its workers, which find each other (--distributed=auto).
# docs/tpu.md says how the slice is made and how repository and data get there.
#
#   TPU=my-slice ZONE=us-east5-a cluster/tpu_pod.sh --config=configs/internet.py:synth --workdir=/mnt/shared/runs/internet
#
# The run does not end with the connection: it goes on behind it, and its log is shown. The same command shows a run
# that is going on again, or starts it, from what is saved, if it is not; its status is the run's. To stop it, saved:
#
#   TPU=my-slice ZONE=us-east5-a cluster/tpu_pod.sh stop
#
# The workdir lies on a disk that all workers mount; data sets may be copied to each.
set -eu

: "${TPU:?name of the slice}" "${ZONE:?its zone}"
REPOSITORY=${REPOSITORY:-jaxhands} # folder of the repository on each worker's own disk
JAXHANDS_DATA=${JAXHANDS_DATA:-/mnt/shared/data}

on_all_workers() {
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"
}

here="cd $(printf %q "$REPOSITORY") && mkdir -p runs"
running='grep -qs launch.py "/proc/$(cat runs/tpu.pid 2>/dev/null)/cmdline"'
if [[ "$*" == stop ]]; then
  on_all_workers "$here && if $running; then kill -TERM \"\$(cat runs/tpu.pid)\"; else echo 'nothing is running'; fi"
  exit
fi

# Decoding keeps up with a TPU by worker processes, for threads share one interpreter. What the caller sets, holds.
fields=()
[[ " $* " == *" --config.data.processes="* ]] || fields+=(--config.data.processes=8)
[[ " $* " == *" --config.compute_dtype="* ]] || fields+=(--config.compute_dtype=bfloat16)
launch=$(printf ' %q' "$@" ${fields[@]+"${fields[@]}"})

# The image's own Python is too old, so that uv brings one.
on_all_workers "$here && { $running || {
  { [ -x .venv/bin/python ] || { python3 -m pip install --quiet --user uv && python3 -m uv venv --quiet --python 3.12 .venv; }; } &&
  python3 -m uv pip install --quiet --python .venv/bin/python --editable '.[tpu]'; }; }"
# In a session of its own, without the connection's terminal; `--pid` ends the log with the run.
on_all_workers "$here && { $running || {
  rm -f runs/tpu.pid runs/tpu.status
  JAXHANDS_DATA=$(printf %q "$JAXHANDS_DATA") setsid nohup bash -c \
    '.venv/bin/python launch.py \"\$@\" & echo \$! >runs/tpu.pid; wait \$!; echo \$? >runs/tpu.status' \
    launch$launch </dev/null >runs/tpu.log 2>&1 &
  while [ ! -s runs/tpu.pid ]; do sleep 0.1; done; }; }
tail -n +1 -f --pid=\"\$(cat runs/tpu.pid)\" runs/tpu.log
for second in 1 2 3 4 5; do [ -s runs/tpu.status ] || sleep 1; done
exit \"\$(cat runs/tpu.status)\""
