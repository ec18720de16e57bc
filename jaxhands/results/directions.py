"""Whether what the papers found better is better in our runs, too: differences of two experiments, seed by seed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

Verdict = Literal["as in the paper", "seeds disagree", "the other way", "no difference"]
Values = Mapping[int, float]  # seed -> value


def differences(one: Values, other: Values) -> dict[int, float]:
  """one - other of the seeds that both have."""
  return {seed: one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())}


def half_interval(values: Sequence[float]) -> float | None:
  """Half of the 95 % interval of the mean, by Student's t; None of a single value."""
  if len(values) < 2:
    return None
  import scipy.stats  # takes half a second

  return float(scipy.stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5)


def verdict(ours: Mapping[int, float], papers: float, digits: int) -> Verdict:
  """Whether our differences, of all seeds, have the sign of the paper's; none is there if `digits` do not show it.

  Raises:
    ValueError: there are none.
  """
  if not ours:
    raise ValueError("there is no difference to judge")
  if not round(statistics.fmean(ours.values()), digits):
    return "no difference"
  same = [value * papers > 0 for value in ours.values()]
  return "as in the paper" if all(same) else "seeds disagree" if any(same) else "the other way"


def named(row: Mapping[str, Any]) -> str:
  """How `directions` call a row of `published.json`: by its variant, and a method of it, "with_aih:pose_alone"; of
  another config than the paper's by that as well, "internet/"."""
  config = f"{row['config']}/" if "config" in row else ""
  return config + ":".join([row["variant"] or "", *([row["method"]] if "method" in row else [])])


def rows(
  table: Mapping[str, Any], of_row: Callable[[Mapping[str, Any], str], Mapping[str, Values]]
) -> list[tuple[str, str, str, str, str]]:
  """One for each pair of `table["directions"]`, metric and size of ours: pair, metric, paper, ours, verdict.

  Args:
    table: of `published.json`; its `directions` are pairs of its rows' names, the one with a part of the method first,
      and "lower" or "higher" where the paper says only that this one is.
    of_row: (row, metric) -> size -> value of each seed, of our runs on rendered hands.
  """
  made = []
  by_name = {named(row): row for row in reversed(_ours(table))}
  for with_part, without, *said in table.get("directions", ()):
    one, other = by_name[with_part], by_name[without]
    for index, (metric, unit) in enumerate(table["metrics"]):
      published = {"lower": -1.0, "higher": 1.0}[said[0]] if said else _published(table, index, with_part, without)
      ours, theirs = of_row(one, metric), of_row(other, metric)
      for size in sorted(ours.keys() & theirs.keys()):
        found = differences(ours[size], theirs[size])
        if published is None or not found:
          continue
        digits = 2 if unit == "mm" else 3  # shares and MMD lie between 0 and about 1
        each = ", ".join(f"{value:+.{digits}f}" for value in found.values())
        half = half_interval(list(found.values()))
        with_interval = "" if half is None else f" ± {half:.{digits}f}"
        mean = f"{size}: {statistics.fmean(found.values()):+.{digits}f}{with_interval} ({each}) {unit}".strip()
        pair = f"{one['what']} against {other['what']}"
        papers = said[0] if said else f"{published:+.{digits}f} {unit}".strip()
        made.append((pair, metric, papers, mean, verdict(found, published, digits)))
  return made


def _published(table: Mapping[str, Any], index: int, one: str, other: str) -> float | None:
  """The paper's difference, on its test set where it has one."""
  for split in ("test", "val"):
    values = {named(row): row["values"][index] for row in _ours(table) if row["split"] == split}
    if values.get(one) is not None and values.get(other) is not None:
      return values[one] - values[other]
  return None


def _ours(table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
  """The rows that are experiments of ours."""
  return [row for row in table["rows"] if row["variant"] is not None]


def by_size(records: Sequence[tuple[str, int, float]]) -> dict[str, dict[int, float]]:
  """(size, with the data where they are unusual; seed, value) of each run -> size -> seed -> value.

  Raises:
    ValueError: two runs of one size and seed.
  """
  sizes: dict[str, dict[int, float]] = {}
  for size, seed, value in records:
    if seed in sizes.get(size, {}):
      raise ValueError(f"two records of size {size} have seed {seed}; keep one of them in results/")
    sizes.setdefault(size, {})[seed] = value
  return sizes
