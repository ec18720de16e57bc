#!/bin/bash
# A Cloud TPU slice of any size: the same command on all of its workers, which find each other (--distributed=auto).
#
#   TPU=my-slice ZONE=us-east5-a cluster/tpu_pod.sh --config=configs/internet.py:paper --workdir=/mnt/shared/runs/internet
#
# The workdir lies on a disk that all workers mount (Filestore, or a bucket by gcsfuse); data sets may be copied to each.
# Preempted or stopped, the same command goes on.
set -eu

: "${TPU:?name of the slice}" "${ZONE:?its zone}"
REPOSITORY="${REPOSITORY:-jaxhands}" # folder of the repository on the workers
JAXHANDS_DATA="${JAXHANDS_DATA:-/mnt/shared/data}"

on_all_workers() {
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"
}

on_all_workers "cd '$REPOSITORY' && python3 -m pip install --quiet --editable '.[tpu]'"
# Decoding keeps up with a TPU by worker processes; threads share one interpreter.
on_all_workers "cd '$REPOSITORY' && JAXHANDS_DATA='$JAXHANDS_DATA' python3 launch.py \
  --config.data.processes=8 --config.compute_dtype=bfloat16 $(printf '%q ' "$@")"
