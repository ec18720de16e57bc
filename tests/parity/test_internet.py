"""InterNet's network, losses, gradients and running statistics against the release."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands import codecs
from jaxhands.systems.internet import InterNet
from tests.parity.cases import Case, close

SYSTEM = InterNet(released=True)
LAYERS = 54  # ResNet-50's, three that upsample, and one
GROWN = {"eval": 1.0, "train": 50.0}  # batch statistics of two examples
MAPS = {
  "layer1": (16, 8),
  "layer2": (16, 4),
  "layer3": (16, 2),
  "layer4": (16, 1),
  "deconv1": (16, 8),
  "deconv2": (16, 8),
}
TENSORS = (  # whose gradients are recorded, in the order of the README
  "backbone/conv1/kernel", "backbone/layer4_2/conv3/kernel", "backbone/layer4_2/bn3/scale",
  "upsampler_right/deconv0/kernel", "upsampler_left/deconv2/kernel", "heatmap_right/conv/bias",
  "heatmap_left/conv/kernel", "root_depth/hidden/kernel", "root_depth/scores/bias", "handedness/hidden/kernel",
  "handedness/scores/bias",
)  # fmt: skip


@pytest.fixture(scope="module")
def case(goldens) -> Case:
  return Case(goldens, "internet")


@pytest.fixture(scope="module")
def batch(case):
  size = case["target_joint_coord"].shape[0]
  return {
    "image": case.image(),
    "voxels": case["target_joint_coord"].reshape(size, 2, 21, 3),
    "voxels_valid": case["target_joint_valid"].reshape(size, 2, 21) > 0,
    "cells_valid": case["target_joint_valid"].reshape(size, 2, 21) > 0,
    "root_bin": case["target_rel_root_depth"][:, 0],
    "root_bin_valid": case["target_root_valid"][:, 0] > 0,
    "hand_present": case["target_hand_type"] > 0,
    "hand_present_valid": case["target_hand_type_valid"] > 0,
  }


@pytest.fixture(scope="module")
def runs(case, batch):
  """{"eval" | "train": what one pass gives}: maps, outputs, loss terms of each example, gradients, statistics."""
  variables = SYSTEM.import_weights(case.state_dict())

  def loss(params, rest, batch, train):
    out, state = SYSTEM.network.apply(
      {"params": params, **rest}, batch["image"], train, mutable=["batch_stats", "intermediates"],
      capture_intermediates=lambda module, _: module.name in ("backbone", "upsampler_right", "upsampler_left"),
    )  # fmt: skip
    seen = {name: value["__call__"][0] for name, value in state["intermediates"].items()}
    maps = {f"layer{i}": seen["backbone"][f"layer{i}"] for i in range(1, 5)}
    maps |= {"deconv1": seen["upsampler_right"], "deconv2": seen["upsampler_left"]}
    values = SYSTEM.loss_values(out, batch)
    total = sum(value.mean() for value in values.values())
    return total, {"maps": maps, "out": out, "losses": values, "batch_stats": state["batch_stats"]}

  def run(params, rest, batch, train):
    (_, found), grads = jax.value_and_grad(loss, has_aux=True)(params, rest, batch, train)
    volume = jnp.concatenate(found["out"]["volumes"], axis=3)
    soft = codecs.expected_voxel(codecs.softmax_3d(volume, 20.0))
    return found | {"grads": grads, "volume": volume, "soft_argmax": soft, "argmax": codecs.argmax_3d(volume)}

  run = jax.jit(run, static_argnums=3)
  params, rest = variables["params"], {"batch_stats": variables["batch_stats"]}
  with jax.default_matmul_precision("float32"):
    return {mode: jax.tree.map(np.asarray, run(params, rest, batch, mode == "train")) for mode in ("eval", "train")}


def _leaf(tree, path: str):
  for key in path.split("/"):
    tree = tree[key]
  return tree


def _statistics(x: np.ndarray, axes=None) -> np.ndarray:
  x = np.asarray(x, np.float64)
  return np.stack([x.mean(axes), x.std(axes), x.min(axes), x.max(axes)], axis=-1)


@pytest.mark.parametrize("mode", GROWN)
def test_maps(case, runs, mode):
  maps = runs[mode]["maps"]
  for name, (channels, pixels) in MAPS.items():
    if f"{mode}_{name}" in case:
      found = np.moveaxis(maps[name], -1, 1)[:, ::channels, ::pixels, ::pixels]
      close(found, case[f"{mode}_{name}"], LAYERS, GROWN[mode])
  close([_statistics(maps[name]) for name in MAPS], case[f"{mode}_feature_stats"], LAYERS, GROWN[mode])


def test_pooled_features(case, runs):
  close(runs["eval"]["maps"]["layer4"].mean((1, 2)), case["eval_feature_mean"], LAYERS)


# The softmax of 20 times a volume makes the errors of training 20 times as large again.
@pytest.mark.parametrize(("mode", "sharpened"), [("eval", 1.0), ("train", 20.0)])
def test_volumes(case, runs, mode, sharpened):
  volume = runs[mode]["volume"]  # [B, row, column, joint, bin]
  close(volume.transpose(0, 3, 4, 1, 2)[:, ::3, ::8, ::8, ::8], case[f"{mode}_heatmap_slice"], LAYERS, GROWN[mode])
  close(_statistics(volume, (1, 2, 4)), case[f"{mode}_heatmap_stats"], LAYERS, GROWN[mode])
  close(runs[mode]["soft_argmax"], case[f"{mode}_heatmap_soft_argmax"], LAYERS, GROWN[mode] * sharpened)


def test_argmax(case, runs):
  sure = case["eval_heatmap_peak_margin"] > 1e-5
  assert sure.mean() > 0.9
  np.testing.assert_array_equal(runs["eval"]["argmax"][0][sure], case["eval_joint_coord"][sure])


@pytest.mark.parametrize("mode", GROWN)
def test_dense_heads(case, runs, mode):
  out = runs[mode]["out"]
  close(out["root_depth"], case[f"{mode}_root_logits"], LAYERS, GROWN[mode])
  close(
    codecs.soft_argmax_1d(jnp.asarray(out["root_depth"])), case[f"{mode}_rel_root_depth"][:, 0], LAYERS, GROWN[mode]
  )
  close(out["hands"], case[f"{mode}_hand_logits"], LAYERS, GROWN[mode])
  close(codecs.HandednessCodec().decode(out["hands"]), case[f"{mode}_hand_type"], LAYERS, GROWN[mode])


@pytest.mark.parametrize("mode", GROWN)
def test_losses(case, runs, mode):
  values = runs[mode]["losses"]
  means = [values[name].mean() for name in ("heatmap", "root_depth", "handedness")]
  for mean, expected in zip(means, case[f"{mode}_losses"], strict=True):
    close(mean, expected, LAYERS, GROWN[mode])


def test_losses_of_each_example(case, runs):
  values = runs["eval"]["losses"]
  close(values["heatmap"], case["eval_loss_joint_heatmap_per_joint"].mean(-1), LAYERS)
  close(values["root_depth"], case["eval_loss_rel_root_depth_elements"][:, 0], LAYERS)
  close(values["handedness"], case["eval_loss_hand_type_elements"], LAYERS)


# The gradient of the first convolution jumps where a unit crosses ReLU's corner: in evaluation mode one unit of
# layer4.1 lies there within rounding (a float64 pass of ours is within 7e-6), in training mode many (README).
@pytest.mark.parametrize(("mode", "first"), [("eval_backward", 300.0), ("train", 3000.0)])
def test_gradients(case, runs, mode, first):
  grads = runs[mode.split("_")[0]]["grads"]
  norms = [np.linalg.norm(_leaf(grads, path).astype(np.float64)) for path in TENSORS]
  expected = case[f"{mode}_grad_norms"]
  for norm, of_reference in zip(norms[1:], expected[1:], strict=True):
    close(norm, of_reference, 2 * LAYERS, 50)
  close(norms[0], expected[0], 2 * LAYERS, first)
  close(_leaf(grads, TENSORS[0]).transpose(3, 2, 0, 1)[::8], case[f"{mode}_grad_conv1"], 2 * LAYERS, first)
  close(grads["handedness"]["scores"]["bias"], case[f"{mode}_grad_hand_bias"], 2 * LAYERS, 6)
  close(grads["root_depth"]["scores"]["bias"], case[f"{mode}_grad_root_bias"], 2 * LAYERS, 6)
  close(grads["heatmap_right"]["conv"]["bias"][::8], case[f"{mode}_grad_joint_conv_1_bias"], 2 * LAYERS, 6)


def test_running_statistics_after_one_training_step(case, runs):
  layers = {
    "backbone_net.resnet.bn1": ("backbone/bn1", 1),
    "backbone_net.resnet.layer4.2.bn3": ("backbone/layer4_2/bn3", 8),
    "pose_net.joint_deconv_1.7": ("upsampler_right/bn2", 1),
  }
  for theirs, (ours, every) in layers.items():
    for statistic in ("mean", "var"):
      found = _leaf(runs["train"]["batch_stats"], f"{ours}/{statistic}")[::every]
      close(found, case[f"train_after_{theirs}.running_{statistic}"], LAYERS, GROWN["train"])


def test_target(case, batch):
  """The target that is never held in memory, held in memory."""
  voxels = batch["voxels"].reshape(-1, 42, 3)
  rows, columns, bins = codecs.gaussian_factors(voxels, (64, 64, 64), SYSTEM.sigma)
  target = 255 * np.einsum("bhj,bwj,bjd->bjdhw", rows, columns, bins)
  np.testing.assert_allclose(target[:, ::3, ::8, ::8, ::8], case["target_heatmap_slice"], rtol=0, atol=5e-5)
  np.testing.assert_allclose(target.sum((2, 3, 4)), case["target_heatmap_per_joint_sum"], rtol=1e-5, atol=5e-3)


def test_parameter_count(case):
  params = SYSTEM.import_weights(case.state_dict())["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 47_305_474


def test_import_names_what_does_not_fit(case):
  state_dict = case.state_dict()
  with pytest.raises(ValueError, match=r"does not know: pose_net\.extra\.weight"):
    SYSTEM.import_weights(state_dict | {"pose_net.extra.weight": np.zeros(1)})
  missing = {key: value for key, value in state_dict.items() if key != "pose_net.hand_fc.2.bias"}
  with pytest.raises(ValueError, match=r"missing: pose_net\.hand_fc\.2\.bias"):
    SYSTEM.import_weights(missing)
  with pytest.raises(ValueError, match=r"params/handedness/scores/bias is \(3,\), the network has \(2,\)"):
    SYSTEM.import_weights(state_dict | {"pose_net.hand_fc.2.bias": np.zeros(3)})
  with pytest.raises(ValueError, match=r"system\.literal_losses=False"):
    InterNet(literal_losses=True).import_weights(state_dict)
