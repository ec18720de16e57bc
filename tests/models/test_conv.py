"""Convolutions in the form that is fastest are convolutions: numbers and gradients of Flax's and XLA's own."""

import ast
import functools
import pathlib
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxhands
from jaxhands.models.conv import Conv, ConvNorm, Deconv
from jaxhands.models.conv_forms import convolve, deconvolve, kernel_by_bands

PACKAGE = pathlib.Path(jaxhands.__file__).parent


def _close(found, expected):
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected)


def _alike(found, expected):
  """Of sums over many pixels."""
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * np.abs(b).max()), found, expected)


def _random(*shape, key=0, dtype=jnp.float32):
  return jax.random.normal(jax.random.key(key), shape, dtype)


def _plain(x, kernel, stride, padding, dilation):
  pads = ((padding, padding), (padding, padding))
  return jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), pads, rhs_dilation=(dilation, dilation), dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


def _with_gradients(fn, x, kernel):
  @jax.jit
  def results(x, kernel):
    y, pull = jax.vjp(fn, x, kernel)
    return y, *pull(jnp.sin(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape))

  return results(x, kernel)


@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 4), st.integers(1, 3), st.integers(0, 4), st.integers(0, 4))
def test_value_and_gradients_are_those_of_xla(kernel, stride, padding, dilation, more_rows, more_columns):
  least = max(dilation * (kernel - 1) + 1 - 2 * padding, 1)
  x = _random(2, least + more_rows, least + more_columns, 2)
  weights = _random(kernel, kernel, 2, 3, key=1)
  arguments = (stride, padding, dilation)
  found = _with_gradients(lambda x, w: convolve(x, w, *arguments), x, weights)
  _close(found, _with_gradients(lambda x, w: _plain(x, w, *arguments), x, weights))


@pytest.mark.parametrize("outputs", [16, 17, 24, 32, 33])
def test_pictures_with_a_fourth_channel(outputs):
  """Those numbers of outputs for which a picture gets one, and their neighbours."""
  x, weights = _random(2, 15, 14, 3), _random(7, 7, 3, outputs, key=1)
  found = _with_gradients(lambda x, w: convolve(x, w, 2, 3), x, weights)
  _alike(found, _with_gradients(lambda x, w: _plain(x, w, 2, 3, 1), x, weights))


@pytest.mark.parametrize(
  ("kernel", "stride", "padding", "dilation"),
  [(1, 1, 0, 1), (1, 2, 0, 1), (3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 4, 4), (4, 4, 0, 1)],
)
# Bands of an example with the window transposed, examples in a band with the cotangent transposed.
@pytest.mark.parametrize(("shape", "outputs"), [((3, 90, 80, 8), 200), ((32, 20, 16, 16), 4)])
def test_the_gradient_of_a_kernel_by_bands(shape, outputs, kernel, stride, padding, dilation):
  x, weights = _random(*shape), _random(kernel, kernel, shape[3], outputs, key=1)
  arguments = (stride, padding, dilation)
  y, pull = jax.vjp(lambda weights: _plain(x, weights, *arguments), weights)
  cotangent = _random(*y.shape, key=2)
  (expected,) = pull(cotangent)
  found = jax.jit(lambda x, cotangent: kernel_by_bands(x, cotangent, weights.shape, *arguments))(x, cotangent)
  _alike(found, expected)


@settings(max_examples=8)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 2))
def test_the_transpose_is_what_xla_transposes(kernel, stride, padding):
  x, weights = _random(2, 4, 5, 3), _random(kernel, kernel, 2, 3, key=1)
  shape = [(size - 1) * stride - 2 * padding + kernel for size in x.shape[1:3]]
  if min(shape) < 1:
    return

  def plain(x, weights):
    wide = jnp.zeros((2, *shape, 2))
    return jax.vjp(lambda wide: _plain(wide, weights, stride, padding, 1), wide)[1](x)[0]

  found = _with_gradients(lambda x, w: deconvolve(x, w, stride, padding), x, weights)
  _close(found, _with_gradients(plain, x, weights))


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"dilation": 2}, {"stride": 3, "padding": 0}])
@pytest.mark.parametrize("kernel", [1, 3])
def test_layer_is_that_of_flax(kernel, options):
  x = _random(2, 9, 9, 4)
  ours = Conv(6, kernel, bias_init=nn.initializers.normal(), **options)
  stride, dilation = options.get("stride", 1), options.get("dilation", 1)
  padding = options.get("padding", dilation * (kernel // 2))
  theirs = nn.Conv(6, (kernel, kernel), stride, padding=padding, kernel_dilation=dilation)
  variables = ours.init(jax.random.key(1), x)
  assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, theirs.init(jax.random.key(1), x))
  _close(ours.apply(variables, x), theirs.apply(variables, x))


def test_transposed_layer_is_that_of_flax():
  x = _random(2, 5, 5, 3)
  ours = Deconv(4, 4, 2, 1)
  theirs = nn.ConvTranspose(4, (4, 4), (2, 2), padding=((2, 2), (2, 2)), use_bias=False, transpose_kernel=True)
  variables = ours.init(jax.random.key(1), x)
  expected: Any = theirs.apply(variables, x)
  assert expected.shape == (2, 10, 10, 4)
  _close(ours.apply(variables, x), expected)


def test_gradients_by_bands_are_added_up_exactly_in_half_precision():
  x, cotangent = _random(2, 512, 512, 4, dtype=jnp.bfloat16), _random(2, 512, 512, 4, key=1, dtype=jnp.bfloat16)
  found = jax.jit(lambda x, of: kernel_by_bands(x, of, (1, 1, 4, 4), 1, 0, 1))(abs(x), abs(cotangent))
  assert found.dtype == jnp.bfloat16
  exact = np.einsum("bhwc,bhwd->cd", *(abs(np.asarray(each, np.float64)) for each in (x, cotangent)))
  np.testing.assert_allclose(np.asarray(found[0, 0], np.float64), exact, rtol=2**-8)


@pytest.mark.parametrize("layer", [Conv(3, 1), Conv(3, 3), Conv(3, 3, 2), Deconv(3)])
def test_half_precision(layer):
  half = layer.clone(dtype=jnp.bfloat16)
  x = _random(1, 8, 8, 2)
  variables = half.init(jax.random.key(0), x)
  assert variables["params"]["kernel"].dtype == jnp.float32

  def loss(layer, variables):
    return jnp.sum(layer.apply(variables, x).astype(jnp.float32) ** 2)

  assert half.apply(variables, x).dtype == jnp.bfloat16
  found, expected = (jax.grad(functools.partial(loss, one))(variables) for one in (half, layer))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0.1, atol=0.3), found, expected)


@pytest.mark.parametrize("stride", [1, 2])
def test_maps_over_an_axis_and_over_devices(stride):
  x, kernel = _random(2, 4, 16, 16, 8), _random(3, 3, 8, 5, key=1)
  grad = jax.grad(lambda kernel, x: jnp.sum(jnp.sin(convolve(x, kernel, stride, 1))), argnums=(0, 1))
  one_by_one = [grad(kernel, part) for part in x]
  _alike(jax.vmap(grad, (None, 0))(kernel, x), jax.tree.map(lambda *parts: jnp.stack(parts), *one_by_one))
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:4]), "batch")
  sharded = jax.device_put(x[0], jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch")))
  _alike(jax.jit(grad)(kernel, sharded), one_by_one[0])


def test_norm_and_relu():
  x = _random(4, 8, 8, 3)
  for relu in (True, False):
    layer = ConvNorm(5, relu=relu)
    out, _ = layer.apply(layer.init(jax.random.key(1), x, True), x, True, mutable=["batch_stats"])
    assert out.shape == (4, 8, 8, 5)
    assert (out.min() >= 0) == relu
    if not relu:
      np.testing.assert_allclose(out.mean((0, 1, 2)), 0, atol=1e-4)
      np.testing.assert_allclose(out.std((0, 1, 2)), 1, atol=1e-2)


# How functions and layers of JAX, Flax and SciPy are called.
_CONVOLUTION = re.compile(r"conv|conv_(general|transpose|with)\w*|Conv(Transpose|Local)?|\w*(convolve|correlate)(2d)?")


def test_no_other_module_convolves_by_itself():
  """There are forms that are many times faster than those of Flax and XLA: `models.conv_forms` knows which."""
  for path in PACKAGE.rglob("*.py"):
    if path != PACKAGE / "models" / "conv_forms.py":
      assert not (wrong := _convolutions(path.read_text())), f"{path.relative_to(PACKAGE)}: {wrong}; use models.conv"


def test_convolutions_of_others_are_found():
  for wrong in (
    "nn.Conv(3, (3, 3))", "y = lax.conv(x, k, (1, 1), 'SAME')", "from jax.lax import conv_general_dilated",
    "from flax.linen import ConvTranspose", "jnp.convolve(x, k)", "jax.scipy.signal.convolve2d(x, k)",
    "import jax.scipy.signal as s\ns.fftconvolve(x, k)", "from flax import linen\nlinen.ConvLocal(3, 3)",
  ):  # fmt: skip
    assert _convolutions(wrong), wrong
  assert not _convolutions("from jaxhands.models.conv import Conv\nConv(3)(x)\nself.conv1(x)\nconvolve(x, k)")


def _convolutions(code):
  """Names of convolutions of JAX, Flax and SciPy that code uses or imports."""
  found = set()
  for node in ast.walk(ast.parse(code)):
    if isinstance(node, ast.Attribute):
      found.add(node.attr)
    elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("jaxhands"):
      found |= {alias.name for alias in node.names}
  return {name for name in found if _CONVOLUTION.fullmatch(name)}
