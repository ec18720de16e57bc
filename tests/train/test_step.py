"""One update, against the same arithmetic written out."""

import dataclasses

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxhands.systems import base
from jaxhands.train import state, step
from tests.train import toys

SEED = 3


def _setting(system, freeze=(), accumulation=1, ema=0.0, transform=None, batch=None):
  batch = batch or jax.tree.map(jnp.asarray, toys.host_batch(0, 8))
  variables = jax.jit(step.make_init(system, SEED, accumulation))(batch)
  constants = variables.pop("constants", {})
  shares = state.shares(system.objectives, variables, freeze)
  transforms = {name: transform or optax.sgd(0.1) for name in shares}
  opt = {name: transforms[name].init(state.keep(variables, share.trained)) for name, share in shares.items()}
  changed = frozenset().union(*(share.paths for share in shares.values()))
  fresh = state.State(jnp.int32(0), variables, opt, state.keep(variables, changed) if ema else {})
  update = step.make_train_step(system, shares, transforms, SEED, accumulation, ema)
  return fresh, constants, batch, update


@dataclasses.dataclass(frozen=True)
class Linear(toys.Regressor):
  """No statistics, no randomness: x -> w . pixels, for exact accumulation."""

  @property
  def objectives(self):
    return (base.Objective("pose", ("w",), (), fn=self._loss),)

  def init(self, rng, batch):
    return {"params": {"w": jnp.full((192,), 0.01)}}

  def device_ops(self, batch, rng, train):
    return dict(batch) | {"image": batch["image"].astype(jnp.float32) / 255}

  def _loss(self, variables, batch, rng):
    error = batch["image"].reshape(-1, 192) @ variables["params"]["w"] - batch["joints_cam"][:, 0, 0, 0] / 100
    return base.LossOut(jnp.mean(error**2), {"mean_id": jnp.mean(batch["example_id"].astype(jnp.float32))}, {})


def test_objectives_take_gradients_at_the_start_of_the_step():
  system = toys.Adversarial()
  fresh, constants, batch, update = _setting(system)
  after, scalars = jax.jit(update)(fresh, constants, batch, np.int32(0))

  # The same by hand: each objective alone, the other one's part never updated.
  step_key = jax.random.fold_in(jax.random.fold_in(jax.random.key(SEED), 1), 0)
  ops_key, *keys = jax.random.split(jax.random.fold_in(step_key, 0), 3)
  seen = system.device_ops(batch, ops_key, train=True)
  for objective, key in zip(system.objectives, keys, strict=True):
    name = objective.name

    def loss(part, objective=objective, name=name, key=key):
      out = objective.fn({**fresh.variables, "params": {**fresh.variables["params"], name: part}}, seen, key)
      return out.loss, out.state

    (value, owned), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(fresh.variables["params"][name])
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, fresh.variables["params"][name], gradient)
    chex.assert_trees_all_close(after.variables["params"][name], expected, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(after.variables["batch_stats"][name], owned["batch_stats"][name], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scalars[f"{name}/loss"], value, rtol=1e-5)
    np.testing.assert_allclose(scalars[f"{name}/gradient_norm"], optax.tree.norm(gradient), rtol=1e-5)
  assert after.step == 1
  assert scalars["updated"]


def test_accumulated_gradients_are_those_of_the_whole_batch():
  results = []
  for accumulation in (1, 2, 4):
    fresh, constants, batch, update = _setting(Linear(), accumulation=accumulation)
    results.append(jax.jit(update)(fresh, constants, batch, np.int32(0)))
  for after, scalars in results[1:]:
    chex.assert_trees_all_close(after.variables, results[0][0].variables, rtol=1e-5)
    for name in ("pose/loss", "pose/mean_id", "pose/gradient_norm"):
      np.testing.assert_allclose(scalars[name], results[0][1][name], rtol=1e-5)


def test_statistics_pass_from_micro_batch_to_micro_batch():
  @dataclasses.dataclass(frozen=True)
  class Counting(Linear):
    @property
    def objectives(self):
      return (base.Objective("pose", ("w",), ("batch_stats",), fn=self._loss),)

    def init(self, rng, batch):
      return super().init(rng, batch) | {"batch_stats": {"seen": {"sum": jnp.float32(0), "last": jnp.int32(-1)}}}

    def _loss(self, variables, batch, rng):
      out = super()._loss(variables, batch, rng)
      seen = variables["batch_stats"]["seen"]
      new = {"sum": seen["sum"] * 2 + out.terms["mean_id"], "last": batch["example_id"][-1]}
      return dataclasses.replace(out, state={"batch_stats": {"seen": new}})

  fresh, constants, batch, update = _setting(Counting(), accumulation=2, ema=0.5)
  after, _ = jax.jit(update)(fresh, constants, batch, np.int32(0))
  ids = np.asarray(batch["example_id"], np.float32)
  assert after.variables["batch_stats"]["seen"]["sum"] == ids[0::2].mean() * 2 + ids[1::2].mean()
  assert after.variables["batch_stats"]["seen"]["last"] == ids[-1]
  # The average starts with a weight of 1 / 10 on what was; whole numbers are no averages.
  np.testing.assert_allclose(
    after.ema["batch_stats"]["seen"]["sum"], 0.9 * after.variables["batch_stats"]["seen"]["sum"]
  )
  assert after.ema["batch_stats"]["seen"]["last"] == ids[-1]


def test_the_average_follows_its_formula():
  fresh, constants, batch, update = _setting(Linear(), ema=0.15)
  update = jax.jit(update)
  states, average = [fresh], fresh.variables["params"]["w"]
  for number in range(4):
    states.append(update(states[-1], constants, batch, np.int32(number))[0])
    decay = min(0.15, (1 + number) / (10 + number))
    average = decay * average + (1 - decay) * states[-1].variables["params"]["w"]
  np.testing.assert_allclose(states[-1].ema["params"]["w"], average, rtol=1e-6)


@pytest.mark.parametrize("bad", ["loss", "gradient", "early"])
def test_nothing_changes_unless_all_is_finite_and_the_step_is_due(bad):
  fresh, constants, batch, update = _setting(Linear(), ema=0.9, transform=optax.adam(0.1))
  number = np.int32(1 if bad == "early" else 0)
  if bad == "loss":
    batch = batch | {"joints_cam": batch["joints_cam"].at[3].set(jnp.inf)}
  if bad == "gradient":
    # sqrt at zero: the loss is finite, its gradient is not.
    class Root(Linear):
      def _loss(self, variables, batch, rng):
        return base.LossOut(jnp.sqrt(jnp.sum(variables["params"]["w"] * 0)), {}, {})

    fresh, constants, batch, update = _setting(Root(), ema=0.9, transform=optax.adam(0.1))
  after, scalars = jax.jit(update)(fresh, constants, batch, number)
  assert not scalars["updated"]
  chex.assert_trees_all_equal(after, fresh)


def test_the_suspicion_falls_on_examples():
  fresh, constants, batch, update = _setting(toys.Regressor())
  batch = batch | {"joints_cam": batch["joints_cam"].at[jnp.array([1, 6])].set(jnp.nan)}
  is_bad = jax.jit(step.make_suspicion(update))
  assert [i for i in range(8) if is_bad(fresh, constants, batch, i)] == [1, 6]


def test_steps_differ_by_their_random_key_alone():
  class Noise(Linear):
    def _loss(self, variables, batch, rng):
      noise = jax.random.normal(rng, ())
      return base.LossOut(jnp.sum(variables["params"]["w"]) * 0 + noise, {"noise": noise}, {})

  fresh, constants, batch, update = _setting(Noise())
  update = jax.jit(update)
  second = dataclasses.replace(fresh, step=jnp.int32(1))
  noise = [float(update(s, constants, batch, s.step)[1]["pose/noise"]) for s in (fresh, fresh, second)]
  assert noise[0] == noise[1] != noise[2]


def test_it_is_traced_once():
  chex.clear_trace_counter()
  fresh, constants, batch, update = _setting(toys.Regressor(), ema=0.9)
  update = jax.jit(chex.assert_max_traces(update, n=1))
  for number in range(3):
    fresh, scalars = update(fresh, constants, batch, np.int32(number))
    assert scalars["updated"]
  assert fresh.step == 3


@pytest.mark.parametrize(
  ("owns", "returned", "message"),
  [
    (("batch_stats",), {}, "did not return state 'batch_stats/"),
    (
      ("batch_stats/neck", "batch_stats/head"),
      {"batch_stats": {"tail": {"mean": 0.0}}},
      "returned state 'batch_stats/tail",
    ),
  ],
)
def test_state_that_does_not_fit_is_refused(owns, returned, message):
  class Wrong(toys.Regressor):
    @property
    def objectives(self):
      return (base.Objective("pose", ("neck", "head"), owns, fn=self._wrong),)

    def _wrong(self, variables, batch, rng):
      out = self._loss(variables, batch, rng)
      state = returned if not returned else {"batch_stats": out.state["batch_stats"] | returned["batch_stats"]}
      return dataclasses.replace(out, state=state)

  fresh, constants, batch, update = _setting(Wrong())
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(update, fresh, constants, batch, np.int32(0))


def test_normalisation_is_over_the_global_batch():
  # Four devices hold two examples each; the statistics are those of all eight.
  from jaxhands.train import distributed

  mesh = distributed.make_mesh(4)
  host = toys.host_batch(0, 8)
  x = host["image"].reshape(8, -1).astype(np.float32)

  class Stats(nn.Module):
    @nn.compact
    def __call__(self, x):
      return nn.BatchNorm(use_running_average=False, momentum=0.0)(x)

  module = Stats()
  variables = module.init(jax.random.key(0), x)
  _, updates = jax.jit(lambda v, x: module.apply(v, x, mutable=["batch_stats"]))(
    jax.device_put(variables, distributed.replicated(mesh)), jax.device_put(x, distributed.sharded(mesh))
  )
  np.testing.assert_allclose(updates["batch_stats"]["BatchNorm_0"]["mean"], x.mean(0), rtol=1e-5)
