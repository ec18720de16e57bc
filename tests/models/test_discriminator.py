"""The discriminator as training begins; what it computes is compared with the release in tests/parity."""

import jax
import numpy as np

from jaxhands.models import discriminator


def test_fresh_kernels_have_a_norm_of_one():
  """Random vectors would say that it is near 0, and scores would be many thousands."""
  network = discriminator.Discriminator(width=8)
  picture = jax.random.normal(jax.random.key(1), (2, 64, 64, 5))
  variables = network.init(jax.random.key(0), picture, True)
  for name, layer in variables["params"].items():
    matrix = np.asarray(layer["kernel"], np.float64).transpose(3, 2, 0, 1).reshape(layer["kernel"].shape[-1], -1)
    found = {key: np.asarray(value, np.float64) for key, value in variables[discriminator.STATE][name].items()}
    np.testing.assert_allclose(found["u"] @ matrix @ found["v"], np.linalg.norm(matrix, 2), rtol=0.05)
  scores = np.asarray(network.apply(variables, picture, False))
  assert np.abs(scores).max() < 10
