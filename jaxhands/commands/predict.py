"""Finds hands in your own pictures and videos, in 3D.

Writes into DIR: index.html, a page to look at and to turn the hands in space (it works offline); overlays/, the
pictures and videos with the hands drawn in; predictions.json and predictions.npz (docs/predictions.md). A file that
cannot be used, or not whole, is named and counted; the status is then 1. What else is in a folder is counted.

    python -m jaxhands predict photo.jpg --out hands
    python -m jaxhands predict holiday/ clip.mp4 --run runs/internet-demo --out hands --finder runs/hdr-demo-hasm
    python -m jaxhands predict photo.jpg --run runs/internet-demo --out hands --box 120,80,400,300 --fx 1450

Where hands are, at most a right and a left one: --finder names the run that finds them, by boxes or by masks; it looks
at the whole picture, and again at what it found. Without it, the finder that comes with jaxhands looks. --box says
where the hands are; --whole looks for none, but takes the picture as it is, which suits pictures that the hands fill.

Distances need the camera: --fx (--fy --cx --cy), or --intrinsics with a JSON file, {"fx": 1450, "fy": 1450, "cx": 960,
"cy": 540} (and "skew") in pixels of the picture, for all pictures or as {"photo.jpg": {...}, ...}; or the EXIF of a
phone's picture.
Without, the scale is unknown, and said to be. --rootnet adds depths of the wrists by a run of RootNet, to which hands
with meshes are moved as they are; without it, a hand of average size is assumed where the system has no scale.

Of a distribution (HandFlowNet and its baselines) the mode is drawn; predictions.json has the deviation of each joint,
and --samples N further poses.

--mesh fits a hand model to the joints of systems that predict no mesh of their own: the page shows it, and
predictions.json has its parameters. In a video each hand has one shape. The model is the run's, or with --hand-model
that of your own MANO files. `jaxhands fit DIR/predictions.json --noise 5 --one-shape` does the same later.

In a video, hands stay right or left as they overlap; --smooth calms them (One-Euro filter).

--format writes meshes of both hands, of systems that predict any (Intershape) or with --mesh, into DIR/meshes
(docs/meshes.md): glb and bvh with joints and, of a video, as an animation; obj and ply of each picture or frame.

    python -m jaxhands predict clip.mp4 --run runs/intershape-demo --out hands --format glb,bvh
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import pathlib
import sys
from collections.abc import Collection, Sequence

import rich.console
import rich.progress

from jaxhands import meshes
from jaxhands.hands.model import HandModel
from jaxhands.paths import expanded
from jaxhands.prediction import intrinsics, page, picture_files
from jaxhands.prediction.file_names import printable
from jaxhands.prediction.load import load
from jaxhands.prediction.look import Box, Look
from jaxhands.prediction.picture import MOST_PX
from jaxhands.prediction.session import OVERLAYS, Session
from jaxhands.terminal import arguments
from jaxhands.train import checkpoint, distributed
from jaxhands.weights import kept

_LARGEST_BATCH = 4096
_PACKAGED = pathlib.Path("internet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("inputs", nargs="+", type=_path, metavar="PICTURE|FOLDER|VIDEO")
  parser.add_argument(
    "--run", default=_PACKAGED, type=_path, metavar="RUN",
    help=f"a run that predicts poses, or the name of weights that come with jaxhands (default: {_PACKAGED})",
  )  # fmt: skip
  parser.add_argument("--out", required=True, type=_path, metavar="DIR", help="folder for the results")
  where = parser.add_mutually_exclusive_group()
  where.add_argument("--finder", type=_path, metavar="RUN", help="run that finds the hands, by boxes or by masks")
  where.add_argument("--whole", action="store_true", help="the hands fill the pictures, and need not be found")
  where.add_argument("--box", type=_box, metavar="X,Y,W,H", help="where the hands are, in pixels, in every picture")
  parser.add_argument("--rootnet", type=_path, metavar="RUN", help="run that estimates depths of wrists")
  for name, kind, what in (
    ("fx", _focal, "focal length"),
    ("fy", _focal, "focal length in y (default: fx)"),
    ("cx", _pixels, "principal point in x"),
    ("cy", _pixels, "principal point in y"),
  ):
    parser.add_argument(f"--{name}", type=kind, metavar="PX", help=f"{what}, pixels")
  parser.add_argument("--intrinsics", type=_path, metavar="FILE", help="JSON with the cameras")
  parser.add_argument("--no-exif", action="store_true", help="do not believe the pictures about their lens")
  parser.add_argument(
    "--mesh", action="store_true", help="fit meshes and parameters where the system predicts joints alone"
  )
  parser.add_argument(
    "--batch-size", type=_count, default=8, metavar="N", help="pictures computed at once (default: 8)"
  )
  parser.add_argument(
    "--hand-model", metavar="DIR", help="folder of MANO's files that --mesh fits (default: the run's)"
  )
  parser.add_argument(
    "--samples", type=_count, default=20, metavar="N", help="poses of a distribution in predictions.json (default: 20)"
  )
  parser.add_argument("--which", choices=("latest", "best"), help="checkpoint (default: what the run evaluates)")
  parser.add_argument(
    "--format", type=_formats, default=(), metavar="LIST",
    help=f"files of the meshes: some of {','.join(meshes.FORMATS)}, separated by commas",
  )  # fmt: skip
  parser.add_argument("--smooth", action="store_true", help="calm the hands of videos")
  parser.add_argument("--every", type=_count, default=1, metavar="N", help="only each Nth frame of videos (default: 1)")


def main(args: argparse.Namespace) -> int:
  """Reads, predicts, draws, writes; 1 if a file could not be used, or not whole."""
  if args.batch_size > _LARGEST_BATCH:
    raise ValueError(f"--batch-size {args.batch_size} is over {_LARGEST_BATCH}")
  found = picture_files.find(args.inputs)
  overlays = (args.out / OVERLAYS).resolve()
  for file in found:
    if overlays in (file.parent.resolve(), file.resolve().parent):
      raise ValueError(f"--out {args.out}: {file} lies where the overlays go, which would take its place; name another")
  cameras = _cameras(args, found)
  if args.run == _PACKAGED and not _PACKAGED.exists():
    print(
      "note: the weights that come with jaxhands have seen rendered hands only and are rough on photos (docs/kept.md); "
      "--run names those of a run",
      file=sys.stderr,
    )
  if not (args.finder or args.whole or args.box):
    args.finder = kept.finder()
  for flag in ("run", "finder", "rootnet"):
    _check_run(flag, getattr(args, flag))
  distributed.use_compilation_cache()
  model = load(args.run, which=args.which or "evaluated", batch_size=args.batch_size)
  finder, rootnet = (load(run, batch_size=args.batch_size) if run else None for run in (args.finder, args.rootnet))
  if args.format and not args.mesh and not {"mano", "vertices_cam"} <= model.predicts:
    raise ValueError(
      f"--format: system {model.config.system.name!r} predicts no meshes; add --mesh, which fits a hand to its joints"
    )
  fitted_model = _fitted_model(args, model.predicts)
  passed_over = picture_files.passed_over(args.inputs)
  look = Look(model, finder, rootnet, args.box, cameras, args.mesh, fitted_model)
  session = Session(args.out, str(args.run), look, args.smooth, args.every, passed_over, args.samples, args.format)
  console = rich.console.Console(stderr=True, soft_wrap=True, highlight=False)
  columns = (
    rich.progress.TextColumn("{task.description}", markup=False), rich.progress.BarColumn(),
    rich.progress.MofNCompleteColumn(), rich.progress.TimeRemainingColumn(),
  )  # fmt: skip
  if passed_over:
    print(f"passed over in the folders: {page.by_kind(passed_over)}", file=sys.stderr)
  try:
    with rich.progress.Progress(*columns, console=console, transient=True) as bar:
      session.run(found, bar)
  finally:  # what was done before an interruption stays
    session.write()
  encoding = sys.stdout.encoding or "utf-8"
  print(session.summary().encode(encoding, "backslashreplace").decode(encoding))
  return 1 if session.failed else 0


def _cameras(args: argparse.Namespace, files: Sequence[pathlib.Path]) -> intrinsics.Cameras:
  flags = intrinsics.from_flags(args.fx, args.fy, args.cx, args.cy)
  if flags is not None and args.intrinsics is not None:
    raise ValueError("--fx and --intrinsics exclude each other")
  if args.intrinsics is None:
    return intrinsics.Cameras(flags, use_exif=not args.no_exif)
  try:
    cameras = intrinsics.from_json(args.intrinsics)
  except OSError as error:
    raise ValueError(f"--intrinsics {args.intrinsics} cannot be read: {error.strerror}") from error
  unused = set(cameras.by_name) - {name for file in files for name in (file.name, file.stem)}
  if unused:
    names = printable(", ".join(sorted(unused)))
    print(f"note: --intrinsics names what is not among the pictures: {names}", file=sys.stderr)
  return dataclasses.replace(cameras, use_exif=not args.no_exif)


def _fitted_model(args: argparse.Namespace, predicts: Collection[str]) -> HandModel | None:
  if args.hand_model is None:
    return None
  if not args.mesh:
    raise ValueError("--hand-model says whose hands --mesh fits; add --mesh")
  if "mano" in predicts:
    raise ValueError("--hand-model: the run predicts parameters of the hand model that it was trained with")
  return HandModel.named(args.hand_model)


def _check_run(flag: str, folder: pathlib.Path | None) -> None:
  try:
    if folder is not None:
      checkpoint.read_config(kept.located(expanded(folder)))
  except (OSError, ValueError) as error:
    raise ValueError(f"--{flag}: {error}") from error


# ---- values of flags --------------------------------------------------------------


def _path(text: str) -> pathlib.Path:
  if not text:
    raise argparse.ArgumentTypeError("it is empty; name a file or folder")
  return arguments.path(text)


def _count(text: str) -> int:
  if not text.isdecimal() or int(text) < 1:
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
  return int(text)


def _formats(text: str) -> tuple[str, ...]:
  formats = tuple(dict.fromkeys(text.lower().split(",")))
  for form in formats:
    try:
      meshes.check_format(form)
    except ValueError as error:
      raise argparse.ArgumentTypeError(str(error)) from error
  return formats


def _pixels(text: str) -> float:
  try:
    found = float(text)
  except ValueError:
    found = math.nan
  if not abs(found) <= MOST_PX:
    raise argparse.ArgumentTypeError(f"{text!r} is no number of pixels")
  return found


def _focal(text: str) -> float:
  if (found := _pixels(text)) <= 0:
    raise argparse.ArgumentTypeError(f"{text!r} is no focal length: they are positive, in pixels")
  return found


def _box(text: str) -> Box:
  try:
    x, y, width, height = map(_pixels, text.split(","))
  except (ValueError, argparse.ArgumentTypeError) as error:
    raise argparse.ArgumentTypeError(f"{text!r} is not X,Y,WIDTH,HEIGHT, as 120,80,400,300") from error
  if width <= 0 or height <= 0:
    raise argparse.ArgumentTypeError(f"{text!r} has no size: width and height are positive")
  return x, y, width, height
