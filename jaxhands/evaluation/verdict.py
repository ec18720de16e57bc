"""Whether a number says that something was learnt: the system beside a plain method, in words.

The one place where this is decided. The evaluator judges, as it has the values of all scenes; the terminal, the report
and RESULTS.md show its words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["better", "unsure", "no better", "worse", "few"]
Better = Literal["lower", "higher"]
FEWEST_SCENES = 10  # of fewer, an interval of resampled scenes says nothing
# Kind -> words before the method's name, and the colour that goes with them.
_WORDS: Mapping[Kind, str] = {
  "better": "better than", "unsure": "not surely better than", "no better": "no better than", "worse": "worse than",
  "few": "too few scenes to tell from",
}  # fmt: skip
COLOURS: Mapping[Kind, str] = {
  "better": "green", "unsure": "yellow", "no better": "red", "worse": "red", "few": "bright_black",
}  # fmt: skip


def judge(more: float, interval: tuple[float, float], better: Better, scenes: int = FEWEST_SCENES) -> Kind:
  """What is to be said of a system beside a plain method.

  Args:
    more: what the system's number is more than the plain method's.
    interval: 95 % of that, over resampled scenes, the same for both.
    better: which way is better.
    scenes: that count.
  Returns:
    "better" or "worse" where the whole interval says so; else "unsure" of a gain, and "no better" without one.
  """
  if scenes < FEWEST_SCENES:
    return "few"
  low, high = interval
  if better == "lower":
    more, low, high = -more, -high, -low
  if low > 0:
    return "better"
  if high < 0:
    return "worse"
  return "unsure" if more > 0 else "no better"


def words(kind: Kind, beside: str) -> str:
  """The verdict as people read it: "no better than the mean pose".

  Args:
    kind: of `judge`.
    beside: name of the plain method.
  """
  return f"{_WORDS[kind]} the {beside.replace('_', ' ')}"


def words_of(answer: Mapping[str, Any], key: str) -> str:
  """Those of a metric in `metrics.json` or a record; "" where nothing plain stands beside it, or nobody judged."""
  found = answer.get("verdicts", {}).get(key)
  return words(found["kind"], found["beside"]) if found else ""


def untold(
  methods: Mapping[str, Mapping[str, float]], verdicts: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, float]]:
  """The methods that a table still needs columns for: those with a number that no verdict names.

  Args:
    methods: name -> metrics.
    verdicts: metric -> `{"beside", "baseline", "kind", …}`.
  """
  return {
    name: numbers
    for name, numbers in methods.items()
    if any(verdicts.get(key, {}).get("beside") != name for key in numbers)
  }
