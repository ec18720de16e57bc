"""DIGIT's losses, predictions and variants without a network: from made-up outputs. Training is in tests/contract."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import digit as config_file
from jaxhands import schema
from jaxhands.geometry import crop
from jaxhands.hands.skeleton import BONES, WRIST
from jaxhands.models.heads import segmentation
from jaxhands.models.heads.heatmap import pixel_shuffle, pixel_unshuffle
from jaxhands.runs import stages
from jaxhands.systems import construct
from jaxhands.systems.digit import DIGIT

SMALL = functools.partial(DIGIT, crop_hw=(64, 96), bins=16)
SIZE, GRID = 3, (16, 24)


@pytest.fixture(scope="module")
def batch() -> dict[str, jax.Array]:
  """Both hands in every crop but the last example's, whose left hand is absent; the second has no part labels."""
  rng = np.random.default_rng(0)
  affine = np.float32([[[0.4, 0.1, 5.0], [-0.1, 0.4, 20.0]]] * SIZE)
  joints_crop = rng.uniform(16, 48, (SIZE, 2, 21, 2)).astype(np.float32)
  depth = 600 + rng.uniform(-80, 80, (SIZE, 2, 21)).astype(np.float32)
  present = np.array([[True, True], [True, True], [True, False]])
  there = np.repeat(present[..., None], 21, -1)
  joints_img = np.asarray(crop.apply_affine(crop.invert_affine(affine), joints_crop))
  values = {
    "image": rng.integers(0, 256, (SIZE, 64, 96, 3), np.uint8),
    "crop_from_img": affine,
    "joints_img": np.where(there[..., None], joints_img, 0),
    "joints_img_valid": there,
    "joints_cam": np.where(there[..., None], np.stack([depth] * 3, -1), 0),
    "joints_cam_valid": there,
    "hand_present": present,
    "hand_present_valid": np.ones(SIZE, bool),
    "parts": rng.integers(0, 33, (SIZE, 32, 48), np.uint8),
    "parts_valid": np.array([True, False, True]),
    "example_id": np.arange(SIZE, dtype=np.int32),
    "weight": np.ones(SIZE, np.float32),
  }
  return {key: jnp.asarray(value) for key, value in values.items()}


@pytest.fixture(scope="module")
def prepared(batch):
  return dict(SMALL().device_ops(batch, jax.random.key(0), True))


@pytest.fixture(scope="module")
def out() -> dict[str, jax.Array]:
  keys = iter(jax.random.split(jax.random.key(1), 5))
  shapes = {"planes": (*GRID, 42), "depths": (*GRID, 42), "root_depth": (16,), "hands": (2,), "parts": (32, 48, 33)}
  return {name: 2 * jax.random.normal(next(keys), (SIZE, *shape)) for name, shape in shapes.items()}


def _voxels(out, first_cell: float) -> np.ndarray:
  """Expectations by loops over rows and columns."""
  planes = np.asarray(out["planes"], np.float64)
  weights = np.exp(planes - planes.max((1, 2), keepdims=True))
  weights /= weights.sum((1, 2), keepdims=True)
  rows, columns = np.mgrid[: GRID[0], : GRID[1]]
  x, y = (np.einsum("bhwj,hw->bj", weights, at + first_cell) for at in (columns, rows))
  z = (weights * np.asarray(out["depths"])).sum((1, 2))
  return np.stack([x, y, z], -1).reshape(SIZE, 2, 21, 3)


def test_needs_are_in_the_batch(batch):
  assert schema.check(batch, needs=SMALL().needs)["B"] == SIZE


@pytest.mark.parametrize("released", [False, True])
def test_loss_terms(prepared, out, released):
  terms = SMALL(released=released).loss_values(out, prepared)
  voxels, truth = _voxels(out, 0.5 if released else 0.0), np.asarray(prepared["voxels"], np.float64)
  valid = np.repeat(np.asarray(prepared["voxels_valid"])[..., None], 3, -1)
  if not released:
    valid[..., :2] = np.asarray(prepared["cells_valid"])[..., None]
  error = np.where(valid, np.abs(voxels - truth), 0)
  np.testing.assert_allclose(terms["joints"], error.mean((1, 2, 3)), rtol=1e-4)

  bone = np.zeros((SIZE, 2))
  for hand in range(2):
    for child, parent in BONES:
      both = valid[:, hand, child] & valid[:, hand, parent]
      difference = (voxels - truth)[:, hand, child] - (voxels - truth)[:, hand, parent]
      power = 2 if released else 1
      bone[:, hand] += (np.where(both, np.abs(difference), 0) ** power).sum(-1) / 60
  expected = 0.1 * bone.sum(1) if released else bone.mean(1)
  np.testing.assert_allclose(terms["bone"], expected, rtol=1e-4)

  scores = np.asarray(out["parts"], np.float64)
  log = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
  picked = np.take_along_axis(log, np.asarray(prepared["parts"])[..., None].astype(int), -1)
  expected = np.where(prepared["parts_valid"], -10 * picked.mean((1, 2, 3)), 0)
  np.testing.assert_allclose(terms["segmentation"], expected, rtol=1e-4)

  chances = np.exp(np.asarray(out["root_depth"], np.float64))
  bins = (chances * np.arange(16)).sum(-1) / chances.sum(-1)
  expected = np.where(prepared["root_bin_valid"], np.abs(bins - prepared["root_bin"]), 0)
  np.testing.assert_allclose(terms["root_depth"], expected, rtol=1e-4)
  assert prepared["root_bin_valid"].tolist() == [True, True, False]


def test_a_joint_beyond_the_depths_still_counts_in_the_plane_unless_released(batch, out):
  far = batch | {"joints_cam": batch["joints_cam"] + np.where(np.arange(21) == 3, 1e4, 0)[:, None].astype(np.float32)}
  for released in (False, True):
    system = SMALL(released=released)
    terms = system.loss_values(out, system.device_ops(far, jax.random.key(0), True))
    moved = far | {"joints_img": far["joints_img"] + np.where(np.arange(21) == 3, 9.0, 0)[:, None].astype(np.float32)}
    others = system.loss_values(out, system.device_ops(moved, jax.random.key(0), True))
    assert (float(terms["joints"][0]) == float(others["joints"][0])) == released


def test_what_is_absent_does_not_count(batch, out):
  """Whatever is stored for the absent left hand and for labels that are not annotated."""
  other = batch | {key: batch[key].at[-1, schema.LEFT].set(jnp.nan) for key in ("joints_img", "joints_cam")}
  other["parts"] = batch["parts"].at[1].set(7)
  system = SMALL()

  def gradient(given):
    ready = system.device_ops(given, jax.random.key(0), True)
    return jax.jit(jax.grad(lambda o: sum(value.sum() for value in system.loss_values(o, ready).values())))(out)

  jax.tree.map(np.testing.assert_array_equal, gradient(batch), gradient(other))


def test_sharp_heatmaps_give_the_joints(batch, monkeypatch):
  system = SMALL()
  ready = system.device_ops(batch, jax.random.key(0), True)
  voxels = np.asarray(ready["voxels"]).reshape(SIZE, 42, 3)
  rows, columns = np.mgrid[: GRID[0], : GRID[1]]
  # A logistic around the joint has its mean there; far from the border.
  distance = (columns[..., None] - voxels[:, None, None, :, 0]) ** 2 + (
    rows[..., None] - voxels[:, None, None, :, 1]
  ) ** 2
  labels = jax.nn.one_hot(batch["parts"], 33)
  made = {
    "planes": jnp.asarray(-distance),
    "depths": jnp.broadcast_to(voxels[:, None, None, :, 2], (SIZE, *GRID, 42)),
    "root_depth": -((jnp.arange(16) - ready["root_bin"][:, None]) ** 2),
    "hands": 20.0 * batch["hand_present"] - 10,
    "parts": labels,
  }
  monkeypatch.setattr("jaxhands.systems.digit.Network.apply", lambda *_: made)
  prediction = system.predict({}, batch, jax.random.key(0))
  schema.check(prediction, schema.PREDICTION, dims={"B": SIZE})
  there = np.asarray(batch["joints_img_valid"])
  assert np.abs(np.asarray(prediction["joints_img"] - batch["joints_img"]))[there].max() < 1.0
  depth = np.asarray(batch["joints_cam"][..., 2])
  np.testing.assert_allclose(
    np.asarray(prediction["joints_rel_depth"])[there], (depth - depth[..., WRIST:])[there], atol=0.1
  )
  np.testing.assert_array_equal(prediction["hand_prob"] > 0.5, batch["hand_present"])
  np.testing.assert_array_equal(prediction["parts"], batch["parts"])
  assert np.asarray(prediction["confidence"]).min() > 0.99
  np.testing.assert_allclose(prediction["heatmaps"].sum((-1, -2)), 1, rtol=1e-5)


@pytest.mark.parametrize(("weight", "cells", "sure"), [(0.0, 2.0, 1.0), (1.0, 1.0, 1.0), (1.0, 2.0, 0.25)])
def test_heatmaps_learnt_as_gaussians_are_as_sure_as_these(batch, out, monkeypatch, weight, cells, sure):
  """A Gaussian of so many cells in the middle of the grid."""
  distance = ((np.mgrid[: GRID[0], : GRID[1]] - np.array([8, 12])[:, None, None]) ** 2).sum(0)
  planes = jnp.broadcast_to(-distance[None, :, :, None] / (2 * cells**2), out["planes"].shape)
  monkeypatch.setattr("jaxhands.systems.digit.Network.apply", lambda *_: out | {"planes": planes})
  found = SMALL(heatmap_weight=weight).predict({}, batch, jax.random.key(0))["confidence"]
  np.testing.assert_allclose(found, sure, rtol=0.02)


def test_flat_heatmaps_are_not_trusted(batch, out, monkeypatch):
  flat = out | {"planes": jnp.zeros_like(out["planes"])}
  monkeypatch.setattr("jaxhands.systems.digit.Network.apply", lambda *_: flat)
  assert SMALL().predict({}, batch, jax.random.key(0))["confidence"].max() < 0.2


# ---- variants -----------------------------------------------------------------


def test_variants_have_the_parts_that_they_need():
  fusion = {"backbone", "fusion", "heatmap", "depth", "pooled", "root_depth", "handedness"}
  segmentation_parts = {"segmentation", "semantic"}
  expected = {
    "Baseline": fusion, "Baseline + BL": fusion, "Baseline + BL + SL": fusion | {"segmentation"},
    "Baseline + BL + SF*": fusion | segmentation_parts, "Baseline + BL + SF (DIGIT)": fusion | segmentation_parts,
    "segmentation to pose, end to end": fusion | segmentation_parts,
    "segmentation to pose, labels": fusion | segmentation_parts,
  }  # fmt: skip
  for row, wanted in expected.items():
    system = construct.load(config_file.get_config(f"tiny,{config_file.ROWS[row]}"))
    assert set(system.objectives[0].trains) == wanted, row
    supervised = row not in ("Baseline", "Baseline + BL", "Baseline + BL + SF*")
    assert ("parts" in system.needs) == supervised, row


def test_two_stages_keep_the_segmentation():
  (first, before), (second, after) = stages.of(config_file.get_config("tiny,no_visual_features,two_stage"))
  assert (first, second) == ("segmentation", "pose")
  one, two = construct.load(before), construct.load(after)
  assert set(one.objectives[0].trains) == {"backbone", "segmentation"} == set(after.freeze)
  assert dict(after.init_from) == {"all": "", "backbone": "stages/segmentation", "segmentation": "stages/segmentation"}
  assert "parts" in two.needs
  assert two.segmentation_weight == 0


@pytest.mark.parametrize(
  ("variant", "reason"),
  [
    ("no_segmentation_features,no_visual_features", "leave nothing to estimate a pose from"),
    ("no_segmentation_features,labels", "exclude each other"),
    ("no_segmentation_loss,two_stage", "without a loss"),
    ("no_segmentation_loss,labels", "without any gradient"),
    ("segmentation_features", "did you mean 'no_segmentation_features'"),
  ],
)
def test_variants_that_make_no_sense_are_refused(variant, reason):
  with pytest.raises(ValueError, match=reason):
    config_file.get_config(f"tiny,{variant}")


@pytest.mark.parametrize(
  ("fields", "reason"),
  [
    ({"crop_hw": (100, 96)}, "multiple of 32"),
    ({"crop_hw": (96, 96), "stride": 8}, "multiple of 64"),
    ({"visual": False, "semantic": "none"}, "nothing to estimate"),
    ({"pose": False, "segmentation_weight": 0.0}, "nothing to train"),
    ({"frozen": ("semantics",)}, "freezes whole parts"),
  ],
)
def test_systems_that_make_no_sense_are_refused(fields, reason):
  with pytest.raises(ValueError, match=reason):
    DIGIT(**fields)


def test_hard_labels_pass_no_gradient():
  scores = jax.random.normal(jax.random.key(0), (1, 4, 4, 33))
  labels = segmentation.hard_labels(scores)
  np.testing.assert_array_equal(labels.argmax(-1), scores.argmax(-1))
  np.testing.assert_array_equal(labels.sum(-1), 1)
  assert not jax.grad(lambda s: (segmentation.hard_labels(s) * s[0, 0, 0, 0]).sum())(scores)[0, 1:].any()


def test_shuffling_and_back():
  x = jax.random.normal(jax.random.key(0), (2, 6, 4, 3))
  np.testing.assert_array_equal(pixel_shuffle(pixel_unshuffle(x)), x)
