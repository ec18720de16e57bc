"""The conditional GLOW of ProHMR's library: every transform, density, samples and mode; and its start from a batch."""

import functools

import jax
import numpy as np
import pytest

from jaxhands.models.flow.glow import ConditionalGlow
from jaxhands.models.flow.halves import Halves
from jaxhands.weights.convert import check_shapes, convert
from jaxhands.weights.glow import glow as name_map
from tests.parity.cases import Case, close

CONFIGURATIONS = ("small", "small_affine", "odd", "prohmr", "handflow", "handflow_affine")
SMALL = CONFIGURATIONS[:3]
TRAINED = 20.0  # by which errors grow with batch statistics of 24 rows and a deviation of 1e-3


@pytest.fixture(scope="module")
def case(goldens) -> Case:
  return Case(goldens, "glow")


@functools.cache
def _described(case, name):
  found = case.json("tensors.json")
  if name not in found:
    pytest.skip(f"configuration {name!r} is not among those of the case")
  return found[name]


def _flow(case, name, **changes) -> ConditionalGlow:
  config = dict(_described(case, name)["config"])
  return ConditionalGlow(**({"coupling": "additive"} | config | changes))


def _layers(flow) -> int:
  """Products that follow each other: two of the matrix, and those of the coupling's net."""
  return flow.layers * (2 + 2 + 2 * flow.blocks)


def _state_dict(case, name):
  """The reference's tensors, by the case's rules."""
  tensors = case.tensors(_described(case, name)["tensors"])
  for key, value in tensors.items():
    if key.endswith(("lower_entries", "upper_entries")):
      tensors[key] = value * np.float32(0.1)
    if key.endswith("unconstrained_upper_diag"):
      tensors[key] = value + np.float32(np.log(np.exp(1 - 1e-3) - 1))
    if key.endswith("final_layer.weight"):
      tensors[key] = value * np.float32(0.5)
  return tensors


def _variables(flow, state_dict):
  kept = [len(Halves(flow.features, i % 2 == 1).kept) for i in range(flow.layers)]
  return convert(state_dict, name_map("", "", flow.layers, flow.blocks, kept))


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def found(request, case):
  """(name, flow, variables, what it makes of the case's inputs)."""
  name = request.param
  flow = _flow(case, name)
  variables = _variables(flow, _state_dict(case, name))

  def everything(flow: ConditionalGlow, context, x, z):
    projected = flow.condition(context)
    noise, log_det = flow.to_noise(x, projected)
    sample, sample_log_prob = flow.from_noise(z, projected)
    mode = flow.mode(projected)
    steps, rows = [], x
    for bijector in flow.bijectors(projected, False):
      rows, change = bijector.forward_and_log_det(rows)
      steps.append((rows, change))
    kept, _ = flow.halves[0].split(x)  # the case asks the first net about the data themselves
    return {
      "log_prob": flow.log_prob(x, projected), "noise": noise, "logabsdet": log_det,
      "sample": sample, "sample_log_prob": sample_log_prob,
      "mode": mode, "mode_log_prob": flow.log_prob(mode, projected),
      "steps": steps, "net0": flow.net[0](kept, projected[0], False),
    }  # fmt: skip

  inputs = [case[f"{name}/in/{key}"] for key in ("context", "x", "z")]
  return name, flow, variables, jax.jit(functools.partial(flow.apply, method=everything))(variables, *inputs)


def test_density_samples_and_mode(case, found):
  name, flow, _, out = found
  for key in ("noise", "sample", "mode"):
    close(out[key], case[f"{name}/{key}"], _layers(flow))
  for key in ("log_prob", "logabsdet", "sample_log_prob", "mode_log_prob"):
    # A density sums as many squares as there are dimensions.
    close(out[key], case[f"{name}/{key}"], _layers(flow) + flow.features)


@pytest.mark.parametrize("found", SMALL, indirect=True)  # of the others the case has no steps
def test_every_transform_alone(case, found):
  name, flow, _, out = found
  for index, (rows, log_det) in enumerate(out["steps"]):
    close(rows.reshape(-1, flow.features), case[f"{name}/step{index:02d}/out"], _layers(flow))
    expected = case[f"{name}/step{index:02d}/logabsdet"]
    np.testing.assert_allclose(log_det.reshape(-1), expected, rtol=0, atol=1e-5)
  close(out["net0"].reshape(case[f"{name}/net0/out"].shape), case[f"{name}/net0/out"], _layers(flow))
  np.testing.assert_array_equal(flow.bind({}).halves[0].kept, case[f"{name}/identity_features0"])
  np.testing.assert_array_equal(flow.bind({}).halves[0].moved, case[f"{name}/transform_features0"])


def test_parameters(case, found):
  name, flow, variables, _ = found
  assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == _described(case, name)["parameters"]
  rows, context = case[f"{name}/in/x"], case[f"{name}/in/context"]
  fresh = jax.eval_shape(functools.partial(flow.init, method="start"), jax.random.key(0), rows, context)
  check_shapes(variables, fresh)


def test_additive_couplings_keep_volumes_alike(case, found):
  """What makes noise 0 the exact mode, and takes the meaning out of a regulariser of the determinant."""
  _, flow, _, out = found
  spread = float(np.ptp(out["logabsdet"]))
  assert spread == 0 if flow.coupling == "additive" else spread > 1e-3


def test_start_from_a_batch_in_training_mode(case):
  """ActNorm's start, the density there, and the running statistics after one call."""
  flow = _flow(case, "small", dropout=0.0)
  state_dict = _state_dict(case, "small")
  for key in state_dict:
    if key.endswith((".log_scale", ".shift")):
      state_dict[key] = np.zeros_like(state_dict[key])
  variables = _variables(flow, state_dict)

  @jax.jit
  def run(variables, context, x):
    start = functools.partial(flow.apply, method="start", mutable=["params", "batch_stats"])
    return start(variables, x[:, None], context, train=True)

  (noise, log_det), state = run(variables, case["train/in/context"], case["train/in/x"])
  close(noise[:, 0], case["train/noise"], _layers(flow), TRAINED)
  log_prob = -0.5 * np.square(noise[:, 0]).sum(-1) - 0.5 * flow.features * np.log(2 * np.pi) + log_det[:, 0]
  close(log_prob, case["train/log_prob"], _layers(flow), TRAINED)

  after = dict(state_dict)
  after |= {key: case[f"train/after/{key}"] for key in state_dict if f"train/after/{key}" in case}
  expected = _variables(flow, after)
  changed = 0
  for collection in ("params", "batch_stats"):
    for path, value in jax.tree_util.tree_leaves_with_path(expected[collection]):
      mine = functools.reduce(lambda tree, key: tree[key.key], path, state[collection])
      close(mine, value, _layers(flow), TRAINED)
      changed += not np.array_equal(mine, functools.reduce(lambda t, k: t[k.key], path, variables[collection]))
  assert changed == flow.layers * (2 + 4 * flow.blocks), "two of each ActNorm, two of each norm"


def test_import_names_what_does_not_fit(case):
  flow, state_dict = _flow(case, "odd"), _state_dict(case, "odd")
  extra = {"dummy_buffer": np.ones(1), "_transform._transforms.0.initialized": np.array(True)}
  jax.tree.map(np.testing.assert_array_equal, _variables(flow, state_dict | extra), _variables(flow, state_dict))
  with pytest.raises(ValueError, match=r"does not know: context_layer\.weight"):
    _variables(flow, state_dict | {"context_layer.weight": np.zeros(1)})
  del state_dict["_transform._transforms.4.bias"]
  with pytest.raises(ValueError, match=r"missing: _transform\._transforms\.4\.bias"):
    _variables(flow, state_dict)
