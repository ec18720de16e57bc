"""DIGIT's network, losses, gradients and running statistics against the release."""

import functools

import jax
import numpy as np
import pytest

from jaxhands.geometry import camera, crop
from jaxhands.systems.digit import DIGIT
from jaxhands.weights.digit import digit as name_map
from tests.parity.cases import Case, close

SYSTEM = DIGIT(released=True)
LAYERS = 140  # HRNet-W32 has 113; segmentation, semantic features, the UNet and the heads follow
SHARP = 10.0  # by which the softmax over cells makes errors of scores grow
TRAINED = 40.0  # by which errors of losses grow with batch statistics of two examples
QUICK = {"xla_backend_optimization_level": 0}  # compiles in half the time
# Golden array -> (module whose output it is, which of several, step over channels, step over pixels).
MAPS = {
  "layer1": ("backbone/layer1_3", None, 16, 4),
  "stage2_branch0": ("backbone/stage2_0", 0, 8, 4),
  "stage2_branch1": ("backbone/stage2_0", 1, 8, 4),
  "stage3_branch0": ("backbone/stage3_3", 0, 8, 4),
  "stage3_branch1": ("backbone/stage3_3", 1, 8, 4),
  "stage3_branch2": ("backbone/stage3_3", 2, 8, 4),
  "feature": ("backbone/stage4_2", 0, 2, 4),
  "segm_upsampled": ("segmentation/layer1", None, 8, 8),
  "segm_logits": ("segmentation", None, 1, 8),
  "semantic_feature": ("semantic", None, 32, 4),
  "unet_inc": ("fusion/down0", None, 8, 8),
  "unet_bottleneck": ("fusion/down3", None, 16, 1),
  "unet_up1": ("fusion/up2", None, 16, 1),
  "fused_feature": ("fusion", None, 34, 4),
  "head_feature": ("pooled/conv5", None, 32, None),
  "heatmap_2d": ("heatmap", None, 1, 8),
  "depth_latent": ("depth", None, 1, 8),
}
TERMS = {
  "rel_root_depth": "root_depth", "hand_type": "handedness", "joint": "joints", "segm": "segmentation", "bone": "bone",
}  # fmt: skip
STATISTICS = {
  "backbone.bn1": "backbone/stem0/bn",
  "merge_layer.inc.double_conv.1": "fusion/down0/layer0/bn",
  "backbone.stage4.2.fuse_layers.0.3.1": "backbone/stage4_2/fuse0_3/bn",
}


@pytest.fixture(scope="module")
def case(goldens) -> Case:
  return Case(goldens, "digit")


@pytest.fixture(scope="module")
def batch(case):
  size = case["in:target_joint_coord"].shape[0]
  valid = case["in:joint_valid"].reshape(size, 2, 21) > 0
  return {
    "image": case.image(),
    "voxels": case["in:target_joint_coord"].reshape(size, 2, 21, 3),
    "voxels_valid": valid,
    "cells_valid": valid,
    "root_bin": case["in:target_rel_root_depth"][:, 0],
    "root_bin_valid": case["in:root_valid"][:, 0] > 0,
    "hand_present": case["in:target_hand_type"] > 0,
    "hand_present_valid": case["in:hand_type_valid"] > 0,
    "parts": case["in:segm_target"],
    "parts_valid": case["in:segm_valid"] > 0,
    "crop_from_img": crop.invert_affine(case["in:inv_trans"]),
  }


def _at(tree, path: str):
  for key in path.split("/"):
    tree = tree[key]
  return tree


def _terms(out, batch):
  values = SYSTEM.loss_values(out, batch)
  return {name: value.mean() for name, value in values.items()}


@pytest.fixture(scope="module")
def variables(case):
  return SYSTEM.import_weights(case.state_dict())


@pytest.fixture(scope="module")
def evaluated(variables, batch):
  """In evaluation mode: outputs, maps, predictions, loss terms, gradients."""
  wanted = {tuple(module.split("/")) for module, *_ in MAPS.values()}

  def loss(params, rest, batch):
    out, state = SYSTEM.network.apply(
      {"params": params, **rest}, batch["image"], False, mutable=["intermediates"],
      capture_intermediates=lambda module, _: module.path in wanted,
    )  # fmt: skip
    terms = _terms(out, batch)
    return sum(terms.values()), {"out": out, "maps": state["intermediates"], "terms": terms}

  @functools.partial(jax.jit, compiler_options=QUICK)
  def run(variables, batch):
    rest = {"batch_stats": variables["batch_stats"]}
    (_, found), grads = jax.value_and_grad(loss, has_aux=True)(variables["params"], rest, batch)
    prediction = SYSTEM.predict(variables, batch, jax.random.key(0))
    voxels, heatmaps, _ = SYSTEM._expectation(found["out"])
    return found | {"grads": grads, "prediction": prediction, "voxels": voxels, "heatmaps": heatmaps}

  with jax.default_matmul_precision("float32"):
    return jax.device_get(run(variables, batch))


@pytest.fixture(scope="module")
def trained(variables, batch):
  """In training mode: loss terms and running statistics."""

  @functools.partial(jax.jit, compiler_options=QUICK)
  def run(variables, batch):
    out, state = SYSTEM.network.apply(variables, batch["image"], True, mutable=["batch_stats"])
    return _terms(out, batch), state["batch_stats"]

  with jax.default_matmul_precision("float32"):
    return jax.device_get(run(variables, batch))


@pytest.mark.parametrize("name", MAPS)
def test_maps(case, evaluated, name):
  module, index, channels, pixels = MAPS[name]
  found = _at(evaluated["maps"], module)["__call__"][0]
  found = found if index is None else found[index]
  if name == "head_feature":  # the reference's is after ReLU and pooling
    found = np.maximum(found, 0)
    found = np.max([found[:, i::2, j::2] for i in range(2) for j in range(2)], axis=0)
  found = np.moveaxis(found, -1, 1)[:, ::channels, ::pixels, ::pixels]
  close(found, case[name], LAYERS)


def test_labels(case, evaluated):
  np.testing.assert_array_equal(evaluated["prediction"]["parts"][:, ::2, ::2], case["segm_label"])


def test_joints(case, evaluated):
  heatmaps = np.moveaxis(evaluated["heatmaps"], -1, 1)
  close(heatmaps[:, :, ::8, ::8], case["heatmap_prob"], LAYERS, SHARP)
  depths = heatmaps * np.moveaxis(evaluated["out"]["depths"], -1, 1)
  close(depths[:, :, ::8, ::8], case["depth_map"], LAYERS, SHARP)
  voxels = evaluated["voxels"].reshape(case["joint_2p5d"].shape)
  close(voxels, case["joint_2p5d"], LAYERS)
  close(voxels[..., 2], case["joint_z"], LAYERS)
  shown = evaluated["prediction"]["heatmaps"].reshape(heatmaps.shape)
  np.testing.assert_array_equal(shown, heatmaps)


def test_dense_heads(case, evaluated):
  out, prediction = evaluated["out"], evaluated["prediction"]
  close(out["root_depth"], case["root_heatmap_logits"], LAYERS)
  close(out["hands"], case["hand_type_logits"], LAYERS)
  close(prediction["hand_prob"], case["hand_type_prob"], LAYERS)
  bins = SYSTEM.root_codec.encode(prediction["rel_root_depth"])
  close(bins, case["rel_root_depth"][:, 0], LAYERS)


def test_camera_joints(case, batch, evaluated):
  """Predicted and target 2.5D joints, pushed into the camera's frame."""
  depths = np.stack([case["in:abs_depth_right"], case["in:abs_depth_left"]], axis=-1)
  # The reference exchanges the depths of mirrored samples, but not their joints.
  depths = np.where(case["in:flipped"][:, None], depths[:, ::-1], depths)
  intrinsics = camera.intrinsics(case["in:focal"], case["in:princpt"])[:, None]
  for name, voxels in (("pred_cam", evaluated["voxels"]), ("gt_cam", batch["voxels"])):
    joints_crop, rel_depth = SYSTEM.joints_codec.decode(voxels)
    joints_img = crop.apply_affine(case["in:inv_trans"], joints_crop)
    joints_cam = camera.back_project(joints_img, depths[..., None] + rel_depth, intrinsics)
    close(joints_cam.reshape(case[name].shape), case[name], LAYERS)


@pytest.mark.parametrize("name", TERMS)
def test_losses(case, evaluated, trained, name):
  close(evaluated["terms"][TERMS[name]], case[f"eval_loss_{name}"], LAYERS)
  close(trained[0][TERMS[name]], case[f"train_loss_{name}"], LAYERS, TRAINED)


def test_total(case, evaluated, trained):
  close(sum(evaluated["terms"].values()), case["eval_loss_total"], LAYERS)
  close(sum(trained[0].values()), case["train_loss_total"], LAYERS, TRAINED)


def test_gradients(case, evaluated):
  targets = {tensor.source: tensor.target.removeprefix("params/") for tensor in name_map()}
  found = [
    np.linalg.norm(_at(evaluated["grads"], targets[name]).astype(float)) for name in case.json("grad_names.json")
  ]
  for norm, expected in zip(found, case["eval_grad_norm"], strict=True):
    close(norm, expected, 2 * LAYERS, 15)
  heatmap = _at(evaluated["grads"], "heatmap/kernel")[0, 0].T[:, ::17]
  close(heatmap, case["eval_grad_conv_hm_slice"], 2 * LAYERS, 90)
  stem = _at(evaluated["grads"], "backbone/stem0/conv/kernel").transpose(3, 2, 0, 1)[::4, :, 1, 1]
  close(stem, case["eval_grad_stem_slice"], 2 * LAYERS, 90)


def test_running_statistics_after_one_training_step(case, trained):
  for theirs, ours in STATISTICS.items():
    for name in ("mean", "var"):
      close(_at(trained[1], f"{ours}/{name}"), case[f"train_running_{name}:{theirs}"], LAYERS, 5)


def test_parameter_count(variables):
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 40_711_475


def test_import_takes_wrapped_names_and_names_what_does_not_fit(case, variables):
  state_dict = case.state_dict()
  wrapped = SYSTEM.import_weights({f"model.{key}": value for key, value in state_dict.items()})
  jax.tree.map(np.testing.assert_array_equal, wrapped, variables)
  with pytest.raises(ValueError, match=r"does not know: conv_extra\.weight"):
    SYSTEM.import_weights(state_dict | {"conv_extra.weight": np.zeros(1)})
  missing = {key: value for key, value in state_dict.items() if key != "hand_fc.2.bias"}
  with pytest.raises(ValueError, match=r"missing: hand_fc\.2\.bias"):
    SYSTEM.import_weights(missing)
  with pytest.raises(ValueError, match=r"system\.released=True"):
    DIGIT().import_weights(state_dict)
