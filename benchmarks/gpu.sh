#!/bin/sh
# Everything that is measured on one GPU, in about 8 minutes: sh benchmarks/gpu.sh [--json FILE] [--dry]
# Needs Python 3.11 or later; installs what is missing, where there is a network. A second call goes on from FILE.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
# Both frameworks take turns on one card: neither may hold memory that it does not use, each may have nearly all of it.
export XLA_PYTHON_CLIENT_PREALLOCATE=false XLA_CLIENT_MEM_FRACTION=.95
unset XLA_PYTHON_CLIENT_MEM_FRACTION  # the older name, which JAX refuses beside the other
# What one call has compiled the next one need not.
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-${TMPDIR:-/tmp}/jaxhands-gpu-$(id -u)}"

needs='
import importlib.util, sys
try:
  import jax, torch
  import benchmarks.ours, benchmarks.subjects, benchmarks.theirs
  benchmarks.subjects.records_folder()
except (ImportError, AttributeError) as error:  # the second of a package that imports late
  # Python stops at the first; here are all, so that one try says what to bring.
  usual = """jax torch numpy scipy numba cv2 PIL absl rich jaxtyping safetensors flax optax orbax ml_collections grain
    array_record portpicker tensorboardX tensorflow_datasets tensorflow_metadata immutabledict promise toml tree"""
  absent = [name for name in usual.split() if importlib.util.find_spec(name) is None]
  sys.exit(f"{error}; missing are: " + ", ".join(absent or ["others"]))
if "--dry" not in sys.argv:
  if jax.default_backend() != "gpu":
    sys.exit(f"JAX {jax.__version__} sees no GPU")
  if not torch.cuda.is_available():
    sys.exit(f"PyTorch {torch.__version__} sees no GPU")
'
ready() {  # or one line about what is missing
  said=$("$python" -c "$needs" "$@" 2>&1) || { printf '%s\n' "$said" | tail -n 1; return 1; }
}
if ! missing=$(ready "$@"); then
  case " $* " in
    *" --dry "*) ;;
    *) PIP_RETRIES=0 PIP_DEFAULT_TIMEOUT=10 "$python" -m pip install --quiet -e '.[cuda,bench]' || true ;;
  esac
  missing=$(ready "$@") || { echo "gpu.sh: $missing" >&2; exit 1; }
fi
exec "$python" -m benchmarks.gpu "$@"
