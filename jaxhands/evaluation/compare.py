"""Two runs compared example by example: difference of every metric, its interval, how likely chance explains it.

Pictures of one scene depend on each other, so that scenes, not pictures, are resampled for the interval, and scenes
change sides in the test: where two methods are equally good, which of the two results of a scene is whose does not
matter. p is the share of such exchanges whose difference is at least as large. A joint, a hand or a picture counts for
both runs or for neither: what one of them could not place is left out of the other's number, too.
"""

from __future__ import annotations

import dataclasses
import pathlib
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import rich.table
from jaxtyping import Float

from jaxhands.evaluation import metrics, verdict
from jaxhands.evaluation.metrics import base, pictures
from jaxhands.hands.model import HandModel
from jaxhands.runs import folder as files

RESAMPLES = 10_000
FEW_RESAMPLES = 1_000  # of metrics that are no means of examples, each of which needs all examples anew
_CHUNK = 256  # resamples at once
_IDS = ("example_id", "record_hash", "scene_id")
_AGAIN = "evaluate the run again, with --mode=eval"


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluated:
  """What the evaluation of a run left: `eval/metrics.json` and `eval/examples.npz`."""

  workdir: pathlib.Path
  result: Mapping[str, Any]
  values: Mapping[str, np.ndarray]

  @classmethod
  def read(cls, workdir: pathlib.Path) -> Evaluated:
    """Reads the folder of a run.

    Raises:
      FileNotFoundError: it was not evaluated.
      ValueError: it was, by a version that did not keep what tells examples and scenes apart; or a file is damaged.
    """
    for name in (files.METRICS, files.EXAMPLES):
      if not (workdir / name).is_file():
        raise FileNotFoundError(f"{workdir} has no {name}: evaluate the run first, with --mode=eval")
    values = files.read_arrays(workdir / files.EXAMPLES, _AGAIN)
    if missing := sorted(set(_IDS) - set(values)):
      raise ValueError(f"{workdir / files.EXAMPLES} has no {missing}; {_AGAIN}")
    return cls(workdir, files.read_json(workdir / files.METRICS, _AGAIN, ("protocol",)), values)

  def check(self) -> None:
    """Raises `DamagedFile` where something that is compared is not there, or not as it was written."""
    if wrong := _wrong_in(self.values):
      raise files.DamagedFile(self.workdir / files.EXAMPLES, wrong, _AGAIN)
    for name in ("protocol", "dataset", "split"):
      if not isinstance(self.result.get(name), str):
        raise files.DamagedFile(self.workdir / files.METRICS, f"its {name} is {self.result.get(name)!r}", _AGAIN)

  @property
  def keys(self) -> np.ndarray:
    """Of each example, what it is: (id, picture and box), [N, 2]."""
    return np.stack([self.values["example_id"].astype(np.int64), self.values["record_hash"].astype(np.int64)], axis=-1)

  def protocol(self) -> base.Protocol:
    """How poses were compared.

    Raises:
      ValueError: it was written by a version with another protocol.
    """
    hints = typing.get_type_hints(base.Protocol)
    fields: dict[str, dict[str, Any]] = {
      name: {str(choice): choice for choice in typing.get_args(hint) or (True, False)} for name, hint in hints.items()
    }
    given = dict(word.partition("=")[::2] for word in self.result["protocol"].split())
    if set(given) != set(fields) or any(given[name] not in fields[name] for name in fields):
      raise ValueError(f"{self.workdir} was evaluated with the protocol {self.result['protocol']!r}; evaluate it again")
    return base.Protocol(**{name: fields[name][given[name]] for name in fields})


def _wrong_in(values: Mapping[str, np.ndarray]) -> str:
  """What in the arrays of an evaluation nobody wrote so; "" where all is as it should be."""
  count = values["example_id"].shape[:1]
  for name in (*_IDS, *(f"group_{group}" for group in base.GROUPS)):
    if name not in values:
      return f"it lacks {name!r}"
    if values[name].ndim != 1 or values[name].dtype.kind not in ("iu" if name in _IDS else "b"):
      return f"{name!r} is {values[name].dtype} of shape {values[name].shape}"
  for name, value in values.items():
    if value.shape[:1] != count:
      return f"{name!r} has shape {value.shape}, 'example_id' {count}"
    weight = values.get(f"{name}_weight")
    if weight is None:
      continue
    if weight.shape != value.shape[: weight.ndim] or not {value.dtype.kind, weight.dtype.kind} <= set("bfiu"):
      return f"{name!r} is {value.dtype} of shape {value.shape}, its weight {weight.dtype} of {weight.shape}"
  return ""


@dataclasses.dataclass(frozen=True)
class Difference:
  """One metric of both runs.

  Attributes:
    key: of the metric.
    unit: of it.
    better: "lower", "higher" or "neither".
    a, b: values of the two runs, over the examples.
    difference: a - b.
    interval: of the difference, 95 %, by resampling scenes.
    p: two-sided, of the exchange test.
    scenes: that count in it.
    examples: that count in it.
    left_out: examples of which something counts in one run alone, and so in neither here.
  """

  key: str
  unit: str
  better: str
  a: float
  b: float
  difference: float
  interval: tuple[float, float]
  p: float
  scenes: int
  examples: int
  left_out: int


def compare(
  a: Evaluated, b: Evaluated, names: Sequence[str] = (), resamples: int = RESAMPLES, seed: int = 0
) -> list[Difference]:
  """The differences of all metrics that both runs have.

  Args:
    a, b: the runs.
    names: families of metrics ("mpjpe"), metrics ("iou/amodal") or results ("mpjpe/all") to compare; () = all.
    resamples: of interval and test.
    seed: of both.
  Raises:
    ValueError: the examples or the protocols differ; no such metric; values of different shapes.
  """
  check_comparable(a, b)
  order_a, order_b = (np.lexsort(run.keys.T[::-1]) for run in (a, b))
  scenes = np.unique(a.values["scene_id"][order_a], return_inverse=True)[1]
  found: list[Difference] = []
  known: dict[str, set[str]] = {}  # result -> what it may be called
  protocol, model = a.protocol(), HandModel.default()
  recovered = pictures.metrics(lambda picture: ())  # values are stored: nothing asks for features of pictures
  standard = metrics.standard(protocol, model, with_parts=True)
  for metric in (*standard, *recovered, *metrics.distributions(protocol, model)):
    name = metric.quantity.name
    if not all(name in run.values and f"{name}_weight" in run.values for run in (a, b)):
      continue
    shapes = [run.values[name].shape[1:] for run in (a, b)]
    if shapes[0] != shapes[1]:
      raise ValueError(
        f"{name} of an example has shape {shapes[0]} in {a.workdir} and {shapes[1]} in {b.workdir}: "
        "evaluate both with the same version"
      )
    for key, group in metric.results().items():
      known[key] = {key, metric.name, key.split("/")[0]}
      if names and not known[key] & set(names):
        continue
      sides = []
      for run, order in ((a, order_a), (b, order_b)):
        value, weight = run.values[name][order], run.values[f"{name}_weight"][order].astype(np.float64)
        chosen = run.values[f"group_{group}"][order].reshape((-1,) + (1,) * (weight.ndim - 1))
        sides.append((value.astype(np.float64), weight * chosen))
      difference = _difference(metric, key, sides[0], sides[1], scenes, resamples, seed)
      if difference is not None:
        found.append(difference)
  unknown = [name for name in names if name not in set().union(*known.values())]
  if unknown:
    raise ValueError(f"neither run has the metric {unknown[0]!r}; both have {sorted(known)}")
  return found


def check_comparable(a: Evaluated, b: Evaluated) -> None:
  """Raises `ValueError`, saying what differs, if examples or protocols of the two evaluations are not the same.

  Raises `DamagedFile` as `Evaluated.check` does.
  """
  for run in (a, b):
    run.check()
  if a.result["protocol"] != b.result["protocol"]:
    theirs = dict(word.partition("=")[::2] for word in b.result["protocol"].split())
    ours = dict(word.partition("=")[::2] for word in a.result["protocol"].split())
    differ = [
      f"{key} {ours.get(key)} and {theirs.get(key)}" for key in ours | theirs if ours.get(key) != theirs.get(key)
    ]
    raise ValueError(
      f"{a.workdir} and {b.workdir} were compared with the truth by other protocols: {', '.join(differ)}"
    )
  sets = [{tuple(key) for key in run.keys.tolist()} for run in (a, b)]
  for run, keys in zip((a, b), sets, strict=True):
    if len(keys) < len(run.keys):
      raise ValueError(f"{run.workdir} has {len(run.keys) - len(keys)} examples twice; name each data set once")
  if sets[0] == sets[1]:
    return
  where = [f"{run.workdir} on {run.result['dataset']} {run.result['split']}" for run in (a, b)]
  shared = len(sets[0] & sets[1])
  same_ids = len({key[0] for key in sets[0]} & {key[0] for key in sets[1]})
  why = f"{len(sets[0]) - shared} only in the first, {len(sets[1]) - shared} only in the second, {shared} in both"
  if same_ids > shared:
    why += f"; {same_ids - shared} have the same id, but are of other pictures or boxes: the data sets differ"
  raise ValueError(f"the examples differ, {where[0]} and {where[1]}: {why}")


Side = tuple[Float[np.ndarray, "N ..."], Float[np.ndarray, "N ..."]]


def _difference(
  metric: base.Metric, key: str, a: Side, b: Side, scenes: np.ndarray, resamples: int, seed: int
) -> Difference | None:
  """None where the two have nothing to count in common."""
  both = (a[1] > 0) & (b[1] > 0)
  left_out = (((a[1] > 0) | (b[1] > 0)) & ~both).reshape(len(scenes), -1).any(-1)
  a, b = (a[0], a[1] * both), (b[0], b[1] * both)
  value_a, value_b = metric.reduce(*a), metric.reduce(*b)
  if np.isnan(value_a) or np.isnan(value_b):
    return None
  counted = both.reshape(len(scenes), -1).any(-1)
  kept, scenes = np.unique(scenes[counted], return_inverse=True)
  sides = [(value[counted], weight[counted]) for value, weight in (a, b)]
  if metric.reduce in base.AVERAGES.values():
    statistic = _of_means(metric, sides, scenes, len(kept))
  else:
    statistic, resamples = _OfExamples(metric, sides, scenes), min(resamples, FEW_RESAMPLES)
  rng = np.random.default_rng(seed)
  drawn = _in_chunks(resamples, lambda size: statistic.resampled(_counts(rng, size, len(kept))))
  exchanged = _in_chunks(resamples, lambda size: statistic.exchanged(rng.random((size, len(kept))) < 0.5))
  difference = value_a - value_b
  if len(kept) < np.log2(resamples):  # few scenes: all exchanges there are, instead of some
    every = (np.arange(2 ** len(kept))[:, None] >> np.arange(len(kept))) & 1 > 0
    p = _share_as_large(statistic.exchanged(every), difference)
  else:  # the exchange that was observed is one of them, so that p is never 0
    p = (_share_as_large(exchanged, difference) * len(exchanged) + 1) / (len(exchanged) + 1)
  low, high = np.percentile(drawn[~np.isnan(drawn)], (2.5, 97.5)) if not np.isnan(drawn).all() else (np.nan, np.nan)
  return Difference(
    key, metric.unit, metric.better, value_a, value_b, difference, (float(low), float(high)), float(p), len(kept),
    int(counted.sum()), int(left_out.sum()),
  )  # fmt: skip


def _share_as_large(differences: np.ndarray, observed: float) -> float:
  """Share whose size is at least the observed one's, but for rounding."""
  sizes = np.abs(differences[~np.isnan(differences)])
  return float((sizes >= abs(observed) * (1 - 1e-9) - 1e-12).mean())


def _in_chunks(count: int, make: Callable[[int], np.ndarray]) -> np.ndarray:
  return np.concatenate([make(min(_CHUNK, count - at)) for at in range(0, count, _CHUNK)])


def _counts(rng: np.random.Generator, size: int, scenes: int) -> np.ndarray:
  """How often each scene is drawn, [size, scenes]."""
  drawn = rng.integers(0, scenes, (size, scenes)) + scenes * np.arange(size)[:, None]
  return np.bincount(drawn.ravel(), minlength=size * scenes).reshape(size, scenes).astype(np.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class _OfMeans:
  """The difference of means, from sums over the scenes: `summed` and `weight` [2, scenes, entries]."""

  summed: np.ndarray
  weight: np.ndarray
  per_joint: bool

  def resampled(self, counts: np.ndarray) -> np.ndarray:
    a, b = (self._mean(counts @ self.summed[side], counts @ self.weight[side]) for side in (0, 1))
    return a - b

  def exchanged(self, swapped: np.ndarray) -> np.ndarray:
    moved = swapped.astype(np.float64)
    sums = [(_exchanged(self.summed, side, moved), _exchanged(self.weight, side, moved)) for side in (0, 1)]
    a, b = (self._mean(*of_side) for of_side in sums)
    return a - b

  def _mean(self, summed: np.ndarray, weight: np.ndarray) -> np.ndarray:
    if not self.per_joint:
      summed, weight = summed.sum(-1, keepdims=True), weight.sum(-1, keepdims=True)
    means = np.divide(summed, weight, out=np.full(summed.shape, np.nan), where=weight > 1e-9)
    some = ~np.isnan(means)
    total = np.where(some, means, 0).sum(-1)
    return np.divide(total, some.sum(-1), out=np.full(len(means), np.nan), where=some.any(-1))


def _exchanged(sums: np.ndarray, side: int, moved: np.ndarray) -> np.ndarray:
  """Sums over the scenes of one side, with those of the other where `moved` [R, scenes] is 1."""
  return sums[side].sum(0) + moved @ (sums[1 - side] - sums[side])


def _of_means(metric: base.Metric, sides: Sequence[Side], scenes: np.ndarray, count: int) -> _OfMeans:
  summed, weights = [], []
  for value, weight in sides:
    weight = np.broadcast_to(weight.reshape(weight.shape + (1,) * (value.ndim - weight.ndim)), value.shape)
    summed.append(_scene_sums(value * weight, scenes, count))
    weights.append(_scene_sums(weight, scenes, count))
  return _OfMeans(np.stack(summed), np.stack(weights), metric.reduce is base.mean_per_joint)


def _scene_sums(array: np.ndarray, scenes: np.ndarray, count: int) -> np.ndarray:
  rows = array.reshape(len(array), -1)
  order = np.argsort(scenes, kind="stable")
  return np.add.reduceat(rows[order], np.searchsorted(scenes[order], np.arange(count)))


@dataclasses.dataclass(frozen=True, eq=False)
class _OfExamples:
  """The difference of any numbers made of values and weights."""

  metric: base.Metric
  sides: Sequence[Side]
  scenes: np.ndarray

  def resampled(self, counts: np.ndarray) -> np.ndarray:
    return np.array([self._between(self.sides, row[self.scenes]) for row in counts])

  def exchanged(self, swapped: np.ndarray) -> np.ndarray:
    (value_a, weight_a), (value_b, weight_b) = self.sides
    found = []
    for row in swapped:
      change = row[self.scenes]
      a, b = (
        (np.where(_along(where, value_a), value_b, value_a), np.where(_along(where, weight_a), weight_b, weight_a))
        for where in (change, ~change)
      )
      found.append(self._between((a, b), np.ones(len(change))))
    return np.array(found)

  def _between(self, sides: Sequence[Side], times: np.ndarray) -> float:
    a, b = (self.metric.reduce(value, weight * _along(times, weight)) for value, weight in sides)
    return a - b


def _along(row: np.ndarray, array: np.ndarray) -> np.ndarray:
  return row.reshape((-1,) + (1,) * (array.ndim - 1))


def table(a: Evaluated, b: Evaluated, found: Sequence[Difference]) -> rich.table.Table:
  """One line a metric; a difference whose interval is on one side of 0, of scenes enough, says which run is better."""
  made = rich.table.Table(title=f"A = {a.workdir}\nB = {b.workdir}\n{a.result['dataset']} {a.result['split']}")
  for column in ("metric", "A", "B", "A - B", "95 %", "p", "better", "scenes", "pictures", "unit"):
    made.add_column(column, justify="left" if column in ("metric", "unit", "better") else "right")
  for row in found:
    low, high = row.interval
    sure = row.scenes >= verdict.FEWEST_SCENES and (low > 0 or high < 0)
    better = ("A" if (row.difference < 0) == (row.better == "lower") else "B") if sure else ""
    better = "" if row.better == "neither" else better
    made.add_row(
      row.key, f"{row.a:.4g}", f"{row.b:.4g}", f"{row.difference:+.3g}", f"{low:+.3g} .. {high:+.3g}", f"{row.p:.2g}",
      better, f"{row.scenes:,}", f"{row.examples:,}", row.unit,
    )  # fmt: skip
  made.caption = a.result["protocol"]
  return made
