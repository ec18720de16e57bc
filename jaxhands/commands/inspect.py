"""Lists what a file of weights, or a run, holds: names, types, shapes and values of all arrays; checksums.

Any format is told from the file itself; nothing of it is run.

    python -m jaxhands inspect snapshot_20.pth.tar
    python -m jaxhands inspect runs/internet-demo
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from jaxhands.hands.inert_pickle import one_line, short
from jaxhands.runs import folder as run_files
from jaxhands.weights import files


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("path", type=pathlib.Path, metavar="FILE|RUN", help="file of weights, or folder of a run")
  parser.add_argument("--key", default="", help="list only what is under this key, e.g. network")


def main(args: argparse.Namespace) -> int:
  """Prints the lists."""
  arrays, others = _run(args.path) if args.path.is_dir() else _file(args.path)
  prefix = f"{args.key}/" if args.key else ""
  chosen = {name: array for name, array in arrays.items() if name.startswith(prefix)}
  if not chosen and args.key:
    raise ValueError(f"{args.path} has no arrays under {args.key!r}; there are {sorted(_heads(arrays))}")
  for name, value in others.items():
    print(f"{one_line(name)}: {value}")
  inner = {name.removeprefix(prefix): array for name, array in chosen.items()}
  rows = [(one_line(name), array, _Numbers.of(array)) for name, array in chosen.items()]
  print("\n".join(_table(rows)))
  values = sum(array.size for array in chosen.values())
  print(f"{len(chosen)} arrays with {values:,} values, checksum {files.checksum(inner)}")
  bad = [name for name, _, numbers in rows if numbers and not numbers.finite]
  if bad:
    print(f"not finite: {', '.join(bad[:5])}{f' and {len(bad) - 5} more' if len(bad) > 5 else ''}")
  return 0


def _file(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  stored = files.read(path)
  others = {"file": f"{path}, {path.stat().st_size:,} bytes, SHA-256 {files.file_checksum(path)}"}
  others |= {"format": stored.format}
  if isinstance(stored.tree, dict):
    plain = {key: value for key, value in stored.tree.items() if not any(True for _ in files.arrays(value))}
    others |= {str(key): short(value) for key, value in plain.items()}
  return dict(files.arrays(stored.tree)), others


def _run(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  from flax import traverse_util

  from jaxhands.train import checkpoint
  from jaxhands.train import state as states
  from jaxhands.weights import kept

  shapes = traverse_util.unflatten_dict(checkpoint.stored(path), sep="/")
  arrays = {name: np.asarray(leaf) for name, leaf in states.leaves(checkpoint.read_variables(path, shapes)).items()}
  others = {"checkpoint": str(path / kept.FILE if checkpoint.is_kept(path) else checkpoint.checkpoint_folder(path))}
  if (path / run_files.CONFIG).is_file():
    config = checkpoint.read_config(path)
    config = config if "system" in config else list(config.stages.values())[-1]  # whose weights the run's are
    others |= {"config": f"{config.name}:{config.variant}", "system": config.system.name}
  return arrays, others


@dataclasses.dataclass(frozen=True)
class _Numbers:
  """What an array's values are like, whatever its size."""

  lowest: float
  highest: float
  mean: float
  deviation: float

  @property
  def finite(self) -> bool:
    return math.isfinite(self.lowest) and math.isfinite(self.highest)

  @classmethod
  def of(cls, array: np.ndarray) -> _Numbers | None:
    """None of what has no values, or no real numbers."""
    if not array.size or not (array.dtype.kind in "iuf" or array.dtype.name.startswith(("bfloat", "float8"))):
      return None
    lowest, highest, total, squares = math.inf, -math.inf, 0.0, 0.0
    with np.errstate(all="ignore"):
      for block in files.blocks(array):
        numbers = block.astype(np.float64)
        lowest, highest = np.minimum(lowest, numbers.min()), np.maximum(highest, numbers.max())
        total += numbers.sum()
      mean = total / array.size
      for block in files.blocks(array):
        squares += np.square(block.astype(np.float64) - mean).sum()
    return cls(float(lowest), float(highest), float(mean), float(np.sqrt(squares / array.size)))


def _table(rows: Sequence[tuple[str, np.ndarray, _Numbers | None]]) -> Iterable[str]:
  width = max((len(name) for name, _, _ in rows), default=0)
  for name, array, numbers in rows:
    line = f"{name:<{width}}  {array.dtype.name:<8} {'x'.join(map(str, array.shape)) or '-':<16}"
    if numbers:
      line += f" {numbers.lowest:.4g} .. {numbers.highest:.4g}, mean {numbers.mean:.4g}, std {numbers.deviation:.4g}"
    yield line.rstrip()


def _heads(arrays: Iterable[str]) -> set[str]:
  return {name.split("/")[0] for name in arrays if "/" in name}
