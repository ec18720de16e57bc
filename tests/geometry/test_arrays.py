import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.geometry import arrays


def test_namespace_follows_the_arrays():
  host, device = np.ones(2), jnp.ones(2)
  assert arrays.namespace(host, 1.0) is np
  assert arrays.namespace(host, device) is jnp


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
def test_products_keep_the_kind(kind):
  a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(3, dtype=np.float32)
  for product in (arrays.einsum("ij,j->i", kind(a), kind(b)), arrays.matmul(kind(a), kind(b[:, None]))[:, 0]):
    assert type(product) is type(kind(b))
    np.testing.assert_array_equal(product, a @ b)
