"""The hand model against smplx and manotorch on a synthetic model in MANO's format, and its mirror rule."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from jaxhands import schema
from jaxhands.hands import skeleton
from jaxhands.hands.model import HandModel, mirror_mano
from tests.hands import synthetic_mano
from tests.parity.cases import Case

ATOL_MM = 1e-3  # float32 against float64 is 5e-5


@pytest.fixture(scope="module")
def case(goldens):
  return Case(goldens, "mano")


@pytest.fixture(scope="module")
def as_released(case, tmp_path_factory):
  return HandModel.from_mano(synthetic_mano.write_pair(case.folder, tmp_path_factory.mktemp("mano")), mend_left=False)


@pytest.fixture(scope="module")
def fixed(case, tmp_path_factory):
  return HandModel.from_mano(synthetic_mano.write_pair(case.folder, tmp_path_factory.mktemp("mano")))


def _pose(case, model, hand, mean, kind):
  """[B, 16, 3] of a case such as ("flat", "pca6")."""
  if kind == "full":
    fingers = case["in/pose"].reshape(-1, 15, 3)
    fingers = fingers + model.hands_mean[hand].reshape(15, 3) if mean == "mean" else fingers
  else:
    coefficients = case["in/pca"][:, : int(kind.removeprefix("pca"))]
    fingers = model.fingers_from_components(coefficients, hand, add_mean=mean == "mean")
  return np.concatenate([case["in/global_orient"][:, None], fingers], axis=1)


@pytest.mark.parametrize("hand", [schema.RIGHT, schema.LEFT])
@pytest.mark.parametrize("mean", ["flat", "mean"])
@pytest.mark.parametrize("kind", ["full", "full/fixed", "pca6", "pca15"])
def test_smplx(case, as_released, fixed, hand, mean, kind):
  key = f"{schema.HANDS[hand]}/{mean}/{kind}/"
  if hand == schema.RIGHT and kind.endswith("fixed"):
    key = key.replace("/fixed", "")  # nothing is mended on a right hand
  model = fixed if kind.endswith("fixed") else as_released
  pose = _pose(case, model, hand, mean, kind.removesuffix("/fixed"))
  np.testing.assert_allclose(pose.reshape(-1, 48), case[key + "full_pose"], atol=1e-6)
  posed = model.forward(pose, case["in/betas"], case["in/transl"] * np.float32(1e3), hand)
  step = 1 if kind.startswith("full") else 16
  np.testing.assert_allclose(posed.vertices[:, ::step], case[key + "verts"] * 1e3, atol=ATOL_MM)
  np.testing.assert_allclose(posed.joints, case[key + "joints"] * 1e3, atol=ATOL_MM)


def test_smplx_under_jit(case, fixed):
  """Both hands at once, from the layout that the schema stores."""
  mano = np.stack(
    [
      np.concatenate(
        [_pose(case, fixed, hand, "mean", "full").reshape(-1, 48), case["in/betas"], case["in/transl"] * 1e3], axis=1
      )
      for hand in (schema.RIGHT, schema.LEFT)
    ],
    axis=1,
  ).astype(np.float32)
  posed = jax.jit(HandModel.forward_mano)(fixed, mano)
  for hand, name in enumerate(("right/mean/full/verts", "left/mean/full/fixed/verts")):
    np.testing.assert_allclose(posed.vertices[:, hand], case[name] * 1e3, atol=ATOL_MM)


@pytest.mark.parametrize("hand", [schema.RIGHT, schema.LEFT])
@pytest.mark.parametrize("center", [None, 0, 9])
def test_manotorch(case, as_released, hand, center):
  tips = {schema.RIGHT: (745, 317, 444, 556, 673), schema.LEFT: (745, 317, 445, 556, 673)}
  model = dataclasses.replace(as_released, tip_vertices=np.array([tips[schema.RIGHT], tips[schema.LEFT]]))
  pose = _pose(case, model, hand, "mean", "full")
  posed = model.forward(pose, case["in/betas"], np.zeros_like(case["in/transl"]), hand)
  joints = posed.keypoints[:, skeleton.SNAP_FROM_INTERHAND]
  middle = joints[:, center : center + 1] if center is not None else np.zeros_like(joints[:, :1])
  key = f"manotorch/{schema.HANDS[hand]}/mean/full/center_{center}/"
  np.testing.assert_allclose(middle, case[key + "center_joint"] * 1e3, atol=ATOL_MM)
  np.testing.assert_allclose(joints - middle, case[key + "joints21"] * 1e3, atol=ATOL_MM)
  np.testing.assert_allclose((posed.vertices - middle)[:, ::8], case[key + "verts"] * 1e3, atol=ATOL_MM)
  if key + "transforms_abs" in case:
    expected = case[key + "transforms_abs"] * np.array([1, 1, 1, 1e3])
    np.testing.assert_allclose(posed.transforms[..., :3, :], expected[..., :3, :], atol=ATOL_MM)


def test_a_fixed_left_hand_is_the_right_one_mirrored(case, fixed):
  pose = _pose(case, fixed, schema.RIGHT, "mean", "full")
  mano = np.concatenate([pose.reshape(-1, 48), case["in/betas"], case["in/transl"] * 1e3], axis=1).astype(np.float32)
  right = fixed.forward_mano(mano, schema.RIGHT)
  left = fixed.forward_mano(mirror_mano(mano), schema.LEFT)
  np.testing.assert_allclose(left.vertices, right.vertices * [-1, 1, 1], atol=ATOL_MM)
  np.testing.assert_allclose(left.keypoints, right.keypoints * [-1, 1, 1], atol=ATOL_MM)


def test_every_reference_output_is_checked(case):
  """A new kind of output in a case must not go unseen."""
  known = r"in/.*|(right|left)/(flat|mean)/(full(/fixed)?|pca6|pca15)/(verts|joints|full_pose)|manotorch/.*"
  assert not [key for key in case if not re.fullmatch(known, key)]
