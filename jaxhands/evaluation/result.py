"""What an evaluation found: written as `metrics.json` and `examples.npz`, shown as tables and as a line."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import rich.console
import rich.table
import rich.text

from jaxhands.evaluation import verdict
from jaxhands.runs import folder as files
from jaxhands.terminal import console as consoles

MEAN_POSE = "mean_pose"  # name of the baseline


@dataclasses.dataclass(frozen=True)
class EvalResult:
  """What an evaluation found.

  Attributes:
    system, dataset, split: names.
    protocol: how poses were compared.
    examples: that were evaluated.
    metrics: key -> value, without what had nothing to count.
    mean_pose: the same of the baseline.
    intervals: key -> bootstrap interval of 95 %, over scenes: pictures of one `scene_id` are resampled together.
    units: key -> unit.
    per_joint: key -> mean of each joint [2, 21], None where a joint never counts.
    also: other protocols and plain baselines, `{"protocol", "method", "metrics"}` each; of the system with other fields
      also "differences": intervals of its metrics less the system's, over the same resampled scenes.
    verdicts: metric -> how it stands beside the best plain method, see `evaluation.metrics.beside.verdicts`.
    accepted: differences of the training from the paper, see `jaxhands.configuration.requirements`.
    examples_values: arrays over the examples, as they were seen: quantities, their weights, `example_id`,
      `record_hash`, `scene_id`, groups, the hands' overlap, the mean pose's quantities as `mean_pose_...`; and of
      systems that place the wrists, their depths as `root_depth_mm` [N, 2] with `root_depth_mm_valid`.
  """

  system: str
  dataset: str
  split: str
  protocol: str
  examples: int
  metrics: Mapping[str, float]
  mean_pose: Mapping[str, float]
  intervals: Mapping[str, tuple[float, float]]
  units: Mapping[str, str]
  per_joint: Mapping[str, list[list[float | None]]]
  also: tuple[Mapping[str, Any], ...]
  examples_values: Mapping[str, np.ndarray]
  verdicts: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
  accepted: tuple[str, ...] = ()

  def write(self, folder: pathlib.Path) -> None:
    """Writes `metrics.json` and `examples.npz` into the folder, each whole or not at all."""
    fields = [field.name for field in dataclasses.fields(self) if field.name != "examples_values"]
    values: dict[str, Any] = dict(self.examples_values)
    with files.written(folder / "examples.npz") as file:
      np.savez_compressed(file, **values)
    files.write_json(folder / "metrics.json", {name: getattr(self, name) for name in fields})

  def table(self) -> rich.table.Table:
    """Metric, value with its interval, what it means beside a plain method, baselines that this does not name."""
    table = rich.table.Table(title=f"{self.system} on {self.dataset} {self.split}, {self.examples} examples")
    others = verdict.untold(self.beside(), self.verdicts)
    table.add_column("metric", overflow="fold")
    for column in ("value", "95 %", *(method.replace("_", " ") for method in others)):
      table.add_column(column, justify="right")
    table.add_column("unit")
    table.add_column("", overflow="fold")
    for key, value in self.metrics.items():
      low, high = self.intervals[key]
      more = [f"{found[key]:.4g}" if key in found else "" for found in others.values()]
      table.add_row(key, f"{value:.4g}", f"{low:.4g} .. {high:.4g}", *more, self.units[key], self._verdict(key))
    table.caption = self.protocol
    return table

  def _verdict(self, key: str) -> rich.text.Text:
    """In words and colour, with the plain method's number."""
    said = _said(self.verdicts, key)
    return rich.text.Text(said, verdict.COLOURS[self.verdicts[key]["kind"]]) if said else rich.text.Text()

  def beside(self) -> dict[str, Mapping[str, float]]:
    """The baselines under the main protocol: method -> metrics."""
    plain = [entry for entry in self.also if entry["protocol"] == self.protocol and "differences" not in entry]
    by_method = {entry["method"]: entry["metrics"] for entry in plain}
    return ({MEAN_POSE: self.mean_pose} if self.mean_pose else {}) | by_method

  def methods(self) -> rich.table.Table | None:
    """The first metric of the system with other fields, below its own, with what each has more."""
    others = [entry for entry in self.also if "differences" in entry]
    if not others:
      return None
    family = next(iter(self.metrics)).split("/")[0]
    keys = [key for key in self.metrics if key.split("/")[0] == family]
    table = rich.table.Table(title=f"{self.system} with other fields, {self.units[keys[0]]}", show_lines=True)
    table.add_column("method")
    for key in keys:
      table.add_column(key, justify="right")
    table.add_row(self.system, *(f"{self.metrics[key]:.4g}" for key in keys))
    for entry in others:
      cells = []
      for key in keys:
        low, high = entry["differences"].get(key, (np.nan, np.nan))
        cells.append(f"{entry['metrics'][key]:.4g}\n{low:+.2g} .. {high:+.2g}" if key in entry["metrics"] else "")
      table.add_row(entry["method"].replace("_", " "), *cells)
    table.caption = "below: 95 % of what it is more than the first row"
    return table

  def protocols(self) -> rich.table.Table | None:
    """The system and the mean pose under other protocols, each named by what differs."""
    main = self.protocol.split()
    others = [entry for entry in self.also if entry["protocol"] != self.protocol]
    keys = list(dict.fromkeys(key for entry in others for key in entry["metrics"] if not key.endswith("/inter")))
    if not keys:
      return None
    table = rich.table.Table(title=f"{self.system} under other protocols", show_lines=True)
    table.add_column("protocol")
    for key in keys:
      table.add_column(key, justify="right")
    for entry in others:
      differs = " ".join(word for word in entry["protocol"].split() if word not in main)
      cells = (f"{entry['metrics'][key]:.4g}" if key in entry["metrics"] else "" for key in keys)
      table.add_row(f"{differs}\n{entry['method'].replace('_', ' ')}", *cells)
    return table

  def print(self, console: rich.console.Console | None = None) -> None:
    """Shows the tables."""
    console = console or consoles.make()
    for table in (self.table(), self.methods(), self.protocols()):
      if table is not None:
        console.print(table, soft_wrap=False)


def headline(answer: Mapping[str, Any]) -> str:
  """A line with the main numbers of what `EvalResult.write` wrote: the first metric of all, with its verdict."""
  metrics, verdicts = answer["metrics"], answer["verdicts"]
  family = next(iter(metrics), "").split("/")[0]
  numbers = [
    ", ".join(filter(None, [f"{key} {metrics[key]:.4g} {answer['units'][key]}", _said(verdicts, key)]))
    for key in metrics
    if key.split("/")[0] == family and key.count("/") < 2
  ]
  where = f"{answer['system']} on {answer['dataset']} {answer['split']}, {answer['examples']} examples"
  return f"{where}: {'; '.join(numbers)}"


def _said(verdicts: Mapping[str, Mapping[str, Any]], key: str) -> str:
  """Of a metric, with the plain method's number: "no better than the mean pose (88.6)"; "" where none is there."""
  judged = verdicts.get(key)
  return f"{verdict.words(judged['kind'], judged['beside'])} ({judged['baseline']:.4g})" if judged else ""
