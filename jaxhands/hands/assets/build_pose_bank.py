"""Builds pose_bank_v1.npz from the families: `python -m jaxhands.hands.assets.build_pose_bank`.

Every entry is a pure function of family and number. Parts, one file a family, are kept in `--parts`, so that a killed
build goes on with what is missing; delete the folder after a change.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import pathlib
import zlib

import numpy as np

from jaxhands import schema
from jaxhands.geometry import rotations
from jaxhands.hands import anatomy, pose_bank
from jaxhands.hands.assets.construct import Constructor
from jaxhands.hands.assets.pair_families import PAIR_FAMILIES
from jaxhands.hands.assets.single_families import SINGLE_FAMILIES
from jaxhands.hands.model import HandModel
from jaxhands.hands.pose_bank import PAIR, SINGLE, jittered
from jaxhands.hands.settle import Placed, joints_of

WITHIN_MM = 1.8  # less than what is promised: integers round
CONTACT_MM = 2.0  # hands that are to touch have at most this gap
ATTEMPTS = 5  # for each entry wanted
COMPONENT_DRAWS = 40  # for each pose of the training split


@functools.cache
def _constructor() -> Constructor:
  return Constructor(HandModel.default())


def build_entry(name: str, number: int) -> tuple[np.ndarray, ...] | None:
  """Angles [2, 21], rotation vectors [2, 3], left wrist from the right [3] of one draw; None if it does not work out."""
  rng = np.random.default_rng([zlib.crc32(name.encode()), number])
  constructor = _constructor()
  pair = name in PAIR_FAMILIES
  if pair:
    wanted = PAIR_FAMILIES[name][1](rng)
    placed = upright(constructor, constructor.pair(wanted))
  else:
    placed = constructor.single(SINGLE_FAMILIES[name][1](rng))
  measured = constructor.measure(placed, (True, pair))
  apart = pair and wanted.gap_mm is None and measured["gap_mm"] > CONTACT_MM
  if measured["between_mm"] > WITHIN_MM or measured["within_mm"] > WITHIN_MM or apart:
    return None
  if any(anatomy.complaints(placed.angles_deg[hand]) for hand in range(1 + pair)):
    return None
  angles = np.stack([placed.angles_deg[:, joint, axis] for joint, axis in anatomy.FREE], axis=-1)
  vectors = rotations.axis_angle_from_matrix(placed.rotation)
  return angles, vectors, placed.wrist_mm[schema.LEFT] - placed.wrist_mm[schema.RIGHT]


def upright(constructor: Constructor, placed: Placed) -> Placed:
  """Turns the pair by the least that lets the mean finger direction point up; not where the hands point apart."""
  joints = joints_of(constructor.rig, placed)
  directions = joints[:, 1 + anatomy.BASE["middle"]] - joints[:, 0]
  mean = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).mean(axis=0)
  if np.linalg.norm(mean) < 0.35:
    return placed
  mean = mean / np.linalg.norm(mean)
  up = np.array([0.0, -1.0, 0.0])
  axis = np.cross(mean, up)
  sine = np.linalg.norm(axis)
  if sine < 1e-6:
    return placed
  turn = rotations.matrix_from_axis_angle(axis / sine * np.arctan2(sine, mean @ up))
  return Placed(placed.angles_deg, turn @ placed.rotation, placed.wrist_mm @ turn.T)


def build_family(name: str, count: int, parts: pathlib.Path) -> tuple[str, int, int]:
  """Writes a family's part unless it is there; returns name, entries and attempts."""
  path = parts / f"{name}.npz"
  if path.exists():
    with np.load(path) as part:
      return name, len(part["angles"]), int(part["attempts"])
  found, number = [], 0
  while len(found) < count and number < ATTEMPTS * count:
    entry = build_entry(name, number)
    number += 1
    if entry is not None:
      found.append(entry)
  if not found:
    return name, 0, number
  angles, vectors, wrists = (np.stack(arrays) for arrays in zip(*found, strict=True))
  np.savez(path.with_suffix(".part.npz"), angles=angles, rotation=vectors, wrist=wrists, attempts=number)
  path.with_suffix(".part.npz").rename(path)
  return name, len(found), number


def components(angles_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Mean [45] and principal components [45, 45] (rows) of poses about the training entries' angles [n, 15, 3]."""
  rng = np.random.default_rng(0)
  frames = _constructor().rig.anatomy
  draws = [anatomy.pose_from_angles(frames, jittered(rng, angles_deg, 2.0)) for _ in range(COMPONENT_DRAWS)]
  poses = np.concatenate(draws)
  mean = poses.mean(axis=0)
  values, vectors = np.linalg.eigh(np.cov(poses - mean, rowvar=False))
  rows = vectors[:, np.argsort(-values)].T
  # The sign of a component is free; the largest entry positive makes it the same everywhere.
  rows *= np.sign(np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1))
  return mean, rows


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--parts", type=pathlib.Path, default=pathlib.Path("pose_bank_parts"))
  parser.add_argument("--jobs", type=int, default=1)
  parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of entries")
  args = parser.parse_args()
  args.parts.mkdir(parents=True, exist_ok=True)
  wanted = {SINGLE: {"train": 100, "val": 70, "test": 70}, PAIR: {"train": 110, "val": 80, "test": 80}}
  families = {**SINGLE_FAMILIES, **PAIR_FAMILIES}
  kinds = {name: PAIR if name in PAIR_FAMILIES else SINGLE for name in families}
  tasks = [
    (name, max(3, round(args.scale * wanted[kinds[name]][split])), args.parts) for name, (split, _) in families.items()
  ]
  with multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
    for name, entries, attempts in pool.starmap(build_family, tasks, chunksize=1):
      print(f"{name}: {entries} of {attempts}")
  families = {name: family for name, family in families.items() if (args.parts / f"{name}.npz").exists()}
  kinds = {name: kinds[name] for name in families}

  stored: dict[str, list[np.ndarray]] = {"family": [], "angles": [], "rotation": [], "wrist": []}
  for number, name in enumerate(families):
    with np.load(args.parts / f"{name}.npz") as part:
      stored["family"].append(np.full(len(part["angles"]), number, np.uint8))
      stored["angles"].append(np.rint(part["angles"] / pose_bank.ANGLE_STEP_DEG).astype(np.int16))
      stored["rotation"].append(np.rint(part["rotation"] / pose_bank.TURN_STEP_RAD).astype(np.int16))
      stored["wrist"].append(np.rint(part["wrist"] / pose_bank.SHIFT_STEP_MM).astype(np.int16))
  arrays = {key: np.concatenate(value) for key, value in stored.items()}
  splits = [split for split, _ in families.values()]
  train = np.array([split == "train" for split in splits])[arrays["family"]]
  pair = np.array([kind == PAIR for kind in kinds.values()])[arrays["family"]]
  poses = np.concatenate([arrays["angles"][train, 0], arrays["angles"][train & pair, 1]]) * pose_bank.ANGLE_STEP_DEG
  angles = np.zeros((len(poses), anatomy.NUM_JOINTS, 3))
  for column, (joint, axis) in enumerate(anatomy.FREE):
    angles[:, joint, axis] = poses[:, column]
  mean, rows = components(angles)
  names = {"families": np.array(list(families)), "kinds": np.array(list(kinds.values())), "splits": np.array(splits)}
  out = pathlib.Path(__file__).parent / "pose_bank_v1.npz"
  np.savez_compressed(out, **names, **arrays, hands_mean=np.float32(mean), hands_components=np.float32(rows))
  print(f"{len(train)} entries, {out.stat().st_size / 1e6:.2f} MB in {out}")


if __name__ == "__main__":
  main()
