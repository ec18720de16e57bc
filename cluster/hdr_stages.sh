#!/bin/bash
# HDR's stages as jobs of their own, each of which begins when those that it starts from are finished:
#
#   cluster/hdr_stages.sh --config=configs/hdr.py:synth --workdir=/shared/runs/hdr
#
# Prints the jobs' numbers. The first three run side by side.
set -eu -o pipefail
cd "$(dirname "$0")/.."
arguments=("$@")

submit() { # STAGE [JOB...]: prints the job's number
  local stage=$1 after
  shift
  after=$(printf ':%s' "$@")
  sbatch --parsable --job-name="hdr-$stage" ${1:+"--dependency=afterok$after"} --kill-on-invalid-dep=yes \
    cluster/slurm.sh "${arguments[@]}" "--stage=$stage" | cut -d ';' -f 1 # NUMBER[;CLUSTER]
}

hasm=$(submit hasm)
hdrm=$(submit hdrm)
[[ "$*" == *internet_pose* ]] && estimator=internet || estimator=shpe
pose=$(submit "$estimator")
hdrm_finetune=$(submit hdrm_finetune "$hasm" "$hdrm")
pipeline=$(submit pipeline "$hasm" "$hdrm_finetune" "$pose")
echo "hasm $hasm, hdrm $hdrm, $estimator $pose, hdrm_finetune $hdrm_finetune, pipeline $pipeline"
