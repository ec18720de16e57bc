"""Builds pose_bank_v1.npz and the embedded models' pose prior: `python -m jaxhands.hands.assets.build_pose_bank`.

Every entry is a pure function of family, number and hand model. Finished families are kept in `--parts`, under a name
that depends on the model's mesh, so that a killed build goes on, and larger counts continue smaller ones; delete the
folder after a change of the code. About two hours on one core.
"""

from __future__ import annotations

import argparse
import collections
import functools
import hashlib
import json
import multiprocessing
import pathlib
import zlib

import numpy as np
from jaxtyping import Float

from jaxhands import schema
from jaxhands.geometry import rotations
from jaxhands.hands import anatomy, pose_bank
from jaxhands.hands.assets import build_embedded
from jaxhands.hands.assets.construct import Constructor
from jaxhands.hands.assets.pair_families import PAIR_FAMILIES
from jaxhands.hands.assets.single_families import SINGLE_FAMILIES
from jaxhands.hands.model import HandModel
from jaxhands.hands.pose_bank import PAIR, SINGLE
from jaxhands.hands.settle import Placed, joints_of

FAMILIES = {**SINGLE_FAMILIES, **PAIR_FAMILIES}
KINDS = {name: PAIR if name in PAIR_FAMILIES else SINGLE for name in FAMILIES}
COUNTS = {SINGLE: {"train": 45, "val": 30, "test": 30}, PAIR: {"train": 10, "val": 8, "test": 8}}  # a family
WITHIN_MM = 1.8  # less than what is promised: integers round
CONTACT_MM = 2.0  # hands that are to touch have at most this gap
STRAIN_DEG = 75.0  # contact moves no angle further from what the family says
ATTEMPTS = 6  # for each entry wanted
PART_KEYS = ("angles", "rotation", "wrist")
PRIOR_JITTERS = 40  # of each training pose, for the components
PRIOR_JITTER_DEG = 2.0
_AGREEMENT = 0.35  # length of the mean finger direction below which hands have no common one


@functools.cache
def constructor() -> Constructor:
  return Constructor(HandModel.default())


def build_entry(name: str, number: int) -> tuple[np.ndarray, ...] | str:
  """Angles [2, 21], rotation vectors [2, 3], left wrist from the right [3] of one draw; or why it did not work out."""
  rng = np.random.default_rng([zlib.crc32(name.encode()), number])
  pair = name in PAIR_FAMILIES
  if pair:
    placed, strain = constructor().pair(PAIR_FAMILIES[name], rng)
    placed = upright(placed)
  else:
    placed, strain = constructor().single(SINGLE_FAMILIES[name].shape(rng), SINGLE_FAMILIES[name].touches)
  measured = constructor().measure(placed, (True, pair))
  if measured["between_mm"] > WITHIN_MM or measured["within_mm"] > WITHIN_MM:
    return "penetration"
  if pair and PAIR_FAMILIES[name].gap_mm is None and measured["gap_mm"] > CONTACT_MM:
    return "apart"
  if strain > STRAIN_DEG:
    return "strain"
  if any(anatomy.complaints(placed.angles_deg[hand]) for hand in range(1 + pair)):
    return "anatomy"
  angles = np.stack([placed.angles_deg[:, joint, axis] for joint, axis in anatomy.FREE], axis=-1)
  vectors = np.asarray(rotations.axis_angle_from_matrix(placed.rotation))
  return angles, vectors, placed.wrist_mm[schema.LEFT] - placed.wrist_mm[schema.RIGHT]


def upright(placed: Placed) -> Placed:
  """Turns a pair by the least that lets the mean finger direction point up; hands that point apart stay."""
  joints = joints_of(constructor().rig, placed)
  directions = joints[:, 1 + anatomy.BASE["middle"]] - joints[:, 0]
  mean = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).mean(axis=0)
  length, up = np.linalg.norm(mean), np.array([0.0, -1.0, 0.0])
  axis = np.cross(mean, up)
  sine = np.linalg.norm(axis)
  if length < _AGREEMENT or sine < 1e-6:
    return placed
  turn = np.asarray(rotations.matrix_from_axis_angle(axis / sine * np.arctan2(sine, mean @ up)))
  return Placed(placed.angles_deg, turn @ placed.rotation, placed.wrist_mm @ turn.T)


def build_family(name: str, count: int, folder: pathlib.Path) -> str:
  """Fills a family's part up to `count` entries, and tells how its attempts went.

  Raises:
    RuntimeError: too few attempts worked out; the family asks for what hands cannot do.
  """
  path = folder / f"{name}.npz"
  found: list[tuple[np.ndarray, ...]] = []
  outcomes: collections.Counter[str] = collections.Counter()
  if path.exists():
    with np.load(path) as part:
      found = list(zip(*(part[key] for key in PART_KEYS), strict=True))
      outcomes.update(json.loads(str(part["outcomes"])))
  while len(found) < count:
    number = sum(outcomes.values())
    if number == ATTEMPTS * count:
      raise RuntimeError(f"family {name} needs {count} entries, {number} attempts gave {dict(outcomes)}")
    entry = build_entry(name, number)
    outcomes["kept" if isinstance(entry, tuple) else entry] += 1
    if isinstance(entry, tuple):
      found.append(entry)
  arrays = {key: np.stack(values) for key, values in zip(PART_KEYS, zip(*found, strict=True), strict=True)}
  unfinished = path.with_suffix(".unfinished.npz")
  np.savez(unfinished, allow_pickle=False, outcomes=np.array(json.dumps(outcomes)), **arrays)
  unfinished.rename(path)
  return f"{name}: {dict(outcomes)}"


def _build_family(task: tuple[str, int, pathlib.Path]) -> str:
  return build_family(*task)


def fingerprint(model: HandModel) -> str:
  """Of all of the mesh that entries depend on."""
  digest = hashlib.sha256()
  for array in (model.v_template, model.joints_template, model.weights, model.faces, model.nail):
    digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()[:10]


def collect(folder: pathlib.Path) -> dict[str, np.ndarray]:
  """The bank's arrays out of all parts, in whole steps."""
  stored: dict[str, list[np.ndarray]] = {"family": [], "angles": [], "rotation": [], "wrist": []}
  steps = {
    "angles": pose_bank.ANGLE_STEP_DEG,
    "rotation": pose_bank.TURN_STEP_RAD,
    "wrist": pose_bank.SHIFT_STEP_MM,
  }
  for number, name in enumerate(FAMILIES):
    with np.load(folder / f"{name}.npz") as part:
      count = COUNTS[KINDS[name]][FAMILIES[name].split]
      stored["family"].append(np.full(count, number, np.uint8))
      for key, step in steps.items():
        stored[key].append(np.rint(part[key][:count] / step).astype(np.int16))
  arrays = {key: np.concatenate(values) for key, values in stored.items()}
  arrays["angles"][:, schema.LEFT][~is_pair(arrays["family"])] = 0
  names = [list(FAMILIES), list(KINDS.values()), [family.split for family in FAMILIES.values()]]
  return arrays | {key: np.array(value) for key, value in zip(("families", "kinds", "splits"), names, strict=True)}


def is_pair(family: np.ndarray) -> np.ndarray:
  return np.array([kind == PAIR for kind in KINDS.values()])[family]


def prior(bank: pose_bank.PoseBank) -> tuple[Float[np.ndarray, " 45"], Float[np.ndarray, "45 45"]]:
  """Mean and principal components (rows) of the training poses of both hands, each angle shaken."""
  train = np.array([split == "train" for split in bank.splits])[bank.family]
  entries = np.flatnonzero(train)
  angles = np.stack([bank.placed(int(entry)).angles_deg for entry in entries])
  angles = np.concatenate([angles[:, schema.RIGHT], angles[is_pair(bank.family[entries]), schema.LEFT]])
  rng = np.random.default_rng(0)
  shaken = [_shaken(rng, angles) for _ in range(PRIOR_JITTERS)]
  poses = np.concatenate([anatomy.pose_from_angles(bank.rig.anatomy, each) for each in shaken])
  mean = poses.mean(axis=0)
  variances, vectors = np.linalg.eigh(np.cov(poses, rowvar=False))
  rows = vectors[:, np.argsort(-variances)].T
  # The sign of a component is arbitrary: let the largest entry be positive.
  return mean, rows * np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])[:, None]


def _shaken(rng: np.random.Generator, angles_deg: Float[np.ndarray, "n 15 3"]) -> Float[np.ndarray, "n 15 3"]:
  """Angles moved by normal steps, half as large where a joint hardly moves, within the limits."""
  spread = np.where(anatomy.IS_FREE, PRIOR_JITTER_DEG, 0.5 * PRIOR_JITTER_DEG)
  return np.clip(angles_deg + rng.normal(size=angles_deg.shape) * spread, *np.moveaxis(anatomy.LIMITS, -1, 0))


def main() -> None:
  parser = argparse.ArgumentParser(description="Builds the pose bank and the embedded models' pose prior.")
  parser.add_argument("--parts", type=pathlib.Path, default=pathlib.Path("pose_bank_parts"), help="finished families")
  parser.add_argument("--jobs", type=int, default=1, help="processes")
  arguments = parser.parse_args()
  folder = arguments.parts / fingerprint(HandModel.default())
  folder.mkdir(parents=True, exist_ok=True)
  tasks = [(name, COUNTS[KINDS[name]][family.split], folder) for name, family in FAMILIES.items()]
  with multiprocessing.get_context("spawn").Pool(arguments.jobs) as pool:
    for report in pool.imap_unordered(_build_family, tasks):
      print(report, flush=True)
  np.savez_compressed(pose_bank.PATH, allow_pickle=False, **collect(folder))
  bank = pose_bank.PoseBank.load()
  build_embedded.set_pose_prior(*prior(bank))
  print(f"{len(bank.family)} entries, {pose_bank.PATH.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
  main()
