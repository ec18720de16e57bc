"""What a training step moves between devices: `python -m benchmarks.scale [--system S] [--size demo] [--hours]`.

The trainer's step is compiled for 1, 2, 4 and 8 simulated devices, with the state whole on each (fsdp=1) and divided
among all of them, at the config's batch for each device; what XLA then counts, and the collectives in its program, are
exact, whatever the machine. Operations of one device are counted before compiling (`counts.cost`), those of several in
the program for CPUs. `--hours` prints instead how long each `paper` run takes: operations of `lower()` times examples,
over what a machine reaches.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
from typing import Any, NamedTuple

DEVICES = (1, 2, 4, 8)
EXAMPLES = {"interhand26m": 1_361_062, "aih": 2_900_000}  # of the training split: InterHand2.6M H+M, AIH
# Devices, peak TFLOP/s of each in bfloat16 (vendors' data sheets, dense), and the share of it that is assumed.
MACHINES = {
  "1 GPU (H200)": (1, 989.0, 0.20), "8 GPUs (H200)": (8, 989.0, 0.20), "v5e-64": (64, 197.0, 0.30),
  "v5p-256": (128, 459.0, 0.30),  # v5p slices are named by cores, two a chip
}  # fmt: skip


class Step(NamedTuple):
  """The trainer's step, and the shapes of what it takes."""

  update: Any
  state: Any
  constants: Any
  batch: dict[str, Any]


def abstract_step(subject: Any, size: int, sharding: Any = None) -> Step:
  """Of a batch of `size`, whose arrays lie as `sharding` says."""
  import jax

  from jaxhands.train import loop, step

  system, config = subject.system, subject.config
  batch = {
    key: jax.ShapeDtypeStruct((size, *value.shape[1:]), value.dtype, sharding=sharding)
    for key, value in subject.batch(1, train=True).items()
  }
  prepared = loop.prepare(system, config, batch, EXAMPLES["interhand26m"])
  variables = dict(prepared.shapes)
  constants = variables.pop("constants", {})
  update = step.make_train_step(system, prepared.shares, prepared.transforms, config.seed, 1, config.ema)
  return Step(update, jax.eval_shape(lambda v: prepared.state(v, bool(config.ema)), variables), constants, batch)


def compiled_step(subject: Any, devices: int, fsdp: int) -> dict[str, Any]:
  """Of one device, by XLA: operations, bytes, collectives and state."""
  import jax
  import numpy as np

  from benchmarks import counts
  from jaxhands.train import distributed

  mesh = distributed.make_mesh(devices, fsdp)
  size = subject.config.batch_size * devices
  made = abstract_step(subject, size, distributed.sharded(mesh))
  places = distributed.layout(mesh, subject.config.sharding.rules if fsdp > 1 else (), made.state)
  placed = jax.tree.map(
    lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), made.state, places
  )
  jitted = jax.jit(made.update, donate_argnums=0, out_shardings=(places, distributed.replicated(mesh)))
  traced = jitted.trace(placed, made.constants, made.batch, np.int32(0))
  compiled = traced.lower().compile()
  cost: Any = compiled.cost_analysis()
  # One device's program for CPUs has loops for the gradients of kernels, so that `counts.cost` counts in its place. Of
  # several, a loop works on the examples, which they share.
  count = cost["flops"] + counts.repeats(traced).operations / devices if devices > 1 else counts.cost(traced).operations
  whole, part = distributed.held_bytes(made.state, places)
  moved = counts.collectives(compiled.as_text() or "")
  return {
    "subject": subject.name, "devices": devices, "fsdp": fsdp, "batch": size, "gflop": count / 1e9,
    "gbyte": cost["bytes accessed"] / 1e9, "state_mb": whole / 1e6, "held_mb": part / 1e6,
    "collectives": {kind: {"count": n, "mb": b / 1e6} for kind, (n, b) in moved.items()},
  }  # fmt: skip


def step_table(rows: list[dict[str, Any]]) -> str:
  """The rows in Markdown; figures are of one device and step."""
  lines = ["| step | devices | fsdp | GFLOP | GB | state held, MB | collectives: number, MB |", "|---" * 7 + "|"]
  for row in rows:
    moved = ", ".join(f"{kind} {found['count']}, {found['mb']:.2f}" for kind, found in row["collectives"].items())
    lines.append(
      f"| {row['subject']} | {row['devices']} | {row['fsdp']} | {row['gflop']:.3g} | {row['gbyte']:.3g} "
      f"| {row['held_mb']:.1f} of {row['state_mb']:.1f} | {moved or 'none'} |"
    )
  return "\n".join(lines)


def examples_of(config: Any) -> int:
  """Examples that a run sees."""
  number, unit = config.train_for.split()
  if unit.startswith("epoch"):
    return int(float(number) * EXAMPLES[config.data.train[0].split("/")[0].split(":")[0]])
  return int(number) * config.batch_size


def hours_table(subjects: list[Any]) -> str:
  """How long each run takes on each machine, by operations alone, and how many examples a second that asks for."""
  import jax
  import numpy as np

  from benchmarks import counts

  heads = [f"{name}: hours, examples/s" for name in MACHINES]
  lines = [f"| run | million examples | GFLOP each | {' | '.join(heads)} |", "|---" * (3 + len(heads)) + "|"]
  for subject in subjects:
    size = subject.config.batch_size
    made = abstract_step(subject, size)
    traced = jax.jit(made.update).trace(made.state, made.constants, made.batch, np.int32(0))
    each, count = counts.cost(traced).operations / size, examples_of(subject.config)
    cells = []
    for devices, peak, share in MACHINES.values():
      rate = devices * peak * 1e12 * share / each
      cells.append(f"{count / rate / 3600:.3g}, {rate:.3g}")
    lines.append(f"| {subject.name} | {count / 1e6:.3g} | {each / 1e9:.3g} | {' | '.join(cells)} |")
  return "\n".join(lines)


def main() -> None:
  parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
  parser.add_argument("--system", action="append", default=[], help='"internet", "hdr/hasm", ...; default: all')
  parser.add_argument("--size", default="demo", help="of the configs; a paper's network takes minutes to compile")
  parser.add_argument("--hours", action="store_true", help="the duration of the paper's runs instead")
  parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
  args = parser.parse_args()
  flags = os.environ.get("XLA_FLAGS", "")
  # What is counted does not depend on LLVM's care, which takes most of the time.
  os.environ["XLA_FLAGS"] = f"{flags} --xla_backend_optimization_level=0"
  import jax

  from benchmarks import subjects

  jax.config.update("jax_platforms", "cpu")
  jax.config.update("jax_num_cpu_devices", max(DEVICES))
  try:
    chosen = subjects.all_of("paper" if args.hours else args.size, args.system)
  except ValueError as error:
    parser.error(str(error))
  if args.hours:
    print(hours_table([one for one in chosen if one.system.objectives]))
    return
  rows = []
  for subject in chosen:
    if subject.system.objectives:
      layouts = [(devices, fsdp) for devices in DEVICES for fsdp in sorted({1, devices})]
      for devices, fsdp in layouts:
        rows.append(compiled_step(subject, devices, fsdp))
        print(step_table(rows[-1:]).splitlines()[-1], flush=True)
        if args.json:
          args.json.write_text(json.dumps(rows, indent=1) + "\n")
  print(step_table(rows))


if __name__ == "__main__":
  main()
