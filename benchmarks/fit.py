"""How well and how fast `hands.fit` finds hands again: `python -m benchmarks.fit [--pictures N] [--rows WORD ...]`.

Hands are pairs of the pose bank's val and test families, which the prior has not seen, before a camera. What is given
of them differs from row to row: exact joints, joints with noise, some joints only, pixels alone. Errors are distances
from the true hand in the camera's frame, mm, of all 21 joints and of the mesh. Shapes are drawn from the model's
distribution, up to 2 standard deviations, but in the row of the mean shape. Rows of one person have one such shape for
each hand, in clips of 16 pictures, and are fitted picture by picture and with one shape. Time is of 1,000 hands, after
compilation.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from jaxhands import schema
from jaxhands.geometry import camera, rotations
from jaxhands.hands import anatomy, fit, skeleton
from jaxhands.hands.model import HandModel, PosedHand
from jaxhands.hands.pose_bank import default_bank

_CAMERA = np.array([[1400, 0, 511.5], [0, 1400, 511.5], [0, 0, 1]], np.float32)
_DISTANCE_MM = (400.0, 900.0)
_FEWER = 128  # pictures of the rows that are not exact
_CLIP = 16  # pictures of one person
_SEEN = 10  # joints of 21 that are left where half of them are missing


def hands_of(model: HandModel, pictures: int, seed: int = 0) -> np.ndarray:
  """`mano` [N, 2, 61] of stored pairs of the bank's val and test families; both hands have one shape."""
  rng, bank = np.random.default_rng(seed), default_bank()
  held_out = np.flatnonzero(np.array([split != "train" for split in bank.splits])[bank.family])
  entries = rng.permutation([entry for entry in held_out if bank.is_pair(int(entry))])[:pictures]
  made = []
  for entry in entries:
    placed, shape = bank.placed(int(entry)), rng.standard_normal(10).clip(-2, 2)
    fingers = [anatomy.pose_from_angles(bank.rig.anatomy, placed.angles_deg[hand], hand) for hand in range(2)]
    turn = Rotation.random(rng=rng).as_matrix()
    orient = rotations.axis_angle_from_matrix(turn @ placed.rotation)
    place = [rng.uniform(-60, 60), rng.uniform(-60, 60), rng.uniform(*_DISTANCE_MM)]
    shift = placed.wrist_mm @ turn.T + place - np.asarray(model.rest_joints(np.tile(shape, (2, 1))))[:, 0]
    made.append(np.concatenate([orient, np.stack(fingers), np.tile(shape, (2, 1)), shift], axis=1))
  return np.stack(made).astype(np.float32)


class Row:
  """Errors of one way to give joints."""

  def __init__(self, model: HandModel, truth: PosedHand, found: fit.Fitted, valid: np.ndarray | None = None):
    made = model.forward_mano(found.mano)
    joints = np.linalg.norm(np.asarray(made.keypoints) - truth.keypoints, axis=-1)
    mesh = np.linalg.norm(np.asarray(made.vertices) - truth.vertices, axis=-1)
    shift = (np.asarray(made.keypoints) - truth.keypoints)[..., 20:, :]
    of_wrist = np.linalg.norm(np.asarray(made.keypoints) - truth.keypoints - shift, axis=-1)
    self.values: dict[str, float] = {
      "hands": joints[..., 0].size,
      "joints_mean": float(joints.mean()),
      "joints_p95": float(np.percentile(joints.mean(-1), 95)),
      "joints_worst_hand": float(joints.mean(-1).max()),
      "hands_below_1mm": float((joints.mean(-1) < 1).mean()),
      "from_wrist_mean": float(of_wrist.mean()),
      "mesh_mean": float(mesh.mean()),
      "mesh_p95": float(np.percentile(mesh.mean(-1), 95)),
      "residual_mm": float(found.residual_mm.mean()),
      "residual_px": float(found.residual_px.mean()),
      "converged": float(found.converged.mean()),
    }
    if valid is not None:
      self.values["missing_joints_mean"] = float(joints[~valid].mean())


def rows(model: HandModel, mano: np.ndarray, trace: Callable[[str, Row], None], words: Sequence[str] = ()) -> None:
  """All ways, one after the other; `mano` are the hands. With `words`, those whose name has one of them."""
  rng, mean = np.random.default_rng(1), mano.copy()
  mean[..., schema.MANO_SHAPE] = 0

  def row(name: str, truth: PosedHand, valid: np.ndarray | None = None, **given: Any) -> None:
    if not words or any(word in name for word in words):
      trace(name, Row(model, truth, fit.fit(model, **given), valid))

  for name, hands in (("exact, mean shape", mean), ("exact", mano)):
    posed = model.forward_mano(hands)
    row(name, posed, joints_cam=np.asarray(posed.keypoints))
  truth = model.forward_mano(mano[:_FEWER])
  joints = np.asarray(truth.keypoints)
  count, five = joints.shape[:-1], fit.How(joint_mm=5.0)
  noisy = (joints + rng.normal(0, 5, joints.shape)).astype(np.float32)
  row("noise of 5 mm", truth, joints_cam=noisy)
  row("noise of 5 mm, joint_mm=5", truth, joints_cam=noisy, how=five)
  some = np.argsort(np.argsort(rng.random(count), axis=-1), axis=-1) < _SEEN
  row(f"exact, {_SEEN} of 21", truth, some, joints_cam=joints, joints_cam_valid=some)
  row(f"noise of 5 mm, {_SEEN} of 21, joint_mm=5", truth, some, joints_cam=noisy, joints_cam_valid=some, how=five)
  no_tips = np.ones(count, bool)
  no_tips[..., list(skeleton.TIPS)] = False
  row("exact, no tips", truth, no_tips, joints_cam=joints, joints_cam_valid=no_tips)
  wrong, (picture, hand) = joints.copy(), np.indices(count[:2])
  directions = rng.normal(size=(*count[:2], 3))
  shift = 80 * directions / np.linalg.norm(directions, axis=-1, keepdims=True)
  wrong[picture, hand, rng.integers(0, 21, count[:2])] += shift.astype(np.float32)
  row("exact, one joint 80 mm away", truth, joints_cam=wrong)
  row("noise of 10 mm, joint_mm=5", truth, joints_cam=(2 * noisy - joints), how=five)
  cameras = np.tile(_CAMERA, (len(joints), 1, 1))
  pixels = np.asarray(camera.project(joints, _CAMERA))
  row("pixels alone", truth, joints_img=pixels, camera_img=cameras)
  mean_pixels = np.asarray(camera.project(np.asarray(model.forward_mano(mean[:_FEWER]).keypoints), _CAMERA))
  row("pixels alone, mean shape", model.forward_mano(mean[:_FEWER]), joints_img=mean_pixels, camera_img=cameras)

  clips = len(joints) // _CLIP
  person = mano[: clips * _CLIP].reshape(clips, _CLIP, *mano.shape[1:]).copy()
  person[..., schema.MANO_SHAPE] = person[:, :1, :, schema.MANO_SHAPE]
  noise = rng.normal(0, 5, (*person.shape[:-1], schema.NUM_JOINTS, 3))
  for together in (False, True):
    name = f"noise of 5 mm, joint_mm=5, one person, {'one shape' if together else 'each on its own'}"
    if clips and (not words or any(word in name for word in words)):
      posed = [model.forward_mano(clip) for clip in person]
      found = [
        fit.fit(model, (np.asarray(each.keypoints) + own).astype(np.float32), how=five, one_shape=together)
        for each, own in zip(posed, noise, strict=True)
      ]
      trace(name, Row(model, PosedHand(*map(np.concatenate, zip(*posed, strict=True))), _joined(found)))


def _joined(some: Sequence[fit.Fitted]) -> fit.Fitted:
  """Fits of several clips as those of one."""
  values = {field.name: [getattr(one, field.name) for one in some] for field in dataclasses.fields(fit.Fitted)}
  return fit.Fitted(values.pop("hand_model")[0], *(np.concatenate(each) for each in values.values()))


def seconds(model: HandModel, mano: np.ndarray) -> tuple[float, float]:
  """Of fitting 1,000 hands, the better of two calls: by the clock, and of all cores together."""
  joints = np.asarray(model.forward_mano(np.resize(mano, (500, *mano.shape[1:]))).keypoints)
  taken = []
  for _ in range(2):
    start, cores = time.perf_counter(), time.process_time()
    fit.fit(model, joints)
    taken.append((time.perf_counter() - start, time.process_time() - cores))
  return min(taken)


def main() -> None:
  parser = argparse.ArgumentParser(description="Errors and time of hands.fit.")
  parser.add_argument("--pictures", type=int, default=250, help="of two hands each (default: 250)")
  parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
  parser.add_argument("--rows", nargs="+", default=(), metavar="WORD", help="only rows whose name has one of these")
  args = parser.parse_args()
  model = HandModel.default()
  mano = hands_of(model, args.pictures)
  table: dict[str, dict[str, float]] = {}

  def trace(name: str, row: Row) -> None:
    table[name] = row.values
    print(f"{name}: " + "  ".join(f"{key} {value:.4g}" for key, value in row.values.items()), flush=True)

  fit.fit(model, np.asarray(model.forward_mano(mano[:_FEWER]).keypoints))  # compiles
  taken, on_cores = seconds(model, mano)
  cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
  print(f"1,000 hands in {taken:.2f} s, {on_cores:.2f} s of {cores} cores, {jax.devices()[0].device_kind}")
  rows(model, mano, trace, args.rows)
  if args.json:
    times = {"seconds_per_1000": taken, "core_seconds_per_1000": on_cores, "cores": cores}
    args.json.write_text(json.dumps(times | {"rows": table}, indent=2) + "\n")


if __name__ == "__main__":
  main()
