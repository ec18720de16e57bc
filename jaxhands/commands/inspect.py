"""Lists what a file of weights, or a run, holds: names, types, shapes and values of all arrays; checksums.

Any format is told from the file itself; nothing of it is run.

    python -m jaxhands inspect snapshot_20.pth.tar
    python -m jaxhands inspect runs/internet-demo
"""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from jaxhands.weights import files

_LONGEST = 60  # characters of a value that is no array


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
    print(f"{name}: {value}")
  print("\n".join(_table(chosen)))
  values = sum(array.size for array in chosen.values())
  inner = {name.removeprefix(prefix): array for name, array in chosen.items()}
  print(f"{len(chosen)} arrays with {values:,} values, checksum {files.checksum(inner)}")
  bad = [name for name, array in chosen.items() if not _finite(array)]
  if bad:
    print(f"not finite: {', '.join(bad[:5])}{f' and {len(bad) - 5} more' if len(bad) > 5 else ''}")
  return 0


def _file(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  stored = files.read(path)
  others = {"file": f"{path}, {path.stat().st_size:,} bytes, SHA-256 {files.file_checksum(path)}"}
  others |= {"format": stored.format}
  if isinstance(stored.tree, dict):
    plain = {str(key): value for key, value in stored.tree.items() if not any(True for _ in files.arrays(value))}
    others |= {key: _short(value) for key, value in plain.items()}
  return dict(files.arrays(stored.tree)), others


def _run(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
  from flax import traverse_util

  from jaxhands.train import checkpoint
  from jaxhands.train import state as states

  folder = checkpoint.checkpoint_folder(path)
  shapes = traverse_util.unflatten_dict(checkpoint.stored(path), sep="/")
  arrays = {name: np.asarray(leaf) for name, leaf in states.leaves(checkpoint.read_variables(path, shapes)).items()}
  others = {"checkpoint": str(folder)}
  if (path / "config.json").is_file():
    config = checkpoint.read_config(path)
    others |= {"config": f"{config.name}:{config.variant}", "system": config.system.name}
  return arrays, others


def _table(arrays: Mapping[str, np.ndarray]) -> Iterable[str]:
  width = max(map(len, arrays), default=0)
  for name, array in arrays.items():
    line = f"{name:<{width}}  {array.dtype.name:<8} {'x'.join(map(str, array.shape)) or '-':<16}"
    if array.size and array.dtype.kind != "b":
      numbers = array.astype(np.float64)
      line += f" {numbers.min():.4g} .. {numbers.max():.4g}, mean {numbers.mean():.4g}, std {numbers.std():.4g}"
    yield line.rstrip()


def _finite(array: np.ndarray) -> bool:
  return array.dtype.kind in "iub" or bool(np.isfinite(array.astype(np.float64)).all())


def _heads(arrays: Iterable[str]) -> set[str]:
  return {name.split("/")[0] for name in arrays if "/" in name}


def _short(value: Any) -> str:
  text = repr(value)
  return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
