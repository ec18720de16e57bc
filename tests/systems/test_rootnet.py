"""RootNet's k, targets, loss and predictions against what they mean."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import rootnet as config_of
from jaxhands import schema
from jaxhands.geometry import crop
from jaxhands.hands import skeleton
from jaxhands.systems import construct
from jaxhands.systems.rootnet import RootNet, k_value
from tests.contract import records

SIZE = 4
WRIST = skeleton.WRIST
CROP_HW = (64, 64)


def _system(view="pair", **fields):
  return RootNet(crop_hw=CROP_HW, view=view, depth=18, width=4, upsampler_features=8, **fields)


def _batch(system, train=False):
  """With the truth beside what the system reads, after `device_ops`."""
  more = {"joints_cam", "joints_cam_valid", "hand_present"}
  host = records.batch(system, SIZE, train, more)
  return system.device_ops({key: jnp.asarray(value) for key, value in host.items()}, jax.random.key(0), train)


def _perfect(system, batch):
  """What a network that knows everything gives: sharp scores at the wrists, and the factors of their depths."""
  targets = system.targets(batch)
  grid = jnp.stack(jnp.meshgrid(jnp.arange(16.0), jnp.arange(16.0)), -1)
  distance = jnp.square(grid[None, :, :, None] - targets["cells"][:, None, None]).sum(-1)
  return {"scores": -2 * distance, "gamma": targets["depth"] / targets["k"][:, None]}


@pytest.mark.parametrize("clipped", [False, True])
def test_k_is_the_references_formula_on_the_processed_box(clipped):
  """sqrt(real area x fx x fy / box area), whatever the turn and the mirror."""
  rng = np.random.default_rng(0)
  boxes = np.stack([*rng.uniform(-40, 200, (2, 9)), *rng.uniform(50, 300, (2, 9))], -1).astype(np.float32)
  cameras = np.zeros((9, 3, 3), np.float32)
  cameras[:, 0, 0], cameras[:, 1, 1], cameras[:, 2, 2] = rng.uniform(300, 1500, 9), rng.uniform(300, 1500, 9), 1
  cameras[::2, 0, 0] *= -1  # of mirrored views
  boxes = crop.clip_box(boxes, (240, 320)) if clipped else boxes
  processed = crop.process_box(boxes, CROP_HW)
  affine = crop.crop_affine(processed, CROP_HW, rotation=rng.uniform(-1, 1, 9), mirror=rng.random(9) < 0.5)
  area = processed[:, 2] * processed[:, 3]
  expected = np.sqrt(300 * 300 * np.abs(cameras[:, 0, 0] * cameras[:, 1, 1]) / area)
  np.testing.assert_allclose(k_value(affine.astype(np.float32), cameras, CROP_HW), expected, rtol=1e-5)


def test_k_of_a_hand_that_fills_the_crop_is_its_depth():
  """A square of 300 mm at 700 mm, seen by 500 px, is 214 px wide; a crop of as much says 700 mm."""
  side = 300 / 700 * 500
  affine = crop.crop_affine(np.float32([[10, 20, side, side]]), CROP_HW)
  camera = np.float32([[[500, 0, 160], [0, 500, 120], [0, 0, 1]]])
  np.testing.assert_allclose(k_value(affine, camera, CROP_HW), [700], rtol=1e-6)


@pytest.mark.parametrize("view", ["pair", "hand"])
def test_a_perfect_network_finds_the_wrists(view):
  system = _system(view)
  batch = _batch(system)
  out = _perfect(system, batch)
  truth = np.asarray(batch["joints_cam"])[:, :, WRIST]
  found = _predict_from(system, batch, out)
  known = np.asarray(found["root_cam_valid"])
  np.testing.assert_array_equal(known, [[True, view == "pair"]] * SIZE)
  np.testing.assert_allclose(np.asarray(found["root_cam"])[known], truth[known], atol=1.5)
  np.testing.assert_allclose(np.asarray(found["root_cam"])[known][:, 2], truth[known][:, 2], rtol=1e-5)
  losses = system.loss_values(system.decode(out, system.k_mm(batch)), batch | system.targets(batch))
  np.testing.assert_allclose(losses["depth"], 0, atol=1e-3)
  np.testing.assert_allclose(losses["position"], 0, atol=0.05)


def _predict_from(system, batch, out):
  """`predict` behind a network whose output is given."""

  class Given:
    def apply(self, variables, image, train):
      return out

  replaced = type("Replaced", (RootNet,), {"network": property(lambda self: Given())})
  made = replaced(**{name: getattr(system, name) for name in system.__dataclass_fields__})
  return made.predict({}, batch, jax.random.key(0))


def test_the_loss_is_a_third_of_the_masked_sum_and_masks_hide_garbage():
  system = _system()
  batch = _batch(system, train=True)
  valid = jnp.array([[True, True], [True, False], [False, False], [True, True]])
  with_depth = valid & jnp.array([[True], [True], [True], [False]])
  poisoned = batch | {
    "cells_valid": valid,
    "depth_valid": with_depth,
    "cells": jnp.where(valid[..., None], batch["cells"], jnp.nan),
    "depth": jnp.where(with_depth, batch["depth"], jnp.nan),
  }
  rng = np.random.default_rng(0)
  found = jnp.asarray(rng.uniform(0, 16, (SIZE, 2, 3)), jnp.float32)
  values = system.loss_values(found, poisoned)
  error = np.abs(np.asarray(found) - np.concatenate([batch["cells"], batch["depth"][..., None]], -1))
  counted = np.concatenate([np.repeat(valid[..., None], 2, -1), with_depth[..., None]], -1)
  expected = np.where(counted, error, 0).sum(-1).mean(-1) / 3
  np.testing.assert_allclose(sum(values.values()), expected, rtol=1e-5)
  gradient = jax.grad(lambda x: sum(v.sum() for v in system.loss_values(x, poisoned).values()))(found)
  assert np.isfinite(gradient).all()
  assert not np.asarray(gradient)[~counted].any()


def test_an_unknown_camera_teaches_the_pixel_alone():
  system = _system()
  batch = dict(_batch(system, train=True)) | {
    "camera_img": jnp.zeros((SIZE, 3, 3)),
    "camera_valid": jnp.zeros(SIZE) > 0,
  }
  targets = system.targets(batch)
  assert targets["cells_valid"].any()
  assert not targets["depth_valid"].any()
  np.testing.assert_array_equal(targets["k"], 0)
  found = _predict_from(system, batch, _perfect(system, batch | {"root_depth": jnp.zeros((SIZE, 2))}))
  assert not np.asarray(found["root_cam_valid"]).any()
  np.testing.assert_array_equal(found["root_cam"], 0)


def test_training_crops_keep_k_and_mirrored_hands_their_own_depth():
  """Turning and mirroring change neither k nor which depth belongs to which wrist in the crop."""
  system = _system()
  plain = system.targets(_batch(system))
  turned = {key: jnp.asarray(value) for key, value in records.batch(system, SIZE, train=True).items()}
  targets = system.targets(turned)
  np.testing.assert_allclose(targets["k"], plain["k"], rtol=1e-4)
  same = np.isclose(targets["depth"], plain["depth"]).all(-1)
  swapped = np.isclose(targets["depth"], plain["depth"][:, ::-1]).all(-1)
  mirrored = np.linalg.det(np.asarray(turned["crop_from_img"])[:, :, :2]) < 0
  assert 0 < mirrored.sum() < SIZE
  np.testing.assert_array_equal(same, ~mirrored)
  np.testing.assert_array_equal(swapped, mirrored)


@pytest.mark.parametrize("released", [False, True])
def test_pixels_are_normalised(released):
  system = _system("hand", released=released)
  batch = records.batch(system, SIZE, train=False)
  image = np.asarray(system.device_ops(batch, jax.random.key(0), False)["image"])
  pixels = batch["image"] / (1 if released else 255)
  np.testing.assert_allclose(image, (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225], rtol=1e-4, atol=1e-4)


def test_wrong_fields_are_refused():
  config = config_of.get_config("tiny")
  with pytest.raises(ValueError, match="crop_hw"):
    _replace(config, "data.crop_hw", (60, 64))
  with pytest.raises(ValueError, match=r"freeze=\['bakbone'\]"):
    _replace(config, "freeze", ("bakbone",))
  with config.unlocked():
    config.system.heads = 3
  with pytest.raises(ValueError, match=r"unknown fields \['heads'\]"):
    construct.load(config)


def _replace(config, path, value):
  changed = config.copy_and_resolve_references()
  changed.update_from_flattened_dict({path: value})
  construct.load(changed)


def test_the_backbone_comes_from_torchvision_alone():
  system = _system()
  shapes = jax.eval_shape(functools.partial(system.init, jax.random.key(0)), {"image": jnp.zeros((1, *CROP_HW, 3))})
  with pytest.raises(ValueError, match="does not know"):
    system.import_weights({"conv1.weight": np.zeros((4, 3, 7, 7)), "extra": np.zeros(1)})
  assert set(shapes["params"]) == {"backbone", "upsampler", "position", "depth"}
  assert system.needs <= set(schema.BATCH)
