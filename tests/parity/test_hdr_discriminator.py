"""The discriminator, its power iterations and the adversarial losses against the release."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands import losses
from jaxhands.models.discriminator import STATE, Discriminator
from jaxhands.weights.convert import check_shapes, convert
from jaxhands.weights.hdr import discriminator
from tests.parity.cases import Case, close
from tests.parity.hdr import every, holes_of, nchw, normalised

LAYERS = range(1, 6)
NETWORK = Discriminator()


@pytest.fixture(scope="module")
def case(goldens) -> Case:
  return Case(goldens, "hdr_discriminator")


@pytest.fixture(scope="module")
def initial(case):
  """The tensors, u and v made unit vectors as the README says."""
  tensors = {
    key: value / np.linalg.norm(value) if key.endswith(("_u", "_v")) else value
    for key, value in case.state_dict().items()
  }
  return convert(tensors, discriminator(""))


@pytest.fixture(scope="module")
def inputs(case):
  masks = holes_of(case)
  both = jnp.stack([masks.visible, masks.background], axis=-1)
  return {name: jnp.concatenate([normalised(case.image(name)), both], axis=-1) for name in ("real", "fake")}


@pytest.fixture(scope="module")
def runs(case, initial, inputs):
  trained = {f"conv{i}": {"u": case[f"u{i}"], "v": case[f"v{i}"]} for i in LAYERS}

  @jax.jit
  def first_step(variables, x):
    return NETWORK.apply(variables, x, True, mutable=[STATE])

  @jax.jit
  def evaluate(variables, x):
    scores, state = NETWORK.apply(variables, x, False, mutable=["intermediates"], capture_intermediates=True)
    return scores, {name: value["__call__"][0] for name, value in state["intermediates"].items() if name != "__call__"}

  with jax.default_matmul_precision("float32"):
    scores, state = first_step(initial, inputs["real"])
    found = {name: evaluate(initial | {STATE: trained}, inputs[name]) for name in ("real", "fake")}
  return {"first": (scores, state[STATE])} | found


def test_every_tensor_has_its_place(initial, inputs):
  shapes = jax.eval_shape(lambda: NETWORK.init(jax.random.key(0), inputs["real"], True))
  check_shapes(initial, shapes)
  assert sum(leaf.size for leaf in jax.tree.leaves(initial["params"])) == 2_765_824


def test_one_power_iteration(case, runs, initial):
  scores, state = runs["first"]
  for i in LAYERS:
    close(state[f"conv{i}"]["u"], case[f"first_step_u{i}"], len(LAYERS))
    close(_sigma(initial, state, i), case[f"first_step_sigma{i}"], len(LAYERS))
  close(jax.nn.sigmoid(scores), case["first_step_prob_real"][:, 0], len(LAYERS))


def test_largest_singular_values(case, initial):
  for i in LAYERS:
    found = _sigma(initial, {f"conv{i}": {"u": case[f"u{i}"], "v": case[f"v{i}"]}}, i)
    close(found, case[f"sigma{i}"], len(LAYERS))


def test_evaluation(case, runs):
  scores, maps = runs["real"]
  for i in range(1, 5):
    found = nchw(jax.nn.leaky_relu(maps[f"conv{i}"], 0.2))
    found = found[:, every(found.shape[1], 16), every(found.shape[2], 16), every(found.shape[3], 16)]
    close(found, case[f"feature{i}"], len(LAYERS))
  close(scores, case["logits_real"][:, 0], len(LAYERS))
  for name in ("real", "fake"):
    close(jax.nn.sigmoid(runs[name][0]), case[f"prob_{name}"][:, 0], len(LAYERS))


@pytest.mark.parametrize("kind", ["nsgan", "lsgan", "hinge"])
def test_adversarial_losses(case, runs, kind):
  for name, scores, role in (("dis_real", "real", "real"), ("dis_fake", "fake", "fake"), ("gen", "fake", "generator")):
    found = losses.adversarial(runs[scores][0], role, kind).mean()
    close(found, case[f"{kind}_{name}"], len(LAYERS))


def _sigma(variables, state, layer):
  kernel = variables["params"][f"conv{layer}"]["kernel"]
  matrix = kernel.transpose(3, 2, 0, 1).reshape(kernel.shape[-1], -1)
  vectors = state[f"conv{layer}"]
  return np.asarray(vectors["u"], np.float64) @ matrix.astype(np.float64) @ np.asarray(vectors["v"], np.float64)
