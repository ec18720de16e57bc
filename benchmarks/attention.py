"""Milliseconds of the 3x3 depthwise convolution of a transformer block: `python -m benchmarks.attention [--json FILE]`.

`models.attention.DepthwiseConv` beside the library's grouped convolution, on maps of MiT-B5 at 256 x 256 and of the
small networks; forward, and forward with gradients. Best of five rounds.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import time
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxhands.models.attention import DepthwiseConv

MAPS = ((24, 128), (12, 256), (64, 256), (32, 512), (16, 1280), (8, 2048))  # side, channels
_BATCH, _ROUNDS = 8, 5


def milliseconds(layer: nn.Module, x: jax.Array, backward: bool) -> float:
  """Of one call, in the best of several rounds after one that compiles."""
  variables = layer.init(jax.random.key(0), x)
  call: Any = jax.jit(layer.apply)
  if backward:

    def squares(variables: Any, x: jax.Array) -> jax.Array:
      out: Any = layer.apply(variables, x)
      return jnp.square(out).sum()

    call = jax.jit(jax.grad(squares, argnums=(0, 1)))
  best = float("inf")
  for _ in range(_ROUNDS + 1):
    start = time.perf_counter()
    jax.block_until_ready(call(variables, x))
    best = min(best, time.perf_counter() - start)
  return 1e3 * best


def main() -> None:
  parser = argparse.ArgumentParser(description="Milliseconds of the depthwise convolution.")
  parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
  args = parser.parse_args()
  rows = []
  for side, channels in MAPS:
    x = jax.random.normal(jax.random.key(0), (_BATCH, side, side, channels))
    layers = {"ours": DepthwiseConv(), "grouped": nn.Conv(channels, (3, 3), padding=1, feature_group_count=channels)}
    row: dict[str, float] = {"side": side, "channels": channels}
    row |= {f"{name}_ms": milliseconds(layer, x, False) for name, layer in layers.items()}
    row |= {f"{name}_backward_ms": milliseconds(layer, x, True) for name, layer in layers.items()}
    rows.append(row)
    print("  ".join(f"{key} {value:.4g}" for key, value in row.items()))
  if args.json:
    args.json.write_text(json.dumps({"device": jax.devices()[0].device_kind, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
  main()
