"""Makes a run of a file of weights that the authors of a method released, or of an ImageNet trunk.

The file may be torch's (any format that `torch.save` ever had), safetensors or npz. Nothing of it is run, and torch is
not needed. Every tensor is used exactly once, or an error names it. What is printed can be compared with an import
elsewhere: counts and checksums of what the file holds and of what was made of it.

    python -m jaxhands import --system internet snapshot_20.pth.tar --out runs/internet-released
    python launch.py --config=configs/internet.py:paper,released --workdir=runs/internet-released --mode=eval

A trunk fills a part of a system, and other runs start from it:

    python -m jaxhands import --system internet resnet50-19c8e357.pth --out runs/resnet50
    python launch.py --config=configs/internet.py:paper --config.init_from.backbone=runs/resnet50

Weights that estimate parameters of MANO need its files; without them they pose the embedded hands, wrongly, which a
warning says:

    python -m jaxhands import --system intershape snapshot.pth.tar --hand-model MANO_DIR --out runs/intershape-released

`init_from` reads the file itself, too.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

from jaxhands.runs import released


def add_arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("file", type=pathlib.Path, metavar="FILE", help="the weights")
  parser.add_argument("--system", required=True, metavar="NAME", help="what they are for: a module of jaxhands.systems")
  parser.add_argument("--out", required=True, type=pathlib.Path, metavar="DIR", help="new folder of the run")
  parser.add_argument("--config", default="", metavar="NAME:VARIANT", help="another config than the released one's")
  parser.add_argument("--hand-model", default="", metavar="DIR", help="MANO's files, whose parameters are estimated")
  parser.add_argument("--key", default="", help="where in the file the network is, e.g. network or ema/model")


def main(args: argparse.Namespace) -> int:
  """Imports, writes, prints the summary."""
  released.check_new(args.out)  # before a large file is read
  config = released.released_config(args.system, args.config, args.hand_model)
  variant = config.variant.replace("-", ",")  # as --config takes it
  print(f"system     {args.system}, config {config.name}:{variant}", file=sys.stderr)
  imported = released.import_file(args.file, config, args.key)
  released.write_run(imported, args.out)
  print("\n".join(imported.summary()))
  print(f"parts      {', '.join(imported.parts)}\nrun        {args.out}")
  return 0
