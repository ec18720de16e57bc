"""Shapes, sizes and arithmetic of every depth; parity with torchvision is in tests/parity/test_resnet50.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.models.backbones.resnet import ResNet, structure
from jaxhands.weights.convert import check_shapes
from jaxhands.weights.resnet import import_torchvision, resnet

# Trainable parameters of torchvision's networks without their classifier.
SIZES = {18: 11_176_512, 34: 21_284_672, 50: 23_508_032, 101: 42_500_160, 152: 58_143_808}


def _shapes(net: ResNet, image_hw: tuple[int, int] = (64, 96)):
  image = jax.ShapeDtypeStruct((2, *image_hw, 3), jnp.float32)
  return jax.eval_shape(lambda image: net.init(jax.random.key(0), image, True), image)


@pytest.mark.parametrize("depth", SIZES)
def test_parameter_count(depth):
  params = _shapes(ResNet(depth))["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == SIZES[depth]


@pytest.mark.parametrize("depth", [18, 50])
def test_maps(depth):
  net = ResNet(depth, width=8)
  maps = jax.eval_shape(lambda v, x: net.apply(v, x, False), _shapes(net), jnp.zeros((2, 64, 96, 3)))
  grow = 4 if depth == 50 else 1
  assert {name: tuple(m.shape) for name, m in maps.items()} == {
    "stem": (2, 16, 24, 8),
    "layer1": (2, 16, 24, 8 * grow),
    "layer2": (2, 8, 12, 16 * grow),
    "layer3": (2, 4, 6, 32 * grow),
    "layer4": (2, 2, 3, 64 * grow),
  }


def test_unknown_depth_is_named():
  with pytest.raises(ValueError, match=r"no ResNet-42; choose one of \[10, 18, 34, 50, 101, 152\]"):
    structure(42)


@pytest.mark.parametrize("depth", SIZES)
def test_name_map_fills_exactly_the_network(depth):
  expected = _shapes(ResNet(depth, width=2))
  state_dict = _state_dict(expected, depth)
  check_shapes(import_torchvision(state_dict, *structure(depth)), expected)
  classifier = {"fc.weight": np.zeros((1000, 4)), "fc.bias": np.zeros(1000)}
  check_shapes(import_torchvision(state_dict | classifier, *structure(depth)), expected)


def _state_dict(variables, depth: int) -> dict[str, np.ndarray]:
  """What torch would hold for `variables`: zeros, in torch's layouts."""
  tensors = {}
  for source, target, _ in resnet("", "", *structure(depth)):
    leaf = variables
    for key in target.split("/") if target else ():
      leaf = leaf[key]
    shape = leaf.shape if target else ()
    tensors[source] = np.zeros(tuple(shape[i] for i in (3, 2, 0, 1)) if len(shape) == 4 else shape)
  return tensors


def test_half_precision_keeps_float32_parameters():
  net = ResNet(18, width=4, dtype=jnp.bfloat16)
  variables = _shapes(net)
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
  maps = jax.eval_shape(lambda v, x: net.apply(v, x, False), variables, jnp.zeros((2, 64, 64, 3)))
  assert {m.dtype for m in maps.values()} == {jnp.dtype(jnp.bfloat16)}


def test_groups_reach_every_layer():
  """With two groups the two halves of a batch do not see each other."""
  net = ResNet(18, width=2, bn_groups=2)
  image = jax.random.uniform(jax.random.key(0), (4, 32, 32, 3))
  variables = jax.jit(net.init, static_argnums=2)(jax.random.key(1), image, True)
  forward = jax.jit(lambda image: net.apply(variables, image, True, mutable="batch_stats")[0]["layer4"])
  before = forward(image)
  after = forward(image.at[3].power(3.0))
  np.testing.assert_allclose(before[:2], after[:2], atol=1e-5)
  assert np.abs(before[2:] - after[2:]).max() > 1e-2
