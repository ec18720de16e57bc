"""HRNet-W32 against DIGIT's backbone, in evaluation mode."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.models.backbones.hrnet import HRNet
from jaxhands.weights.convert import check_shapes
from jaxhands.weights.hrnet import import_imagenet
from tests.parity.cases import Case, close

NET = HRNet()
LAYERS = 113  # stem, four bottlenecks, and eight modules of eight convolutions with their exchanges
QUICK = {"xla_backend_optimization_level": 0}  # compiles in half the time
# Golden array -> (module whose output it is, which of several, step over channels, step over pixels).
# "module0" is what module 1 has made of it: the reference writes its branches into the list that holds them.
MAPS = {
  "stem": ("stem1", None, 8, 4),
  "layer1": ("layer1_3", None, 16, 4),
  "stage2_branches_1": ("stage2_0/branch1_3", None, 8, 4),
  "stage2_branch0": ("stage2_0", 0, 8, 4),
  "stage2_branch1": ("stage2_0", 1, 8, 4),
  "stage3_module0_branch0": ("stage3_1/branch0_3", None, 8, 4),
  "stage3_module0_branch1": ("stage3_1/branch1_3", None, 8, 4),
  "stage3_module0_branch2": ("stage3_1/branch2_3", None, 8, 4),
  "stage3_branch0": ("stage3_3", 0, 8, 4),
  "stage3_branch1": ("stage3_3", 1, 8, 4),
  "stage3_branch2": ("stage3_3", 2, 8, 4),
  "stage4_module0_branch0": ("stage4_1/branch0_3", None, 8, 4),
  "stage4_module0_branch1": ("stage4_1/branch1_3", None, 8, 4),
  "stage4_module0_branch2": ("stage4_1/branch2_3", None, 8, 4),
  "stage4_module0_branch3": ("stage4_1/branch3_3", None, 8, 1),
  "transition3_new_branch": ("transition3_3", None, 16, 1),
  "stage4_module2_branches_3": ("stage4_2/branch3_3", None, 16, 1),
  "feature": ("stage4_2", 0, 2, 2),
}


@pytest.fixture(scope="module")
def case(goldens) -> Case:
  return Case(goldens, "hrnet_w32")


@pytest.fixture(scope="module")
def variables(case):
  return import_imagenet(case.state_dict(), NET.modules, NET.blocks)


@pytest.fixture(scope="module")
def seen(case, variables):
  """Output of every module that a map comes from."""
  wanted = {tuple(module.split("/")) for module, *_ in MAPS.values()}

  @functools.partial(jax.jit, compiler_options=QUICK)
  def forward(variables, image):
    _, state = NET.apply(
      variables, image, False, mutable=["intermediates"], capture_intermediates=lambda module, _: module.path in wanted
    )
    return state["intermediates"]

  with jax.default_matmul_precision("float32"):
    return jax.device_get(forward(variables, case.image()))


def _output(seen, name: str):
  module, index, channels, pixels = MAPS[name]
  for key in module.split("/"):
    seen = seen[key]
  found = seen["__call__"][0]
  found = found if index is None else found[index]
  return np.moveaxis(found, -1, 1)[:, ::channels, ::pixels, ::pixels]


@pytest.mark.parametrize("name", MAPS)
def test_maps(case, seen, name):
  close(_output(seen, name), case[name], LAYERS)


def test_whole_map_statistics(case, seen):
  feature = np.asarray(seen["stage4_2"]["__call__"][0][0], np.float64)
  close(feature.mean((1, 2)), case["feature_channel_mean"], LAYERS)
  close(feature.std((1, 2)), case["feature_channel_std"], LAYERS)


def test_parameter_count(variables):
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 28_535_552


def test_every_variable_is_imported(case, variables):
  image = jnp.asarray(case.image())
  check_shapes(variables, dict(jax.eval_shape(lambda: NET.init(jax.random.key(0), image, False))))


def test_an_imagenet_network_may_have_its_classifier(case, variables):
  more = {"classifier.weight": np.zeros(3), "incre_modules.0.0.conv1.weight": np.zeros(3)}
  more |= {"stage4.2.fuse_layers.3.0.0.0.weight": np.zeros(3)}
  again = import_imagenet(case.state_dict() | more, NET.modules, NET.blocks)
  jax.tree.map(np.testing.assert_array_equal, again, variables)
  with pytest.raises(ValueError, match=r"does not know: stage4\.2\.extra"):
    import_imagenet(case.state_dict() | {"stage4.2.extra": np.zeros(1)}, NET.modules, NET.blocks)
