"""What the weights that come with the package see of held-out rendered hands, as one picture.

    python -m benchmarks.kept_pictures --out docs/kept.jpg

A column for each picture of `synthetic/demo:test` as size `kept` has it: its first three of one hand and its first five
of two. A row for the truth, and one for each network that predicts poses; it is told the box of all hands, and draws
those that it believes to be there. Nothing is chosen by what comes out.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
from typing import Any

import cv2
import numpy as np

from benchmarks import photo_sets, photos
from configs import base
from data_builders.synthetic import SyntheticConfig
from data_builders.synthetic.records import make_record
from jaxhands.data import host_ops
from jaxhands.drawing import overlay
from jaxhands.geometry import crop
from jaxhands.prediction.load import load
from jaxhands.weights import kept

_ONE, _TWO = 3, 5
_TILE_PX = 176
_ROOM = 1.5  # sides of what is shown, in those of the box of all hands
_NAME_PX = 18


def records() -> list[dict[str, Any]]:
  """The first records of one hand, then the first of two."""
  config: Any = base.get_config()
  base.kept_data(config)
  settings = SyntheticConfig(**{**config.data.synthetic, "variant": "demo", "pictures": "input"})
  wanted, found = {False: _ONE, True: _TWO}, {False: [], True: []}
  numbers = itertools.count()
  while any(len(found[two]) < wanted[two] for two in wanted):
    record = make_record(settings, "test", next(numbers))
    found[bool(record["hand_present"].all())].append(record)
  return [record for two, count in wanted.items() for record in found[two][:count]]


def tile(record: dict[str, Any], joints_img: np.ndarray, present: np.ndarray) -> np.ndarray:
  """The picture around its hands with joints [2, 21, 2] (px) of the hands that are there, RGB."""
  size = (_TILE_PX, _TILE_PX)
  affine = np.asarray(crop.crop_affine(crop.process_box(record["box_img"], size, _ROOM), size))
  valid = np.repeat(present[:, None], joints_img.shape[1], axis=1)
  points = np.asarray(crop.apply_affine(affine, joints_img.astype(np.float32)))
  return overlay.paint(
    host_ops.warp(photo_sets.decoded(record["picture"]), affine, size), overlay.skeleton(points, valid, 2.0)
  )


def row(name: str, tiles: list[np.ndarray]) -> np.ndarray:
  """Tiles side by side under their name."""
  strip = np.full((_NAME_PX, _TILE_PX * len(tiles), 3), 255, np.uint8)
  cv2.putText(strip, name, (3, _NAME_PX - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
  return np.concatenate([strip, np.concatenate(tiles, axis=1)])


def predicted(folder: pathlib.Path, shown: list[dict[str, Any]]) -> list[np.ndarray]:
  """Tiles with what weights of the package see."""
  found = load(folder).predict(
    [photo_sets.decoded(record["picture"]) for record in shown],
    np.stack([record["box_img"] for record in shown]),
    [record["camera_img"] for record in shown],
  )
  return [tile(record, found.joints_img[i], found.present[i]) for i, record in enumerate(shown)]


def main() -> None:
  parser = argparse.ArgumentParser(description="Held-out rendered hands with what the package's weights see.")
  parser.add_argument("--out", type=pathlib.Path, required=True, help="a .jpg")
  args = parser.parse_args()
  shown = records()
  truth = [tile(record, record["joints_img"], record["joints_img_valid"].any(-1)) for record in shown]
  rows = [
    row("truth", truth),
    *(row(path.name, predicted(path, shown)) for path in photos.kept() if path.name in kept.names()),
  ]
  if not cv2.imwrite(str(args.out), np.concatenate(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88]):
    raise OSError(f"{args.out} cannot be written")


if __name__ == "__main__":
  main()
