"""HRNet's shapes and sizes, from the shapes alone; what it computes is in tests/parity/test_hrnet.py."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.models.backbones.hrnet import HRNet


def _parameters(net: HRNet) -> int:
  shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), False))
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(shapes["params"]))


def test_sizes_are_the_published_ones():
  """28.5 and 63.6 million in HRNet's table of pose networks, to which the last layer adds nothing that shows."""
  assert round(_parameters(HRNet(width=32)) / 1e6, 1) == 28.5
  assert round(_parameters(HRNet(width=48)) / 1e6, 1) == 63.6


@pytest.mark.parametrize("width", [18, 32])
def test_branches(width):
  image = jnp.zeros((1, 64, 96, 3))
  maps = jax.eval_shape(lambda: HRNet(width=width).init_with_output(jax.random.key(0), image, False)[0])
  assert maps["stem"].shape == (1, 16, 24, 64)
  assert maps["layer1"].shape == (1, 16, 24, 256)
  for stage in (2, 3):
    assert [x.shape for x in maps[f"stage{stage}"]] == [(1, 16 >> i, 24 >> i, width << i) for i in range(stage)]
  (finest,) = maps["stage4"]
  assert finest.shape == (1, 16, 24, width)


def test_stride_8_halves_the_branches_alone():
  net = HRNet(width=6, modules=(1, 1), blocks=1, stem=8, stride=8)
  maps = jax.eval_shape(lambda: net.init_with_output(jax.random.key(0), jnp.zeros((1, 64, 96, 3)), False)[0])
  assert maps["layer1"].shape == (1, 16, 24, 32)
  assert [x.shape for x in maps["stage2"]] == [(1, 8, 12, 6), (1, 4, 6, 12)]
  assert [x.shape for x in maps["stage3"]] == [(1, 8, 12, 6)]
  with pytest.raises(ValueError, match="stride=16"):
    HRNet(stride=16).init(jax.random.key(0), jnp.zeros((1, 64, 64, 3)), False)


@pytest.mark.parametrize("stride", [4, 8])
def test_a_narrow_one_trains_all_its_parameters(stride):
  net = HRNet(width=4, modules=(1, 1), blocks=1, stem=8, stride=stride)
  image = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3))
  variables = jax.jit(lambda: net.init(jax.random.key(0), image, True))()

  @jax.jit
  def gradient(params):
    def loss(params):
      out, _ = net.apply({**variables, "params": params}, image, True, mutable=["batch_stats"])
      return jnp.square(out["stage3"][0] - image[:, ::stride, ::stride, :1]).mean()

    return jax.grad(loss)(params)

  for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(variables["params"])):
    assert np.any(leaf), path
