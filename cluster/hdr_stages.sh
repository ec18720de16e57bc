#!/bin/bash
# HDR's stages as jobs of their own, each of which begins when those that it starts from are finished:
#
#   cluster/hdr_stages.sh --config=configs/hdr.py:synth --workdir=/shared/runs/hdr
#
# Prints the jobs' numbers. Those that start from no other one run side by side.
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

config='' variant=''
for argument in "$@"; do
  if [[ $argument =~ ^--config=((.*/)?hdr\.py(:(.*))?)$ ]]; then
    config=${BASH_REMATCH[1]} variant=${BASH_REMATCH[4]}
  fi
done
if [[ -z $config ]]; then
  echo "cluster/hdr_stages.sh: there is no --config=configs/hdr.py[:VARIANT] in '$*'" >&2
  exit 1
fi
# Only the demo, of no other words than these, takes HDRM from the package: `_parts` in configs/hdr_parts/pipeline.py.
estimator=shpe kept=1
IFS=', ' read -ra words <<<"$variant"
for word in "${words[@]}"; do
  case $word in
    internet_pose) estimator=internet ;;
    demo | pipeline) ;;
    *) kept='' ;;
  esac
done

hasm=$(submit hasm)
pose=$(submit "$estimator")
numbers="hasm $hasm, $estimator $pose" needed=("$hasm" "$pose")
if [[ -z $kept ]]; then
  hdrm=$(submit hdrm)
  hdrm_finetune=$(submit hdrm_finetune "$hasm" "$hdrm")
  numbers+=", hdrm $hdrm, hdrm_finetune $hdrm_finetune" needed+=("$hdrm_finetune")
elif [[ $estimator == shpe ]]; then # whose table has the package's weights beside the result
  start=$(submit at_the_start)
  numbers+=", at_the_start $start" needed+=("$start")
fi
pipeline=$(submit pipeline "${needed[@]}")
echo "$numbers, pipeline $pipeline"
