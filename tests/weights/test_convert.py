"""Every tensor of a state dict is used exactly once, or its name is in the error."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxhands.weights.convert import (
  IGNORED,
  Tensor,
  check_shapes,
  conv,
  conv_transpose,
  convert,
  layer_norm,
  linear,
  norm,
  packed_linear,
)  # fmt: skip

RNG = np.random.default_rng(0)


def _normal(*shape: int) -> np.ndarray:
  return RNG.normal(size=shape).astype(np.float32)


def test_linear_layout():
  state_dict = {"fc.weight": _normal(3, 5), "fc.bias": _normal(3)}
  x = _normal(2, 5)
  found = nn.Dense(3).apply({"params": convert(state_dict, linear("fc", "fc"))["params"]["fc"]}, x)
  np.testing.assert_allclose(found, x @ state_dict["fc.weight"].T + state_dict["fc.bias"], atol=1e-5)


def test_conv_layout():
  """Against the definition, one output pixel at a time."""
  weight, bias, x = _normal(4, 3, 3, 3), _normal(4), _normal(1, 5, 5, 3)
  params = convert({"c.weight": weight, "c.bias": bias}, conv("c", "c", bias=True))["params"]["c"]
  found = nn.Conv(4, (3, 3), padding="VALID").apply({"params": params}, x)
  for row in range(3):
    for col in range(3):
      window = x[0, row : row + 3, col : col + 3]
      expected = np.einsum("hwc,ochw->o", window, weight) + bias
      np.testing.assert_allclose(found[0, row, col], expected, atol=1e-5)


def test_conv_transpose_layout():
  """Against the definition: every input pixel adds its 4x4 stamp, with one pixel of padding cut off."""
  weight, x = _normal(3, 2, 4, 4), _normal(1, 3, 3, 3)
  params = convert({"c.weight": weight}, conv_transpose("c", "c"))["params"]["c"]
  layer = nn.ConvTranspose(2, (4, 4), (2, 2), padding="SAME", use_bias=False, transpose_kernel=True)
  canvas = np.zeros((8, 8, 2), np.float32)
  for row in range(3):
    for col in range(3):
      canvas[2 * row : 2 * row + 4, 2 * col : 2 * col + 4] += np.einsum("i,iohw->hwo", x[0, row, col], weight)
  np.testing.assert_allclose(layer.apply({"params": params}, x)[0], canvas[1:-1, 1:-1], atol=1e-5)


def test_norm_goes_to_two_collections():
  state_dict = {f"bn.{key}": _normal(3) for key in ("weight", "bias", "running_mean", "running_var")}
  variables = convert({**state_dict, "bn.num_batches_tracked": np.int64(7)}, norm("bn", "trunk/bn"))
  np.testing.assert_array_equal(variables["params"]["trunk"]["bn"]["scale"], state_dict["bn.weight"])
  np.testing.assert_array_equal(variables["batch_stats"]["trunk"]["bn"]["var"], state_dict["bn.running_var"])
  assert set(variables["batch_stats"]["trunk"]["bn"]) == {"mean", "var"}


def test_the_prefix_of_data_parallel_is_dropped():
  variables = convert({"module.fc.weight": _normal(3, 5)}, linear("fc", "fc", bias=False))
  assert variables["params"]["fc"]["kernel"].shape == (5, 3)


@pytest.mark.parametrize(
  ("keys", "tensors", "message"),
  [
    (["a", "b"], [Tensor("a", "params/a")], "does not know: b"),
    (["a"], [Tensor("a", "params/a"), Tensor("b", "params/b")], "missing: b"),
    (["a"], [Tensor("a", "params/a"), Tensor("a", "params/b")], "reads twice: a"),
    (["a", "b"], [Tensor("a", "params/c"), Tensor("b", "params/c")], "writes twice: params/c"),
  ],
)
def test_anything_but_a_bijection_is_refused(keys, tensors, message):
  with pytest.raises(ValueError, match=message):
    convert({key: _normal(2) for key in keys}, tensors)


def test_several_tensors_may_be_ignored():
  state_dict = {"a": _normal(2), "b": _normal(2), "c": _normal(2)}
  tensors = [Tensor("a", "params/a"), Tensor("b", IGNORED), Tensor("c", IGNORED)]
  assert list(convert(state_dict, tensors)["params"]) == ["a"]


def test_shapes_are_compared():
  variables = {"params": {"a": {"kernel": np.zeros((2, 3))}}}
  check_shapes(variables, {"params": {"a": {"kernel": jax.ShapeDtypeStruct((2, 3), jnp.float32)}}})
  with pytest.raises(ValueError, match=r"params/a/kernel is \(2, 3\), the network has \(3, 2\)"):
    check_shapes(variables, {"params": {"a": {"kernel": np.zeros((3, 2))}}})
  with pytest.raises(ValueError, match="weights lack: params/b"):
    check_shapes(variables, {"params": {"a": {"kernel": np.zeros((2, 3))}, "b": np.zeros(1)}})
  with pytest.raises(ValueError, match="network lacks: params/a/kernel"):
    check_shapes(variables, {"params": {}})


def test_a_packed_tensor_goes_to_several_layers():
  state_dict = {"attn.in_proj_weight": _normal(6, 4), "attn.in_proj_bias": _normal(6)}
  params = convert(state_dict, packed_linear("attn.in_proj", ("a/query", "a/key", "a/value"), joint="_"))["params"]["a"]
  x = _normal(5, 4)
  packed = x @ state_dict["attn.in_proj_weight"].T + state_dict["attn.in_proj_bias"]
  for i, name in enumerate(("query", "key", "value")):
    found: Any = nn.Dense(2).apply({"params": params[name]}, x)
    np.testing.assert_allclose(found, packed[:, 2 * i : 2 * i + 2], atol=1e-5)


def test_a_target_of_several_is_written_once():
  with pytest.raises(ValueError, match="writes twice: params/a/kernel"):
    convert({"w": _normal(4, 4)}, [Tensor("w", ("params/a/kernel", "params/a/kernel"))])


def test_layer_norm():
  params = convert({"n.weight": _normal(4), "n.bias": _normal(4)}, layer_norm("n", "norm"))["params"]
  assert set(params["norm"]) == set(nn.LayerNorm().init(jax.random.key(0), _normal(2, 4))["params"])


@pytest.mark.parametrize(
  ("tensors", "shape", "error"),
  [
    (conv("a", "ours"), (3,), "axes don't match array"),
    (conv_transpose("a", "ours"), (2, 2, 2, 2, 2), "axes don't match array"),
    ([Tensor("a.weight", "params/ours/kernel", lambda w: w[:, :, 0, 0].T)], (3, 3), "too many indices"),
    (packed_linear("a", ("one", "two"))[:1], (4,), "index out of range"),
    (packed_linear("a", ("one", "two"))[:1], (5, 3), "equal division"),
    ([Tensor("a.weight", ("params/one", "params/two"))], (3, 3), "it makes 3 of 2 tensors"),
    ([Tensor("a.weight", ("params/one", "params/two"))], (), "iteration over a 0-d array"),
  ],
)
def test_a_tensor_of_another_layers_shape_is_named(tensors, shape, error):
  expected = rf"^a\.weight has shape {re.escape(str(shape))}, that of no such layer: .*{error}"
  with pytest.raises(ValueError, match=expected):
    convert({"module.a.weight": np.zeros(shape, np.float32)}, tensors)
