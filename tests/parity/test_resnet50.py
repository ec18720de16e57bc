"""ResNet-50 against torchvision's, in evaluation and in training mode."""

import jax
import numpy as np
import pytest

from jaxhands.models.backbones.resnet import ResNet, structure
from jaxhands.weights.resnet import import_torchvision
from tests.parity.cases import Case, close

# Reference slices `[:, ::channels, ::rows, ::columns]` of NCHW maps.
SLICES = {"bn1": (8, 16), "maxpool": (8, 8), "layer1": (16, 8), "layer2": (16, 4), "layer3": (16, 2), "layer4": (16, 1)}
LAYERS = 50
GROWN = {"eval": 1.0, "train": 30.0}  # batch statistics of two examples


@pytest.fixture(scope="module")
def case(goldens) -> Case:
  return Case(goldens, "resnet50")


@pytest.fixture(scope="module")
def outputs(case):
  """{"eval" | "train": maps by the reference's names}, and the running statistics after one training step."""
  net = ResNet(depth=50)
  variables = import_torchvision(case.state_dict(), *structure(50))

  def forward(variables, image, train):
    maps, state = net.apply(
      variables, image, train, mutable=["batch_stats", "intermediates"],
      capture_intermediates=lambda module, _: module.name == "bn1" and module.path == ("bn1",),
    )  # fmt: skip
    maps = dict(maps, bn1=state["intermediates"]["bn1"]["__call__"][0], maxpool=maps["stem"])
    del maps["stem"]
    return maps, state.get("batch_stats")

  forward = jax.jit(forward, static_argnums=2)
  with jax.default_matmul_precision("float32"):
    evaluated, _ = forward(variables, case.image(), False)
    trained, statistics = forward(variables, case.image(), True)
  return {"eval": evaluated, "train": trained}, statistics


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("name", SLICES)
def test_maps(case, outputs, mode, name):
  channels, pixels = SLICES[name]
  found = np.moveaxis(np.asarray(outputs[0][mode][name]), -1, 1)[:, ::channels, ::pixels, ::pixels]
  close(found, case[f"{mode}_{name}"], LAYERS, GROWN[mode])


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_whole_map_statistics(case, outputs, mode):
  maps = [np.asarray(outputs[0][mode][name], np.float64) for name in SLICES]
  found = [[m.mean(), m.std(), m.min(), m.max()] for m in maps]
  close(found, case[f"{mode}_stats"], LAYERS, GROWN[mode])
  pooled = np.asarray(outputs[0][mode]["layer4"]).mean((1, 2))
  close(pooled, case[f"{mode}_pooled"], LAYERS, GROWN[mode])


@pytest.mark.parametrize("name", ["bn1", "layer2.0.downsample.1", "layer4.2.bn3"])
@pytest.mark.parametrize("statistic", ["mean", "var"])
def test_running_statistics_after_one_training_step(case, outputs, name, statistic):
  layers = {
    "bn1": ("bn1",),
    "layer2.0.downsample.1": ("layer2_0", "downsample_bn"),
    "layer4.2.bn3": ("layer4_2", "bn3"),
  }
  node = outputs[1]
  for key in layers[name]:
    node = node[key]
  found = np.asarray(node[statistic])[::4]
  close(found, case[f"train_after_{name}.running_{statistic}"], LAYERS, GROWN["train"])
