"""Finds hands in your own pictures and videos, in 3D.

Writes into DIR: index.html, a page to look at and to turn the hands in space (it works offline); overlays/, the
pictures and videos with the hands drawn in; predictions.json and predictions.npz (docs/predictions.md). A file that
cannot be used is named, left out and counted; the status is then 1.

    python -m jaxhands predict photo.jpg --run runs/internet-demo --out hands
    python -m jaxhands predict holiday/ clip.mp4 --run runs/internet-demo --out hands --finder runs/hasm-demo
    python -m jaxhands predict photo.jpg --run runs/internet-demo --out hands --box 120,80,400,300 --fx 1450

Where hands are: --finder segments the whole picture and looks again at what it found; --box says it; without either
the whole picture is looked at, which suits pictures that the hands fill.

Distances need the camera: --fx (--fy --cx --cy), or --intrinsics with a JSON file, {"fx": 1450, "fy": 1450, "cx": 960,
"cy": 540} in pixels of the picture, for all pictures or as {"photo.jpg": {...}, ...}; or the EXIF of a phone's picture.
Without, the scale is unknown, and said to be. --rootnet adds depths of the wrists by a run of RootNet; without it, a
hand of average size is assumed where the system itself has no scale.

In a video, hands stay right or left as they overlap; --smooth calms them (One-Euro filter).
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys

import rich.console
import rich.progress

from jaxhands import trained
from jaxhands.photo import intrinsics, pictures
from jaxhands.photo.session import Options, Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("inputs", nargs="+", type=pathlib.Path, metavar="PICTURE|FOLDER|VIDEO")
  parser.add_argument(
    "--run", required=True, type=pathlib.Path, metavar="RUN", help="folder of a run that predicts poses"
  )
  parser.add_argument("--out", required=True, type=pathlib.Path, metavar="DIR", help="folder for the results")
  where = parser.add_mutually_exclusive_group()
  where.add_argument("--finder", type=pathlib.Path, metavar="RUN", help="run that segments hands, to find them")
  where.add_argument("--box", type=_box, metavar="X,Y,W,H", help="where the hands are, in pixels, in every picture")
  parser.add_argument("--rootnet", type=pathlib.Path, metavar="RUN", help="run that estimates depths of wrists")
  for name, what in (
    ("fx", "focal length"),
    ("fy", "focal length in y (default: fx)"),
    ("cx", "principal point in x"),
    ("cy", "principal point in y"),
  ):
    parser.add_argument(f"--{name}", type=float, metavar="PX", help=f"{what}, pixels")
  parser.add_argument("--intrinsics", type=pathlib.Path, metavar="FILE", help="JSON with the cameras")
  parser.add_argument("--no-exif", action="store_true", help="do not believe the pictures about their lens")
  parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="pictures computed together (default: 8)")
  parser.add_argument("--which", choices=("latest", "best"), default="latest", help="checkpoint of the run")
  parser.add_argument("--smooth", action="store_true", help="calm the hands of videos")
  parser.add_argument("--every", type=int, default=1, metavar="N", help="only every Nth frame of videos (default: 1)")


def main(args: argparse.Namespace) -> int:
  """Reads, predicts, draws, writes; 1 if a file could not be used."""
  if args.batch_size < 1 or args.every < 1:
    raise ValueError("--batch-size and --every are at least 1")
  found = pictures.find(args.inputs)
  cameras = _cameras(args)
  if args.out.exists() and not args.out.is_dir():
    raise ValueError(f"--out {args.out} is a file, not a folder")
  args.out.mkdir(parents=True, exist_ok=True)
  from jaxhands.train import distributed

  distributed.use_compilation_cache()
  options = Options(args.box, cameras, args.smooth, args.every)
  model = trained.load(args.run, which=args.which, batch_size=args.batch_size)
  finder, rootnet = (
    trained.load(run, batch_size=args.batch_size) if run else None for run in (args.finder, args.rootnet)
  )
  session = Session(args.out, str(args.run), model, finder, rootnet, options)
  console = rich.console.Console(stderr=True, soft_wrap=True, highlight=False)
  columns = (
    rich.progress.TextColumn("{task.description}"), rich.progress.BarColumn(), rich.progress.MofNCompleteColumn(),
    rich.progress.TimeRemainingColumn(),
  )  # fmt: skip
  try:
    with rich.progress.Progress(*columns, console=console, transient=True) as bar:
      session.run(found, bar)
  finally:  # what was done before an interruption stays
    session.write()
  print(session.summary(), file=sys.stdout)
  return 1 if session.failed else 0


def _cameras(args: argparse.Namespace) -> intrinsics.Cameras:
  flags = intrinsics.from_flags(args.fx, args.fy, args.cx, args.cy)
  if flags is not None and args.intrinsics is not None:
    raise ValueError("--fx and --intrinsics exclude each other")
  if args.intrinsics is not None:
    cameras = intrinsics.from_json(args.intrinsics)
  else:
    cameras = intrinsics.Cameras(flags)
  return dataclasses.replace(cameras, use_exif=not args.no_exif)


def _box(text: str) -> tuple[float, float, float, float]:
  try:
    x, y, width, height = (float(part) for part in text.split(","))
  except ValueError as error:
    raise argparse.ArgumentTypeError(f"{text!r} is not X,Y,WIDTH,HEIGHT, as 120,80,400,300") from error
  if not (width > 0 and height > 0):
    raise argparse.ArgumentTypeError(f"{text!r} has no size: width and height are positive")
  return x, y, width, height
