"""How well and how fast `hands.fit` finds hands again: `python -m benchmarks.fit [--pictures N] [--json FILE]`.

Hands are draws of the pose bank's test families, which the prior has not seen, in front of a camera. What is given of
them differs from row to row: exact joints, joints with noise, some joints only, pixels alone. Errors are distances from
the true hand in the camera's frame, mm, of all 21 joints and of the mesh. Shapes are drawn from the model's
distribution, up to 2 standard deviations, but in rows of the mean shape. Time is of 1,000 hands, after compilation.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxhands import schema
from jaxhands.geometry import camera
from jaxhands.hands import fit
from jaxhands.hands.model import HandModel
from jaxhands.hands.pose_bank import PAIR, default_bank

_CAMERA = np.array([[1400, 0, 511.5], [0, 1400, 511.5], [0, 0, 1]], np.float32)
_DISTANCE_MM = (400.0, 900.0)
_TIPS = [0, 4, 8, 12, 16]
_FEWER = 128  # pictures of the rows that are not exact
_SEEN = 10  # joints of 21 that are left where half of them are missing


def drawn(model: HandModel, pictures: int, seed: int = 0) -> np.ndarray:
  """`mano` [N, 2, 61] of pairs of the bank's test families before a camera; both hands have one shape."""
  rng, bank = np.random.default_rng(seed), default_bank()
  made = []
  for _ in range(pictures):
    shape = rng.standard_normal(10).clip(-2, 2)
    draw = bank.sample(rng, "test", PAIR, shape=shape)
    wrist = draw.wrist_mm + [rng.uniform(-60, 60), rng.uniform(-60, 60), rng.uniform(*_DISTANCE_MM)]
    rest = np.asarray(model.rest_joints(np.tile(shape, (2, 1))))[:, 0]
    made.append(np.concatenate([draw.pose, np.tile(shape, (2, 1)), wrist - rest], axis=1))
  return np.stack(made).astype(np.float32)


class Row:
  """Errors of one way to give joints."""

  def __init__(self, model: HandModel, mano: np.ndarray, found: fit.Fitted, valid: np.ndarray | None = None):
    truth, made = model.forward_mano(mano), model.forward_mano(found.mano)
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


def rows(model: HandModel, mano: np.ndarray, shaped: np.ndarray, trace: Callable[[str, Row], None]) -> None:
  """All ways, one after the other."""
  rng = np.random.default_rng(1)
  posed = {name: np.asarray(model.forward_mano(hands).keypoints) for name, hands in (("mean", mano), ("any", shaped))}

  def row(name: str, truth: np.ndarray, valid: np.ndarray | None = None, **given: Any) -> None:
    trace(name, Row(model, truth, fit.fit(model, **given), valid))

  joints = posed["any"]
  row("exact, mean shape", mano, joints_cam=posed["mean"])
  row("exact", shaped, joints_cam=joints)
  shaped, joints = shaped[:_FEWER], joints[:_FEWER]
  count = joints.shape[:-1]
  for noise in (5.0, 10.0):
    noisy = (joints + rng.normal(0, noise, joints.shape)).astype(np.float32)
    row(f"noise of {noise:g} mm", shaped, joints_cam=noisy)
    row(f"noise of {noise:g} mm, joint_mm={noise:g}", shaped, joints_cam=noisy, how=fit.How(joint_mm=noise))
  valid = np.ones(count, bool)
  valid[..., _TIPS] = False
  row("exact, no tips", shaped, valid, joints_cam=joints, joints_cam_valid=valid)
  valid = np.argsort(np.argsort(rng.random(count), axis=-1), axis=-1) < _SEEN
  row(f"exact, {_SEEN} of 21", shaped, valid, joints_cam=joints, joints_cam_valid=valid)
  noisy = (joints + rng.normal(0, 5.0, joints.shape)).astype(np.float32)
  row(
    f"noise of 5 mm, {_SEEN} of 21, joint_mm=5", shaped, valid,
    joints_cam=noisy, joints_cam_valid=valid, how=fit.How(joint_mm=5.0),
  )  # fmt: skip
  wrong = joints.copy()
  hand, joint = np.indices(count[:2]), rng.integers(0, 21, count[:2])
  directions = rng.normal(size=(*count[:2], 3))
  wrong[hand[0], hand[1], joint] += 80 * directions / np.linalg.norm(directions, axis=-1, keepdims=True)
  row("exact, one joint 80 mm away", shaped, joints_cam=wrong)
  cameras = np.tile(_CAMERA, (len(shaped), 1, 1))
  seen = np.asarray(camera.project(joints, cameras[:, None]))
  row("pixels alone", shaped, joints_img=seen, camera_img=cameras)


def seconds(model: HandModel, mano: np.ndarray) -> tuple[float, float]:
  """Of fitting 1,000 hands, the best of three calls: by the clock, and of all cores together."""
  joints = np.asarray(model.forward_mano(np.resize(mano, (500, *mano.shape[1:]))).keypoints)
  fit.fit(model, joints)
  taken = []
  for _ in range(3):
    start, cores = time.perf_counter(), time.process_time()
    fit.fit(model, joints)
    taken.append((time.perf_counter() - start, time.process_time() - cores))
  return min(taken)


def main() -> None:
  parser = argparse.ArgumentParser(description="Errors and time of hands.fit.")
  parser.add_argument("--pictures", type=int, default=250, help="of two hands each (default: 250)")
  parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
  args = parser.parse_args()
  model = HandModel.default()
  shaped = drawn(model, args.pictures)
  mano = shaped.copy()
  mano[..., schema.MANO_SHAPE] = 0
  table: dict[str, dict[str, float]] = {}

  def trace(name: str, row: Row) -> None:
    table[name] = row.values
    print(f"{name}: " + "  ".join(f"{key} {value:.4g}" for key, value in row.values.items()), flush=True)

  rows(model, mano, shaped, trace)
  taken, on_cores = seconds(model, mano)
  cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
  print(f"1,000 hands in {taken:.2f} s, {on_cores:.2f} s of {cores} cores, {jax.devices()[0].device_kind}")
  if args.json:
    times = {"seconds_per_1000": taken, "core_seconds_per_1000": on_cores, "cores": cores}
    args.json.write_text(json.dumps(times | {"rows": table}, indent=2) + "\n")


if __name__ == "__main__":
  main()
