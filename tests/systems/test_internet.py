"""InterNet end to end on small networks: targets, losses, gradients, predictions, both heads."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import internet as config_file
from jaxhands import codecs, schema
from jaxhands.geometry import crop
from jaxhands.hands.skeleton import WRIST
from jaxhands.models.backbones.resnet import structure
from jaxhands.runs import stages
from jaxhands.systems import base, construct
from jaxhands.systems.internet import InterNet
from jaxhands.weights.resnet import resnet

SMALL = functools.partial(InterNet, crop_hw=(64, 96), depth=18, width=4, upsampler_features=8, bins=16)
FORMS = {
  "volumes": SMALL(),
  "soft volumes": SMALL(pose_loss="soft_argmax", upsampler="shuffle"),
  "planes": SMALL(head="soft_argmax_2p5d", upsampler="shuffle", doublings=2, sigma=1.0),
  "planes, skips": SMALL(head="soft_argmax_2p5d", upsampler="skip", doublings=2, sigma=1.0),
}
SIZE = 4


@pytest.fixture(scope="module")
def batch() -> dict[str, jax.Array]:
  """Both hands in every crop but the last example's, whose left hand is absent and stored as 0."""
  rng = np.random.default_rng(0)
  joints_crop = rng.uniform(20, 60, (SIZE, 2, 21, 2)).astype(np.float32)
  affine = np.float32([[[0.4, 0.1, 5.0], [-0.1, 0.4, 20.0]]] * SIZE)
  depth = 600 + rng.uniform(-80, 80, (SIZE, 2, 21)).astype(np.float32)
  present = np.ones((SIZE, 2), bool)
  present[-1, schema.LEFT] = False
  there = np.repeat(present[..., None], 21, -1)
  joints_img = np.asarray(crop.apply_affine(crop.invert_affine(affine), joints_crop))
  values = {
    "image": rng.integers(0, 256, (SIZE, 64, 96, 3), np.uint8),
    "crop_from_img": affine,
    "joints_img": np.where(there[..., None], joints_img, 0),
    "joints_img_valid": there,
    "joints_cam": np.where(there[..., None], np.stack([depth, depth, depth], -1), 0),
    "joints_cam_valid": there,
    "hand_present": present,
    "hand_present_valid": np.ones(SIZE, bool),
    "example_id": np.arange(SIZE, dtype=np.int32),
    "weight": np.ones(SIZE, np.float32),
  }
  schema.check(values, needs=SMALL().needs)
  return {key: jnp.asarray(value) for key, value in values.items()}


@functools.cache
def _variables(form: str) -> base.Variables:
  system = FORMS[form]
  return jax.jit(system.init)(jax.random.key(1), {"image": jnp.zeros((2, *system.crop_hw, 3))})


@functools.cache
def _loss_and_gradient(form: str):
  system = FORMS[form]
  (objective,) = system.objectives

  def loss(params, variables, batch):
    out = objective.fn({**variables, "params": params}, batch, jax.random.key(0))
    return out.loss, (out.terms, out.state)

  return jax.jit(lambda v, b: jax.value_and_grad(loss, has_aux=True)(v["params"], v, b))


@pytest.fixture(params=FORMS)
def form(request) -> str:
  return request.param


def _prepared(form: str, batch: dict) -> dict:
  return dict(FORMS[form].device_ops(batch, jax.random.key(2), True))


# ---- training -----------------------------------------------------------------


def test_every_part_gets_a_gradient(form, batch):
  system = FORMS[form]
  variables = _variables(form)
  assert set(system.objectives[0].trains) == set(variables["params"])
  (loss, (terms, state)), grads = _loss_and_gradient(form)(variables, _prepared(form, batch))
  for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
    assert np.isfinite(leaf).all(), path
    assert np.any(leaf), path
  assert jax.tree.structure(state["batch_stats"]) == jax.tree.structure(variables["batch_stats"])
  np.testing.assert_allclose(loss, sum(terms.values()), rtol=1e-6)


def test_training_lowers_the_loss(form, batch):
  variables, prepared = _variables(form), _prepared(form, batch)
  step = _loss_and_gradient(form)
  optimizer = optax.adam(3e-3)
  update = jax.jit(optimizer.update)
  state, values = optimizer.init(variables["params"]), []
  for _ in range(12):
    (value, (_, updated)), grads = step(variables, prepared)
    updates, state = update(grads, state)
    variables = {"params": optax.apply_updates(variables["params"], updates), **updated}
    values.append(float(value))
  # Twelve steps are few on the way to heatmaps of height 255.
  assert values[-1] < (0.995 if form == "volumes" else 0.8) * values[0], values


def test_labels_of_padding_do_not_count(form, batch):
  prepared = _prepared(form, batch)
  padded = prepared | {"weight": prepared["weight"].at[1].set(0)}
  other = padded | {key: prepared[key].at[1].multiply(0.5) for key in ("voxels", "root_bin")}
  other["hand_present"] = prepared["hand_present"].at[1].set(False)
  results = [_loss_and_gradient(form)(_variables(form), given) for given in (padded, other)]
  jax.tree.map(np.testing.assert_array_equal, *results)


def test_absent_hands_do_not_count(form, batch):
  """Whatever is stored for the absent left hand of the last example, losses and gradients are the same."""
  system, variables = FORMS[form], _variables(form)
  other = dict(batch)
  for key in ("joints_img", "joints_cam"):
    other[key] = batch[key].at[-1, schema.LEFT].set(jnp.nan)
  results = [_loss_and_gradient(form)(variables, _prepared(form, given)) for given in (batch, other)]
  jax.tree.map(np.testing.assert_array_equal, *results)
  assert not system.targets(batch)["root_bin_valid"][-1]


def test_records_without_depth_train_the_picture_plane_alone(batch):
  """Section 6.5: no depth term for 2D annotations; the heatmap loss ignores them."""
  flat = dict(batch, joints_cam=jnp.zeros_like(batch["joints_cam"]))
  flat["joints_cam_valid"] = jnp.zeros_like(batch["joints_cam_valid"])
  for form, name in (("soft volumes", "joints"), ("planes", "joints"), ("volumes", "heatmap")):
    system = FORMS[form]
    prepared = _prepared(form, flat)
    (_, (terms, _)), _ = _loss_and_gradient(form)(_variables(form), prepared)
    assert terms["root_depth"] == 0
    assert (terms[name] == 0) == (form == "volumes")
    moved = dict(prepared, voxels=prepared["voxels"].at[..., 2].add(3.0))
    (_, (same, _)), _ = _loss_and_gradient(form)(_variables(form), moved)
    assert same[name] == terms[name]
    assert system.targets(flat)["cells_valid"].any()


def test_frozen_parts_keep_their_statistics(batch):
  system = SMALL(frozen=("backbone",))
  variables = _variables("volumes")
  state = jax.jit(lambda v, b: system.loss(v, b, jax.random.key(0)).state)(variables, _prepared("volumes", batch))
  before, after = variables["batch_stats"], state["batch_stats"]
  jax.tree.map(np.testing.assert_array_equal, before["backbone"], after["backbone"])
  assert np.abs(before["upsampler_left"]["bn0"]["mean"] - after["upsampler_left"]["bn0"]["mean"]).max() > 0


def test_literal_losses_are_the_paper_s(batch):
  """Height 1 and a sum against height 255 and a mean; mm against bins."""
  prepared = _prepared("volumes", batch)
  flat = jnp.zeros((SIZE, 16, 24, 21, 16))
  silent = {"volumes": (flat, flat), "root_depth": jnp.zeros((SIZE, 16)), "hands": jnp.zeros((SIZE, 2))}
  paper, released = (SMALL(literal_losses=literal).loss_values(silent, prepared) for literal in (True, False))
  voxels_and_joints = 16 * 24 * 16 * 42
  np.testing.assert_allclose(released["heatmap"], paper["heatmap"] * 255**2 / voxels_and_joints, rtol=1e-4)
  np.testing.assert_allclose(paper["root_depth"], released["root_depth"] * 400 / 16, rtol=1e-5)
  assert released["heatmap"].min() > 0
  assert released["root_depth"][:-1].min() > 0


# ---- targets and device ops ---------------------------------------------------


def test_targets_undo_to_the_annotation(batch):
  system = SMALL()
  targets = system.targets(batch)
  joints_crop, rel_depth = system.joints_codec.decode(targets["voxels"])
  expected = crop.apply_affine(batch["crop_from_img"], batch["joints_img"])
  np.testing.assert_allclose(joints_crop, expected, atol=1e-3)
  z = batch["joints_cam"][..., 2]
  np.testing.assert_allclose(rel_depth, z - z[..., WRIST:], atol=1e-3)
  root = system.root_codec.decode(targets["root_bin"])[:-1]
  np.testing.assert_allclose(root, (z[:, 1, WRIST] - z[:, 0, WRIST])[:-1], atol=1e-3)


@pytest.mark.parametrize(
  ("change", "joint", "what"),
  [
    ({"joints_img": (0, 1e4)}, 3, "outside the crop"),
    ({"joints_cam": (2, 1e4)}, 3, "outside the depth range"),
    ({"joints_img_valid": (None, False)}, 3, "not annotated in the picture"),
    ({"joints_cam_valid": (None, False)}, 3, "without depth"),
  ],
)
def test_masks(batch, change, joint, what):
  ((key, (axis, value)),) = change.items()
  index = (0, schema.RIGHT, joint) if axis is None else (0, schema.RIGHT, joint, axis)
  targets = SMALL().targets(dict(batch, **{key: batch[key].at[index].set(value)}))
  expected = np.asarray(batch["joints_img_valid"]).copy()
  expected[0, schema.RIGHT, joint] = False
  np.testing.assert_array_equal(targets["voxels_valid"], expected, err_msg=what)


def test_without_its_wrist_a_hand_has_no_depth(batch):
  valid = batch["joints_cam_valid"].at[0, schema.RIGHT, WRIST].set(False)
  targets = SMALL().targets(dict(batch, joints_cam_valid=valid))
  assert not targets["voxels_valid"][0, schema.RIGHT].any()
  assert targets["voxels_valid"][0, schema.LEFT].all()
  assert targets["cells_valid"][0].all()
  np.testing.assert_array_equal(targets["root_bin_valid"], [False, True, True, False])


def test_device_ops(batch):
  system = SMALL()
  plain = system.device_ops(batch, jax.random.key(0), False)["image"]
  np.testing.assert_allclose(plain, np.asarray(batch["image"]) / 255, atol=1e-7)
  coloured = system.device_ops(batch, jax.random.key(0), True)["image"]
  inner = (plain > 0.1) & (plain < 0.8)
  low, high = (reduce(jnp.where(inner, coloured / plain, nothing), axis=(1, 2)) for reduce, nothing in
               ((jnp.min, 9), (jnp.max, 0)))  # fmt: skip
  np.testing.assert_allclose(low, high, rtol=1e-5)  # one factor for each example and channel
  assert 0.8 <= low.min() < low.max() <= 1.2
  assert len(np.unique(np.asarray(low).round(4))) == 3 * SIZE
  assert coloured.max() <= 1


# ---- prediction ---------------------------------------------------------------


def test_prediction_fits_the_schema(form, batch):
  system = FORMS[form]
  prepared = system.device_ops({k: batch[k] for k in ("image", "crop_from_img")}, jax.random.key(0), False)
  prediction = jax.jit(system.predict)(_variables(form), prepared, jax.random.key(0))
  assert schema.check(prediction, schema.PREDICTION)["B"] == SIZE
  schema.check_finite(prediction)
  for key in ("confidence", "hand_prob"):
    assert 0 <= prediction[key].min() <= prediction[key].max() <= 1


@pytest.mark.parametrize("decode", ["argmax", "soft_argmax"])
def test_perfect_volumes_give_the_joints(batch, decode, monkeypatch):
  """From targets as outputs, the prediction is the annotation up to half a voxel."""
  system = SMALL(released=True, bins=64, decode=decode, give_heatmaps=True)
  targets = system.targets(batch)
  volumes = [_volume(system, targets["voxels"][:, i]) for i in range(2)]
  root = -jnp.square(jnp.arange(64) - targets["root_bin"][:, None])
  out = {"volumes": tuple(volumes), "root_depth": root, "hands": 20.0 * batch["hand_present"] - 10}
  monkeypatch.setattr("jaxhands.systems.internet.Network.apply", lambda *_: out)
  prediction = system.predict({}, batch, jax.random.key(0))
  schema.check(prediction, schema.PREDICTION)
  there = np.asarray(batch["joints_img_valid"])
  half_voxel_px = 0.5 * 4 * np.sqrt(2) / np.sqrt(0.4**2 + 0.1**2)
  share = 1.01 if decode == "argmax" else 0.3
  error = np.linalg.norm(prediction["joints_img"] - batch["joints_img"], axis=-1)[there]
  assert error.max() < share * half_voxel_px
  z = batch["joints_cam"][..., 2]
  rel_depth = np.asarray(z - z[..., WRIST:])[there]
  assert np.abs(np.asarray(prediction["joints_rel_depth"])[there] - rel_depth).max() < share * 0.5 * 6.25
  np.testing.assert_allclose(prediction["rel_root_depth"][:-1], (z[:, 1, WRIST] - z[:, 0, WRIST])[:-1], atol=1)
  np.testing.assert_array_equal(prediction["hand_prob"] > 0.5, batch["hand_present"])
  assert np.asarray(prediction["confidence"])[there].min() > 0.8
  peaks = np.asarray(prediction["heatmaps"]).max((-1, -2))[there]
  np.testing.assert_allclose(peaks, np.asarray(prediction["confidence"])[there], rtol=1e-5)


def _volume(system: InterNet, voxels: jax.Array) -> jax.Array:
  """The target's Gaussians, [B, h, w, 21, bins]."""
  codec = system.joints_codec
  rows, columns, bins = codecs.gaussian_factors(voxels, (*codec.grid_hw, codec.depth_bins), codec.sigma)
  return codec.peak * jnp.einsum("bhj,bwj,bjd->bhwjd", rows, columns, bins)


def test_confidence_of_planes_falls_with_their_spread(batch, monkeypatch):
  system = FORMS["planes"]
  cells = jnp.full((SIZE, 1, 1, 21, 2), 8.0)
  rows, columns = jnp.meshgrid(jnp.arange(16.0), jnp.arange(24.0), indexing="ij")
  distance = (columns[None, ..., None] - cells[..., 0]) ** 2 + (rows[None, ..., None] - cells[..., 1]) ** 2
  zeros = jnp.zeros_like(distance)
  scores = {"root_depth": jnp.zeros((SIZE, 16)), "hands": jnp.zeros((SIZE, 2)), "depths": (zeros, zeros)}
  found = []
  for sigma in (0.9, 1.0, 2.0, 3.0):
    out = scores | {"planes": (-distance / (2 * sigma**2), zeros)}
    monkeypatch.setattr("jaxhands.systems.internet.Network.apply", lambda *_, out=out: out)
    found.append(system.predict({}, batch, jax.random.key(0))["confidence"][0, 0, 0])
  np.testing.assert_allclose(found, [1.0, 1.0, 1 / 4, 1 / 9], rtol=0.1)


# ---- building -----------------------------------------------------------------


@pytest.mark.parametrize("variant", config_file.VARIANTS)
def test_configs_build(variant):
  config = config_file.get_config(variant)
  config = config.stages.internet if config.stages else config
  system = construct.load(config)
  assert isinstance(system, InterNet)
  assert system.crop_hw == tuple(config.data.crop_hw)
  assert system.released == ("released" in variant)


@pytest.mark.parametrize(
  ("variant", "message"),
  [
    ("small,soft_argmax", "soft_argmax changes nothing at size small, which has no 3D heatmaps; take one of tiny"),
    ("kept,soft_argmax", "soft_argmax changes nothing at size kept"),
    ("literal_losses", "literal_losses changes nothing at size demo"),
    ("demo,scratch,literal_losses", "literal_losses changes nothing at size demo"),
    ("demo,released", "released changes nothing at size demo, which starts from the package's weights; add 'scratch'"),
    ("demo,rootnet,released", "released changes nothing at size demo"),
    ("tiny,scratch", "only the demo starts from weights"),
  ],
)
def test_switches_without_effect_are_refused(variant, message):
  with pytest.raises(ValueError, match=message):
    config_file.get_config(variant)


@pytest.mark.parametrize("variant", ["demo,scratch,released", "kept,released", "small,released"])
def test_layers_that_start_anew_may_start_as_released(variant):
  assert config_file.get_config(variant).system.released


def test_a_demo_from_scratch_has_no_stage_that_starts_from_weights():
  for variant, started in (("demo,rootnet", ["kept/rootnet", "kept/internet"]), ("demo,scratch,rootnet", ["", ""])):
    parts = dict(stages.of(config_file.get_config(variant)))
    assert list(parts) == ["rootnet", "internet"]
    assert [part.init_from.all for part in parts.values()] == started
    assert [part.fit.seconds > 0 for part in parts.values()] == [bool(text) for text in started]


def test_only_the_small_sizes_decode_small_pictures():
  for variant, shrink_to in (("demo", 96), ("paper", 0), ("paper,released", 0)):
    _, decode, *_ = construct.load(config_file.get_config(variant)).host_ops(True)
    assert decode.shrink_to == shrink_to


def test_paper_has_the_published_size():
  system = construct.load(config_file.get_config("paper"))
  shapes = jax.eval_shape(lambda: system.init(jax.random.key(0), {"image": jnp.zeros((1, 256, 256, 3))}))
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) == 47_305_474


def test_wrong_configs_are_refused():
  config = config_file.get_config("tiny")
  with config.unlocked():
    config.system.heads = 2
  with pytest.raises(ValueError, match=r"unknown fields \['heads'\]"):
    construct.load(config)
  with pytest.raises(ValueError, match=r"crop_hw=\(100, 64\) is not a multiple of 32"):
    SMALL(crop_hw=(100, 64))
  with pytest.raises(ValueError, match=r"freeze=\['neck'\]"):
    SMALL(frozen=("neck",))


def test_import_of_a_trunk_fills_the_backbone():
  system = SMALL()
  shapes = jax.eval_shape(lambda: system.init(jax.random.key(0), {"image": jnp.zeros((1, 64, 96, 3))}))
  state_dict = {}
  for source, target, _ in resnet("", "", *structure(18)):
    leaf = {name: tree["backbone"] for name, tree in shapes.items()}
    for key in target.split("/") if target else ():
      leaf = leaf[key]
    shape = leaf.shape if target else ()
    state_dict[source] = np.ones(tuple(shape[i] for i in (3, 2, 0, 1)) if len(shape) == 4 else shape)
  variables = system.import_weights(state_dict)
  assert set(variables["params"]) == {"backbone"}
  assert variables["params"]["backbone"]["conv1"]["kernel"].shape == (7, 7, 3, 4)
