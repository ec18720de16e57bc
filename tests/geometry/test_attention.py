import jax
import jax.numpy as jnp
import numpy as np

from jaxhands.geometry.attention import joint_attention


def test_peak_is_one_at_a_joint_and_rows_are_y():
  attention = joint_attention(np.array([[3.0, 5.0], [6.0, 1.0]]), 8)
  assert attention.shape == (8, 8)
  assert attention[5, 3] == 1
  assert attention[1, 6] == 1
  assert attention[3, 5] < 0.3


def test_matches_the_formula_pixel_by_pixel():
  points = np.random.default_rng(0).uniform(-2, 12, size=(3, 5, 2))
  expected = np.zeros((3, 10, 10))
  for b, v, u in np.ndindex(3, 10, 10):
    distance = ((points[b] - [u, v]) ** 2).sum(-1)
    expected[b, v, u] = 1 - np.prod(1 - np.exp(-distance / 3))
  np.testing.assert_allclose(joint_attention(points, 10), expected, atol=1e-12)


def test_gradient_is_finite_where_a_joint_lies_on_a_pixel():
  points = jnp.array([[3.0, 5.0], [3.0, 5.0], [2.5, 1.0]])
  gradient = jax.grad(lambda p: (joint_attention(p, 8) ** 2).sum())(points)
  assert np.isfinite(gradient).all()
  assert np.abs(gradient[2]).max() > 0
