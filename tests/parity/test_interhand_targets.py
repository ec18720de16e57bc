"""InterNet's targets and masks on real samples, without and with augmentation, against the reference's loader."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.geometry.crop import invert_affine
from jaxhands.systems.internet import InterNet
from tests.parity.cases import Case

SYSTEM = InterNet(released=True)


@pytest.fixture(scope="module")
def case(shared) -> Case:
  return Case(shared / "parity", "interhand_data")


def _mirrored(flip: np.ndarray, x: np.ndarray) -> np.ndarray:
  """Right and left [n, 2, ...] change places where the sample is flipped."""
  return np.where(flip.reshape(-1, *(1,) * (x.ndim - 1)), x[:, ::-1], x)


@pytest.fixture(params=["test", "train"])
def mode(request) -> str:
  return request.param


@pytest.fixture
def targets(case, mode):
  count = len(case["frame"])
  flip = case["aug_flip"] if mode == "train" else np.zeros(count, bool)
  hands = lambda x: x.reshape(count, 2, 21, *x.shape[2:])  # noqa: E731
  joints_img = hands(case["joint_img"]).copy()
  width = case["image_shape"][:, 1].astype(np.float32)[:, None, None]
  joints_img[..., 0] = np.where(flip[:, None, None], width - 1 - joints_img[..., 0], joints_img[..., 0])
  valid = _mirrored(flip, hands(case["joint_valid_annotation"]) > 0)
  batch = {
    "joints_img": _mirrored(flip, joints_img),
    "joints_img_valid": valid,
    "joints_cam": _mirrored(flip, hands(case["joint_cam"])),
    "joints_cam_valid": valid,
    "hand_present": case[f"{mode}_hand_type"] > 0,
    "crop_from_img": invert_affine(case[f"{mode}_inv_trans"]),  # of the mirrored picture, as the joints are
  }
  return SYSTEM.targets({key: jnp.asarray(value) for key, value in batch.items()})


def test_joints(case, mode, targets):
  valid = case[f"{mode}_joint_valid"].reshape(-1, 2, 21) > 0
  np.testing.assert_array_equal(targets["voxels_valid"], valid)
  assert 0 < valid.mean() < 1
  expected = case[f"{mode}_joint_coord"].reshape(-1, 2, 21, 3)
  np.testing.assert_allclose(np.asarray(targets["voxels"])[valid], expected[valid], rtol=0, atol=1e-3)


def test_relative_root_depth(case, mode, targets):
  valid = case[f"{mode}_root_valid"][:, 0] > 0
  np.testing.assert_array_equal(targets["root_bin_valid"], valid)
  assert valid.any()
  expected = case[f"{mode}_rel_root_depth"][:, 0]
  np.testing.assert_allclose(np.asarray(targets["root_bin"])[valid], expected[valid], rtol=0, atol=1e-3)
