"""HDR's boxes, affines, warps and heat maps against the release (its copy and paste: see the data set's test)."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands import codecs
from jaxhands.data import host_ops
from jaxhands.geometry import crop
from tests.parity.cases import Case

CROP_HW = (256, 256)
# As the README says; the box is part of the case's description, the rest is in its arrays.
PATCH = {"box": (30, 20, 150, 150), "scale": 1.1, "rotation_deg": 25.0}


@pytest.fixture(scope="module")
def case(goldens) -> Case:
  return Case(goldens, "hdr_pipeline")


def test_boxes(case):
  for name, factor in (("1p25", 1.25), ("2", 2.0)):
    found = crop.process_box(case["box_xywh"], CROP_HW, factor)
    np.testing.assert_allclose(found, case[f"box_processed_{name}"], rtol=1e-12)


def test_affines(case):
  found = crop.crop_affine(
    case["box_processed_2"], CROP_HW, scale=case["scale"], rotation=np.deg2rad(case["rotation_deg"])
  )
  np.testing.assert_allclose(found, case["affine"], rtol=0, atol=2e-4)
  np.testing.assert_allclose(crop.invert_affine(found), case["affine_inverse"], rtol=0, atol=2e-4)
  np.testing.assert_allclose(crop.apply_affine(found, case["points"][:, None])[:, 0], case["points_mapped"], atol=1e-3)


@pytest.mark.parametrize("flip", [0, 1])
def test_patches(case, flip):
  """Bilinear by OpenCV 5 and on the device: up to a few grey levels from OpenCV 4.6 (README)."""
  picture = (case.image("patch_image")[0] * 255).astype(np.uint8)
  affine = _patch_affine(case, flip, picture.shape[1])
  warped = host_ops.warp(picture, affine, CROP_HW)[::4, ::4]
  assert np.abs(warped.astype(float) - case[f"patch_image_flip{flip}"]).max() <= 3
  on_device = crop.warp(jnp.asarray(picture, jnp.float32), jnp.asarray(affine), CROP_HW)[::4, ::4]
  assert np.abs(np.asarray(on_device) - case[f"patch_image_flip{flip}"]).max() <= 3

  mask = (case.image("patch_mask")[0, ..., 0] > 0.5).astype(np.float64)
  expected = case[f"patch_mask_flip{flip}"]
  found = np.asarray(crop.warp(jnp.asarray(mask, jnp.float32), jnp.asarray(affine), CROP_HW))[::4, ::4]
  np.testing.assert_allclose(found, expected, atol=0.05)
  assert (expected == 1).any()
  assert (expected == 0).any()


def _patch_affine(case, flip, width):
  """Ours includes the mirror; the release mirrors the picture of `width` first and turns the mirrored one."""
  box = np.array(PATCH["box"], np.float64)
  found = crop.crop_affine(
    box, CROP_HW, scale=PATCH["scale"], rotation=np.deg2rad(PATCH["rotation_deg"]), mirror=bool(flip)
  )
  mirror = np.array([[-1.0, 0, width - 1], [0, 1, 0]]) if flip else np.eye(2, 3)
  np.testing.assert_allclose(
    crop.compose_affine(case[f"patch_affine_flip{flip}"].astype(float), mirror), found, atol=2e-4
  )
  return found.astype(np.float32)


def test_box_of_a_mask(case):
  mask = case.image("patch_mask")[0, ..., 0] > 0.5
  for given in (mask, jnp.asarray(mask)):
    box, there = crop.box_of_mask(given)
    assert there
    np.testing.assert_array_equal(box, case["mask_box"])


def test_box_of_joints(case):
  found = crop.box_around(case["kp"], case["kp_valid"] > 0, margin=crop.JOINT_BOX_MARGIN)
  np.testing.assert_allclose(found, case["kp_box"], rtol=1e-6)


def test_heat_maps(case):
  expected, valid = case["heat_maps"], case["heat_valid"] > 0
  cells = case["heat_points"].astype(np.float32)
  rows, columns, meets = codecs.pasted_gaussian(cells, expected.shape[1:], 2.5)
  np.testing.assert_array_equal(meets, valid)
  found = np.einsum("hj,wj->jhw", rows, columns)
  np.testing.assert_allclose(found[valid], expected[valid], rtol=0, atol=1e-6)
