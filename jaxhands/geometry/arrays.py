"""One code for NumPy and JAX: functions here and above take either and give back the kind that they were given.

Worker processes that build or load data call them with NumPy arrays, which touches no JAX device; systems call the
same functions inside `jax.jit`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array | np.ndarray


def namespace(*arrays: Any) -> ModuleType:
  """`jax.numpy` when any of `arrays` is a JAX array or tracer, else `numpy`."""
  return jnp if any(isinstance(array, jax.Array) for array in arrays) else np


def einsum(spec: str, *arrays: Any) -> Any:
  """`einsum` in float32 proper: accelerators multiply in bfloat16 or TF32 unless told otherwise."""
  if namespace(*arrays) is np:
    return np.einsum(spec, *arrays)
  return jnp.einsum(spec, *arrays, precision=jax.lax.Precision.HIGHEST)


def matmul(a: Any, b: Any) -> Any:
  """`a @ b` in float32 proper (see `einsum`); leading axes broadcast."""
  if namespace(a, b) is np:
    return np.matmul(a, b)
  return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
