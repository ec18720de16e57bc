"""HandFlow's tables 1 to 3 on embedded data: every row with several seeds, one run after the other.

    python -m benchmarks.handflow_tables                     # size small, seeds 0 1 2; the same command goes on
    python -m benchmarks.handflow_tables --summary           # only the tables of what is finished
    python -m benchmarks.handflow_tables --seeds 0 --rows HandFlowNet Gaussian

How runs are named, skipped and recorded: `benchmarks.row_runs`; those of InterNet and DIGIT are named `multihands-...`.
All rows learn from as many crops of the same pictures, augmented alike, and are compared with the same annotations. At
size `small` they start from a trunk of the package's weights, DIGIT from its own, which has seen a quarter of the
crops; whatever follows the trunk is fresh. InterNet and DIGIT, which say one pose, are the paper's deltas, and their
wrists stand where a hand of average size would. A row that is no better than the mean pose has learnt nothing, is
marked, and says nothing about the method.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import row_runs
from configs import digit, handflow, internet
from jaxhands.terminal import console as consoles

_SIZES = ("tiny", "small")
_DELTAS = {"internet": internet, "digit": digit}
# Row -> its config, and the words after its size.
ROWS = {
  "HandFlowNet": ("handflow", ""),
  "VAE": ("handflow", "vae"),
  "Gaussian": ("handflow", "gaussian"),
  "MC dropout": ("handflow", "mcdropout"),
  "InterNet": ("internet", ""),
  "DIGIT": ("digit", ""),
  "without MultiHands": ("handflow", "no_multihands"),
  "without determinant": ("handflow", "no_determinant"),
  "without likelihood": ("handflow", "no_nll"),
  "without mode": ("handflow", "no_mode"),
  "without joints": ("handflow", "no_joints"),
  "without projection": ("handflow", "no_projection"),
  "without orthonormality": ("handflow", "no_orthonormality"),
  "additive couplings": ("handflow", "additive"),
}
_DISTRIBUTIONS = ("HandFlowNet", "VAE", "Gaussian", "MC dropout", "InterNet", "DIGIT")
_MMD = ("mmd/global", "mmd/rrr", "mmd/rr")
_SAMPLES = ("mpjpe_best/rrr", "deviation/global", "deviation/rrr", "deviation_error/rrr", "coverage_90/rrr")
_CLOSEST = tuple(
  f"mpjpe_{which}/{where}" for which in ("closest", "farthest") for where in ("global", "rrr", "rr_occluded")
)
_DROPPED = ("HandFlowNet", *(name for name in ROWS if name not in _DISTRIBUTIONS))
_MAIN = "mpjpe/all"


def _table(title: str, rows: Sequence[str], metrics: Sequence[str]) -> row_runs.Table:
  return row_runs.Table(title, {row: ROWS[row] for row in rows}, tuple(metrics), _MAIN)


TABLES = (
  _table("HandFlow, table 1, mm", ("InterNet", "DIGIT", "HandFlowNet"), _CLOSEST),
  _table("HandFlow, table 2", _DISTRIBUTIONS, (*_MMD, *_SAMPLES)),
  _table("HandFlow, table 3", _DROPPED, (*_MMD, "deviation/global")),
)


def deltas(name: str, size: str) -> tuple[str, ...]:
  """Flags that give a system of one pose the data and annotations that `configs/handflow.py` has at a size.

  Where that starts from a trunk, it also has the network and the trunk of the package's weights of its name, and the
  length, batch, average and augmentation of `configs/handflow.py`; its learning rate stays its own.
  """
  config: Any = handflow.get_config(size)
  flags = [f"--config.data.{key}={tuple(config.data[key])!r}" for key in ("train", "eval")]
  flags += [f"--config.data.synthetic.{key}={config.data.synthetic[key]}" for key in ("train", "val", "test", "seed")]
  flags += [f"--config.data.multihands.{key}={value}" for key, value in config.data.multihands.items()]
  flags += ["--config.data.kind=interacting", "--config.eval.protocol.depth=place"]
  if config.init_from.get("backbone"):
    kept, own = _DELTAS[name].get_config("kept"), _DELTAS[name].get_config(size)
    # `elsewhere` is about crops without hands, of which HandFlow sees none.
    network = {key: value for key, value in kept.system.items() if key != "elsewhere"}
    flags += [f"--config.system.{key}={value}" for key, value in network.items() if value != own.system.get(key)]
    flags += [f"--config.data.augmentation.{key}={value}" for key, value in config.data.augmentation.items()]
    flags += [f"--config.{key}={config[key]}" for key in ("data.rough", "batch_size", "train_for", "ema", "clip_norm")]
    flags += [f"--config.schedule.warmup={config.schedule.warmup}", f"--config.init_from.backbone=kept/{name}"]
  return (*flags, f"--config.eval.annotations={config.system.compared}")


def jobs(rows: Sequence[str], seeds: Sequence[int], size: str, out: pathlib.Path) -> list[row_runs.Job]:
  """As `row_runs.jobs`; systems of one pose get the flags of `deltas`."""
  flags = {name: deltas(name, size) for name in _DELTAS}
  return row_runs.jobs({row: ROWS[row] for row in rows}, seeds, size, out, flags, dict.fromkeys(_DELTAS, "multihands-"))


def main() -> None:
  """Runs what is left, and prints the tables."""
  args, more = row_runs.arguments(tuple(ROWS), "handflow_tables", (__doc__ or "").splitlines()[0])
  if args.size not in _SIZES:
    sys.exit(f"--size {args.size}: not all rows have it; one of {', '.join(_SIZES)}")
  todo = jobs(args.rows, args.seeds, args.size, args.out.resolve())
  row_runs.do(todo, more, args)
  for table in TABLES:
    own = [job for job in todo if job.row in table.rows]
    consoles.make().print(row_runs.summary(table, own), soft_wrap=False)


if __name__ == "__main__":
  main()
