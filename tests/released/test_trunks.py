"""Trunks that others trained, at full size, as `paper` configs start from them; nothing is trained."""

import importlib

import jax
import numpy as np
import pytest

from data_builders import synthetic
from data_builders.synthetic import SyntheticConfig
from jaxhands.runs.stage import Stage
from jaxhands.train import state as states
from jaxhands.train import step as steps
from tests.data.conftest import build
from tests.released import releases

# Config, what writes the file, its name, a tensor of the file and the parameter that it is.
TRUNKS = (
  ("internet:paper", releases.resnet50, "resnet50-19c8e357.pth", "layer4.2.conv3.weight", "layer4_2/conv3"),
  ("rootnet:paper", releases.resnet50, "resnet50-19c8e357.pth", "layer4.2.conv3.weight", "layer4_2/conv3"),
  (
    "digit:paper",
    releases.hrnet_w32,
    "hrnet_w32-36af842e.pth",
    "stage4.2.fuse_layers.0.3.0.weight",
    "stage4_2/fuse0_3/conv",
  ),
  ("hdr:paper,hasm", releases.mit_b5, "mit_b5.pth", "layers.3.0.projection.weight", "embed4/projection"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
  return build(tmp_path_factory.mktemp("trunks") / "data", train=4, val=3)


def _begun(config_name, data, workdir, **changes):
  """A run of a `paper` config on small data, as `launch.py` makes it before it trains; and its first batch's shapes."""
  name, variant = config_name.split(":")
  config = importlib.import_module(f"configs.{name}").get_config(variant)
  config.data.train, config.data.eval, config.eval.mean_pose = (f"{data}:train",), (f"{data}:val",), 0
  config.update(batch_size=4, **changes)  # of few pictures; nothing that is tested depends on it
  made = Stage(config, workdir, workdir)
  return made, steps.make_init(made.system, config.seed, config.accumulation), next(made.train_batches(0))


@pytest.mark.parametrize(("config", "write", "file", "theirs", "ours"), TRUNKS, ids=[trunk[0] for trunk in TRUNKS])
def test_a_paper_run_starts_from_a_trunk(config, write, file, theirs, ours, data, goldens, tmp_path):
  arrays = write(tmp_path / file, goldens)
  made, init, batch = _begun(config, data, tmp_path / "run", init_from={"backbone": str(tmp_path / file)})
  shapes = jax.eval_shape(init, batch)
  filled = made._filled(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes))
  kernel = states.leaves(filled)[f"params/backbone/{ours}/kernel"]
  np.testing.assert_array_equal(kernel, arrays[theirs].transpose(2, 3, 1, 0))
  # All of the file's values are in the trunk, and none anywhere else.
  trunk, others = {}, {}
  for path, leaf in states.leaves(filled).items():
    (trunk if path.split("/")[1] == "backbone" else others)[path] = leaf
  counted = [array for name, array in arrays.items() if "num_batches" not in name]
  assert sum(leaf.size for leaf in trunk.values()) == sum(array.size for array in counted)
  total = sum(np.abs(array, dtype=np.float64).sum() for array in counted)
  np.testing.assert_allclose(sum(np.abs(leaf, dtype=np.float64).sum() for leaf in trunk.values()), total, rtol=1e-9)
  assert not any(np.any(leaf) for leaf in others.values())


def test_a_paper_run_has_vgg16_in_its_loss(goldens, tmp_path):
  data = synthetic.build(SyntheticConfig(train=4, val=1, test=0, pictures="all"), tmp_path / "data", jobs=1)
  arrays = releases.vgg16(tmp_path / "vgg16-397923af.pth", goldens)
  made, init, batch = _begun("hdr:paper,hdrm", data, tmp_path / "run", vgg=str(tmp_path / "vgg16-397923af.pth"))
  constants = jax.jit(lambda batch: init(batch)["constants"]["vgg"])(batch)
  np.testing.assert_array_equal(constants["conv3_3"]["kernel"], arrays["features.14.weight"].transpose(2, 3, 1, 0))
  assert sum(leaf.size for leaf in jax.tree.leaves(constants)) == sum(array.size for array in arrays.values())
  out, _ = jax.eval_shape(
    lambda variables, batch: (made.system.objectives[0].fn(variables, batch, jax.random.key(0)).terms, 0),
    jax.eval_shape(init, batch), jax.eval_shape(lambda b: made.system.device_ops(b, jax.random.key(0), True), batch),
  )  # fmt: skip
  assert {"perceptual_occluded", "style_distractor"} <= set(out)
