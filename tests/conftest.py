"""Set-up of every test: four simulated devices, the compilation cache, where references and samples lie."""

import importlib.metadata
import os
import pathlib
import signal
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Most of a test's time is the compiler's; what it compiles runs a few times on little data.
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_backend_optimization_level=0"
if tuple(int(part) for part in importlib.metadata.version("jax").split(".")[:2]) >= (0, 12):
  # 2026-11-21: XLA:CPU's YNN fusion of jax 0.12 returns NaN from some bfloat16 convolutions.
  os.environ["XLA_FLAGS"] += " --xla_cpu_experimental_ynn_fusion_type="
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(tempfile.gettempdir()) / "jaxhands-jax-cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import hypothesis
import jax
import pytest

jax.config.update("jax_num_cpu_devices", 4)
# Compiling takes longer than a deadline allows; speed is measured in benchmarks/.
hypothesis.settings.register_profile("jaxhands", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.load_profile("jaxhands")


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c():
  """Whoever starts the tests in the background of a script has them, and what they start, ignore it."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def goldens() -> pathlib.Path:
  """Folder of the parity cases: `$JAXHANDS_GOLDENS`, or the committed ones."""
  return pathlib.Path(os.environ.get("JAXHANDS_GOLDENS", ROOT / "tests" / "goldens"))


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
  """Folder with non-permissive samples: `$JAXHANDS_SHARED`, or ../shared; skips where it is absent."""
  folder = pathlib.Path(os.environ.get("JAXHANDS_SHARED", ROOT.parent / "shared"))
  if not folder.is_dir():
    pytest.skip(f"samples that may not be redistributed are not at {folder}; set JAXHANDS_SHARED")
  return folder
