"""DetNet's maps, read-out, targets, losses and alignment against HDR's release and Minimal-Hand's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands import codecs
from jaxhands.evaluation.metrics import pose
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.hands import skeleton
from jaxhands.systems import base
from jaxhands.systems.hdr import shpe
from tests.parity.cases import Case, close
from tests.parity.hdr import nchw, normalised, thinned

LAYERS = 44  # three in each of fourteen bottlenecks, one before and one after them; the heads follow each other
SYSTEM = shpe.SHPE(released=True)
TRUNK = {
  "stem": "stem_bn", "block1": "block1_1", "pool": "pool", "block2": "block2_3", "block3": "block3_5",
  "squeeze": "squeeze_bn",
}  # fmt: skip
GAP = 1e-4  # of a peak to the runner-up, below which rounding decides which one is found


@pytest.fixture(scope="module")
def case(goldens) -> Case:
  return Case(goldens, "detnet")


@pytest.fixture(scope="module")
def variables(case):
  return SYSTEM.import_weights(case.state_dict())


@pytest.fixture(scope="module")
def runs(case, variables):
  """{"" | "small_": trunk maps, output maps, read-out} of both references."""

  @jax.jit
  def run(variables, image):
    maps, state = SYSTEM.network.apply(
      base.part(variables, shpe.PART), image, False, mutable=["intermediates"], capture_intermediates=True
    )
    seen = {name: value["__call__"][0] for name, value in state["intermediates"].items() if name != "__call__"}
    trunk = {theirs: jax.nn.relu(seen[ours]) for theirs, ours in TRUNK.items()}
    cells, _ = shpe.argmax_2d(jax.nn.sigmoid(maps["heat"]))
    read = {name: shpe.at_cells(maps[name], cells) for name in ("delta", "location")}
    return {"trunk": trunk, "maps": maps, "cells": cells, **read, "peak": SYSTEM.read(maps)[2]}

  with jax.default_matmul_precision("float32"):
    found = {
      "": run(variables, normalised(case.image())),
      "small_": run(variables, jnp.asarray(case.image("small_image") - 0.5)),
    }
  return jax.tree.map(np.asarray, found)


@pytest.mark.parametrize("name", TRUNK)
def test_trunk(case, runs, name):
  close(thinned(runs[""]["trunk"][name], 16, 8), case[name], LAYERS)


@pytest.mark.parametrize("prefix", ["", "small_"])
def test_maps(case, runs, prefix):
  maps = runs[prefix]["maps"]
  close(nchw(jax.nn.sigmoid(maps["heat"]))[..., ::2, ::2], case[f"{prefix}h_map"], LAYERS)
  for ours, theirs in (("delta", "d_map"), ("location", "l_map")):
    found = maps[ours].transpose(0, 3, 4, 1, 2)[..., ::8, ::8]
    close(found, case[f"{prefix}{theirs}"], LAYERS)


@pytest.mark.parametrize("prefix", ["", "small_"])
def test_read_out(case, runs, prefix):
  found, sure = runs[prefix], case[f"{prefix}peak_gap"] > GAP
  assert sure.mean() > 0.5
  close(found["peak"], case[f"{prefix}peak"], LAYERS)
  np.testing.assert_array_equal(found["cells"][sure], case[f"{prefix}uv"][..., ::-1][sure])
  close(found["delta"][sure], case[f"{prefix}delta"][sure], LAYERS)
  close(found["location"][sure], case[f"{prefix}xyz"][sure], LAYERS)


@pytest.fixture(scope="module")
def targets(case):
  """Of our batch with the case's joints, in a crop that is the picture.

  The release gives every joint within the picture a heat map, annotated or not; ours must be said to be annotated.
  """
  size = len(case["target_joint_img_ih"])

  def first_hand(values):
    return jnp.stack([jnp.asarray(values), jnp.zeros_like(values)], axis=1)

  batch = {
    "crop_from_img": jnp.tile(jnp.eye(2, 3), (size, 1, 1)),
    "joints_img": first_hand(case["target_joint_img_ih"]),
    "joints_img_valid": first_hand(np.ones_like(case["target_valid_img_ih"]) > 0),
    "joints_cam": first_hand(case["target_joint_cam_ih"]),
    "joints_cam_valid": first_hand(case["target_valid_cam_ih"] > 0),
    "weight": jnp.ones(size),
  }
  return batch | SYSTEM.targets(batch)


def test_joint_order(case):
  order = skeleton.SNAP_FROM_INTERHAND
  np.testing.assert_array_equal(case["target_joint_cam_ih"][:, order], case["target_joint_cam"])
  np.testing.assert_array_equal(case["target_joint_img_ih"][:, order], case["target_joint_img"])


def test_targets(case, targets):
  np.testing.assert_array_equal(targets["cells_valid"], case["target_heatmap_valid"] > 0)
  np.testing.assert_array_equal(targets["delta_valid"], case["target_delta_valid"] > 0)
  np.testing.assert_allclose(targets["location"], case["target_location"], rtol=0, atol=1e-5)
  np.testing.assert_allclose(targets["delta"], case["target_delta"], rtol=0, atol=1e-5)
  rows, columns, _ = codecs.pasted_gaussian(targets["cells"], SYSTEM.grid_hw, SYSTEM.sigma)
  found = np.einsum("bhj,bwj->bjhw", rows, columns) * np.asarray(targets["cells_valid"])[..., None, None]
  np.testing.assert_allclose(found[:, ::2], case["target_heatmap"], rtol=0, atol=1e-6)


def test_losses(case, runs, targets):
  terms = SYSTEM.loss_terms(jax.tree.map(jnp.asarray, runs[""]["maps"]), targets)
  for ours, theirs in (("heat", "hm"), ("delta", "dm"), ("location", "lm")):
    close(terms[ours], case[f"loss_{theirs}"], LAYERS)
  total = terms["heat"] + terms["delta"] + 5 * terms["location"]
  close(total, case["loss_total"], LAYERS)


def test_aligned_error(case, runs):
  """The repository's rule is the protocol with the true scale, wrists upon each other."""
  found = case["xyz"][:, skeleton.INTERHAND_FROM_SNAP]
  truth = case["target_joint_cam_ih"]
  both = {"joints_cam": jnp.stack([jnp.asarray(found), jnp.zeros_like(found)], 1)}
  valid = jnp.ones((len(found), 2, 21), bool).at[:, 1].set(False)
  batch = {"joints_cam": jnp.stack([jnp.asarray(truth), jnp.zeros_like(truth)], 1), "joints_cam_valid": valid}
  error, weight = pose.joint_error(Protocol(depth="predicted", scale="gt")).fn(both, batch)
  np.testing.assert_allclose((error * weight).sum() / weight.sum(), case["mpjpe_mm"], rtol=1e-5)
  aligned = case["aligned"][:, skeleton.INTERHAND_FROM_SNAP]
  theirs = np.linalg.norm((aligned - aligned[:, 20:]) - (truth - truth[:, 20:]), axis=-1)
  np.testing.assert_allclose(error[:, 0], theirs, rtol=1e-4, atol=1e-3)


def test_small_targets_and_losses(case, runs):
  """Minimal-Hand's: windows of sigma 1, mean squares of the heat maps, norms over examples with 3D annotations."""
  maps = runs["small_"]["maps"]
  rows, columns, _ = codecs.pasted_gaussian(
    jnp.asarray(case["small_target_kp"], jnp.float32), maps["heat"].shape[1:3], 1.0
  )
  veil, flag = case["small_target_veil"], case["small_flag_3d"]
  target = np.einsum("bhj,bwj->bjhw", rows, columns)
  np.testing.assert_allclose((target * veil[..., None, None])[:, ::4], case["small_target_heatmap"], rtol=0, atol=1e-6)
  vectors = {name: jnp.asarray(case[f"small_target_{name}"]) for name in ("delta", "location")}
  maps = jax.tree.map(jnp.asarray, maps)
  terms = shpe.minimal_hand_terms(
    maps, jnp.asarray(target.transpose(0, 2, 3, 1)), jnp.asarray(veil > 0), vectors, jnp.asarray(flag > 0)
  )
  for ours, theirs in (("heat", "hm"), ("delta", "dm"), ("location", "lm")):
    close(terms[ours], np.squeeze(case[f"small_loss_{theirs}"]), LAYERS)
  total = 100 * terms["heat"] + terms["delta"] + 10 * terms["location"]
  close(total, case["small_loss_total"][0], LAYERS)


def test_import_of_minimal_hand_s_names(case, variables):
  renamed = {key.replace("resnet.", "resnet50."): value for key, value in case.state_dict().items()}
  jax.tree.map(np.testing.assert_array_equal, SYSTEM.import_weights(renamed), variables)
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 12_967_635
  with pytest.raises(ValueError, match="missing: hmap_0"):
    SYSTEM.import_weights({key: value for key, value in renamed.items() if key != "hmap_0.prediction.bias"})
