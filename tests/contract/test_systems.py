"""What every system and every variant of every config must do; a new file in configs/ is found by itself."""

import functools
import importlib
import itertools
import json
import pathlib

import chex
import jax
import numpy as np
import pytest

from benchmarks import counts
from configs import base as base_config
from jaxhands import schema
from jaxhands.runs import stages
from jaxhands.systems import construct
from jaxhands.train import checkpoint, distributed, loop, state, step
from tests import pinned
from tests.contract import records

CONFIGS = sorted(path.stem for path in (pathlib.Path(base_config.__file__).parent).glob("*.py") if path.stem[0] != "_")
CONFIGS.remove("base")
VARIANTS = [(name, variant) for name in CONFIGS for variant in importlib.import_module(f"configs.{name}").VARIANTS]
STEPS = 12
# Figures of compiled steps are then those of every x86 processor that has it.
AVX2 = {"xla_cpu_max_isa": "AVX2"}


@pytest.fixture(autouse=True)
def _count_traces_anew():
  chex.clear_trace_counter()


@functools.cache
def _stages(name, variant):
  """Of one variant: (name of the stage, its config)."""
  return stages.of(importlib.import_module(f"configs.{name}").get_config(variant))


def _identity(config):
  """What is the same for configs of the same shapes and updates; they differ in data and durations."""
  same = (
    "system", "hand_model", "batch_size", "accumulation", "optimizer", "optimizers", "schedule", "clip_norm", "ema",
    "freeze", "compute_dtype",
  )  # fmt: skip
  parts = json.loads(config.to_json())
  return json.dumps([parts[key] for key in same] + [parts["data"]["crop_hw"]])


@functools.cache
def _paper_names():
  """The first config that has a step gives it its name: InterNet's is also Intershape's first stage."""
  found = [(_identity(config), _label(name, part)) for name in CONFIGS for part, config in _stages(name, "paper")]
  return dict(reversed(found))


def _label(name, stage):
  return f"{name}/{stage}" if stage else name


def _one(name, variant, stage, config):
  """A large stage whose networks are tested by another one waits for night: one that goes on from another of its
  variant's, and all of `synth`, which has the networks of `paper`."""
  words = set(variant.split(","))
  large = not {"tiny", "demo"} & words and _identity(config) not in _paper_names()
  nightly = large and ("synth" in words or stages.sources(config))
  marks = (pytest.mark.nightly,) if nightly else ()
  return pytest.param(name, variant, stage, id=f"{name}:{variant}{'/' if stage else ''}{stage}", marks=marks)


# Every stage of every variant once; many differ in data and durations alone. Of equal ones "tiny" itself is taken, of
# which figures are written down, or else the first.
STAGES = {
  _identity(config): _one(name, variant, stage, config)
  for name, variant in (*reversed(VARIANTS), *(one for one in reversed(VARIANTS) if one[1] == "tiny"))
  for stage, config in _stages(name, variant)
}.values()
TINY = [one for one in STAGES if "tiny" in one.values[1].split(",")]


def _system(name, variant, stage):
  config = dict(_stages(name, variant))[stage]
  return config, construct.load(config)


def paper_name(name, variant, stage):
  """What figures of a "paper" step are called, "hdr/hasm"; "" of any other. Many variants have the same steps."""
  return _paper_names().get(_identity(dict(_stages(name, variant))[stage]), "")


def test_every_config_is_found_and_has_a_demo_and_a_tiny_size():
  for name in CONFIGS:
    module = importlib.import_module(f"configs.{name}")
    assert {"demo", "tiny"} <= {word for variant in module.VARIANTS for word in variant.split(",")}, name
    assert module.__doc__
    assert f"launch.py --config=configs/{name}.py" in module.__doc__, f"configs/{name}.py does not say its command"


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_a_config_is_plain_and_survives_its_file(name, variant, tmp_path):
  config = importlib.import_module(f"configs.{name}").get_config(variant)
  assert config.name == name
  trainings = config.stages.values() or [config]
  # What base.py has keeps its type; what system has is the config's own.
  for (key, value), training in itertools.product(base_config.get_config().items(), trainings):
    assert type(training[key]) is type(value), key
  checkpoint.write_config(tmp_path, config)
  again = checkpoint.read_config(tmp_path)
  assert json.loads(again.to_json(sort_keys=True)) == json.loads(config.to_json(sort_keys=True))
  with pytest.raises((AttributeError, KeyError), match="batch_size"):
    trainings[0].lock().batchsize = 3


@pytest.mark.parametrize(("name", "variant", "stage"), STAGES)
def test_shapes_fit_for_every_variant(name, variant, stage):
  config, system = _system(name, variant, stage)
  assert system.needs <= set(schema.BATCH), stage
  assert system.view in ("pair", "hand")
  one = records.batch(system, 1, train=True)
  schema.check(one, needs=system.needs)
  size = config.batch_size
  trained = {key: jax.ShapeDtypeStruct((size, *value.shape[1:]), value.dtype) for key, value in one.items()}
  shapes = jax.eval_shape(step.make_init(system, config.seed, config.accumulation), trained)
  # Predictor and import know one example, not how a batch is divided in training; of that a small network tells all.
  if "tiny" in variant.split(","):
    chex.assert_trees_all_equal_shapes_and_dtypes(jax.eval_shape(step.make_init(system, config.seed), one), shapes)
    return  # its steps and predictions are not only traced, but run: below
  paper = paper_name(name, variant, stage)
  if system.objectives:
    prepared = loop.prepare(system, config, trained, examples=1000)
    assert prepared.plan.steps > 0
    _check_losses(system, config, prepared, trained)
    if paper:  # the others differ from these by less than what is checked
      _check_update(system, config, prepared, trained, paper)
  seen = records.batch(system, 2, train=False)
  traced = jax.jit(functools.partial(_predict, system)).trace(shapes, seen)
  schema.check(traced.out_info, schema.PREDICTION, dims={"B": 2})
  if paper:
    pinned.check(f"paper {paper} predict", lambda: counts.cost(traced)._asdict())


def _check_losses(system, config, prepared, batch):
  """Each objective gives a loss, and the state that it says it owns."""
  key, size = jax.random.key(0), config.batch_size // config.accumulation
  part = {name: jax.ShapeDtypeStruct((size, *value.shape[1:]), value.dtype) for name, value in batch.items()}
  ready = jax.eval_shape(functools.partial(system.device_ops, train=True), part, key)
  for objective in system.objectives:
    share = prepared.shares[objective.name]

    def loss(variables, batch, key, objective=objective, share=share):
      out = objective.fn(variables, batch, key)
      return out.loss, step._owned(objective, share, out, _plain(variables))

    found, owned = jax.eval_shape(loss, prepared.shapes, ready, key)
    assert (found.shape, found.dtype) == ((), np.float32), objective.name
    before = state.keep(prepared.shapes, state.leaves(owned).keys())
    chex.assert_trees_all_equal_shapes_and_dtypes(owned, before)


def _check_update(system, config, prepared, batch, paper):
  """The trainer's step leaves a state like the one before; its operations are those that are written down."""
  constants = prepared.shapes.get("constants", {})
  fresh = jax.eval_shape(lambda v: prepared.state(v, bool(config.ema)), _plain(prepared.shapes))
  traced = jax.jit(_train_step(system, config, prepared)).trace(fresh, constants, batch, np.int32(0))
  after, scalars = traced.out_info
  chex.assert_trees_all_equal_shapes_and_dtypes(after, fresh)
  assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(after.variables["params"]))
  assert {f"{objective.name}/loss" for objective in system.objectives} <= set(scalars)
  pinned.check(f"paper {paper} train", lambda: counts.cost(traced)._asdict())


@functools.cache
def _fresh(name, variant, stage):
  """A stage's variables, on the host; made once, for most of the time of that is the compiler's."""
  config, system = _system(name, variant, stage)
  batch = records.batch(system, config.batch_size, train=True)
  return jax.device_get(jax.jit(step.make_init(system, config.seed, config.accumulation))(batch))


def _predict(system, variables, batch):
  key = jax.random.key(0)
  return dict(system.predict(variables, system.device_ops(batch, key, train=False), key))


def _plain(variables):
  return {kind: part for kind, part in variables.items() if kind != "constants"}


def _train_step(system, config, prepared):
  shares, transforms = prepared.shares, prepared.transforms
  return step.make_train_step(system, shares, transforms, config.seed, config.accumulation, config.ema)


@pytest.mark.parametrize(("name", "variant", "stage"), TINY)
def test_steps_lower_the_loss_and_move_every_parameter(name, variant, stage, tmp_path):
  config, system = _system(name, variant, stage)
  if not system.objectives:
    pytest.skip("is assembled, not trained")
  mesh = distributed.make_mesh(1)
  batch = jax.device_put(records.batch(system, config.batch_size, train=True), distributed.sharded(mesh))
  prepared = loop.prepare(system, config, batch, examples=STEPS * config.batch_size)
  everywhere = distributed.replicated(mesh)
  variables = jax.device_put(_fresh(name, variant, stage), everywhere)
  constants = variables.pop("constants", {})
  fresh = prepared.state(variables, bool(config.ema))
  pure = _train_step(system, config, prepared)
  now, losses = jax.device_put(fresh, everywhere), []
  jitted = jax.jit(chex.assert_max_traces(pure, n=1), out_shardings=everywhere)
  update = jitted.lower(now, constants, batch, np.int32(0)).compile(AVX2)
  _check_pinned(name, variant, stage, "train", update)

  for number in range(STEPS):
    if number == STEPS - 1:
      with checkpoint.Checkpoints(tmp_path) as saved:
        saved.save(number, now)
        again = saved.restore(number, jax.tree.map(_like, now))
      chex.assert_trees_all_equal(again, now)
      repeated, _ = update(again, constants, batch, np.int32(number))
    now, scalars = update(now, constants, batch, np.int32(number))
    assert scalars["updated"], f"step {number}: {jax.device_get(scalars)}"
    losses.append({o.name: float(scalars[f"{o.name}/loss"]) for o in system.objectives})
  chex.assert_trees_all_equal(repeated, now)

  for objective in system.objectives:
    curve = [found[objective.name] for found in losses]
    assert min(curve[1:]) < curve[0], f"{objective.name} does not fall: {curve}"
  before, after = state.leaves(jax.device_get(variables)), state.leaves(jax.device_get(now.variables))
  trained = frozenset().union(*(share.trained for share in prepared.shares.values()))
  idle = sorted(path for path in trained if np.array_equal(before[path], after[path]))
  assert not idle, f"{len(idle)} of {len(trained)} parameters have no gradient: {idle[:5]}"
  changed = frozenset().union(*(share.paths for share in prepared.shares.values()))
  frozen = [path for path in before if path not in changed and not np.array_equal(before[path], after[path])]
  assert not frozen, f"frozen, but changed: {frozen}"


def has_pinned(name, variant, stage):
  """Whether figures of a tiny step are written down: of the systems as they are, without switches."""
  return name in CONFIGS and variant == "tiny"


def _check_pinned(name, variant, stage, step_name, compiled):
  """Bytes that a tiny step moves, and the memory that it takes besides arguments and results."""
  if has_pinned(name, variant, stage):

    def figures():
      cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
      return {"bytes": cost["bytes accessed"], "temporary": memory.temp_size_in_bytes}

    pinned.check(f"tiny {_label(name, stage)} {step_name}", figures, compiled=True)


def _like(leaf):
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


@pytest.mark.parametrize(("name", "variant", "stage"), TINY)
def test_predictions_fit_the_schema_and_depend_on_nothing_else(name, variant, stage):
  _, system = _system(name, variant, stage)
  batch, variables = records.batch(system, 4, train=False), _fresh(name, variant, stage)

  predict = jax.jit(functools.partial(_predict, system)).lower(variables, batch).compile(AVX2)
  _check_pinned(name, variant, stage, "predict", predict)
  prediction = jax.device_get(predict(variables, batch))
  schema.check(prediction, schema.PREDICTION, dims={"B": 4})
  schema.check_finite(prediction)
  # In evaluation an example's prediction does not depend on its neighbours. Samples are drawn by position.
  turned = jax.device_get(predict(variables, {key: value[[1, 0, 3, 2]] for key, value in batch.items()}))
  for key in set(prediction) - {"samples", "log_prob"}:
    np.testing.assert_allclose(
      np.asarray(turned[key], np.float32)[[1, 0, 3, 2]], np.asarray(prediction[key], np.float32),
      rtol=1e-3, atol=1e-3, err_msg=key,
    )  # fmt: skip


@pytest.mark.parametrize(("name", "variant", "stage"), TINY)
def test_frozen_parts_are_in_evaluation_mode(name, variant, stage):
  config, system = _system(name, variant, stage)
  for objective in system.objectives:
    if not config.freeze:
      continue
    batch = jax.device_put(records.batch(system, 4, train=True))  # as the trainer gives it
    variables = _fresh(name, variant, stage)

    @jax.jit
    def statistics(variables, batch):
      key = jax.random.key(0)
      return objective.fn(variables, system.device_ops(batch, key, train=True), key).state  # noqa: B023

    for path, leaf in state.leaves(statistics(variables, batch)).items():
      if state.under(path.split("/", 1)[1], config.freeze):
        np.testing.assert_array_equal(leaf, state.leaves(variables)[path], err_msg=path)


@pytest.mark.parametrize(("name", "variant", "stage"), TINY)
def test_foreign_weights_are_refused_by_name(name, variant, stage):
  _, system = _system(name, variant, stage)
  with pytest.raises(ValueError, match=r"no\.such\.tensor|weights|release") as refused:
    system.import_weights({"no.such.tensor": np.zeros(3, np.float32)})
  assert "KeyError" not in str(refused.value)
