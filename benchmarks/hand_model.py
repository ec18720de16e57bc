"""Time of posing hands: `python -m benchmarks.hand_model [MANO FOLDER]`; milliseconds per call, median of 50."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxhands import schema
from jaxhands.hands.model import HandModel

BATCH = 64


def milliseconds(call: Callable[[], Any], repeats: int = 50) -> float:
  """Median time of a call after one that warms up (and compiles)."""
  jax.block_until_ready(call())
  times = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(call())
    times.append(time.perf_counter() - start)
  return 1e3 * statistics.median(times)


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("mano", nargs="?", help="folder with MANO's files (default: the embedded hand)")
  folder = parser.parse_args().mano
  try:
    model = HandModel.from_mano(folder) if folder else HandModel.default()
  except (OSError, ValueError) as error:
    parser.error(str(error))
  print(f"{model.identity}, {model.v_template.shape[1]} vertices, jax on {jax.default_backend()}")
  mano = np.random.default_rng(0).normal(size=(BATCH, 2, schema.MANO_DIM)).astype(np.float32) * 0.3
  tips = model.tips_only()
  print(f"NumPy, two hands            {milliseconds(lambda: model.forward_mano(mano[0])):8.3f}")
  print(f"NumPy, one hand             {milliseconds(lambda: model.forward_mano(mano[0, 0], schema.RIGHT)):8.3f}")
  print(f"NumPy, two hands, keypoints {milliseconds(lambda: tips.forward_mano(mano[0])):8.3f}")
  on_device, mano_device, tips_device = jax.device_put((model, mano, tips))
  forward = jax.jit(HandModel.forward_mano)
  print(f"jit, {BATCH} pairs               {milliseconds(lambda: forward(on_device, mano_device)):8.3f}")
  print(f"jit, {BATCH} pairs, keypoints    {milliseconds(lambda: forward(tips_device, mano_device).keypoints):8.3f}")
  gradient = jax.jit(jax.grad(lambda values, model: (model.forward_mano(values).vertices ** 2).sum()))
  print(f"jit, {BATCH} pairs, gradient     {milliseconds(lambda: gradient(mano_device, on_device)):8.3f}")


if __name__ == "__main__":
  main()
