"""How far one hand's pose tells of the other's: figure 4 of Intershape, on the pose bank.

`python -m benchmarks.paired_poses [--draws N] [--out FILE.png]`, with scikit-learn (`pip install 'jaxhands[bench]'`).

The paper projects the pose of each hand, without its global rotation, to one dimension by t-SNE, and plots the right
hand's against the left one's: of hands that were seen together, and after a permutation of the left ones. Here hands
are the bank's pairs: as they are stored, and as `synthetic` draws them (mixed, shaken, some with fingers of other
poses). The left hand's rotations are mirrored, so that both hands' poses are alike where hands are.

Two numbers beside the plot, for pairs and for permuted ones:

* distance correlation (Szekely, Rizzo and Bakirov 2007) of the two hands' 45 rotation vectors, 0 = independent, 1 = one
  follows from the other by a similarity. Of few samples it is over 0 for independent ones, too: see the permuted ones.
* mutual information (bits) of the two coordinates of the plot, in ten by ten cells of equally many hands each.
"""

from __future__ import annotations

import argparse
import pathlib
from typing import NamedTuple

import cv2
import numpy as np

from jaxhands.geometry import rotations
from jaxhands.hands import anatomy
from jaxhands.hands.pose_bank import PAIR, SPLITS, default_bank

_PERMUTATIONS, _CELLS = 200, 10
_PANEL_PX, _MARGIN_PX = 520, 56
_INK, _DOT = (60, 54, 48), (190, 110, 40)  # BGR


class Figures(NamedTuple):
  """Of pairs; of permuted pairs the mean and the largest."""

  paired: float
  unpaired: float
  unpaired_most: float


def stored() -> np.ndarray:
  """Finger rotations [N, 2, 45] of all stored pairs, the left hand's mirrored."""
  bank = default_bank()
  pairs = [entry for entry in range(len(bank.family)) if bank.is_pair(entry)]
  return anatomy.pose_from_angles(bank.rig.anatomy, np.stack([bank.placed(entry).angles_deg for entry in pairs]))


def drawn(count: int, seed: int) -> np.ndarray:
  """The same of draws, a third of each split's families."""
  bank, rng = default_bank(), np.random.default_rng(seed)
  poses = np.stack([bank.sample(rng, SPLITS[number % len(SPLITS)], PAIR).pose for number in range(count)])[:, :, 3:]
  poses[:, 1] = np.asarray(rotations.mirror_axis_angle(poses[:, 1].reshape(count, 15, 3))).reshape(count, 45)
  return poses


def _centred(points: np.ndarray) -> np.ndarray:
  squares = np.square(points).sum(-1)
  apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
  return apart - apart.mean(0) - apart.mean(1)[:, None] + apart.mean()


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
  return float(np.sqrt(max((a * b).mean(), 0) / np.sqrt((a * a).mean() * (b * b).mean())))


def mutual_information(x: np.ndarray, y: np.ndarray) -> float:
  """Bits, of N numbers each, in cells that hold equally many of either."""
  cells = [np.argsort(np.argsort(values)) * _CELLS // len(values) for values in (x, y)]
  together = np.zeros((_CELLS, _CELLS))
  np.add.at(together, tuple(cells), 1 / len(x))
  alone = together.sum(1)[:, None] * together.sum(0)
  there = together > 0
  return float((together[there] * np.log2(together[there] / alone[there])).sum())


def embedded(poses: np.ndarray) -> np.ndarray:
  """One coordinate [N, 2] of each hand's pose, by t-SNE, between 0 and 1."""
  from sklearn.manifold import TSNE  # pyright: ignore[reportMissingImports]

  lines = [
    TSNE(1, random_state=0, init="pca").fit_transform(poses[:, hand].astype(np.float32))[:, 0] for hand in (0, 1)
  ]
  line = np.stack(lines, axis=-1)
  return (line - line.min(0)) / np.ptp(line, axis=0)


def figures(poses: np.ndarray, line: np.ndarray, rng: np.random.Generator) -> tuple[Figures, Figures]:
  """Distance correlation and mutual information."""
  right, left = _centred(poses[:, 0]), _centred(poses[:, 1])
  correlations, informations = [], []
  for _ in range(_PERMUTATIONS):
    order = rng.permutation(len(poses))
    correlations.append(_correlation(right, left[order][:, order]))
    informations.append(mutual_information(line[:, 0], line[order, 1]))
  return (
    Figures(_correlation(right, left), float(np.mean(correlations)), max(correlations)),
    Figures(mutual_information(*line.T), float(np.mean(informations)), max(informations)),
  )


def page(line: np.ndarray, rng: np.random.Generator) -> np.ndarray:
  """Both panels side by side, BGR."""
  return np.concatenate(
    [_panel(line, "paired"), _panel(np.stack([line[:, 0], rng.permutation(line[:, 1])], -1), "unpaired")], 1
  )


def _panel(line: np.ndarray, title: str) -> np.ndarray:
  size, margin = _PANEL_PX, _MARGIN_PX
  picture = np.full((size + 2 * margin, size + 2 * margin, 3), 255, np.uint8)
  cv2.rectangle(picture, (margin, margin), (margin + size, margin + size), (200, 200, 200), 1)
  for x, y in line:
    place = (round(16 * (margin + 6 + x * (size - 12))), round(16 * (margin + size - 6 - y * (size - 12))))
    cv2.circle(picture, place, 16 * 5 // 2, _DOT, -1, cv2.LINE_AA, 4)
  for text, x, y in ((title, margin, margin - 16), ("right hand's pose (t-SNE)", margin, margin + size + 34)):
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.62, _INK, 1, cv2.LINE_AA)
  upright = np.full((margin - 22, size, 3), 255, np.uint8)
  cv2.putText(upright, "left hand's pose (t-SNE)", (0, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.62, _INK, 1, cv2.LINE_AA)
  upright = np.rot90(upright)
  picture[margin : margin + size, 8 : 8 + upright.shape[1]] = upright
  return picture


def main() -> None:
  parser = argparse.ArgumentParser(description="Figure 4 of Intershape on the pose bank.")
  parser.add_argument("--draws", type=int, default=1000, help="pairs as synthetic draws them (default: 1000)")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--out", type=pathlib.Path, help="plot of the stored pairs, a .png")
  args = parser.parse_args()
  for name, poses in (("stored", stored()), ("drawn", drawn(args.draws, args.seed))):
    line, rng = embedded(poses), np.random.default_rng(args.seed)
    for what, found in zip(
      ("distance correlation", "mutual information, bits"), figures(poses, line, rng), strict=True
    ):
      print(
        f"{name}, {len(poses)} pairs: {what} {found.paired:.3f}, permuted {found.unpaired:.3f}, "
        f"at most {found.unpaired_most:.3f} in {_PERMUTATIONS}"
      )
    if name == "stored" and args.out and not cv2.imwrite(str(args.out), page(line, rng)):
      raise OSError(f"{args.out} cannot be written")


if __name__ == "__main__":
  main()
