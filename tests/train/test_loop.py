"""The loop: resuming, stopping, refusing; on one device and on four."""

import json
import signal

import chex
import jax
import numpy as np
import pytest

from jaxhands.train import checkpoint, distributed, loop, progress, state
from tests.train import toys

SYSTEMS = {"regressor": toys.Regressor(), "adversarial": toys.Adversarial()}


def _train(system, workdir, stream, config=None, **arguments):
  config = config or toys.config()
  checkpoint.write_config(workdir, config)
  return loop.train(system, config, workdir, stream, toys.EXAMPLES, stream.mesh, **arguments)


class Halt(Exception):
  """A crash."""


def _at(wanted, action):
  """A `spoil` of `toys.Stream` that does something before the batch of a step comes."""

  def spoil(step, batch):
    if step == wanted:
      action()
    return batch

  return spoil


def _crash():
  raise Halt


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """Folder and ids of a run that never stopped, by system and devices."""
  made = {}

  def get(name, devices):
    if (name, devices) not in made:
      workdir = tmp_path_factory.mktemp(f"{name}{devices}")
      stream = toys.Stream(distributed.make_mesh(devices), 8)
      result = _train(SYSTEMS[name], workdir, stream)
      assert (result.step, result.finished) == (8, True)
      made[name, devices] = workdir, stream.ids
    return made[name, devices]

  return get


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("name", list(SYSTEMS))
def test_resumed_after_a_crash_is_bit_equal(name, devices, whole, tmp_path):
  workdir, ids = whole(name, devices)
  stream = toys.Stream(distributed.make_mesh(devices), 8, _at(5, _crash))
  with pytest.raises(Halt):
    _train(SYSTEMS[name], tmp_path, stream)
  assert checkpoint.checkpoint_folder(tmp_path).name == "3"  # checkpoints come every 3 steps
  again = toys.Stream(distributed.make_mesh(devices), 8)
  assert _train(SYSTEMS[name], tmp_path, again).step == 8
  toys.assert_bit_equal(tmp_path, workdir)
  assert {step: again.ids[step] for step in range(3, 8)} == {step: ids[step] for step in range(3, 8)}
  scalar = "train/pose/loss" if name == "regressor" else "train/discriminator/loss"
  assert toys.scalars(tmp_path, scalar) == toys.scalars(workdir, scalar)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_finish_the_step_and_save(number, whole, tmp_path):
  mesh = distributed.make_mesh(1)
  result = _train(SYSTEMS["regressor"], tmp_path, toys.Stream(mesh, 8, _at(4, lambda: signal.raise_signal(number))))
  assert (result.step, result.finished) == (5, False)
  assert checkpoint.checkpoint_folder(tmp_path).name == "5"
  assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
  assert _train(SYSTEMS["regressor"], tmp_path, toys.Stream(mesh, 8)).finished
  toys.assert_bit_equal(tmp_path, whole("regressor", 1)[0])


@pytest.mark.parametrize("best", ["", "error"])
def test_an_evaluation_that_fails_costs_no_training(best, tmp_path):
  config = toys.config()
  config.eval_every, config.best_metric = "2 steps", best

  def evaluate(variables):
    raise Halt

  with pytest.raises(Halt):
    _train(SYSTEMS["regressor"], tmp_path, toys.Stream(distributed.make_mesh(1), 8), config, evaluate=evaluate)
  assert checkpoint.checkpoint_folder(tmp_path).name == "2"


def test_of_several_processes_one_whose_evaluation_fails_does_not_wait_for_the_others_to_save(tmp_path, monkeypatch):
  class Two:
    """jax, as one of two processes sees it."""

    process_count = staticmethod(lambda: 2)

    def __getattr__(self, name):
      return getattr(jax, name)

  def evaluate(variables):
    raise Halt

  config = toys.config(eval_every="2 steps", best_metric="error")
  monkeypatch.setattr(loop, "jax", Two())
  with pytest.raises(Halt):
    _train(SYSTEMS["regressor"], tmp_path, toys.Stream(distributed.make_mesh(1), 8), config, evaluate=evaluate)
  assert not [path for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()]


def test_a_best_metric_that_the_data_lack_is_named_and_what_is_trained_is_saved(tmp_path):
  config = toys.config(eval_every="2 steps", best_metric="mpjpe/left")
  stream = toys.Stream(distributed.make_mesh(1), 8)
  with pytest.raises(ValueError, match=r"best_metric='mpjpe/left' is not measured .* one of \['mpjpe/all'\]"):
    _train(SYSTEMS["regressor"], tmp_path, stream, config, evaluate=lambda variables: {"mpjpe/all": 1.0})
  assert checkpoint.checkpoint_folder(tmp_path).name == "2"


@pytest.mark.parametrize("best", ["", "error"])
def test_a_signal_during_or_after_the_last_evaluation_is_obeyed(best, tmp_path, monkeypatch):
  evaluated = progress.Report.evaluated

  def signalled(self, step, metrics):
    signal.raise_signal(signal.SIGTERM)
    evaluated(self, step, metrics)

  monkeypatch.setattr(progress.Report, "evaluated", signalled)
  config = toys.config(eval_every="8 steps", best_metric=best)
  stream = toys.Stream(distributed.make_mesh(1), 8)
  result = _train(SYSTEMS["regressor"], tmp_path, stream, config, evaluate=lambda variables: {"error": 1.0})
  assert (result.step, result.finished, result.stopped) == (8, True, True)
  assert checkpoint.checkpoint_folder(tmp_path).name == "8"


@pytest.mark.parametrize("step", [4, 8])
def test_an_evaluation_that_failed_and_chooses_the_best_is_done_when_the_run_goes_on(step, tmp_path):
  config = toys.config(eval_every="4 steps", best_metric="error")
  values = iter([5.0] * (step == 8))
  mesh = distributed.make_mesh(1)
  with pytest.raises(StopIteration):
    _train(SYSTEMS["regressor"], tmp_path, toys.Stream(mesh, 8), config, evaluate=lambda _: {"error": next(values)})
  assert checkpoint.checkpoint_folder(tmp_path).name == str(step)
  values = iter([1.0, 2.0])
  result = _train(
    SYSTEMS["regressor"], tmp_path, toys.Stream(mesh, 8), config, evaluate=lambda _: {"error": next(values)}
  )
  assert checkpoint.checkpoint_folder(tmp_path, "best").name == str(step)
  assert result.metrics == {"error": 2.0 if step == 4 else 1.0}
  assert toys.scalars(tmp_path, "eval/error") == ({4: 1.0, 8: 2.0} if step == 4 else {4: 5.0, 8: 1.0})
  calls = []
  _train(SYSTEMS["regressor"], tmp_path, toys.Stream(mesh, 8), config, evaluate=lambda _: calls.append(1) or {})
  assert not calls


def test_an_evaluation_that_a_signal_did_not_wait_for_is_done_when_the_run_goes_on(tmp_path):
  config = toys.config(eval_every="4 steps", best_metric="error")
  mesh, values = distributed.make_mesh(1), iter([1.0, 2.0])
  stream = toys.Stream(mesh, 8, _at(3, lambda: signal.raise_signal(signal.SIGTERM)))
  assert _train(SYSTEMS["regressor"], tmp_path, stream, config, evaluate=lambda _: {"error": next(values)}).step == 4
  _train(SYSTEMS["regressor"], tmp_path, toys.Stream(mesh, 8), config, evaluate=lambda _: {"error": next(values)})
  assert checkpoint.checkpoint_folder(tmp_path, "best").name == "4"


def test_a_signal_does_not_wait_for_an_evaluation(tmp_path):
  config = toys.config()
  config.eval_every = "5 steps"
  stream = toys.Stream(distributed.make_mesh(1), 8, _at(4, lambda: signal.raise_signal(signal.SIGTERM)))
  evaluated = []
  result = _train(SYSTEMS["regressor"], tmp_path, stream, config, evaluate=lambda variables: evaluated.append(1) or {})
  assert (result.step, result.finished, evaluated) == (5, False, [])
  assert checkpoint.checkpoint_folder(tmp_path).name == "5"


def test_an_evaluation_of_what_is_saved_ends_at_a_signal_and_one_that_chooses_the_best_goes_on(tmp_path):
  def halt(number, frame):
    raise Halt

  def evaluate(variables):
    signal.raise_signal(signal.SIGTERM)
    return {"error": 1.0}

  config = toys.config(eval_every="2 steps")
  mesh = distributed.make_mesh(1)
  before = signal.signal(signal.SIGTERM, halt)
  try:
    with pytest.raises(Halt):
      _train(SYSTEMS["regressor"], tmp_path / "saved", toys.Stream(mesh, 8), config, evaluate=evaluate)
    config.best_metric = "error"
    result = _train(SYSTEMS["regressor"], tmp_path / "best", toys.Stream(mesh, 8), config, evaluate=evaluate)
  finally:
    signal.signal(signal.SIGTERM, before)
  assert checkpoint.checkpoint_folder(tmp_path / "saved").name == "2"
  assert (result.step, result.finished, result.stopped) == (3, False, True)


def test_a_second_interrupt_does_not_wait(tmp_path):
  def twice():
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGINT)

  with pytest.raises(KeyboardInterrupt):
    _train(SYSTEMS["regressor"], tmp_path, toys.Stream(distributed.make_mesh(1), 8, _at(4, twice)))
  assert checkpoint.checkpoint_folder(tmp_path).name == "3"


def test_four_devices_train_as_one_does(whole):
  for name, scalar in (("regressor", "train/pose/loss"), ("adversarial", "train/discriminator/loss")):
    one, four = (toys.scalars(whole(name, devices)[0], scalar) for devices in (1, 4))
    assert one.keys() == four.keys()
    np.testing.assert_allclose(list(one.values()), list(four.values()), rtol=2e-5)
    assert min(one.values()) < 0.9 * one[1]


def test_a_run_may_go_on_with_other_devices(whole, tmp_path):
  with pytest.raises(Halt):
    _train(SYSTEMS["regressor"], tmp_path, toys.Stream(distributed.make_mesh(4), 8, _at(5, _crash)))
  _train(SYSTEMS["regressor"], tmp_path, toys.Stream(distributed.make_mesh(2), 8))
  found, expected = toys.everything(tmp_path), toys.everything(whole("regressor", 1)[0])
  for path, value in expected.items():
    np.testing.assert_allclose(found[path], value, rtol=1e-3, atol=1e-5, err_msg=path)


def test_a_finished_run_trains_no_further(whole, tmp_path):
  workdir, _ = whole("regressor", 1)
  before = (workdir / "metrics.jsonl").read_text()
  result = _train(SYSTEMS["regressor"], workdir, toys.Stream(distributed.make_mesh(1), 8))
  assert (result.step, result.finished, result.metrics) == (8, True, {})
  assert (workdir / "metrics.jsonl").read_text() == before


def test_a_run_that_is_longer_than_asked_for_is_finished(whole):
  workdir, _ = whole("regressor", 1)
  stream = toys.Stream(distributed.make_mesh(1), 8)
  result = loop.train(
    SYSTEMS["regressor"], toys.config(train_for="4 steps"), workdir, stream, toys.EXAMPLES, stream.mesh
  )
  assert (result.step, result.finished) == (8, True)


def test_micro_batches_train_alike_on_any_devices(tmp_path):
  traces = []
  for devices in (1, 4):
    workdir = tmp_path / str(devices)
    stream = toys.Stream(distributed.make_mesh(devices), 8)
    _train(SYSTEMS["regressor"], workdir, stream, toys.config(accumulation=2, train_for="4 steps"))
    traces.append(list(toys.scalars(workdir, "train/pose/loss").values()))
  np.testing.assert_allclose(traces[0], traces[1], rtol=2e-5)


@pytest.mark.parametrize("devices", [1, 4])
def test_what_is_not_finite_stops_before_the_update(devices, tmp_path):
  mesh = distributed.make_mesh(devices)
  culprits = toys.host_batch(5, 8)["example_id"][[2, 6]]

  def spoil(step, batch):
    batch["joints_cam"][np.isin(batch["example_id"], culprits) & (step == 5)] = np.nan
    return batch

  config = toys.config(log_every="0 steps")  # so that a step is under way when the bad one is seen
  with pytest.raises(loop.NonFiniteError, match="step 5: pose/error_mm, pose/gradient_norm, pose/loss not finite"):
    _train(SYSTEMS["regressor"], tmp_path, toys.Stream(mesh, 8, spoil), config)
  found = json.loads((tmp_path / "nonfinite.json").read_text())
  assert sorted(found["example_ids"]) == sorted(culprits.tolist())
  assert found["batch_example_ids"] == toys.host_batch(5, 8)["example_id"].tolist()
  assert found["step"] == 5

  # What is saved is the state before; with the data mended the run ends as one that never saw them.
  other = tmp_path / "other"
  with pytest.raises(Halt):
    _train(SYSTEMS["regressor"], other, toys.Stream(mesh, 8, _at(5, _crash)), toys.config(checkpoint_every="1 step"))
  toys.assert_bit_equal(tmp_path, other)
  assert checkpoint.checkpoint_folder(tmp_path).name == "5"


def test_metrics_choose_the_best_checkpoint(tmp_path):
  config = toys.config(eval_every="2 steps", checkpoint_every="1 step", best_metric="mpjpe/all")
  values = iter([5.0, 3.0, 4.0, 9.0])
  result = _train(
    SYSTEMS["regressor"],
    tmp_path,
    toys.Stream(distributed.make_mesh(1), 8),
    config,
    evaluate=lambda variables: {"mpjpe/all": next(values)},
  )
  assert result.metrics == {"mpjpe/all": 9.0}
  assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()) == ["4", "8"]
  assert checkpoint.checkpoint_folder(tmp_path, "best").name == "4"
  assert toys.scalars(tmp_path, "eval/mpjpe/all") == {2: 5.0, 4: 3.0, 6: 4.0, 8: 9.0}


def test_what_is_evaluated_is_the_average_with_constants(tmp_path):
  seen = []
  config = toys.config(eval_every="8 steps")
  result = _train(
    SYSTEMS["regressor"],
    tmp_path,
    toys.Stream(distributed.make_mesh(1), 8),
    config,
    evaluate=lambda variables: seen.append(jax.device_get(variables)) or {},
  )
  saved = toys.everything(tmp_path)
  path = "['params']['neck']['Dense_0']['kernel']"
  kernel = seen[0]["params"]["neck"]["Dense_0"]["kernel"]
  np.testing.assert_array_equal(kernel, saved["ema" + path])
  assert np.abs(kernel - saved["variables" + path]).max() > 1e-4
  mean = seen[0]["batch_stats"]["neck"]["BatchNorm_0"]["mean"]
  np.testing.assert_array_equal(mean, saved["ema['batch_stats']['neck']['BatchNorm_0']['mean']"])
  np.testing.assert_array_equal(seen[0]["constants"]["offset"], 0.5)
  chex.assert_trees_all_equal(jax.device_get(result.variables), seen[0])
  assert not any("offset" in name for name in saved)


def test_frozen_parts_stay_and_have_no_state(tmp_path):
  system = toys.Regressor(frozen=("neck",))
  stream = toys.Stream(distributed.make_mesh(1), 8)
  fresh = {}

  def fill(variables):
    fresh.update(jax.device_get(variables))
    return variables

  result = _train(system, tmp_path, stream, toys.config(freeze=("neck",)), fill=fill)
  for kind in ("params", "batch_stats"):
    chex.assert_trees_all_equal(jax.device_get(result.variables[kind]["neck"]), fresh[kind]["neck"])
  assert (
    np.abs(result.variables["params"]["head"]["Dense_0"]["kernel"] - fresh["params"]["head"]["Dense_0"]["kernel"]).max()
    > 0
  )
  saved = toys.everything(tmp_path)
  assert not any("neck" in path for path in saved if not path.startswith("variables"))
  assert any("head" in path for path in saved if path.startswith("opt"))
  assert any("head" in path for path in saved if path.startswith("ema"))


def test_weights_from_elsewhere_fill_a_fresh_start_only(tmp_path):
  stream = toys.Stream(distributed.make_mesh(4), 8)
  calls = []

  def fill(variables):
    calls.append(1)
    kernel = variables["params"]["neck"]["Dense_0"]["kernel"]
    return state.merge(
      variables, {"params": {"neck": {"Dense_0": {"kernel": np.full(kernel.shape, 0.01, np.float32)}}}}
    )

  slow = toys.config(train_for="1 step")
  slow.optimizer.learning_rate = 0.0
  _train(SYSTEMS["regressor"], tmp_path, stream, slow, fill=fill)
  np.testing.assert_allclose(
    toys.everything(tmp_path)["variables['params']['neck']['Dense_0']['kernel']"], 0.01, rtol=1e-6
  )
  _train(SYSTEMS["regressor"], tmp_path, stream, toys.config(train_for="2 steps"), fill=fill)
  assert len(calls) == 1


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
  stream = toys.Stream(distributed.make_mesh(1), 8)
  _train(SYSTEMS["regressor"], tmp_path, stream, toys.config(train_for="1 step"))
  with pytest.raises(ValueError, match=r"does not fit: .*shape \(16,\), expected \(24,\)"):
    _train(toys.Regressor(width=24), tmp_path, stream)


def test_batches_that_cannot_be_divided_are_refused_before_anything_is_made(tmp_path):
  stream = toys.Stream(distributed.make_mesh(4), 10)
  config = toys.config(batch_size=10)
  with pytest.raises(ValueError, match=r"batch_size=10 cannot be divided among 4 devices.*try batch_size=8"):
    loop.train(SYSTEMS["regressor"], config, tmp_path / "run", stream, toys.EXAMPLES, stream.mesh)
  assert not (tmp_path / "run").exists()


def test_a_system_without_objectives_cannot_be_trained(tmp_path):
  class Assembled(toys.Regressor):
    objectives = ()

  stream = toys.Stream(distributed.make_mesh(1), 8)
  with pytest.raises(ValueError, match="no objective"):
    loop.train(Assembled(), toys.config(), tmp_path, stream, toys.EXAMPLES, stream.mesh)
