"""HandFlowNet and its baselines: targets, start, losses and predictions against what they mean."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import handflow as config_of
from jaxhands.geometry import camera, crop, lift
from jaxhands.hands import vector
from jaxhands.hands.model import HandModel
from jaxhands.models import distribution
from jaxhands.models.backbones.resnet import ResNet
from jaxhands.models.flow import actnorm
from jaxhands.systems import construct
from jaxhands.systems.handflow import HandFlow
from jaxhands.systems.handflow_baselines import Dropout, Gaussian, HandFlowBaseline, Vae
from jaxhands.train import checkpoint, initialise, step
from jaxhands.weights import kept
from tests.contract import records

SIZE, KEY = 4, jax.random.key(1)
MODEL = HandModel.default()


def _system(**fields):
  sizes = {"crop_hw": (64, 64), "depth": 18, "width": 4, "hidden": 16, "dropout": 0.0, "annotations": 3, "compared": 3,
           "samples": 6, "layers": 2, "blocks": 1}  # fmt: skip
  return HandFlow(**(sizes | fields))


def _batch(system, train=True):
  host = records.batch(system, SIZE, train)
  return {key: jnp.asarray(value) for key, value in host.items()}


# Compiled whole, as one operation after the other takes many times as long.
@functools.partial(jax.jit, static_argnums=0)
def _targets(system, batch):
  return system.targets(batch, MODEL)


@functools.partial(jax.jit, static_argnums=0)
def _pose_losses(system, out, rows, valid, batch):
  return system.pose_losses(out, rows, valid, batch, MODEL)


def _encoded(system, mano, batch):
  """By NumPy."""
  affine, intrinsics = (np.asarray(batch[key]) for key in ("crop_from_img", "camera_img"))
  return system.code.encode(np.asarray(mano), MODEL, affine, intrinsics)[0]


def test_couplings_that_have_no_inverse_are_refused():
  assert _system().distribution.smallest_scale == 0.25
  with pytest.raises(ValueError, match="smallest_scale=0"):
    _system(smallest_scale=0.0)


@pytest.mark.parametrize("side", [64, 80])
def test_features_are_the_last_maps_mean_or_its_cells(side):
  pooled, whole = (_system(crop_hw=(side, side), pooled=pooled) for pooled in (True, False))
  image = jax.random.normal(jax.random.key(0), (2, side, side, 3))
  net: Any = ResNet(18, 4)
  backbone = net.init(jax.random.key(1), image, False)
  last = np.asarray(net.apply(backbone, image, False)["layer4"])
  for system, expected in ((pooled, last.mean((1, 2))), (whole, last.reshape(2, -1))):
    variables = {kind: {"backbone": tree} for kind, tree in backbone.items()}
    features = system.network.apply(variables, image, False, method="features")
    assert features.shape == (2, system.context)
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_targets_are_the_annotations_that_there_are():
  system = _system()
  batch = _batch(system, train=False)
  valid = np.array([[True, True, True], [False, True, False], [False] * 3, [False] * 3])
  batch["annotations_valid"] = jnp.asarray(valid)
  batch["mano_valid"] = jnp.asarray([[True, True]] * 3 + [[True, False]])  # the last picture has nothing at all
  rows, there = (np.asarray(x) for x in _targets(system, batch))
  np.testing.assert_array_equal(there, [[True, True, True], [False, True, False], [True, False, False], [False] * 3])
  several, fit = _encoded(system, batch["annotations_mano"], batch), _encoded(system, batch["mano"][:, None], batch)
  np.testing.assert_allclose(rows[0], several[0], atol=1e-5)
  np.testing.assert_allclose(rows[1], np.repeat(several[1, 1:2], 3, 0), atol=1e-5)
  np.testing.assert_allclose(rows[2], np.repeat(fit[2], 3, 0), atol=1e-5)
  np.testing.assert_allclose(rows[3], np.repeat(rows[there].mean(0)[None], 3, 0), atol=1e-4)

  single, there = _targets(_system(multihands=False), batch)
  np.testing.assert_allclose(single[:3], fit[:3], atol=1e-5)
  np.testing.assert_array_equal(there[:, 0], [True, True, True, False])
  blind = {**batch, "camera_valid": jnp.zeros(SIZE, bool)}
  assert not np.asarray(_targets(system, blind)[1]).any(), "without a camera there is no scale"


def test_the_first_batch_starts_the_flow():
  system = _system()
  batch = _batch(system)
  variables = jax.jit(step.make_init(system, 0))(batch)
  rows, valid = _targets(system, batch)
  expected = jax.jit(actnorm.start)(rows, valid.astype(jnp.float32))
  found = variables["params"]["distribution"]["actnorm_0"]
  np.testing.assert_allclose(found["log_scale"], expected[0], rtol=1e-3, atol=1e-3)
  np.testing.assert_allclose(found["shift"], expected[1], rtol=1e-3, atol=2e-2)
  counted = np.asarray(rows)[np.asarray(valid)] * np.exp(found["log_scale"]) + found["shift"]
  np.testing.assert_allclose(counted.mean(0), 0, atol=2e-2)
  moving = np.asarray(expected[0]) < -np.log(2e-3)  # others hardly differ in this batch
  np.testing.assert_allclose(counted[:, moving].std(0, ddof=1), 1, rtol=1e-2)
  assert variables["constants"]["hand_model"].identity == MODEL.identity


def test_the_determinant_teaches_the_flow_and_not_the_backbone():
  system = _system()
  batch = _batch(system)
  variables = jax.jit(step.make_init(system, 0))(batch)
  constants = {kind: tree for kind, tree in variables.items() if kind != "params"}
  # Fresh nets say next to nothing; these say something of the picture.
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda leaf: leaf + 0.05 * rng.normal(size=leaf.shape).astype(np.float32), variables["params"])
  prepared = system.device_ops(batch, jax.random.key(0), True)

  @jax.jit
  def gradients(params):
    def term(name):
      def of(params):
        return system.loss({"params": params, **constants}, prepared, jax.random.key(1)).terms[name]

      return jax.grad(of)(params)

    return {name: term(name) for name in ("determinant", "nll")}

  found = gradients(params)
  assert all(not np.any(leaf) for leaf in jax.tree.leaves(found["determinant"]["backbone"]))
  assert any(np.any(leaf) for leaf in jax.tree.leaves(found["nll"]["backbone"]))
  assert any(np.any(leaf) for leaf in jax.tree.leaves(found["determinant"]["distribution"]["net_0"]))


def test_losses_of_the_truth_are_0():
  """A mode and samples that are the fit: its joints, its pixels, its rotations."""
  system = _system()
  batch = _batch(system)
  rows, valid = _targets(_system(multihands=False), batch)
  out = {"mode": rows, "samples": jnp.repeat(rows, 2, 1)}
  values = _pose_losses(system, out, rows, valid, batch)
  assert set(values) == {"mode", "joints", "projection", "projection_samples", "orthonormality"}
  for name, value in values.items():
    np.testing.assert_allclose(value, 0, atol=1e-4, err_msg=name)

  # 10 % farther away: other joints and other pixels, the same rotations.
  moved = rows.at[..., [108, 217]].add(-np.log(1.1))
  values = _pose_losses(system, {"mode": moved, "samples": out["samples"]}, rows, valid, batch)
  np.testing.assert_allclose(values["mode"], 2 * np.log(1.1) ** 2, rtol=1e-3)
  assert (values["projection"] > 0.01).all()
  np.testing.assert_allclose(values["projection_samples"], 0, atol=1e-4)
  np.testing.assert_allclose(values["orthonormality"], 0, atol=1e-6)


def test_what_is_hidden_or_unknown_has_no_loss():
  system = _system()
  batch = _batch(system)
  rows, valid = _targets(system, batch)
  out = {"mode": rows[:, :1] + 0.3, "samples": rows[:, :2] + 0.3}
  nothing = {
    **batch,
    "joints_visible": jnp.zeros((SIZE, 2, 21), bool),
    "joints_cam_valid": jnp.zeros((SIZE, 2, 21), bool),
  }
  values = _pose_losses(system, out, rows, jnp.zeros_like(valid), nothing)
  for name in ("mode", "joints", "projection", "projection_samples"):
    np.testing.assert_array_equal(values[name], 0, err_msg=name)


def test_vectors_become_joints_and_pixels_of_the_crop():
  system = _system()
  batch = _batch(system)
  rows, _ = _targets(_system(multihands=False), batch)
  joints_cam, joints_crop = jax.jit(lambda rows, batch: system.joints(rows, batch, MODEL.tips_only()))(rows, batch)
  np.testing.assert_allclose(joints_cam[:, 0], batch["joints_cam"], atol=0.1)
  expected = crop.apply_affine(
    batch["crop_from_img"], camera.project(batch["joints_cam"], batch["camera_img"][:, None])
  )
  np.testing.assert_allclose(joints_crop[:, 0], expected, atol=0.05)


def test_a_hand_of_which_no_sample_is_near_the_mode_is_placed_all_the_same():
  """Its confidences are low and alike, not 0, by which nothing could be placed."""
  system = _system()
  batch = _batch(system, train=False)
  variables = jax.jit(step.make_init(system, 0))(batch)
  # Noise of a thousand deviations: no sample is anywhere near.
  with pytest.MonkeyPatch.context() as patch:
    normal = distribution.normal
    patch.setattr(distribution, "normal", lambda *args: 1000 * normal(*args))
    found = jax.device_get(system.predict(variables, system.device_ops(batch, jax.random.key(0), False), KEY))
  np.testing.assert_allclose(found["confidence"], 1 / (system.samples + 2), rtol=1e-6)
  known = {"camera_img": batch["camera_img"], "camera_valid": np.ones(SIZE, bool)}
  assert np.asarray(lift.lift(found, known, "place").valid).all()


def test_a_gaussians_density_is_its_samples():
  """Mean and deviation of many samples in the first batch's units; their density by NumPy."""
  module = Gaussian(hidden=8, dropout=0.0)
  rng = np.random.default_rng(0)
  rows, context = (
    jnp.asarray(rng.normal(3, 2, (5, 4, vector.SIZE)), jnp.float32),
    jnp.asarray(rng.normal(size=(5, 6)), jnp.float32),
  )
  variables = module.init(jax.random.key(0), rows, context, jnp.ones((5, 4)), method="start")

  def everything(module, context):
    state = module.condition(context, False)
    drawn, density = module.draw(state, 4000, False)
    return state, drawn, density, module.mode(state, False), module.units().forward(drawn)

  (mean, log_deviation), drawn, density, mode, inside = module.apply(
    variables, context[:2], method=everything, rngs={"samples": jax.random.key(1)}
  )
  assert (np.abs(inside.mean(1) - mean[:, 0]) < 5 * np.exp(log_deviation[:, 0]) / np.sqrt(4000)).all()
  np.testing.assert_allclose(inside.std(1), np.exp(log_deviation[:, 0]), rtol=0.08)
  np.testing.assert_allclose(
    mode,
    (mean - variables["params"]["units"]["shift"]) * np.exp(-variables["params"]["units"]["log_scale"]),
    rtol=1e-4,
    atol=1e-4,
  )
  units = (np.asarray(inside[0, 7]) - mean[0, 0]) / np.exp(log_deviation[0, 0])
  expected = (
    -0.5 * (units**2 + np.log(2 * np.pi)).sum()
    - log_deviation[0, 0].sum()
    + variables["params"]["units"]["log_scale"].sum()
  )
  assert density[0, 7] == pytest.approx(float(expected), rel=1e-4)
  assert drawn.shape == (2, 4000, vector.SIZE)


def _started(module):
  rng = np.random.default_rng(0)
  rows = jnp.asarray(rng.normal(3, 2, (5, 4, vector.SIZE)), jnp.float32)
  context = jnp.asarray(rng.normal(size=(5, 6)), jnp.float32)
  streams = {"params": jax.random.key(0), "samples": jax.random.key(1)}
  return module.init(streams, rows, context, jnp.ones((5, 4)), method="start"), rows, context


def test_a_vaes_losses_and_samples():
  """Its divergence is the integral that it is named after, by samples; the mode is what the code 0 becomes."""
  module = Vae(hidden=8, dropout=0.0, code=3)
  variables, rows, context = _started(module)

  def everything(module, rows, context):
    state = module.condition(context, False)
    inside, _ = module.units().forward_and_log_det(rows)
    seen = jnp.concatenate([inside, jnp.broadcast_to(state, (*rows.shape[:2], 6))], axis=-1)
    code = jnp.split(module.encoder(seen, False), 2, axis=-1)
    decoded = module._from_units(module._decoded(code[0], state, False))
    zero = module._from_units(module._decoded(jnp.zeros((5, 1, 3)), state, False))
    return module.fit(rows, state, False), code, decoded, zero, module.mode(state, False), module.draw(state, 2, False)

  fit, (mean, log_deviation), decoded, zero, mode, _ = module.apply(
    variables, rows, context, method=everything, rngs={"samples": jax.random.key(1)}
  )
  # Without a stream of noise the code is its mean.
  quiet, *_ = module.apply(variables, rows, context, method=lambda m, r, c: (m.fit(r, m.condition(c, False), False),))
  scale = np.exp(variables["params"]["units"]["log_scale"])
  expected = 0.5 * np.square((np.asarray(decoded) - rows) * scale).sum(-1)
  np.testing.assert_allclose(quiet["reconstruction"], expected, rtol=1e-3)
  assert not np.allclose(fit["reconstruction"], quiet["reconstruction"], rtol=1e-3), "the code has noise"
  mean, deviation = np.asarray(mean, np.float64), np.exp(np.asarray(log_deviation, np.float64))
  z = mean + deviation * np.random.default_rng(0).normal(size=(200_000, 1, 1, 3))
  densities = -0.5 * np.square((z - mean) / deviation) - np.log(deviation) + 0.5 * np.square(z)
  np.testing.assert_allclose(fit["divergence"], densities.sum(-1).mean(0), rtol=0.02, atol=0.02)
  np.testing.assert_array_equal(mode, zero)


def test_dropped_units_make_the_samples():
  """In prediction all pictures drop the same, so that a sample does not depend on its neighbours."""
  module = Dropout(hidden=32, dropout=0.5)
  variables, _, context = _started(module)

  def drawn(module, context, train):
    state = module.condition(context, train)
    return module.draw(state, 6, train)[0], module.mode(state, train)

  def of(context, train):
    return module.apply(variables, context, train, method=drawn, rngs={"dropout": jax.random.key(2)})

  samples, mode = of(context, False)
  alone, _ = of(context[3:4], False)
  np.testing.assert_allclose(alone[0], samples[3], rtol=1e-4, atol=1e-4)
  assert len(np.unique(np.asarray(samples[0]).round(3), axis=0)) == 6
  np.testing.assert_allclose(of(context[3:4], False)[1][0], mode[3], rtol=1e-4, atol=1e-4)
  twice, _ = of(jnp.repeat(context[:1], 2, 0), True)
  assert not np.allclose(twice[0], twice[1]), "in training each picture drops its own"
  twice, _ = of(jnp.repeat(context[:1], 2, 0), False)
  np.testing.assert_allclose(twice[0], twice[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variant", ["tiny,gaussian", "tiny,vae", "tiny,mcdropout", "tiny"])
def test_a_switch_drops_its_loss_and_no_other(variant):
  whole = construct.load(config_of.get_config(variant)).weights
  for switch, fields in config_of.DROPPED.items():
    if variant != "tiny" and switch in ("no_determinant", "no_nll") and not (switch == "no_nll" and "gauss" in variant):
      with pytest.raises(ValueError, match="has no"):
        config_of.get_config(f"{variant},{switch}")
      continue
    left = construct.load(config_of.get_config(f"{variant},{switch}")).weights
    gone = set(whole) - set(left)
    dropped = {name.removesuffix("_weight") for name in fields}
    assert gone == (dropped | {"determinant"} if switch == "no_nll" and variant == "tiny" else dropped)
    assert all(left[name] == whole[name] for name in left)


@pytest.mark.parametrize("variant", ["demo,gaussian", "small", "small,gaussian", "kept"])
def test_the_trunk_is_that_of_the_packages_internet(variant):
  """It fills the whole trunk, and what it was trained to see is what it sees: the same picture, the same features."""
  config = config_of.get_config(variant)
  system, internet = construct.load(config), construct.load(checkpoint.read_config(kept.folder("internet")))
  batch = records.batch(system, 1, train=False)
  variables = jax.eval_shape(step.make_init(system, 0), batch)
  own = {kind: {"backbone": tree["backbone"]} for kind, tree in variables.items() if kind != "constants"}
  filled = initialise.fill(own, dict(config.init_from), system.import_weights)
  trunk = functools.partial(ResNet(18, 24).apply, train=False)
  stored = checkpoint.read_variables(kept.folder("internet"), own)
  for one in (internet, system):
    image = jnp.asarray(one.device_ops(batch, jax.random.key(0), False)["image"])
    np.testing.assert_allclose(image, np.asarray(batch["image"]) / 255, atol=1e-6)
  seen = [trunk({kind: tree["backbone"] for kind, tree in found.items()}, image) for found in (filled, stored)]
  np.testing.assert_array_equal(seen[0]["layer4"], seen[1]["layer4"])
  assert config_of.get_config("small,scratch").init_from.backbone == ""
  assert config_of.get_config("demo").init_from.all == "kept/handflow"
  with pytest.raises(ValueError, match="only demo and small start from weights"):
    config_of.get_config("kept,scratch")


def test_what_cannot_be_is_refused():
  with pytest.raises(ValueError, match=r"determinant_weight=0\.01 is not less than nll_weight=0\.001"):
    _system(determinant_weight=0.01)
  with pytest.raises(ValueError, match="samples=0: expected 1 or more"):
    _system(samples=0)
  with pytest.raises(ValueError, match="freezes whole parts"):
    HandFlowBaseline(frozen=("layers",))
  with pytest.raises(ValueError, match="'additive' is about the flow's couplings"):
    config_of.get_config("small,vae,additive")
  with pytest.raises(ValueError, match="nobody has released"):
    _system().import_weights({"net.weight": np.zeros(3)})
  with pytest.raises(ValueError, match=r"smallest_scale=0.25, and these weights are of 0.001"):
    _system().import_weights({"_transform._transforms.0.shift": np.zeros(3)})


def test_weights_of_prohmrs_library_fill_the_flow():
  system = _system(coupling="additive", batch_norm=True)
  shapes = jax.eval_shape(functools.partial(step.make_init(system, 0)), _batch(system))["params"]["distribution"]
  sizes = {"features": vector.SIZE, "context": system.context, "kept": vector.SIZE // 2}
  state = {}
  for layer in range(2):
    actnorm_, lu, net = (f"_transform._transforms.{3 * layer + i}" for i in range(3))
    net = f"{net}.transform_net"
    entries = vector.SIZE * (vector.SIZE - 1) // 2
    state |= {f"{actnorm_}.{name}": np.zeros(vector.SIZE) for name in ("log_scale", "shift")}
    state |= {f"{lu}.{name}": np.zeros(entries) for name in ("lower_entries", "upper_entries")}
    state |= {f"{lu}.{name}": np.zeros(vector.SIZE) for name in ("unconstrained_upper_diag", "bias")}
    state[f"{net}.initial_layer.weight"] = np.arange(16 * (sizes["kept"] + sizes["context"])).reshape(16, -1)
    state[f"{net}.initial_layer.bias"] = np.zeros(16)
    for i in range(2):
      norm = f"{net}.blocks.0.batch_norm_layers.{i}"
      state |= {f"{norm}.{name}": np.zeros(16) for name in ("weight", "bias", "running_mean", "running_var")}
      state |= {f"{norm}.num_batches_tracked": np.zeros(())}
      state |= {f"{net}.blocks.0.linear_layers.{i}.weight": np.zeros((16, 16))}
      state |= {f"{net}.blocks.0.linear_layers.{i}.bias": np.zeros(16)}
    state |= {
      f"{net}.final_layer.weight": np.zeros((sizes["kept"], 16)),
      f"{net}.final_layer.bias": np.zeros(sizes["kept"]),
    }
  found = system.import_weights(state)
  same = jax.tree.map(lambda a, b: a.shape == b.shape, found["params"]["distribution"], dict(shapes))
  assert all(jax.tree.leaves(same))
  first = found["params"]["distribution"]["net_0"]
  weight = state["_transform._transforms.2.transform_net.initial_layer.weight"]
  np.testing.assert_array_equal(first["from_kept"]["kernel"], weight[:, : sizes["kept"]].T)
  np.testing.assert_array_equal(first["from_context"]["kernel"], weight[:, sizes["kept"] :].T)
  assert set(found) == {"params", "batch_stats"}
