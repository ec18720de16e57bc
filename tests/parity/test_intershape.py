"""Intershape's networks of both releases, the second one's losses, and the numbers of its evaluator."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands import codecs
from jaxhands.evaluation.metrics import base as metrics
from jaxhands.evaluation.metrics import pose
from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel
from jaxhands.models import intershape as models
from jaxhands.systems.internet import InterNet
from jaxhands.systems.intershape import Intershape
from tests.hands import synthetic_mano
from tests.parity.cases import Case, close

LAYERS = 54 + 50 + 4 * 9  # InterNet's, the encoder's, and each estimate's features, parameters and chain of joints
QUICK = {"xla_backend_optimization_level": 0}  # compiles in half the time
RELEASES = ("v1", "v2")
ORDERS = {"v1": skeleton.SNAP_FROM_INTERHAND, "v2": skeleton.MANO21_FROM_INTERHAND}
PARAMETERS = {"v1": 143_372_670 - 2_049_000, "v2": 141_331_606 - 128}  # less a classifier; less those of MANO layers
TIPS = [745, 317, 444, 556, 673]


@pytest.fixture(scope="module")
def hand_model(goldens, tmp_path_factory) -> str:
  mano = Case(goldens, "mano")
  return str(synthetic_mano.write_pair(mano.folder, tmp_path_factory.mktemp("mano")))


def _system(release: str, hand_model: str) -> Intershape:
  return Intershape(InterNet(released=True), hand_model, release=release)


@pytest.fixture(scope="module", params=RELEASES)
def found(request, goldens, hand_model):
  """(case, our arrays under the names of the case, all in the reference's order of joints)."""
  release = request.param
  case = Case(goldens, "intershape", f"golden_{release}.npz")
  system = _system(release, hand_model)
  variables = system.import_weights(case.state_dict(release))
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == PARAMETERS[release]
  model = system.loaded_hand_model()

  @functools.partial(jax.jit, compiler_options=QUICK)
  def run(variables, image):
    heat = system.heatmaps.network.apply(jax.tree.map(lambda x: x, _part(variables, True)), image, False)
    reading = system.read(heat)
    out, state = system.network.apply(
      _part(variables, False), system._normalised(image), reading, model, False, mutable=["intermediates"],
      capture_intermediates=lambda module, _: module.path in (("encoder",), ("encoder", "conv1"), ("encoder", "bn1")),
    )  # fmt: skip
    estimated, _ = system.estimates(variables | {"constants": {"hand_model": model}}, image, False)
    turns = models.with_mean_pose(model, out["pose"])
    posed = model.forward(turns.reshape(*turns.shape[:-1], 16, 3), out["shape"], np.zeros(3, np.float32))
    rest = model.forward(jnp.zeros((*turns.shape[:-1], 16, 3)), out["shape"], np.zeros(3, np.float32))
    seen = state["intermediates"]["encoder"]
    same = jax.tree.map(lambda a, b: (a == b).all(), estimated["joints"], out["joints"])
    return {"heat": heat, "reading": reading, "out": out, "posed": posed, "rest": rest, "maps": seen, "same": same}

  with jax.default_matmul_precision("float32"):
    ran = jax.device_get(run(variables, case.image()))
  assert ran["same"], "what the system estimates is not what the two networks give"
  return case, {f"{release}/{key}": value for key, value in _named(release, ran).items()}


def _part(variables, heatmaps: bool):
  if heatmaps:
    return {kind: tree["heatmaps"] for kind, tree in variables.items()}
  return {kind: {name: tree for name, tree in found.items() if name != "heatmaps"} for kind, found in variables.items()}


def _named(release: str, ran) -> dict[str, np.ndarray]:
  order, out, heat = ORDERS[release], ran["out"], ran["heat"]
  volume = np.concatenate([each[..., order, :] for each in heat["volumes"]], axis=3).transpose(0, 3, 4, 1, 2)
  flat = volume.reshape(*volume.shape[:2], -1)
  largest = np.sort(flat, axis=-1)[..., -2:]
  peaks = ran["reading"].peaks[:, :, order]
  maps = ran["maps"]["__call__"][0]
  stem = ran["maps"]["conv1"]["__call__"][0] if release == "v1" else ran["maps"]["bn1"]["__call__"][0]
  root = (
    heat["root_depth"]
    if release == "v1"
    else np.asarray(codecs.soft_argmax_1d(jnp.asarray(heat["root_depth"])))[:, None]
  )
  named = {
    "heatmap_sub": volume[:, ::3, ::16, ::8, ::8],
    "heatmap_stats": np.array(
      [flat.mean(dtype=np.float64), flat.std(ddof=1, dtype=np.float64), flat.min(), flat.max()]
    ),
    "heatmap_max": largest[..., 1],
    "heatmap_margin": largest[..., 1] - largest[..., 0],
    "root": root,
    "hand_type": 1 / (1 + np.exp(-heat["hands"])),
    "mean_res_conv1_relu": np.maximum(stem, 0).mean((1, 2)),
    "features": maps["layer4"].mean((1, 2)),
    "trans": out["relative"],
    "xyc_right": peaks[:, 0],
    "xyc_left": peaks[:, 1],
  }
  named |= {f"mean_res_layer{i}": maps[f"layer{i}"].mean((1, 2)) for i in range(1, 5)}
  middle = ran["posed"].keypoints[..., models.MIDDLE1, :][..., None, :]
  joints, vertices = out["joints"][..., order, :], ran["posed"].vertices - middle
  if release == "v2":  # nothing is centred
    joints, vertices = joints + middle, ran["posed"].vertices
    for key, value in (("out/joints3d", joints[:, -1]), ("out/verts3d_sub", vertices[:, -1])):
      whole = value.reshape(len(value), -1, 3)
      named[key] = whole if key == "out/joints3d" else whole[:, ::16]
  rest = np.concatenate([ran["rest"].joints, ran["rest"].vertices[..., TIPS, :]], axis=-2)[
    ..., skeleton.INTERHAND_FROM_MANO21[skeleton.SNAP_FROM_INTERHAND], :
  ]
  for side, hand in enumerate(("right", "left")):
    for stage in range(out["pose"].shape[1]):
      of = {"pose": out["pose"], "shape": out["shape"], "joints3d": joints, "T_pose": out["rest_joints"]}
      of |= {"T_joints3d": rest, "verts3d_sub": vertices[..., ::16, :]}
      named |= {f"stage{stage}/{hand}/{key}": value[:, stage, side] for key, value in of.items()}
    for stage, drawn in enumerate(out["attention"], start=1):
      named[f"stage{stage}/{hand}/attention"] = drawn[:, side]
  return named


def test_every_array_of_a_release(found):
  case, ours = found
  for key in case:
    assert key in ours, f"nothing of ours is compared with {key}"
    if key.endswith("heatmap_margin"):  # a small difference of large values
      np.testing.assert_allclose(ours[key], case[key], atol=1e-5 * np.abs(case[key.replace("margin", "max")]).max())
    else:
      close(ours[key], case[key], LAYERS)


def test_peaks_are_the_same_cells(found):
  case, ours = found
  for key in case:
    if "/xyc_" in key:
      np.testing.assert_array_equal(ours[key][..., :2], case[key][..., :2])


# ---- losses and evaluator of the second release -----------------------------------


@pytest.fixture(scope="module")
def loss_case(goldens) -> Case:
  return Case(goldens, "intershape", "golden_loss.npz")


LOSSES = {
  "offset": "offset", "consis": "consistency", "joint": "joint", "bone": "bone", "shape": "shape",
  "regularizer": "regulariser",
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses(loss_case, name):
  given = {key: loss_case[f"loss_v2/in/{key}"] for key in (
    "outputs/joints3d", "outputs/shape", "outputs/pose", "outputs/T_pose", "outputs/trans", "targets/joint_coord",
    "targets/hand_type", "targets/shape_param", "meta/joint_valid", "meta/mano_valid",
  )}  # fmt: skip
  size, stages = given["outputs/joints3d"].shape[:2]
  ours = skeleton.INTERHAND_FROM_MANO21
  joints = given["outputs/joints3d"].reshape(size, stages, 2, 21, 3)[..., ours, :]
  out = {
    "joints": joints - joints[..., models.MIDDLE1 : models.MIDDLE1 + 1, :],
    "rest_joints": given["outputs/T_pose"].reshape(size, stages, 2, 16, 3),
    "pose": given["outputs/pose"].reshape(size, stages, 2, 48),
    "shape": given["outputs/shape"].reshape(size, stages, 2, 10),
    "relative": given["outputs/trans"],
  }
  present = given["targets/hand_type"] > 0
  targets = {
    "joints": given["targets/joint_coord"].reshape(size, 2, 21, 3)[..., ours, :],
    "joints_valid": given["meta/joint_valid"].reshape(size, 2, 21)[..., ours] > 0,
    "shape": given["targets/shape_param"].reshape(size, 2, 10),
    "shape_valid": (given["meta/mano_valid"] > 0) & present,
    "present": present,
  }
  system = Intershape(InterNet(released=True), release="v2")
  value = jax.jit(system.loss_values)(out, targets)[LOSSES[name]].mean()
  close(system.weights[LOSSES[name]] * value, loss_case[f"loss_v2/{name}"], 8)


def test_evaluator(loss_case):
  """Mean and median of the joints' errors, the curve of correct joints and its area; hands are aligned already."""
  given = {key: loss_case[f"eval/in/{key}"] for key in ("gt", "pred", "valid")}
  joints, truth = (np.asarray(given[key], np.float32).reshape(-1, 2, 21, 3) for key in ("pred", "gt"))
  prediction = {"joints_cam": joints}
  batch = {"joints_cam": truth, "joints_cam_valid": given["valid"].reshape(-1, 2, 21)}
  protocol = metrics.Protocol(depth="predicted", root="none")
  mpjpe, area = pose.mpjpe(protocol), pose.pck_auc(protocol)
  error, weight = (np.asarray(values) for values in mpjpe.quantity.fn(prediction, batch))
  close(mpjpe.reduce(error, weight), loss_case["eval/mean"], 2)
  medians = np.nanmedian(np.where(weight > 0, error, np.nan), axis=0)
  close(medians.mean(), loss_case["eval/median"], 2)
  close(area.reduce(*map(np.asarray, area.quantity.fn(prediction, batch))), loss_case["eval/auc_0_50"], 2)
  np.testing.assert_allclose(pose.AUC_THRESHOLDS_MM, loss_case["eval/thresholds"], rtol=0, atol=0)
  curve = []
  for limit in loss_case["eval/thresholds"]:
    correct = pose.pck(protocol, limit)
    curve.append(correct.reduce(*map(np.asarray, correct.quantity.fn(prediction, batch))))
  np.testing.assert_allclose(curve, loss_case["eval/pck"], rtol=0, atol=1e-6)


def test_every_array_of_the_losses_and_the_evaluator_is_known(loss_case):
  known = {f"loss_v2/{name}" for name in LOSSES} | {
    f"eval/{name}" for name in ("mean", "median", "auc_0_50", "pck", "thresholds")
  }
  assert {key for key in loss_case if "/in/" not in key} == known


# ---- weights -----------------------------------------------------------------------


@pytest.mark.parametrize("release", RELEASES)
def test_import_names_what_does_not_fit(goldens, hand_model, release):
  case, system = Case(goldens, "intershape", f"golden_{release}.npz"), _system(release, hand_model)
  state_dict = case.state_dict(release)
  with pytest.raises(ValueError, match=r"does not know: mesh_reg\.extra\.weight"):
    system.import_weights(state_dict | {"mesh_reg.extra.weight": np.zeros(1)})
  missing = {key: value for key, value in state_dict.items() if key != "mesh_reg.trans_branch.final_layer.bias"}
  with pytest.raises(ValueError, match=r"missing: mesh_reg\.trans_branch\.final_layer\.bias"):
    system.import_weights(missing)
  other = RELEASES[release == "v1"]
  with pytest.raises(ValueError, match=f"release {release}, system.release is '{other}'"):
    _system(other, hand_model).import_weights(state_dict)
  of_mano = {f"mesh_reg.mano_layer.{side}.betas": np.zeros(3, np.float32) for side in "rl"}
  wrapped = {f"module.{key}": value for key, value in (state_dict | of_mano).items()}
  jax.tree.map(np.testing.assert_array_equal, system.import_weights(wrapped), system.import_weights(state_dict))


def test_tips_of_the_releases(hand_model):
  ours = HandModel.named(hand_model).tip_vertices
  for release, middle in (("v1", [444, 445]), ("v2", [444, 444])):
    tips = _system(release, hand_model).loaded_hand_model().tip_vertices
    np.testing.assert_array_equal(tips[:, 2], middle)
    np.testing.assert_array_equal(np.delete(tips, 2, axis=1), np.delete(ours, 2, axis=1))
  np.testing.assert_array_equal(_system("", hand_model).loaded_hand_model().tip_vertices, ours)
