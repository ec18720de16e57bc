"""RootNet's network and loss against the release."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.systems.rootnet import RootNet
from tests.parity.cases import Case, close

SYSTEM = RootNet(released=True, view="hand")
LAYERS = 54  # ResNet-50's, three that upsample, and one
GROWN = {"eval": 1.0, "train": 10.0}  # batch statistics of two examples


@pytest.fixture(scope="module")
def case(goldens) -> Case:
  return Case(goldens, "rootnet")


@pytest.fixture(scope="module")
def batch(case):
  return {
    "cells": case["target_coord"][:, None, :2],
    "cells_valid": case["target_vis"] > 0,
    "depth": case["target_coord"][:, 2:],
    "depth_valid": (case["target_vis"] > 0) & (case["target_have_depth"] > 0),
  }


@pytest.fixture(scope="module")
def runs(case, batch):
  """{"eval" | "train": what one pass gives}; the image goes in as it is."""
  variables = SYSTEM.import_weights(case.state_dict())

  def run(variables, image, train):
    out, state = SYSTEM.network.apply(
      variables, image, train, mutable=["batch_stats", "intermediates"],
      capture_intermediates=lambda module, _: module.name == "backbone",
    )  # fmt: skip
    found = SYSTEM.decode(out, jnp.asarray(case["in_k_value"][:, 0]))
    losses = sum(SYSTEM.loss_values(found, batch).values())
    features = state["intermediates"]["backbone"]["__call__"][0]["layer4"]
    return {"out": out, "found": found, "losses": losses, "layer4": features}

  run = jax.jit(run, static_argnums=2)
  with jax.default_matmul_precision("float32"):
    return {mode: jax.device_get(run(variables, case.image(), mode == "train")) for mode in GROWN}


def test_maps(case, runs):
  layer4 = runs["eval"]["layer4"].transpose(0, 3, 1, 2)[:, ::32]
  close(layer4, case["eval_layer4"], LAYERS)
  scores = runs["eval"]["out"]["scores"][:, ::4, ::4, 0]
  close(scores, case["eval_xy_heatmap"], LAYERS)


@pytest.mark.parametrize("mode", GROWN)
def test_place_and_depth(case, runs, mode):
  close(runs[mode]["out"]["gamma"], case[f"{mode}_gamma"], LAYERS, GROWN[mode])
  found, expected = runs[mode]["found"][:, 0], case[f"{mode}_coord"]
  close(found[:, :2], expected[:, :2], LAYERS, GROWN[mode])  # cells
  close(found[:, 2], expected[:, 2], LAYERS, GROWN[mode])  # mm


@pytest.mark.parametrize("mode", GROWN)
def test_loss_of_each_example(case, runs, mode):
  close(runs[mode]["losses"], case[f"{mode}_loss_per_sample"], LAYERS, GROWN[mode])


def test_parameter_count(case):
  params = SYSTEM.import_weights(case.state_dict())["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 33_997_634


def test_import_names_what_does_not_fit(case):
  state_dict = case.state_dict()
  with pytest.raises(ValueError, match=r"does not know: root\.extra\.weight"):
    SYSTEM.import_weights(state_dict | {"root.extra.weight": np.zeros(1)})
  missing = {key: value for key, value in state_dict.items() if key != "root.depth_layer.bias"}
  with pytest.raises(ValueError, match=r"missing: root\.depth_layer\.bias"):
    SYSTEM.import_weights(missing)
  with pytest.raises(ValueError, match=r"params/depth/bias is \(2,\), the network has \(1,\)"):
    SYSTEM.import_weights(state_dict | {"root.depth_layer.bias": np.zeros(2)})
  with pytest.raises(ValueError, match=r"system\.released=True, view='hand'"):
    RootNet().import_weights(state_dict)
