"""Rotations against scipy, their round trips, and gradients where formulas usually break (0 and pi)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from jaxhands.geometry import rotations

vectors = hnp.arrays(np.float64, (5, 3), elements=st.floats(-6, 6, width=32))
SPECIAL = np.array(
  [[0, 0, 0], [1e-9, 0, 0], [0, 9e-3, 0], [0, 1.1e-2, 0], [0, 0, np.pi], [np.pi - 1e-4, 0, 0], [4, 2, 1]]
)


def from_scipy_quaternion(quaternion):
  return Rotation.from_quat(quaternion[..., [1, 2, 3, 0]]).as_matrix()


@given(vectors)
def test_axis_angle_is_scipys(axis_angle):
  expected = Rotation.from_rotvec(axis_angle)
  np.testing.assert_allclose(rotations.matrix_from_axis_angle(axis_angle), expected.as_matrix(), atol=1e-12)
  quaternion = rotations.quaternion_from_axis_angle(axis_angle)
  np.testing.assert_allclose(from_scipy_quaternion(quaternion), expected.as_matrix(), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@given(vectors)
def test_left_jacobian_is_how_a_rotation_turns(dtype, axis_angle):
  """Against differences in float64, in steps of 1e-5 rad; also at no rotation and where float32 keeps few digits."""
  axis_angle = np.concatenate([axis_angle, SPECIAL, [[0.3, 0.2, -0.3], [0.01, 0.02, 0.0]]])
  expected = []
  for step in 1e-5 * np.eye(3):
    ahead, behind = (Rotation.from_rotvec(axis_angle + sign * step) for sign in (1, -1))
    expected.append((ahead * behind.inv()).as_rotvec() / 2e-5)
  found = rotations.left_jacobian(axis_angle.astype(dtype))
  np.testing.assert_allclose(found, np.stack(expected, -1), atol=1e-8 if dtype == np.float64 else 1e-5)


@given(vectors)
def test_logarithm_goes_back_and_is_short(axis_angle):
  matrix = Rotation.from_rotvec(axis_angle).as_matrix()
  back = rotations.axis_angle_from_matrix(matrix)
  assert (np.linalg.norm(back, axis=-1) <= np.pi + 1e-9).all()
  np.testing.assert_allclose(Rotation.from_rotvec(back).as_matrix(), matrix, atol=1e-7)


@pytest.mark.parametrize("row", range(len(SPECIAL)))
def test_special_angles(row):
  matrix = rotations.matrix_from_axis_angle(SPECIAL[row])
  np.testing.assert_allclose(matrix, Rotation.from_rotvec(SPECIAL[row]).as_matrix(), atol=1e-12)
  back = Rotation.from_rotvec(rotations.axis_angle_from_matrix(matrix)).as_matrix()
  np.testing.assert_allclose(back, matrix, atol=1e-7)


@given(hnp.arrays(np.float64, (5, 4), elements=st.floats(0.1, 2)), st.integers(0, 15))
def test_quaternions_of_any_length_and_sign(quaternion, signs):
  quaternion = quaternion * np.where((signs >> np.arange(4)) & 1, -1, 1)
  matrix = rotations.matrix_from_quaternion(quaternion)
  np.testing.assert_allclose(matrix, from_scipy_quaternion(quaternion), atol=1e-12)
  back = rotations.quaternion_from_matrix(matrix)
  np.testing.assert_allclose(back.max(-1), np.abs(back).max(-1), atol=1e-12)
  unit = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
  np.testing.assert_allclose(np.abs((back * unit).sum(-1)), 1, atol=1e-12)


@given(hnp.arrays(np.float64, (4, 6), elements=st.floats(-2, 2)), st.floats(0.2, 5))
def test_6d_is_orthonormal_and_ignores_length(vector, scale):
  vector = vector + np.array([3, 0, 0, 0, 3, 0])  # away from parallel columns
  for convert in (rotations.matrix_from_6d, rotations.matrix_from_6d_robust):
    matrix = convert(vector)
    np.testing.assert_allclose(matrix @ matrix.swapaxes(-1, -2), np.tile(np.eye(3), (4, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-12)
    np.testing.assert_allclose(convert(vector * scale), matrix, atol=1e-12)
  first = vector[:, :3] / np.linalg.norm(vector[:, :3], axis=-1, keepdims=True)
  np.testing.assert_allclose(rotations.matrix_from_6d(vector)[..., 0], first, atol=1e-12)


@given(hnp.arrays(np.float64, (4, 6), elements=st.floats(-2, 2)))
def test_robust_6d_treats_both_columns_alike(vector):
  vector = vector + np.array([3, 0, 0, 0, 3, 0])
  swapped = np.concatenate([vector[:, 3:], vector[:, :3]], axis=-1)
  matrix, other = rotations.matrix_from_6d_robust(vector), rotations.matrix_from_6d_robust(swapped)
  np.testing.assert_allclose(other, matrix[..., [1, 0, 2]] * [1, 1, -1], atol=1e-12)


@given(vectors)
def test_6d_of_a_rotation_goes_back_and_costs_nothing(axis_angle):
  matrix = Rotation.from_rotvec(axis_angle).as_matrix()
  vector = rotations.rotation_6d_from_matrix(matrix)
  np.testing.assert_allclose(rotations.matrix_from_6d(vector), matrix, atol=1e-12)
  np.testing.assert_allclose(rotations.matrix_from_6d_robust(vector), matrix, atol=1e-12)
  np.testing.assert_allclose(rotations.orthonormality(vector), 0, atol=1e-12)


@given(vectors)
def test_mirror_is_conjugation(axis_angle):
  flip = np.diag([-1, 1, 1])
  expected = flip @ Rotation.from_rotvec(axis_angle).as_matrix() @ flip
  found = rotations.matrix_from_axis_angle(rotations.mirror_axis_angle(axis_angle))
  np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("row", range(len(SPECIAL)))
def test_gradients_of_the_exponential(row):
  axis_angle = jnp.asarray(SPECIAL[row], jnp.float32)
  check_grads(rotations.matrix_from_axis_angle, (axis_angle,), order=1, modes=("fwd", "rev"), atol=2e-2, rtol=2e-2)


def test_gradient_at_no_rotation_is_the_generator():
  jacobian = jax.jacobian(rotations.matrix_from_axis_angle)(jnp.zeros(3))
  generators = np.zeros((3, 3, 3))
  for i, j, k, sign in ((0, 1, 2, -1), (1, 0, 2, 1), (0, 2, 1, 1), (2, 0, 1, -1), (1, 2, 0, -1), (2, 1, 0, 1)):
    generators[i, j, k] = sign
  np.testing.assert_allclose(jacobian, generators, atol=1e-7)
  jacobian = jax.jacobian(rotations.axis_angle_from_matrix)(jnp.eye(3))
  assert np.isfinite(jacobian).all()


@pytest.mark.parametrize("row", range(len(SPECIAL)))
def test_gradients_of_the_logarithm_are_finite(row):
  matrix = rotations.matrix_from_axis_angle(jnp.asarray(SPECIAL[row], jnp.float32))
  assert np.isfinite(jax.jacobian(rotations.axis_angle_from_matrix)(matrix)).all()


def test_degenerate_6d_is_finite():
  for vector in (np.zeros(6), np.array([1.0, 0, 0, 2, 0, 0])):
    for convert in (rotations.matrix_from_6d, rotations.matrix_from_6d_robust):
      assert np.isfinite(convert(vector)).all()
      assert np.isfinite(jax.jacobian(convert)(jnp.asarray(vector, jnp.float32))).all()


@pytest.mark.parametrize(
  ("convert", "width"),
  [
    (rotations.matrix_from_axis_angle, 3), (rotations.quaternion_from_axis_angle, 3),
    (rotations.matrix_from_quaternion, 4), (rotations.axis_angle_from_quaternion, 4),
    (rotations.matrix_from_6d, 6), (rotations.matrix_from_6d_robust, 6), (rotations.orthonormality, 6),
    (lambda x: rotations.axis_angle_from_matrix(rotations.matrix_from_axis_angle(x)), 3),
  ],
)  # fmt: skip
def test_numpy_and_jax_agree(convert, width):
  values = np.random.default_rng(0).normal(size=(2, 7, width)).astype(np.float32)
  values = values / np.linalg.norm(values, axis=-1, keepdims=True) if width == 4 else values
  host, device = convert(values), jax.jit(convert)(values)
  assert isinstance(host, np.ndarray)
  assert host.dtype == np.float32
  np.testing.assert_allclose(device, host, rtol=1e-6, atol=2e-6)
