"""How long each step of a prediction takes, for systems that predict in steps (`systems.base.TimedSystem`)."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np

from jaxhands import schema
from jaxhands.systems import base

_REPEATS = 5


def prediction_steps(
  system: base.TimedSystem, variables: base.Variables, batch: schema.Batch, repeats: int = _REPEATS
) -> dict[str, Any]:
  """Times each step on its own, compiled, with what the steps before it made.

  Args:
    system: with `prediction_steps`.
    variables: of it, on the devices.
    batch: as `device_ops(train=False)` left it.
    repeats: runs of each step, after one that compiles it.
  Returns:
    "device", "pictures" (of the batch), and "ms": name of a step -> median milliseconds a picture.
  """
  values, ms_of_step = dict(batch), {}
  size = len(next(iter(batch.values())))
  for name, step in system.prediction_steps:
    compiled = jax.jit(step)
    outputs = jax.block_until_ready(compiled(variables, values))
    seconds = []
    for _ in range(repeats):
      begun = time.perf_counter()
      jax.block_until_ready(compiled(variables, values))
      seconds.append(time.perf_counter() - begun)
    ms_of_step[name] = 1000 * float(np.median(seconds)) / size
    values |= outputs
  return {"device": f"{jax.device_count()} x {jax.devices()[0].device_kind}", "pictures": size, "ms": ms_of_step}
