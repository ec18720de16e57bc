"""Keeps the weights of a run, averaged ones where it has averages, as float16: a small run to predict with.

Of a run of several stages, those of the last; the latest ones, or the best where these are what it evaluates; and what
makes probabilities of its confidences, if it was evaluated.

    python -m jaxhands keep runs/hdr-small --out weights/hdr-small
    python -m jaxhands predict photo.jpg --run weights/hdr-small --out hands

--shared SUBTREE=NAME leaves out what is, as a whole, other weights of the package, and is read from there.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil

import numpy as np
from flax import traverse_util

from jaxhands.runs import folder as run_files
from jaxhands.runs import lock
from jaxhands.train import checkpoint
from jaxhands.train import state as states
from jaxhands.weights import kept as files


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("run", type=pathlib.Path, metavar="RUN", help="folder of launch.py")
  parser.add_argument("--out", type=pathlib.Path, required=True, help="new folder")
  parser.add_argument(
    "--shared", type=_pair, nargs="+", default=[], metavar="SUBTREE=NAME", help="as heatmaps=internet"
  )


def _pair(text: str) -> tuple[str, str]:
  subtree, found, name = text.partition("=")
  if not (subtree and found and name):
    raise argparse.ArgumentTypeError(f"{text!r} is not SUBTREE=NAME")
  return subtree, name


def main(args: argparse.Namespace) -> int:
  """Writes the folder.

  Raises:
    FileExistsError: it holds something already.
    FileNotFoundError: the run holds no checkpoint, or there are no weights to share.
    ValueError: a weight that float16 cannot hold, or a subtree that is not the shared weights.
  """
  if args.out.exists() and not lock.is_empty(args.out):
    raise FileExistsError(f"{args.out} exists; name a new folder")
  source = args.run
  if not checkpoint.is_kept(source):
    source = checkpoint.checkpoint_folder(args.run).parents[1]  # of the last stage, if there are several
  config = checkpoint.read_config(source)
  shapes = traverse_util.unflatten_dict(checkpoint.stored(source), sep="/")
  arrays = states.leaves(checkpoint.read_variables(source, shapes))  # of which its calibration is
  kept = {path: _half(path, np.asarray(leaf)) for path, leaf in arrays.items()}
  files.write(args.out, kept, dict(args.shared))  # first: it is refused where --shared is wrong
  calibration = source / run_files.CALIBRATION
  if calibration.is_file():
    (args.out / run_files.EVALUATION).mkdir()
    shutil.copy(calibration, args.out / run_files.EVALUATION)
  config.init_from = {"all": ""}  # nothing is to be filled from elsewhere any more
  checkpoint.write_config(args.out, config)  # last: with it the folder is that of a run
  size = sum(file.stat().st_size for file in args.out.rglob("*") if file.is_file())
  print(f"{args.out}: {sum(leaf.size for leaf in kept.values()):,} values, {size / 1e6:.1f} MB")
  return 0


def _half(path: str, leaf: np.ndarray) -> np.ndarray:
  if leaf.dtype != np.float32:
    return leaf
  with np.errstate(over="ignore"):
    half = leaf.astype(np.float16)
  if not np.isfinite(half).all():
    raise ValueError(f"{path!r} has the value {leaf[~np.isfinite(half)].flat[0]:g}, which float16 cannot hold")
  return half
