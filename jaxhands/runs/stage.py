"""One training of a run with all that it needs, data, system and evaluator; the only place that knows all parts."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import pathlib
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from jaxhands import schema
from jaxhands.configuration import requirements, rules
from jaxhands.data import feed, folders, host_ops, source
from jaxhands.data.records import Records, RootDepths
from jaxhands.evaluation import ablations, chosen_metrics, evaluator, latency, metrics
from jaxhands.evaluation.metrics import confidence, mean_pose, pictures
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.evaluation.result import EvalResult
from jaxhands.hands.model import HandModel
from jaxhands.report import examples
from jaxhands.runs import folder as run_files
from jaxhands.runs import provenance, run_data, stages
from jaxhands.systems import base, construct, subtrees
from jaxhands.train import checkpoint, distributed, initialise, loop, time_budget
from jaxhands.train import state as states
from jaxhands.train import step as steps
from jaxhands.weights import files

_TIMED_BATCHES = 4


def starts_anew(workdir: pathlib.Path, config: Any, trains: bool) -> bool:
  """Whether a stage needs what `init_from` names: it is assembled of that, or begins to train without a checkpoint."""
  return not _has_objectives(config) or (trains and stages.progress(workdir) is None)


def check_trained(workdir: pathlib.Path, config: Any) -> None:
  """Raises `FileNotFoundError` if a folder holds no weights to evaluate; a stage without objectives needs none."""
  if _has_objectives(config) and not checkpoint.is_kept(workdir):
    checkpoint.checkpoint_folder(workdir, config.eval.checkpoint)


def _has_objectives(config: Any) -> bool:
  with rules.while_building():
    return bool(construct.load(config).objectives)


class Stage:
  """One stage with all that it needs, made before anything is trained, so that what is wrong is found first.

  Attributes:
    config: of this stage.
    workdir: folder of this stage.
    system: what is trained and evaluated.
    mesh: of all devices.
    evaluator: with the metrics that the config names.
  """

  def __init__(
    self,
    config: Any,
    workdir: pathlib.Path,
    top: pathlib.Path,
    find_data: run_data.FindData | None = None,
    trains: bool = True,
  ):
    """Builds the parts.

    Args:
      config: of this stage.
      workdir: folder of this stage.
      top: folder of the whole run, that "stages/NAME" in the config is relative to.
      find_data: see `jaxhands.run.run`.
      trains: the training data must be there; whoever only evaluates may not have them.
    Raises:
      ValueError, FileNotFoundError: see `jaxhands.run.run`.
    """
    self.config, self.workdir, self._top = config, workdir, top
    with rules.while_building():
      self.system = construct.load(config)
    find = find_data or (lambda name, variant, data: folders.find(name, variant, data.dir))
    self._data = run_data.RunData(config, self.system, top, find)
    rules.check_system(self.system)
    if trains:
      rules.check_read(config, self.system)
      rules.check_best(config, self.system)
    self.mesh = distributed.make_mesh(fsdp=config.sharding.fsdp)
    if self.system.objectives and trains:
      distributed.check_batch_size(config.batch_size, config.accumulation, self.mesh)
    distributed.check_batch_size(config.eval.batch_size, 1, self.mesh, "eval.batch_size")
    protocol = Protocol(**config.eval.protocol)
    needs = self.system.needs
    more = pictures.metrics(chosen_metrics.features(config.vgg)) if "removed" in needs else ()
    hand_model = HandModel.named(config.hand_model) if "mano" in needs else None
    if "annotations_mano" in needs or self._annotations:
      more += metrics.distributions(protocol, HandModel.named(config.hand_model))
    reported = chosen_metrics.metrics_of(
      config, protocol, hand_model, "parts" in needs, self.system.view == "hand", more
    )
    also = [dataclasses.replace(protocol, **changes) for changes in config.eval.also.values()]
    methods = ablations.methods_of(config, self.system)
    mean = self._mean_pose(trains, hand_model)
    self.evaluator = evaluator.Evaluator(
      self.system, self.mesh, reported, protocol, also, mean, config.seed, methods, hand_model
    )
    self._at_the_end: Mapping[str, Any] | None = None  # what the training's last evaluation measured
    if starts_anew(workdir, config, trains):
      initialise.check_sources(dict(config.init_from))
    self._check_depths((protocol, *also))
    # What an earlier stage will write is not there yet; everything else must be.
    if not config.data.root_depths.startswith("stages/"):
      _ = self._eval_records
      if self.system.objectives and trains:
        batch = next(self.train_batches(0))  # what is wrong with the data is not the config's
        with rules.while_building():
          loop.prepare(self.system, config, batch, self._examples)

  # ---- data -----------------------------------------------------------------

  @functools.cached_property
  def _eval_records(self) -> list[Records]:
    return self._data.open(self.config.data.eval, self.evaluator.needs | examples.NEEDS)

  def _check_depths(self, protocols: Sequence[Protocol]) -> None:
    """Raises `ValueError` if a protocol needs estimated depths and there is no table of them, or nothing reads one."""
    given, wanted = self.config.data.root_depths, any(protocol.depth == "rootnet" for protocol in protocols)
    if wanted and not given:
      raise ValueError(
        "eval.protocol.depth='rootnet' needs data.root_depths: a run of configs/rootnet.py, or a table of wrist depths"
      )
    # An earlier stage is named by the config itself, which may be evaluated with other depths all the same.
    if given and not given.startswith("stages/") and not (wanted or "root_depth_estimated" in self.evaluator.needs):
      raise ValueError(
        f"data.root_depths={given!r} is read by nothing here: set eval.protocol.depth='rootnet', or leave it empty"
      )

  @staticmethod
  def _data_versions(opened: Sequence[Records]) -> list[dict[str, Any]]:
    return [provenance.data_set(one.data_set.folder, one.data_set.split, len(one)) for one in opened]

  @property
  def _examples(self) -> int:
    return sum(map(len, self._data.training))

  def train_batches(self, start: int) -> Iterator[schema.Batch]:
    """Yields the training batches on the mesh, beginning with that of step `start`."""
    _ = self._data.training  # which may have to be built: here, not in the thread that reads ahead
    return feed.to_mesh(functools.partial(self._data.train_batches, start), self.mesh)

  def eval_batches(self) -> Iterator[Mapping[str, np.ndarray]]:
    """Yields this process's evaluation batches as NumPy arrays; each example appears once."""
    ops, needs = self._eval_ops, self.evaluator.needs
    return source.eval_batches(
      self._eval_records, ops, needs, self._rows(sum(map(len, self._eval_records))), self._data.reading
    )

  @property
  def _annotations(self) -> int:
    """How many annotations of a picture are read for a system that does not need them itself."""
    return 0 if "annotations_mano" in self.system.needs else self.config.eval.get("annotations", 0)

  @property
  def _eval_ops(self) -> tuple[base.HostOp, ...]:
    more = (host_ops.PadAnnotations(self._annotations, random=False),) if self._annotations else ()
    return (*self.system.host_ops(False), *more)

  def _rows(self, examples: int) -> int:
    """Rows of an evaluation batch: at most as many as there are examples, and the same on every device."""
    return min(self.config.eval.batch_size, -(-examples // self.mesh.size) * self.mesh.size)

  def _mean_pose(self, trains: bool, hand_model: HandModel | None) -> mean_pose.MeanPose | None:
    """The baseline, of the training data; kept in the run's folder, so that evaluating needs them only once.

    Whoever only evaluates, as the weights of others, and does not have these data, has no baseline and is told so.
    """
    wanted, path = self.config.eval.mean_pose, self.workdir / run_files.MEAN_POSE
    if not wanted:
      return None
    kept = None
    if path.is_file():
      try:
        kept = mean_pose.MeanPose.read(path)
      except run_files.DamagedFile as error:
        print(error, file=sys.stderr)
    if kept and (hand_model is None or kept.vertices_rel is not None):
      return kept
    needs = mean_pose.NEEDS | (mean_pose.MESH_NEEDS if hand_model else frozenset())
    try:
      records = self._data.open(self.config.data.train, needs, fits=self.config.data.fits)
      batches = source.train_batches(records, (host_ops.ToView(),), needs, 1, self.config.seed)
      mean = mean_pose.MeanPose.fit(itertools.islice(batches, min(wanted, sum(map(len, records)))), hand_model)
    except (FileNotFoundError, ValueError) as error:
      if trains:
        raise
      lacks = "no mesh of the mean pose" if kept else "no mean pose"
      print(f"{lacks} beside the metrics, for it is that of the training data: {error}", file=sys.stderr)
      return kept
    if jax.process_index() == 0:
      mean.write(path)
    return mean

  # ---- training -------------------------------------------------------------

  def train(self, profile_steps: int = 0) -> base.Variables | None:
    """Trains, or goes on; what to evaluate, or None if a signal came. A system without objectives is assembled."""
    if not self.system.objectives:
      return self._assembled()
    if self.config.get("fit", {}).get("choices"):  # runs of before it was there have none
      self._fit()
    if jax.process_index() == 0 and not stages.is_finished(self.workdir, self._examples):
      accepted = requirements.differences(self.config, self._top)
      provenance.note_training(self.workdir, self._data_versions(self._data.training), accepted)
    result = loop.train(
      self.system, self.config, self.workdir, self.train_batches, self._examples, self.mesh,
      fill=self._filled, evaluate=self._evaluate_between, profile_steps=profile_steps,
    )  # fmt: skip
    return result.variables if result.finished and not result.stopped else None

  def _fit(self) -> None:
    """Evaluates the weights that the run starts from, once, and chooses a length that fits the time.

    Configs name the first of the choices (`configs.base.fit_kept`): another length is the user's, and stays.
    """
    fit = self.config.fit
    is_given = self.config.train_for != fit.choices[0]
    decided = time_budget.read(self.workdir)
    if decided is None:
      shapes, constants = self._shapes_and_constants()
      idle = sorted(set(states.leaves(shapes)) - initialise.filled(shapes, dict(self.config.init_from)))
      if idle:
        raise ValueError(f"fit.choices are for what starts from finished weights; init_from does not fill {idle[0]!r}")
      start = self._filled(shapes) | {"constants": constants}
      at_start, self._at_the_end = self._evaluate_between(start), None
      whole, computing = self._seconds_a_picture(start)
      rate, in_training = 1 / whole, time_budget.in_training(whole, computing, fit.cost)
      length = time_budget.chosen(fit.choices, fit.seconds, in_training, self.config.batch_size)
      decided = {"train_for": "" if is_given else length}
      if jax.process_index() == 0:
        time_budget.write(self.workdir, at_start, rate, decided["train_for"])
        told = (
          f"train_for={self.config.train_for!r} is given, so that none of {', '.join(fit.choices)} is chosen"
          if is_given
          else f"of trainings of {', '.join(fit.choices)}, that of {length} should take at most {fit.seconds:.0f} s"
        )
        print(f"this machine evaluates {rate:.0f} pictures a second: {told}")
    if is_given or not decided["train_for"]:
      return
    self.config.train_for = decided["train_for"]
    if jax.process_index() == 0:
      checkpoint.write_config(self.workdir, self.config)

  def _seconds_a_picture(self, variables: base.Variables) -> tuple[float, float]:
    """How long a picture takes in an evaluation, with reading it and without; the same on all processes."""
    examples = sum(map(len, self._eval_records))
    stream, read = self.eval_batches(), []
    if examples > self._rows(examples):  # there is a second batch
      next(stream)  # while threads start
    reading = (read.append(batch) or batch for batch in itertools.islice(stream, _TIMED_BATCHES))
    clock = [time.perf_counter()]
    for batches in (reading, read, read):  # during the second one, batches after these are still read ahead
      self.evaluator.measure(variables, batches)
      clock.append(time.perf_counter())
    pictures = sum(len(batch["weight"]) for batch in read) * jax.process_count()
    whole, _, computing = multihost_utils.broadcast_one_to_all(np.diff(clock) / pictures)
    return float(whole), float(computing)

  def _evaluate_between(self, variables: base.Variables) -> Mapping[str, float]:
    """Evaluates during training; keeps what the last evaluation measured."""
    self._at_the_end = None  # before the next one needs memory
    self._at_the_end = self.evaluator.measure(variables, self.eval_batches())
    return self.evaluator.result(self._at_the_end, self._labels(), resamples=0).metrics

  def _filled(self, variables: states.Tree) -> states.Tree:
    widened = self.system.widened if isinstance(self.system, base.WidenedSystem) else ()
    return initialise.fill(variables, dict(self.config.init_from), self._imported, self._top, widened)

  def _imported(self, path: pathlib.Path) -> states.Tree:
    """Weights of the authors, from a file in any format."""
    return self.system.import_weights(files.state_dict(files.read(path)))

  # ---- evaluation -----------------------------------------------------------

  def evaluate(self, variables: base.Variables | None = None, timed: bool = True) -> EvalResult:
    """Evaluates, shows the table and writes `eval/metrics.json`, with some examples for the report.

    Args:
      variables: of a training that just ended, whose last evaluation is not done again; without them, or with
        `eval.checkpoint="best"`, those that are saved.
      timed: keep how long each step of a prediction takes, of systems that have steps.
    """
    measured, self._at_the_end = self._at_the_end, None
    if variables is None or self.config.eval.checkpoint == "best":
      variables, measured = self._restored() if self.system.objectives else self._assembled(), None
    if measured is None:
      measured = self.evaluator.measure(variables, self.eval_batches())
    accepted = requirements.of_weights(self.workdir, self.config, self._top)
    result = dataclasses.replace(self.evaluator.result(measured, self._labels()), accepted=accepted)
    if start := time_budget.read(self.workdir):
      beside = {"protocol": result.protocol, "method": time_budget.METHOD, "metrics": start["metrics"]}
      result = dataclasses.replace(result, also=(*result.also, beside))
    chosen = examples.choose(result.examples_values)
    looked_at = self._look(variables, chosen.positions)
    if jax.process_index() == 0:
      provenance.note_evaluation(self.workdir, self._data_versions(self._eval_records))
      self._write_root_depths(result.examples_values)
      self._write_calibration(result.examples_values)
      examples.save(self.workdir / run_files.SHOWN, chosen, looked_at)
      result.write(self.workdir)  # after what belongs to it: with it the run counts as evaluated
      result.print()
    if timed:
      self._time(variables)
    return result

  def _time(self, variables: base.Variables) -> None:
    """Keeps how long each step of a prediction takes, for systems that have steps."""
    if isinstance(self.system, base.TimedSystem):
      batch = feed.put(next(iter(self.eval_batches())), self.mesh)
      # As `device_ops` leaves it; nothing here depends on chance.
      batch = self.system.device_ops(batch, jax.random.key(self.config.seed), False)
      seconds = latency.prediction_steps(self.system, variables, batch)
      if jax.process_index() == 0:
        run_files.write_json(self.workdir / run_files.TIMINGS, seconds)

  def _write_root_depths(self, values: Mapping[str, np.ndarray]) -> None:
    """Keeps the wrists' depths of a system that estimates them, for others to be evaluated with."""
    if "root_depth_mm" in values:
      keys = ("example_id", "record_hash", "root_depth_mm", "root_depth_mm_valid")
      RootDepths.of_views(*(values[key] for key in keys)).write(self.workdir / run_files.ROOT_DEPTHS)

  def _write_calibration(self, values: Mapping[str, np.ndarray]) -> None:
    """Keeps what makes a probability of the system's confidence, for the predictor and the report."""
    name, calibration = confidence.QUANTITY, None
    if name in values:
      calibration = confidence.calibrate(values[name], values[f"{name}_weight"], values["scene_id"])
    if calibration is None:  # that of a former evaluation may be of other weights or pictures
      (self.workdir / run_files.CALIBRATION).unlink(missing_ok=True)
    else:
      run_files.write_json(self.workdir / run_files.CALIBRATION, calibration)

  def _look(self, variables: base.Variables, positions: np.ndarray) -> dict[str, np.ndarray]:
    """The batch and the prediction of a few examples, for the report."""
    size = self._rows(sum(map(len, self._eval_records)))  # as in the evaluation, which has compiled the network
    needs = self.evaluator.needs | examples.NEEDS
    ops, reading = self._eval_ops, self._data.reading
    return self.evaluator.look(
      variables, source.eval_batches(self._eval_records, ops, needs, size, reading, positions.tolist())
    )

  def _labels(self) -> tuple[str, str, str]:
    """Names of the system, the data set and the split."""
    names, variants, splits = zip(*map(folders.parse, self.config.data.eval), strict=True)
    sets = (f"{name}/{variant}" if variant else name for name, variant in zip(names, variants, strict=True))
    return self.config.system.name, "+".join(sets), "+".join(splits)

  # ---- variables ------------------------------------------------------------

  def _shapes_and_constants(self) -> tuple[base.Variables, base.Variables]:
    """Shapes of the variables that predictions need, and the constants, made afresh."""
    batch = feed.put(next(iter(self.eval_batches())), self.mesh)
    init = steps.make_init(self.system, self.config.seed)
    everywhere = distributed.replicated(self.mesh)
    constants = jax.jit(lambda batch: init(batch).get("constants", {}), out_shardings=everywhere)(batch)
    return subtrees.for_prediction(self.system, jax.eval_shape(init, batch)), constants

  def _restored(self) -> base.Variables:
    """The variables of a checkpoint, with the constants."""
    shapes, constants = self._shapes_and_constants()
    variables = checkpoint.read_variables(self.workdir, shapes, self.config.eval.checkpoint)
    return jax.device_put(variables, distributed.replicated(self.mesh)) | {"constants": constants}

  def _assembled(self) -> base.Variables:
    """The variables from other runs and files, as `config.init_from` says; saved as a checkpoint of this run."""
    shapes, constants = self._shapes_and_constants()
    idle = sorted(set(states.leaves(shapes)) - initialise.filled(shapes, dict(self.config.init_from)))
    if idle:
      raise ValueError(f"system {self.config.system.name!r} is not trained, and init_from does not fill {idle[0]!r}")
    variables = jax.device_put(self._filled(shapes), distributed.replicated(self.mesh))
    folder = self.workdir / run_files.CHECKPOINTS
    if jax.process_index() == 0:
      for path in folder.glob("*"):  # the folder itself may be a link to another disk
        shutil.rmtree(path, ignore_errors=True)
    multihost_utils.sync_global_devices("assembled")
    with checkpoint.Checkpoints(self.workdir) as saved:
      if saved.latest() is not None:
        raise OSError(f"{folder / str(saved.latest())} is of before and cannot be deleted; delete it yourself")
      saved.save(0, states.State(jnp.int32(0), variables, {}, {}))
    return variables | {"constants": constants}
