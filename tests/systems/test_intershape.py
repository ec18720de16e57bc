"""Intershape's attention, predictions and variants without training, which tests/contract has."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from configs import intershape as config_file
from jaxhands import schema
from jaxhands.geometry import crop, lift
from jaxhands.hands.model import HandModel
from jaxhands.models import intershape as models
from jaxhands.models.backbones.resnet import ResNet, structure
from jaxhands.runs import stages
from jaxhands.systems import base, construct
from jaxhands.systems import intershape as module
from jaxhands.systems.intershape import Intershape
from jaxhands.train import initialise, step
from jaxhands.weights import kept
from jaxhands.weights.resnet import resnet
from tests.contract import records
from tests.systems.small_intershape import HEATMAPS, MIDDLE, PLANES, SIZE, WRIST, estimates, small


@pytest.fixture(scope="module")
def out():
  return estimates()


@pytest.mark.parametrize("size", [3, 6, 12, 24])
def test_heatmap_attention_in_smaller_maps(size):
  """Of each block of cells the first, or the largest: a joint in any cell is then seen."""
  seen = np.random.default_rng(size).random((2, 2, 24, 24)).astype(np.float32)
  reading = models.Reading(jnp.zeros((2, 12, 12, 1)), jnp.asarray(seen), jnp.zeros((2, 2, 21, 3)))
  n = 24 // size
  for thinned, of_block in (("cell", lambda block: block[0, 0]), ("block", np.max)):
    expected = [[[of_block(a[v * n : v * n + n, u * n : u * n + n]) for u in range(size)] for v in range(size)]
                for a in seen[:, 1]]  # fmt: skip
    np.testing.assert_array_equal(models.HandRegression(thinned=thinned)._seen(reading, 1, size), expected)
  assert models.HandRegression(attention="none")._seen(reading, 1, size) is None
  assert small().network.thinned == "cell"
  assert small(PLANES).network.thinned == "block"


def test_attention_lies_on_the_joints():
  joints = np.zeros((1, 2, 21, 3), np.float32)
  joints[0, :, :, 0] = np.linspace(-40, 40, 21)
  sight = np.float32([[[0.1, 8, 8], [0.1, 4, 12]]])
  joints, sight = jnp.asarray(joints), jnp.asarray(sight)
  maps = np.asarray(models.rendered(joints, sight, 16, 16))
  assert maps[0, 0, 8, 8] == pytest.approx(1, abs=1e-3)
  assert maps[0, 1, 12, 4] == pytest.approx(1, abs=1e-3)
  assert maps[0, 0, 0, 0] < 1e-3
  halved = np.asarray(models.rendered(joints, sight, 16, 8))
  assert halved.shape == (1, 2, 8, 8)
  assert halved[0, 0, 4, 4] == pytest.approx(1, abs=1e-3)


def test_without_a_camera_attention_leaves_nothing_out():
  maps = models.rendered(jnp.zeros((2, 2, 21, 3)), jnp.zeros((2, 2, 3)), 16, 8)
  np.testing.assert_array_equal(maps, 1)


# ---- what heatmaps say --------------------------------------------------------------


def test_reading_of_volumes():
  """Every second cell and bin of one joint after the other, the largest value of a cell, and each joint's maximum."""
  rng = np.random.default_rng(0)
  system = small(dataclasses.replace(HEATMAPS, bins=32))
  volumes = tuple(rng.normal(0, 100, (2, 16, 16, 21, 32)).astype(np.float32) for _ in range(2))
  found, raw = (one.read({"volumes": tuple(map(jnp.asarray, volumes))}) for one in (
    system, dataclasses.replace(system, release="v2")
  ))  # fmt: skip
  both = np.concatenate([volume[:, ::2, ::2, :, ::2] for volume in volumes], axis=3).reshape(2, 8, 8, 42 * 16)
  np.testing.assert_allclose(raw.maps, both, rtol=1e-6)
  np.testing.assert_allclose(found.maps, both / 255, rtol=1e-5)
  np.testing.assert_allclose(raw.attention, np.stack([volume.max((3, 4)) for volume in volumes], 1), rtol=1e-6)
  for side, volume in enumerate(volumes):
    for b, j in np.ndindex(2, 21):
      y, x, _ = np.unravel_index(volume[b, :, :, j].argmax(), (16, 16, 32))
      np.testing.assert_allclose(raw.peaks[b, side, j], [x, y, volume[b, :, :, j].max()], rtol=1e-6)


def test_reading_of_planes():
  """A sharp heatmap is found where it is, with height 1 and full weight; a flat one has little weight."""
  system = small(PLANES)
  planes = np.zeros((1, 8, 8, 21), np.float32)
  planes[0, 5, 2, :20] = 50
  out = {"planes": (jnp.asarray(planes),) * 2, "depths": (jnp.ones((1, 8, 8, 21)) * 0.5,) * 2}
  found = system.read(out)
  np.testing.assert_allclose(found.peaks[0, :, :20], np.broadcast_to([2, 5, 1], (2, 20, 3)), atol=1e-3)
  assert (np.asarray(found.peaks[0, :, 20, 2]) < 0.9).all()
  assert found.attention[0, 0, 5, 2] == pytest.approx(1)
  assert found.maps.shape == (1, 8, 8, 84)
  np.testing.assert_allclose(found.maps[0, 5, 2].reshape(2, 21, 2)[:, :20], [[[1, 0.5]] * 20] * 2, atol=1e-3)


# ---- predictions ----------------------------------------------------------------------


def test_parameters_in_the_cameras_frame_are_those_of_the_turned_hand(out):
  model = HandModel.default()
  affine = np.float32([[[np.cos(0.7), np.sin(0.7), 3], [-np.sin(0.7), np.cos(0.7), 5]]] * SIZE)
  turn = jnp.asarray(crop.view_rotation(affine))
  mano = module._mano(model, out["pose"][:, 0], out["shape"][:, 0], turn)
  joints = np.asarray(model.forward_mano(mano).keypoints)
  seen = np.einsum("bij,bhkj->bhki", turn, joints - joints[..., MIDDLE : MIDDLE + 1, :])
  np.testing.assert_allclose(seen, out["joints"][:, 0], atol=1e-2)


def test_equation_2_places_the_left_hand(out):
  joints, relative = out["joints"][:, 0], out["relative"]
  turn = jnp.asarray(crop.view_rotation(np.float32([[[0.6, 0.8, 0], [-0.8, 0.6, 0]]] * SIZE)))
  cam = jnp.einsum("bhkj,bji->bhki", joints, turn)  # as the camera sees it
  moved = np.asarray(cam + module._together(cam, relative, turn)[:, :, None])
  unit = np.linalg.norm(moved[:, 0, MIDDLE] - moved[:, 0, WRIST], axis=-1)
  apart = np.einsum("bij,bj->bi", turn, moved[:, 1, MIDDLE] - moved[:, 0, MIDDLE]) / unit[:, None]
  np.testing.assert_allclose(apart, np.exp(relative[:, :1]) * relative[:, 1:], rtol=1e-3, atol=1e-4)
  np.testing.assert_array_equal(moved[:, 0], cam[:, 0])


@pytest.fixture(scope="module")
def whole():
  """Fresh variables, a batch whose last camera is unknown, and the jitted prediction."""
  system = small()
  batch = records.batch(system, 2, train=False)
  batch["camera_valid"] = np.array([True, False])
  variables = jax.jit(step.make_init(system, 0))(batch)
  key = jax.random.key(0)
  return variables, batch, jax.jit(lambda v, b: dict(system.predict(v, system.device_ops(b, key, False), key)))


def test_meshes_parameters_and_joints_agree(whole):
  variables, batch, predict = whole
  found = jax.device_get(predict(variables, batch))
  schema.check(found, schema.PREDICTION, dims={"B": 2})
  posed = HandModel.default().forward_mano(found["mano"])
  size = np.abs(found["joints_cam"]).max()
  np.testing.assert_allclose(posed.keypoints, found["joints_cam"], atol=1e-5 * size + 1e-2)
  np.testing.assert_allclose(posed.vertices, found["vertices_cam"], atol=1e-5 * size + 1e-2)
  wrists = found["joints_cam"][:, :, WRIST, 2]
  np.testing.assert_allclose(found["rel_root_depth"], wrists[:, 1] - wrists[:, 0], atol=1e-5 * size + 1e-2)
  depth = found["joints_cam"][..., 2] - wrists[..., None]
  np.testing.assert_allclose(found["joints_rel_depth"], depth, atol=1e-5 * size + 1e-2)
  np.testing.assert_allclose(found["joints_cam"][1, 0, WRIST], 0, atol=1e-4)  # of the unknown camera


def test_heatmaps_that_say_nothing_give_a_finite_flagged_answer(whole):
  """All volumes are 0, so that no joint has weight: confidence 0, and hands that nothing places."""
  variables, batch, predict = whole
  silent = jax.tree.map(jnp.zeros_like, variables["params"]["heatmaps"])
  params = variables["params"] | {"heatmaps": silent}
  found = jax.device_get(predict(variables | {"params": params}, batch))
  schema.check_finite(found)
  np.testing.assert_array_equal(found["confidence"], 0)
  np.testing.assert_allclose(found["joints_cam"][:, 0, WRIST], 0, atol=1e-4)
  placed = lift.lift(found, {"camera_img": batch["camera_img"], "camera_valid": np.ones(2, bool)}, "place")
  assert not np.any(placed.valid)


def test_a_camera_that_mirrors_a_hand_places_it_nowhere(whole, monkeypatch):
  variables, batch, _ = whole
  system, key, estimates = small(), jax.random.key(0), Intershape.estimates

  def mirrored(self, *arguments):
    found, state = estimates(self, *arguments)
    sign = jnp.array([1.0, -1.0])[:, None] * jnp.array([1.0, 0, 0]) + jnp.array([0.0, 1, 1])
    return found | {"camera": jnp.abs(found["camera"]) * sign}, state

  monkeypatch.setattr(Intershape, "estimates", mirrored)
  found = jax.device_get(
    jax.jit(lambda v, b: dict(system.predict(v, system.device_ops(b, key, False), key)))(variables, batch)
  )
  schema.check_finite(found)
  assert (found["confidence"][:, 0] > 0).any(-1).all()
  np.testing.assert_array_equal(found["confidence"][:, 1], 0)


# ---- weights and variants ---------------------------------------------------------------


@pytest.mark.parametrize("release", ["", "v2"])
def test_an_imagenet_trunk_becomes_the_encoder(release):
  fresh = jax.eval_shape(lambda: ResNet(18, 4).init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), True))
  shapes = {"/".join(path): leaf.shape for path, leaf in traverse_util.flatten_dict(dict(fresh)).items()}
  rng, state_dict = np.random.default_rng(0), {}
  for tensor in resnet("", "", *structure(18)):
    if tensor.target:
      value = rng.normal(0, 1, shapes[tensor.target]).astype(np.float32)
      state_dict[tensor.source] = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
  encoder = small(release=release).import_weights(state_dict)
  params = encoder["params"]["encoder"]
  assert set(encoder["params"]) == {"encoder"}
  np.testing.assert_array_equal(params["conv1"]["kernel"], state_dict["conv1.weight"].transpose(2, 3, 1, 0))
  wide = params["layer3_0"]["conv1"]["kernel"]
  np.testing.assert_array_equal(wide[:, :, :8], state_dict["layer3.0.conv1.weight"].transpose(2, 3, 1, 0))
  assert wide.shape[2] == 8 + 42 * 8
  assert wide[:, :, 8:].std() == pytest.approx(0.01, rel=0.05)
  assert ("bn1" in params["layer1_0"]) == (release == "")
  assert "downsample_bn" in params["layer2_0"]


def test_rows_of_the_paper_differ_in_what_they_say():
  def system(switch):
    (_, config) = stages.of(config_file.get_config(f"tiny,{switch}" if switch else "tiny"))[-1]
    assert config.freeze == ("heatmaps",)
    return construct.load(config)

  full = system("")
  changed = {
    switch: {
      field.name: getattr(made, field.name)
      for field in dataclasses.fields(made)
      if getattr(made, field.name) != getattr(full, field.name)
    }
    for switch in config_file.ROWS.values()
    for made in [system(switch)]
  }
  assert changed == {
    "": {},
    "baseline": {"refinements": (), "attention": "none"},
    "no_attention": {"attention": "none"},
    "heatmaps_2p5d": {"attention": "heatmap"},
    "predicted_camera": {"camera": "predicted"},
    "high_level_features": {"refinements": ("layer4",) * 3},
    "single_mano": {"context": "own"},
  }


@pytest.mark.parametrize("variant", ["tiny,baseline,no_attention", "tiny,released,released_v1"])
def test_switches_that_exclude_each_other_are_refused(variant):
  with pytest.raises(ValueError, match="one row of the paper's table and one release"):
    config_file.get_config(variant)


def test_released_heatmaps_are_those_that_are_trained():
  for variant, released in (("demo,released", False), ("demo,scratch,released_v1", True), ("tiny,released", True)):
    _, config = stages.of(config_file.get_config(variant))[-1]
    assert config.system.heatmaps.released == released, variant


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"crop_hw": (64, 96)}, "squares"),
    ({"crop_hw": (96, 96)}, "heatmaps are of crops of"),
    ({"heatmaps": dataclasses.replace(HEATMAPS, doublings=1)}, "coarser"),
    ({"attention_weight": 0.1, "attention": "none"}, "is not drawn"),
    ({"frozen": ("head",)}, "freezes whole parts"),
  ],
)
def test_networks_that_do_not_fit_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(small(), **changes)


def test_the_kept_size_starts_from_the_internet_of_the_package():
  """The heatmaps are its own; the encoder is its backbone, whose third stage sees the heatmaps besides."""
  config = config_file.get_config("kept")
  system = construct.load(config)
  assert isinstance(system, base.WidenedSystem)
  fresh = system.init(jax.random.key(0), {"image": jnp.zeros((1, *system.crop_hw, 3))})
  fresh = {kind: tree for kind, tree in fresh.items() if kind != "constants"}
  found = traverse_util.flatten_dict(
    initialise.fill(fresh, dict(config.init_from), lambda path: {}, widened=system.widened), sep="/"
  )
  there = kept.read(kept.folder("internet"))
  ours = {path: path.replace("/heatmaps/", "/") for path in found if "/heatmaps/" in path}
  ours |= {path: path.replace("/encoder/", "/backbone/") for path in found if "/encoder/" in path}
  assert set(there) >= set(ours.values())
  for path, theirs in ours.items():
    own = there[theirs].shape[-2] if path in system.widened else None
    np.testing.assert_array_equal(found[path][..., :own, :] if own else found[path], there[theirs], err_msg=path)
  assert all(found[path].shape[-2] > there[ours[path]].shape[-2] for path in system.widened)
