"""Rotations, alignment and projection against ProHMR, manopth, smplx, PyTorch3D and Intershape."""

import re

import numpy as np
import pytest

from jaxhands.geometry import align, attention, camera, rotations
from tests.parity.cases import Case


@pytest.fixture(scope="module")
def case(goldens):
  return Case(goldens, "geometry")


@pytest.mark.parametrize("reference", ["aa_prohmr", "aa_smplx", "aa_pytorch3d"])
def test_axis_angle(case, reference):
  np.testing.assert_allclose(rotations.matrix_from_axis_angle(case["in/axis_angle"]), case[reference], atol=1e-6)


@pytest.mark.parametrize("reference", ["rot6d_prohmr", "rot6d_manopth"])
def test_6d(case, reference):
  np.testing.assert_allclose(rotations.matrix_from_6d(case["in/rot6d"]), case[reference], atol=1e-6)


def test_6d_robust(case):
  robust = rotations.matrix_from_6d_robust(case["in/rot6d"])
  np.testing.assert_allclose(robust, case["rot6d_manopth_robust"], atol=1e-6)


def test_quaternions(case):
  matrix = case["quat_prohmr"]
  np.testing.assert_allclose(rotations.matrix_from_quaternion(case["in/quat_wxyz"]), matrix, atol=1e-6)
  np.testing.assert_allclose(rotations.quaternion_from_matrix(matrix), case["mat_to_quat"], atol=1e-6)


def test_logarithm(case):
  # As matrices: the reference also gives vectors longer than pi, ours are the shortest.
  ours = rotations.matrix_from_axis_angle(rotations.axis_angle_from_matrix(case["quat_prohmr"]))
  np.testing.assert_allclose(ours, rotations.matrix_from_axis_angle(case["mat_to_aa"]), atol=2e-6)


def test_6d_of_matrices(case):
  np.testing.assert_array_equal(rotations.rotation_6d_from_matrix(case["quat_prohmr"]), case["mat_to_rot6d_prohmr"])


def test_orthonormality(case):
  penalty = rotations.orthonormality(case["in/rot6d"])
  np.testing.assert_allclose(penalty, case["orthonormality_sq"], rtol=1e-5, atol=1e-5)
  np.testing.assert_allclose(penalty.mean(), case["orthonormality_mean"], rtol=1e-5)


def test_procrustes(case):
  np.testing.assert_allclose(align.procrustes(case["in/S1"], case["in/S2"]), case["procrustes"], atol=1e-5)
  error = align.reconstruction_error(case["in/S1"], case["in/S2"])
  np.testing.assert_allclose(error, case["reconstruction_error"], rtol=1e-5, atol=1e-6)


def test_perspective(case):
  points = case["in/points"] + case["in/translation"][:, None]
  matrix = camera.intrinsics(case["in/focal"], case["in/center"])
  np.testing.assert_allclose(camera.project(points, matrix), case["perspective"], rtol=1e-5, atol=1e-4)


def test_weak_perspective(case):
  xyc = case["in/wp_xyc"]
  fit = align.weak_perspective(case["in/wp_joints"], xyc[..., :2], xyc[..., 2])
  np.testing.assert_allclose(fit, case["wp_scale_tx_ty"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_attention(case, size):
  fit = case["wp_scale_tx_ty"][:, None]
  points = (fit[..., :1] * case["in/wp_joints"][..., :2] + fit[..., 1:]) * np.float32(size / 64)
  np.testing.assert_allclose(attention.joint_attention(points, size), case[f"wp_attention_{size}"], atol=1e-5)


def test_every_reference_output_is_checked(case):
  """A new kind of output in a case must not go unseen."""
  known = r"in/.*|rot6d_(prohmr|manopth|manopth_robust)|aa_(prohmr|smplx|pytorch3d)|quat_prohmr|mat_to_(quat|aa)"
  known += r"|mat_to_rot6d_prohmr|orthonormality_(sq|mean)|procrustes|reconstruction_error|perspective|wp_scale_tx_ty"
  known += r"|wp_attention_(8|16|32)"
  assert not [key for key in case if not re.fullmatch(known, key)]
