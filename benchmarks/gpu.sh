#!/bin/sh
# Everything that is measured on one GPU, in at most 8 minutes: sh benchmarks/gpu.sh [--json FILE] [--dry]
# Needs Python 3.11 or later; installs what is missing. A second call goes on from FILE.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
case " $* " in
  *" --dry "*) ;;
  *)
    $python -c "import jax, sys; sys.exit(jax.default_backend() != 'gpu')" 2>/dev/null \
      || $python -m pip install --quiet -e '.[cuda]'
    $python -c "import torch, sys; sys.exit(not torch.cuda.is_available())" 2>/dev/null \
      || $python -m pip install --quiet -e '.[bench]'
    ;;
esac
# Both frameworks take turns on one card: neither may hold memory that it does not use.
export XLA_PYTHON_CLIENT_PREALLOCATE=false
exec "$python" -m benchmarks.gpu "$@"
