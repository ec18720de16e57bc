"""Schedules and optimizers against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import base as base_config
from jaxhands.train import optim, plan, state
from tests.train import toys

PLAN = plan.Plan(steps=100, epoch_steps=10.0, log_every=0, eval_every=0, checkpoint_every=0)
STEPS = np.arange(0, 101)


def _schedule(**changes):
  section = toys.config().schedule
  section.update(changes)
  factor = optim.schedule(section, PLAN)
  return np.array([factor(step) for step in STEPS])


def test_constant():
  np.testing.assert_array_equal(_schedule(), 1)


def test_drops_in_epochs_and_steps():
  found = _schedule(name="drops", drops=(("3 epochs", 0.1), ("55 steps", 0.5)))
  np.testing.assert_allclose(found, np.where(STEPS < 30, 1, np.where(STEPS < 55, 0.1, 0.05)), rtol=1e-6)


def test_cosine():
  expected = 0.2 + 0.8 * (1 + np.cos(np.pi * STEPS / 100)) / 2
  np.testing.assert_allclose(_schedule(name="cosine", end=0.2), expected, atol=1e-6)


def test_poly_with_warm_up_is_the_product_of_both():
  found = _schedule(name="poly", power=0.9, warmup="2 epochs", warmup_start=1e-6)
  warm = 1e-6 + (1 - 1e-6) * np.minimum(STEPS / 20, 1)
  np.testing.assert_allclose(found, (1 - STEPS / 100) ** 0.9 * warm, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"name": "step"}, "'step'"),
    ({"name": "drops"}, "drops is \\(\\)"),
    ({"drops": (("1 epoch", 0.1),)}, "'constant', but schedule.drops"),
    ({"name": "drops", "drops": (("20 steps", 0.1), ("1 epoch", 0.1))}, "not in order"),
    ({"warmup": "20"}, "'20' is not a duration"),
  ],
)
def test_wrong_schedules_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    _schedule(**changes)


def _run(section, gradients, params, clip_norm=0.0, rate=0.1):
  section = dict(base_config.get_config().optimizer) | section
  paths = sorted(state.leaves(params))
  transform = optim.optimizer(section, lambda step: jnp.float32(rate), clip_norm, paths)
  opt = transform.init(params)
  for gradient in gradients:
    updates, opt = transform.update(gradient, opt, params)
    params = jax.tree.map(jnp.add, params, updates)
  return params


PARAMS = {"params": {"conv": {"kernel": jnp.array([1.0, -2.0])}, "head": {"bias": jnp.array([3.0])}}}
GRADIENTS = [
  {"params": {"conv": {"kernel": jnp.array([0.3, 0.1])}, "head": {"bias": jnp.array([-1.0])}}},
  {"params": {"conv": {"kernel": jnp.array([0.2, -0.4])}, "head": {"bias": jnp.array([2.0])}}},
]


def _flat(tree):
  return np.concatenate([tree["params"]["conv"]["kernel"], tree["params"]["head"]["bias"]])


def _adam(decoupled, decay, b1=0.9, b2=0.999, eps=1e-8, rate=0.1):
  x, m, v = _flat(PARAMS).astype(np.float64), 0, 0
  for t, gradient in enumerate(map(_flat, GRADIENTS), start=1):
    g = gradient if decoupled else gradient + decay * x
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    step = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    x = x - rate * (step + (decay * x if decoupled else 0))
  return x


def test_adam_adds_the_decay_to_the_gradient():
  found = _run({"name": "adam", "weight_decay": 0.1}, GRADIENTS, PARAMS)
  np.testing.assert_allclose(_flat(found), _adam(False, np.array([0.1] * 3)), rtol=1e-5)


def test_adamw_decouples_it_and_spares_what_it_should():
  found = _run({"name": "adamw", "weight_decay": 0.1, "no_decay": ("bias",)}, GRADIENTS, PARAMS)
  np.testing.assert_allclose(_flat(found), _adam(True, np.array([0.1, 0.1, 0])), rtol=1e-5)


def test_sgd_has_momentum():
  found = _run({"name": "sgd", "b1": 0.5}, GRADIENTS, PARAMS)
  first, second = map(_flat, GRADIENTS)
  np.testing.assert_allclose(_flat(found), _flat(PARAMS) - 0.1 * (first + second + 0.5 * first), rtol=1e-6)


def test_parts_may_learn_faster():
  slow = _flat(_run({"name": "sgd"}, GRADIENTS[:1], PARAMS)) - _flat(PARAMS)
  fast = _flat(_run({"name": "sgd", "faster": (("head", 10.0),)}, GRADIENTS[:1], PARAMS)) - _flat(PARAMS)
  np.testing.assert_allclose(fast / slow, [1, 1, 10], rtol=1e-5)


def test_clipping_bounds_the_norm():
  found = _flat(_run({"name": "sgd"}, GRADIENTS[:1], PARAMS, clip_norm=0.5)) - _flat(PARAMS)
  as_it_is = _flat(_run({"name": "sgd"}, GRADIENTS[:1], PARAMS))
  gradient = _flat(GRADIENTS[0])
  np.testing.assert_allclose(found, -0.1 * 0.5 * gradient / np.linalg.norm(gradient), rtol=1e-4)
  np.testing.assert_array_equal(_flat(_run({"name": "sgd"}, GRADIENTS[:1], PARAMS, clip_norm=5.0)), as_it_is)
  nothing = jax.tree.map(jnp.zeros_like, GRADIENTS[0])
  np.testing.assert_array_equal(_flat(_run({"name": "sgd"}, [nothing], PARAMS, clip_norm=0.5)), _flat(PARAMS))


@pytest.mark.parametrize(
  ("section", "message"),
  [({"name": "lion"}, "'lion'"), ({"no_decay": ("norm",)}, "contains 'norm'"), ({"faster": (("x", 2.0),)}, "'x'")],
)
def test_wrong_optimizers_are_refused(section, message):
  with pytest.raises(ValueError, match=message):
    _run(section, GRADIENTS, PARAMS)


def test_objectives_may_differ():
  config = toys.config()
  config.optimizers = ConfigDict({"discriminator": {"learning_rate": 0.5, "b1": 0.0}})
  rates = optim.learning_rates(config, PLAN, ["generator", "discriminator"])
  assert float(rates["generator"](0)) == pytest.approx(config.optimizer.learning_rate)
  assert float(rates["discriminator"](0)) == 0.5
  assert optim.section(config, "discriminator")["b1"] == 0
  assert optim.section(config, "generator")["b1"] == 0.9


def test_changes_for_nobody_are_refused():
  config = toys.config()
  config.optimizers = ConfigDict({"critic": {"b1": 0.0}})
  shares = {"generator": state.Share(frozenset(), frozenset())}
  with pytest.raises(ValueError, match="'critic'"):
    optim.optimizers(config, optim.learning_rates(config, PLAN, shares), shares)
  config.optimizers = ConfigDict({"generator": {"beta": 0.0}})
  with pytest.raises(ValueError, match="unknown key 'beta'"):
    optim.learning_rates(config, PLAN, shares)
