"""Intershape's losses: equations 4 to 9 by loops, what costs nothing, what does not count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel
from tests.contract import records
from tests.systems.small_intershape import MIDDLE, SIZE, STAGES, WRIST, estimates, small


@pytest.fixture(scope="module")
def out():
  return estimates()


def _terms_by_loop(out, targets, release):
  """Equations 4 to 9 by loops over everything, in float64."""
  out, targets = (jax.tree.map(np.asarray, given) for given in (out, targets))
  found = {name: np.zeros(SIZE) for name in ("offset", "consistency", "joint", "bone", "shape", "regulariser")}
  mano_of = skeleton.INTERHAND_FROM_MANO21.tolist()
  for b in range(SIZE):
    true, valid = targets["joints"][b].astype(float), targets["joints_valid"][b]
    true_unit = [np.linalg.norm(true[h, MIDDLE] - true[h, WRIST]) for h in range(2)]
    scale, shift = np.exp(float(out["relative"][b, 0])), out["relative"][b, 1:].astype(float)
    for s in range(STAGES):
      rest, shape, pose = (out[key][b, s].astype(float) for key in ("rest_joints", "shape", "pose"))
      unit = [np.linalg.norm(rest[h, 4] - rest[h, 0]) for h in range(2)]
      hands = [out["joints"][b, s, h].astype(float) / unit[h] for h in range(2)]
      for h in range(2):
        for j in np.flatnonzero(valid[h]):
          found["joint"][b] += np.abs(hands[h][j] - (true[h, j] - true[h, MIDDLE]) / true_unit[h]).sum()
        for child in range(1, 16):
          ends = mano_of.index(child), mano_of.index(skeleton.MANO_PARENTS[child])
          if valid[h, list(ends)].all():
            length = np.linalg.norm(rest[h, child] - rest[h, skeleton.MANO_PARENTS[child]]) / unit[h]
            truth = np.linalg.norm(true[h, ends[0]] - true[h, ends[1]]) / true_unit[h]
            found["bone"][b] += (length - truth) ** 2
        if targets["shape_valid"][b, h]:
          found["shape"][b] += ((shape[h] - targets["shape"][b, h]) ** 2).sum()
        free = pose[h] if release == "v2" and h == 1 else pose[h, 3:]
        of_shape, of_pose = (1.0, 0.1) if release == "v2" else (0.1, 1.0)
        found["regulariser"][b] += of_shape * (shape[h] ** 2).sum() + of_pose * (free**2).sum()
      for j in np.flatnonzero(valid.all(0)):
        by_right = (hands[1][j] + shift) * scale - hands[0][j] - (true[1, j] - true[0, j]) / true_unit[0]
        by_left = hands[1][j] - (hands[0][j] / scale - shift) - (true[1, j] - true[0, j]) / true_unit[1]
        found["offset"][b] += (by_right**2).sum() + (by_left**2).sum()
      if targets["present"][b].all():
        found["consistency"][b] += ((shape[0] - shape[1]) ** 2).sum()
  return found


@pytest.fixture(scope="module")
def targets():
  """The last example has one hand; one joint is not annotated."""
  rng = np.random.default_rng(1)
  joints = rng.normal(0, 60, (SIZE, 2, 21, 3)).astype(np.float32) + np.float32([0, 0, 500])
  valid = np.ones((SIZE, 2, 21), bool)
  valid[0, 1, 5], valid[2, 1] = False, False
  made = {
    "joints": np.where(valid[..., None], joints, 0),
    "joints_valid": valid,
    "shape": rng.normal(0, 1, (SIZE, 2, 10)).astype(np.float32),
    "shape_valid": np.array([[True, True], [False, True], [True, False]]),
    "present": np.array([[True, True], [True, True], [True, False]]),
    "cells": rng.uniform(0, 16, (SIZE, 2, 21, 2)).astype(np.float32),
    "cells_valid": valid,
  }
  return {key: jnp.asarray(value) for key, value in made.items()}


@pytest.mark.parametrize("release", ["", "v2"])
def test_loss_terms(out, targets, release):
  terms = small(release=release).loss_values(out, targets)
  for name, expected in _terms_by_loop(out, targets, release).items():
    np.testing.assert_allclose(terms[name], expected, rtol=2e-4, err_msg=name)


def test_the_right_hands_cost_nothing(out, targets):
  """The truth as an estimate: in any unit, turned as the crop is, the left hand where it is."""
  posed = np.repeat(out["joints"][:, :1], STAGES, 1)
  length = np.linalg.norm(posed[:, 0, :, MIDDLE] - posed[:, 0, :, WRIST], axis=-1)  # [B, 2]
  true = posed[:, 0] * np.float32(1.3) + np.float32([[[10, 20, 500]], [[60, -5, 560]]])
  apart = (true[:, 1, MIDDLE] - true[:, 0, MIDDLE]) / (1.3 * length[:, :1])
  scale = length[:, 1] / length[:, 0]
  relative = np.concatenate([np.log(scale)[:, None], apart / scale[:, None]], -1).astype(np.float32)
  known = np.ones((SIZE, 2, 21), bool)
  exact = targets | {"joints": true, "joints_valid": known, "shape": out["shape"][:, 0], "present": known[..., 0]}
  estimate = out | {"joints": posed, "relative": relative}
  estimate |= {key: np.repeat(out[key][:, :1], STAGES, 1) for key in ("rest_joints", "shape")}
  terms = small().loss_values(*(jax.tree.map(jnp.asarray, given) for given in (estimate, exact)))
  for name in ("offset", "joint", "bone", "shape"):
    np.testing.assert_allclose(terms[name], 0, atol=2e-3, err_msg=name)


def test_what_is_absent_does_not_count(out, targets):
  spoilt = targets | {
    "joints": jnp.where(targets["joints_valid"][..., None], targets["joints"], jnp.nan),
    "shape": jnp.where(targets["shape_valid"][..., None], targets["shape"], jnp.nan),
  }
  before, after = (small().loss_values(out, given) for given in (targets, spoilt))
  for name, value in before.items():
    np.testing.assert_array_equal(value, after[name], err_msg=name)
  gradient = jax.grad(lambda joints: small().loss_values(out | {"joints": joints}, spoilt)["joint"].sum())(
    out["joints"]
  )
  assert np.isfinite(gradient).all()
  assert not np.any(gradient[2, :, 1])


def test_flags_of_the_second_release_are_those_of_other_joints():
  system = small(release="v2")
  batch = records.batch(system, 1, train=True)
  batch["joints_cam_valid"][:, :, :] = True
  batch["joints_cam_valid"][0, 0, 7] = False
  made = system.device_ops(jax.tree.map(jnp.asarray, batch), jax.random.key(0), True)
  flags = np.asarray(system.targets(made, HandModel.default())["joints_valid"])[0, 0]
  # Joint 7 of InterHand2.6M has the place of MANO's eighth, which is a little finger's.
  (hit,) = np.flatnonzero(~flags)
  assert skeleton.INTERHAND_FROM_MANO21[hit] == 7
  assert skeleton.MANO_JOINT_NAMES[7] == "little1"
  assert skeleton.JOINT_NAMES[hit] == "little1"
  right = small().targets(made, HandModel.default())["joints_valid"]
  assert np.flatnonzero(~np.asarray(right)[0, 0]).tolist() == [7]


# ---- attention -----------------------------------------------------------------------
