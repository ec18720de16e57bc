"""The networks in PyTorch that ours are timed beside are the same networks."""

import dataclasses
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import subjects, torch_twins
from jaxhands.train import step
from tests.contract import records

pytestmark = pytest.mark.skipif(
  importlib.util.find_spec("torch") is None, reason="PyTorch is not installed (extra `bench`)"
)
TINY, DEMO, PAPER = (
  [one for one in subjects.all_of(size) if torch_twins.has(one.system)] for size in ("tiny", "demo", "paper")
)
PAPER = [one for one in PAPER if getattr(one.system, "hasm", None) is None]  # else made of others


def _shapes(subject):
  batch = records.batch(subject.system, 2, train=True)
  return jax.eval_shape(step.make_init(subject.system, 0), batch)


@pytest.mark.parametrize("subject", [*DEMO, *PAPER], ids=lambda one: f"{one.name}-{one.size}")
def test_a_twin_has_as_many_parameters(subject):
  import torch

  with torch.device("meta"):
    twin = torch_twins.load(subject.system)
  assert sum(parameter.numel() for parameter in twin.parameters()) == subjects.parameters(_shapes(subject))


# HASM of the compact sizes has another trunk than at size tiny.
COMPACT = [one for one in DEMO if one.name == "hdr/hasm"]


@pytest.mark.parametrize(
  "subject", [*(one for one in TINY if one.system.objectives), *COMPACT], ids=lambda one: f"{one.name}-{one.size}"
)
def test_every_parameter_of_a_twin_has_a_gradient_of_its_loss(subject):
  import torch

  from benchmarks import theirs

  torch.manual_seed(0)
  twin = torch_twins.load(subject.system).train()
  host = records.batch(subject.system, 4, train=True)
  batch = theirs.inputs(subject.system, twin, host, True)
  losses, trained = twin.losses(batch), twin.trained()
  assert set(losses) == set(trained)
  for name, parts in trained.items():
    gradients = torch.autograd.grad(losses[name], parts, retain_graph=True, allow_unused=True)
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients), name
    assert any(gradient.abs().sum() > 0 for gradient in gradients), name


@pytest.mark.parametrize("compare", [False, True])
def test_the_pipeline_recovers_and_estimates_both_hands(compare):
  import torch

  from benchmarks import theirs

  (subject,) = (one for one in TINY if not one.system.objectives)
  system = dataclasses.replace(subject.system, compare=compare)
  twin = torch_twins.load(system).eval()
  with torch.no_grad():
    odds, recovered, *maps = twin(theirs.tensors(records.batch(system, 2, train=False)))
    again = twin._heat(recovered)
  height, width = system.hand_hw
  assert odds.shape == (2, 4, *system.hasm.map_hw)
  assert recovered.shape == (4, 3, height, width)
  channels = (21, 63, 63, 21) if compare else (21, 63, 63)  # of the crops as they are nothing but heat is seen
  assert [found.shape for found in maps] == [(4, joints, height // 4, width // 4) for joints in channels]
  assert all(found.isfinite().all() for found in (odds, recovered, *maps))
  torch.testing.assert_close(again, maps[0])


def test_a_gaussian_lies_where_ours_does():
  import torch

  from benchmarks.torch_twins import layers
  from jaxhands import codecs

  voxels = np.random.default_rng(0).uniform(0, 5, (2, 3, 3)).astype(np.float32)
  rows, columns, bins = codecs.gaussian_factors(jnp.asarray(voxels), (4, 5, 6), 1.5)
  ours = np.einsum("bhj,bwj,bjd->bjdhw", rows, columns, bins)
  found = layers.gaussian(torch.from_numpy(voxels), (6, 4, 5), 1.5)
  np.testing.assert_allclose(found.numpy(), ours, rtol=1e-4, atol=1e-6)
  weights = found.sum(2) / found.sum((2, 3, 4))[..., None, None]
  np.testing.assert_allclose(
    layers.expectation(weights), codecs.expected_cell(jnp.asarray(weights.permute(0, 2, 3, 1).numpy())), rtol=1e-4
  )
