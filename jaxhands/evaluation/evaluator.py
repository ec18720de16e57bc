"""The one evaluator: data set -> `system.predict` -> metrics -> a table, `metrics.json` and the values of all examples.

Predictions stay on the device; the quantities of every example come to the host, which sums them in float64. A result
therefore depends neither on the batch size nor on the number of devices, beyond the rounding of the network itself.
Nothing else of an example is kept, and these numbers lie on the disk (`metrics.columns`, `benchmarks/evaluation.py`).
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxhands import schema
from jaxhands.data import feed
from jaxhands.evaluation.metrics import (
  base,
  baselines,
  beside,
  columns,
  constant,
  mean_pose,
  overlap,
  pose,
  poses,
  standard,
  summary,
)
from jaxhands.evaluation.result import MEAN_POSE, EvalResult
from jaxhands.geometry import lift
from jaxhands.hands import bones
from jaxhands.hands.model import HandModel
from jaxhands.systems.base import System, Variables
from jaxhands.terminal import console as consoles

RESAMPLES = 200


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
  """Metrics under one protocol, of the system, of the system with other fields, or of a baseline."""

  protocol: str
  metrics: tuple[base.Metric, ...]
  baseline: base.Baseline | None = None
  variation: str = ""

  @classmethod
  def of(cls, protocol: base.Protocol, baseline: base.Baseline) -> _Part:
    return cls(str(protocol), baseline.metrics, baseline)

  @classmethod
  def mean_pose(
    cls, protocol: base.Protocol, mean: mean_pose.MeanPose, model: HandModel | None, more: Sequence[base.Metric] = ()
  ) -> _Part:
    """The mean pose has camera joints, whatever gives the system's depth; measured by `more` besides."""
    placed = poses(dataclasses.replace(protocol, depth="predicted"), model)
    measured = (*(metric for metric in placed if metric.baseline), *more)
    baseline = base.Baseline(MEAN_POSE, lambda _, batch: mean.predict(batch), measured, frozenset(), frozenset())
    return cls.of(protocol, baseline)

  @property
  def method(self) -> str:
    """Name of the baseline, or of the variation; "" = the system."""
    return self.baseline.name if self.baseline else self.variation

  def quantities(self, prediction: schema.Prediction, batch: schema.Batch) -> dict[str, Any]:
    """The quantities that this part's metrics need.

    {} for a baseline that reads something the system does not predict.
    """
    if self.baseline:
      if not self.baseline.predicts <= set(prediction) or not self.baseline.needs <= set(batch):
        return {}
      prediction = self.baseline.fn(prediction, batch)
    return {q.name: q.fn(prediction, batch) for q in _quantities(self.metrics, prediction, batch)}


class Evaluator:
  """A system's evaluation, compiled once and called with any variables.

  The network is a compiled function of its own, the same for `measure` and `look`; what is made of its predictions is
  compiled apart from it.

  Args:
    system: what is evaluated.
    mesh: devices, with the batch along its one axis.
    metrics: to report; None = `metrics.standard` of the protocol and the system's view.
    protocol: how poses are compared.
    also: further protocols, under which poses are reported besides.
    baseline: mean pose of the training set; None = no baseline.
    seed: of predictions that draw samples.
    methods: the system with other fields, by name: they read the same examples and have the same variables.
    hand_model: of the vertices that `also` and the baseline compare; None = they compare none.
  """

  def __init__(
    self,
    system: System,
    mesh: Mesh,
    metrics: Sequence[base.Metric] | None = None,
    protocol: base.Protocol | None = None,
    also: Sequence[base.Protocol] = (),
    baseline: mean_pose.MeanPose | None = None,
    seed: int = 0,
    methods: Mapping[str, System] | None = None,
    hand_model: HandModel | None = None,
  ):
    self._system, self._mesh, self._seed = system, mesh, seed
    self._methods = dict(methods or {})
    self._protocol = protocol = protocol or base.Protocol()
    one_hand = system.view == "hand"
    self._main = _Part(str(protocol), tuple(standard(protocol, one_hand=one_hand) if metrics is None else metrics))
    other_protocols = [_Part(str(other), poses(other, hand_model)) for other in also]
    error_in_picture = [mean_pose.in_picture(metric) for metric in self._main.metrics if metric.name == pose.EPE2D]
    means = [_Part.mean_pose(protocol, baseline, hand_model, error_in_picture)] if baseline else []
    means += [_Part.mean_pose(other, baseline, hand_model) for other in also] if baseline else []
    reported = {metric.name for metric in self._main.metrics}
    plain_baselines = [
      _Part.of(protocol, method) for method in baselines() if {metric.name for metric in method.metrics} & reported
    ]
    variations = [dataclasses.replace(self._main, variation=name) for name in self._methods]
    self._compiled = False
    self._parts = (self._main, *variations, *other_protocols, *means, *plain_baselines)
    self._everywhere = NamedSharding(mesh, PartitionSpec())
    self._predict_jit = jax.jit(self._predictions)  # stays divided among the devices, as the batch is
    self._measure_jit = jax.jit(self._measured, out_shardings=self._everywhere)
    self._show_jit = jax.jit(self._shown, out_shardings=self._everywhere)

  @property
  def needs(self) -> frozenset[str]:
    """Keys of the batches: the system's and the metrics', and what tells one scene, or one overlap, from another."""
    quantities = [metric.quantity.needs for part in self._parts for metric in part.metrics]
    identity = {"scene_id", "record_hash"}
    return base.GROUP_NEEDS | identity | overlap.NEEDS | self._system_needs | frozenset().union(*quantities)

  @property
  def _system_needs(self) -> frozenset[str]:
    """Keys of the batches that the network, and each method's, sees."""
    return frozenset().union(*(system.needs for system in (self._system, *self._methods.values())))

  def __call__(
    self,
    variables: Variables,
    batches: Iterable[Mapping[str, np.ndarray]],
    names: tuple[str, str, str] = ("", "", ""),
    resamples: int = RESAMPLES,
  ) -> EvalResult:
    """Evaluates variables on this process's batches; all processes get the same result.

    Arguments and errors are those of `measure` and `result`.
    """
    return self.result(self.measure(variables, batches), names, resamples)

  def measure(self, variables: Variables, batches: Iterable[Mapping[str, np.ndarray]]) -> dict[str, Any]:
    """The quantities of all examples, groups and identity, on the host; what `result` sums up.

    Args:
      variables: of the system, on the mesh or on the host.
      batches: of `data.source.eval_batches`, with `needs`.
    Raises:
      ValueError: there are no examples, or a metric asks for what batch or prediction lack.
    """
    variables = jax.device_put(variables, self._everywhere)
    kept = columns.Columns()
    running: collections.deque[Any] = collections.deque()
    said = time.monotonic()
    for batch in feed.to_mesh(lambda: iter(batches), self._mesh):
      with contextlib.nullcontext() if running else self._compiling():
        running.append(self._measure_jit(self._predicted(variables, batch), batch))
      if len(running) > 1:  # the device works on one batch while the host reads the other
        kept.add(_counted(running.popleft()))
      if kept.count and not jax.process_index() and time.monotonic() - said > consoles.SILENT_S:
        said = time.monotonic()
        print(f"evaluated {kept.count} examples")
    if not running:
      raise ValueError("there is nothing to evaluate: no batches")
    kept.add(_counted(running.popleft()))
    return kept.joined()

  def _compiling(self) -> contextlib.AbstractContextManager[None]:
    """Says what the first batch of all waits for."""
    if self._compiled or jax.process_index():
      return contextlib.nullcontext()
    self._compiled = True
    return consoles.lasting("compiling the evaluation", "10 to 60 s")

  def look(self, variables: Variables, batches: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Predicts a few examples, to be drawn: everything comes to the host, as arrays over the examples.

    Args:
      variables: of the system, on the mesh or on the host.
      batches: of `data.source.eval_batches`, with `needs`.
    Returns:
      "batch/KEY", "prediction/KEY", and, where the protocol's depth is known, camera joints of the prediction as
      "lifted/joints_cam" [N, 2, 21, 3] with "lifted/valid" [N, 2]; the same on all processes.
    """
    variables = jax.device_put(variables, self._everywhere)
    rows = []
    for batch in feed.to_mesh(lambda: iter(batches), self._mesh):
      looked_at = jax.device_get(self._show_jit(self._predicted(variables, batch)[""], batch))
      rows.append({key: value[looked_at["batch/weight"] > 0] for key, value in looked_at.items()})
    return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}

  def _predicted(self, variables: Variables, batch: schema.Batch) -> dict[str, schema.Prediction]:
    """`_predictions` of a batch; of other keys in it nothing is compiled anew."""
    read = {key: batch[key] for key in self._system_needs if key in batch}
    return self._predict_jit(variables, read)

  def _predictions(self, variables: Variables, batch: schema.Batch) -> dict[str, schema.Prediction]:
    """Of the system, "", and of each method; jitted, in one graph: what they have in common is computed once."""
    rng = jax.random.key(self._seed)  # of every batch: which pictures share one must not change their samples
    return {
      name: system.predict(variables, system.device_ops(batch, rng, False), rng)
      for name, system in {"": self._system, **self._methods}.items()
    }

  def _shown(self, prediction: schema.Prediction, batch: schema.Batch) -> dict[str, Any]:
    """What `look` sees of a batch; jitted."""
    shown = {f"batch/{key}": value for key, value in batch.items()}
    shown |= {f"prediction/{key}": value for key, value in prediction.items()}
    depth = self._protocol.depth
    predicts = {"joints_cam"} if depth == "predicted" else schema.POSE
    if lift.NEEDS[depth] <= set(batch) and predicts <= set(prediction):
      lifted_together, lifted_alone = (
        lift.lift(prediction, batch, depth, left_root, bones.mean_bones())
        for left_root in (self._protocol.left_root, "own")
      )
      # A left hand alone has no right one from which it could be placed.
      joints_cam = jnp.where(
        lifted_together.valid[..., None, None], lifted_together.joints_cam, lifted_alone.joints_cam
      )
      shown |= {"lifted/joints_cam": joints_cam, "lifted/valid": lifted_together.valid | lifted_alone.valid}
    return shown

  def _measured(self, predictions: Mapping[str, schema.Prediction], batch: schema.Batch) -> dict[str, Any]:
    """The quantities of each part, groups and identity of every example; jitted."""
    prediction = predictions[""]
    quantities = [part.quantities(predictions[part.variation], batch) for part in self._parts]
    of_system = {part.protocol: found for part, found in zip(self._parts, quantities, strict=True) if not part.method}
    # Where a hand of the system could not be placed, a baseline's does not count either.
    quantities = tuple(
      beside.paired(found, of_system[part.protocol]) if part.baseline else found
      for part, found in zip(self._parts, quantities, strict=True)
    )
    kept = {key: batch[key] for key in ("example_id", "weight", "scene_id", "record_hash")}
    if "root_cam" in prediction:
      depth = prediction["root_cam"][..., 2]
      valid = prediction.get("root_cam_valid", jnp.ones(depth.shape, bool))
      kept["root_depth"] = {"root_depth_mm": depth, "root_depth_mm_valid": valid}
    kept |= {"truths": constant.truths(batch), "overlap": overlap.overlap(batch)}
    kept["finite"] = {name: _finite(found) for name, found in predictions.items()}
    return {"quantities": quantities, "groups": base.groups(batch), **kept}

  def result(
    self, values: Mapping[str, Any], names: tuple[str, str, str] = ("", "", ""), resamples: int = RESAMPLES
  ) -> EvalResult:
    """The numbers of what `measure` found.

    Args:
      values: of `measure`.
      names: of system, data set and split.
      resamples: of the bootstrap.
    Raises:
      ValueError: a prediction is not finite.
    """
    groups, main = values["groups"], values["quantities"][0]
    numbers = []
    for part, quantities in zip(self._parts, values["quantities"], strict=True):
      if part is self._main or part.variation:
        for name, (value, weight) in quantities.items():
          counted = weight.reshape(weight.shape + (1,) * (value.ndim - weight.ndim)) > 0
          bad = (~np.isfinite(value) & counted).reshape(len(value), -1).any(1)
          _refuse(name, part.variation, bad, values["example_id"])
      numbers.append(summary.reduced(part.metrics, quantities, groups))
      columns.let_go(quantities)
    for variation, arrays in values["finite"].items():  # thresholds of some metrics make numbers of what is none
      for key, finite in arrays.items():
        _refuse(f"predicted {key}", variation, ~finite, values["example_id"])
    drawn = summary.resampled(self._main.metrics, main, groups, values["scene_id"], resamples)
    constants = constant.quantities(values["truths"], self._main.metrics, main)
    plain = {
      part.method: beside.Method(part.metrics, quantities)
      for part, quantities in zip(self._parts, values["quantities"], strict=True)
      if part.baseline and part.baseline.plain and part.protocol == self._main.protocol
    } | {method: beside.Method(self._main.metrics, quantities) for method, quantities in constants.items()}
    reported = [
      {"protocol": part.protocol, "method": part.method or names[0], "metrics": numbers_of_part}
      | self._differences(part, quantities, numbers_of_part, numbers[0], drawn, values)
      for part, quantities, numbers_of_part in zip(self._parts, values["quantities"], numbers, strict=True)
      if numbers_of_part and (part.protocol != self._main.protocol or part.method not in ("", MEAN_POSE))
    ]
    reported += [
      {"protocol": self._main.protocol, "method": method, "metrics": numbers_of_part}
      for method, quantities in constants.items()
      if (numbers_of_part := summary.reduced(self._main.metrics, quantities, groups))
    ]
    arrays = {key: values[key] for key in ("example_id", "record_hash", "scene_id")} | values.get("root_depth", {})
    arrays |= {f"group_{name}": mask for name, mask in groups.items()}
    arrays |= {"overlap": values["overlap"].overlap, "overlap_known": values["overlap"].known}
    arrays |= {"overlap_from_masks": values["overlap"].from_masks}
    of_mean_pose = [row for row, part in enumerate(self._parts) if part.method == MEAN_POSE][:1]
    for prefix, quantities in (("", main), *(("mean_pose_", values["quantities"][row]) for row in of_mean_pose)):
      for name, (value, weight) in quantities.items():
        arrays |= {f"{prefix}{name}": value, f"{prefix}{name}_weight": weight}
    columns.let_go(values)
    return EvalResult(
      *names,
      protocol=self._main.protocol,
      examples=len(values["weight"]),
      metrics=numbers[0],
      mean_pose=numbers[of_mean_pose[0]] if of_mean_pose else {},
      intervals=summary.intervals(drawn, numbers[0]),
      units={key: metric.unit for metric in self._main.metrics for key in metric.results() if key in numbers[0]},
      per_joint=summary.per_joint(self._main.metrics, main, groups),
      also=tuple(reported),
      verdicts=beside.verdicts(self._main.metrics, main, groups, values["scene_id"], drawn, plain),
      examples_values=arrays,
    )

  def _differences(
    self,
    part: _Part,
    quantities: Mapping[str, Any],
    numbers: Mapping[str, float],
    of_system: Mapping[str, float],
    system_drawn: Mapping[str, np.ndarray],
    values: Mapping[str, Any],
  ) -> dict[str, Any]:
    """Intervals of the difference method minus system, over the same resampled scenes; {} of what is no method."""
    if not part.variation:
      return {}
    groups, scene_id, main = values["groups"], values["scene_id"], values["quantities"][0]
    resamples = len(next(iter(system_drawn.values()), ()))
    drawn = summary.resampled(part.metrics, quantities, groups, scene_id, resamples)
    numbers, drawn = beside.shared(part.metrics, quantities, main, groups, scene_id, numbers, drawn)
    of_system, system_drawn = beside.shared(
      self._main.metrics, main, quantities, groups, scene_id, of_system, system_drawn
    )
    differences = {key: numbers[key] - of_system[key] for key in numbers if key in of_system}
    drawn = {key: drawn[key] - system_drawn[key] for key in differences}
    return {"differences": summary.intervals(drawn, differences)}


def _counted(values: Mapping[str, Any]) -> dict[str, Any]:
  """Those of a batch on the host, of its examples that are not padding."""
  host = jax.device_get(values)
  keep = host["weight"] > 0
  return jax.tree.map(lambda array: array[keep], host)


def _quantities(
  metrics: Sequence[base.Metric], prediction: schema.Prediction, batch: schema.Batch
) -> list[base.Quantity]:
  """The quantities of all metrics, each name once."""
  by_name: dict[str, base.Quantity] = {}
  for metric in metrics:
    quantity = metric.quantity
    missing = sorted(quantity.needs - set(batch)) + sorted(quantity.predicts - set(prediction))
    may_lack = not metric.asked and (metric.optional or not schema.POSE & set(prediction))
    if may_lack and not quantity.predicts <= set(prediction):
      continue
    if missing:
      raise ValueError(f"metric {metric.name!r} needs {missing}, which neither the batch nor the prediction has")
    by_name.setdefault(quantity.name, quantity)
  return list(by_name.values())


def _finite(prediction: schema.Prediction) -> dict[str, Any]:
  """Of each array of numbers, which examples [B] have only finite ones."""
  return {
    key: jnp.isfinite(value).all(tuple(range(1, value.ndim)))
    for key, value in prediction.items()
    if jnp.issubdtype(value.dtype, jnp.floating)
  }


def _refuse(name: str, variation: str, bad: np.ndarray, example_id: np.ndarray) -> None:
  if bad.any():
    of = f" of method {variation!r}" if variation else ""
    first = example_id[bad][:5].tolist()
    raise ValueError(f"{name}{of} is not finite for {bad.sum()} examples, the first of them {first}")
