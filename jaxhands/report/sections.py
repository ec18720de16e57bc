"""The sections of a report, in order. Each reads what the run has written, and is None where there is nothing of it."""

from __future__ import annotations

import html
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxhands.evaluation import verdict
from jaxhands.evaluation.metrics.spread import calibration_curve
from jaxhands.hands.skeleton import FINGERS
from jaxhands.report import ablations, charts, pictures
from jaxhands.report.charts import Bar, Curve, number
from jaxhands.report.examples import example_errors, mean_of_each
from jaxhands.report.files import Line, RunFiles
from jaxhands.report.headline import exactly, said
from jaxhands.report.labels import (
  GROUPS,
  HIGHER_IS_BETTER,
  METRICS,
  NEITHER_IS_BETTER,
  SHARES,
  named,
  section,
  unit_of,
)

Section = Callable[[RunFiles], str | None]

_MINOR_TERMS = ("learning_rate", "gradient_norm")  # besides losses; shown on demand
_CLOCK = "train/seconds"  # told as one number, not drawn
_MANY = 12.0  # a curve that falls or rises so many times over is drawn on a logarithmic axis
_FARTHEST_MM = 50.0
_PCK_GROUPS = ("all", "single", "interacting")
_OVERLAP_EDGES = (0.0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 1.0)
_Z95 = 1.96
_ENOUGH = 10  # pictures, for an interval of their mean


def differences(run: RunFiles) -> str | None:
  """What the paper has and the training had not."""
  accepted = run.result.get("accepted")  # results of before it was there have none
  if not accepted:
    return None
  items = "".join(f"<li>{html.escape(text)}</li>" for text in accepted)
  return section(
    "Not as in the paper", f"<ul>{items}</ul>", "The paper has this, and the training of this run had not."
  )


def training(run: RunFiles) -> str | None:
  """Losses and evaluations over the steps; of each stage, if there are several."""
  if not run.lines:
    return None
  parts, dashed = [], False
  for stage, lines in run.lines.items():
    title = f"<h3>Stage {html.escape(stage)}</h3>" if stage else ""
    last = not stage or stage == list(run.config["stages"])[-1]
    result = run.result if last else run.parts.get(stage, {})  # a stage has its own data, and so its own mean pose
    parts.append(title + _charts_of_stage(lines, result))
    dashed |= bool(result.get("mean_pose"))
  caption = "Each term of the loss, then the metrics of each evaluation over the steps"
  caption += "; dashed: the mean pose." if dashed else "."
  return section("Training", "".join(parts), caption)


def _charts_of_stage(lines: Sequence[Line], result: Mapping[str, Any]) -> str:
  names = list(dict.fromkeys(name for line in lines for name in line if name != _CLOCK))
  names.sort(key=lambda name: not name.endswith("/loss"))
  objectives = {name.split("/")[1] for name in names if name.startswith("train/") and name.count("/") > 1}
  shown, more = [], []
  for name in names:
    kind, _, rest = name.partition("/")
    if kind == "train":
      _, _, term = rest.rpartition("/")
      title = term if len(objectives) == 1 else rest
      drawn = _curves_chart([_curve(lines, name)], title.replace("_", " "))
      minor = term in _MINOR_TERMS or "/" not in rest
      (more if minor else shown).append(drawn)
  for metric in dict.fromkeys(name.split("/")[1] for name in names if name.startswith("eval/")):
    shown.append(_evaluation_chart(lines, metric, result))
  charted = f'<div class="many">{"".join(shown)}</div>'
  if any(more):
    folded = f'<div class="many">{"".join(more)}</div>'
    charted += f"<details><summary>Speed, rates and gradients</summary>{folded}</details>"
  return charted


def _evaluation_chart(lines: Sequence[Line], metric: str, result: Mapping[str, Any]) -> str:
  found = dict.fromkeys(name for line in lines for name in line if name.split("/")[:2] == ["eval", metric])
  keys = [name for name in found if name.count("/") <= 2]  # what is broken down further is in the table
  curves = []
  for index, name in enumerate(key for key in keys if not key.endswith("/inter")):
    group = name.split("/")[2] if name.count("/") > 1 else ""
    curves.append(_curve(lines, name, GROUPS.get(group, group), f"s{index % 5}"))
  curves = [curve for curve in curves if len(curve.x) > 1]
  baseline = result.get("mean_pose", {}).get(f"{metric}/all")
  if curves and baseline is not None:
    curves.append(Curve("mean pose", [curves[0].x[0], curves[0].x[-1]], [baseline] * 2, "reference"))
  unit = next((unit_of(result, key) for key in result.get("metrics", ()) if key.split("/")[0] == metric), "")
  return _curves_chart(curves, f"{named(metric)[0]}, {unit}" if unit not in (*SHARES, "") else named(metric)[0], False)


def _curve(lines: Sequence[Line], name: str, label: str = "", kind: str = "s0") -> Curve:
  points = [(line["step"], line[name]) for line in lines if name in line and np.isfinite(line[name])]
  return Curve(label, [x for x, _ in points], [y for _, y in points], kind)


def _curves_chart(curves: Sequence[Curve], title: str, log: bool | None = None) -> str:
  """A chart, or nothing where there is no line to draw; logarithmic where that is needed, unless told."""
  curves = [curve for curve in curves if len(curve.x) > 1]
  if not curves:
    return ""
  low, high = (bound(y for curve in curves for y in curve.y) for bound in (min, max))
  return charts.chart(curves, title, log=log if log is not None else low > 0 and high / low > _MANY)


def table(run: RunFiles) -> str:
  """All metrics with their intervals beside the baselines, then those under other protocols."""
  result = run.result
  others, bodies = verdict.untold(_beside(result), result.get("verdicts", {})), []
  for family in dict.fromkeys(key.split("/")[0] for key in result["metrics"]):
    keys = [key for key in result["metrics"] if key.split("/")[0] == family]
    name, told = METRICS.get(family, (family, ""))
    unit = unit_of(result, keys[0])
    better = "↑" if family.startswith(HIGHER_IS_BETTER) else "↓" if unit or family == "mmd" else ""
    better = "" if family in NEITHER_IS_BETTER else better
    title = f"<b>{html.escape(name)}</b> <small>{html.escape(unit)} {better}</small><p>{html.escape(told)}</p>"
    grouped = "/" in keys[0]
    header = f'<tr class="family"><th colspan="{5 + len(others)}">{title}</th></tr>'
    bodies.append("<tbody>" + (header if grouped else ""))
    known = [baseline for key in keys if (baseline := _baseline(result, key)) is not None]
    high = 1.0 if unit in SHARES else max([result["intervals"][key][1] for key in keys] + known)
    bodies += [_row(result, key, html.escape(named(key)[1]) if grouped else title, high, others) for key in keys]
    bodies.append("</tbody>")
  methods = "".join(f'<th class="method">{html.escape(method.replace("_", " "))}</th>' for method in others)
  head = (
    f'<tr><th></th><th>value</th><th class="interval">95 % interval</th><th class="wide"></th>{methods}<th></th></tr>'
  )
  caption = (
    "Dot and bar: value and bootstrap interval over scenes; tick: the best plain method; ↓ less, ↑ more is better. "
    "Better or worse is what the interval of the difference from the plain method is on one side of."
  )
  if result["mean_pose"]:
    caption += " The mean pose is the training set's, at the true wrist."
  if "joint_error" in run.values:
    caption += f" Compared with <code>{_protocol(result['protocol'])}</code>."
  body = f'<div class="scroll"><table class="metrics"><thead>{head}</thead>{"".join(bodies)}</table></div>'
  return section("Results", body, caption) + _other_protocols(result)


def _row(
  result: Mapping[str, Any], key: str, title: str, high: float, others: Mapping[str, Mapping[str, float]]
) -> str:
  value, (low, top) = result["metrics"][key], result["intervals"][key]
  cells = (
    f'<td><strong>{number(value)}</strong></td><td class="interval">{number(low)} – {number(top)}</td>'
    f'<td class="wide">{charts.strip(value, (low, top), _baseline(result, key), high)}</td>'
  )
  more = "".join(f"<td>{number(found[key]) if key in found else ''}</td>" for found in others.values())
  return (
    f'<tr title="{exactly(result, key)}"><th>{title}</th>{cells}{more}<td class="said">{said(result, key)}</td></tr>'
  )


def _baseline(result: Mapping[str, Any], key: str) -> float | None:
  """The number of the plain method that a metric is judged by; of older results, the mean pose's."""
  judged = result.get("verdicts", {}).get(key)
  return judged["baseline"] if judged else result["mean_pose"].get(key)


def _beside(result: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
  """The baselines under the main protocol: method -> metrics."""
  plain = [e for e in result["also"] if e["protocol"] == result["protocol"] and "differences" not in e]
  found = {entry["method"]: entry["metrics"] for entry in plain}
  return ({"mean_pose": result["mean_pose"]} if result["mean_pose"] else {}) | found


def _other_protocols(result: Mapping[str, Any]) -> str:
  others = [entry for entry in result["also"] if entry["protocol"] != result["protocol"]]
  if not others:
    return ""
  keys = list(dict.fromkeys(key for entry in others for key in entry["metrics"] if not key.endswith("/inter")))
  head = "".join(f"<th>{html.escape(' '.join(named(key)))}</th>" for key in keys)
  rows = []
  for entry in others:
    cells = "".join(f"<td>{number(entry['metrics'][key]) if key in entry['metrics'] else ''}</td>" for key in keys)
    method = html.escape(entry["method"].replace("_", " "))
    differs = _difference(entry["protocol"], result["protocol"])
    rows.append(f"<tr><th>{method}<p><code>{differs}</code></p></th>{cells}</tr>")
  body = (
    f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
  )
  return section("Under other protocols", body, "The same predictions, compared otherwise: only what differs is named.")


def joints(run: RunFiles) -> str | None:
  """Error of each joint, on a picture of two hands."""
  errors = run.result["per_joint"].get("mpjpe/all")
  if errors is None:
    return None
  values = np.array(errors, float)
  if np.isnan(values).all():
    return None
  label = f"Error of each joint: from {number(float(np.nanmin(values)))} to {number(float(np.nanmax(values)))} mm"
  caption = "Mean error in mm at each joint; hands seen from their backs. A disc's area is its error."
  return section("Error by joint", f'<div class="two">{charts.hands(values, "mm", label)}</div>', caption)


def overlap(run: RunFiles) -> str | None:
  """Error by how much the hands overlap in the picture."""
  values = run.values
  if "overlap" not in values:
    return None
  errors, unit = example_errors(values)
  if not unit:
    return None
  reference = np.full(len(errors), np.nan)
  if "joint_error" in values and "mean_pose_joint_error" in values:
    reference = mean_of_each(values["mean_pose_joint_error"], values["mean_pose_joint_error_weight"])
  amount, known = values["overlap"], values["overlap_known"]
  members = [("one hand", values["group_single"]), ("no overlap", known & (amount <= 0))]
  for low, high in itertools.pairwise(_OVERLAP_EDGES):
    members.append((f"{100 * low:.0f} – {100 * high:.0f} %", known & (amount > low) & (amount <= high)))
  rows = [_bar(name, errors[chosen], reference[chosen]) for name, chosen in members]
  shown = [row for row in rows if row is not None]
  if not known.any() or not shown:
    return None
  masks = values["overlap_from_masks"][known]
  kind = "whole (amodal) masks" if masks.all() else "joints' boxes" if not masks.any() else "masks, or joints' boxes"
  caption = (
    f"Mean error of a picture by intersection over union of the hands' {kind}. "
    f"Line: 95 % interval of the mean, from {_ENOUGH} pictures on"
    + ("." if np.isnan(reference).all() else "; tick: mean pose.")
  )
  return section(
    "Error by overlap of the hands", charts.bars(shown, unit, "pictures", "Error by overlap of the hands"), caption
  )


def _bar(name: str, errors: np.ndarray, reference: np.ndarray) -> Bar | None:
  reference, errors = reference[~np.isnan(errors)], errors[~np.isnan(errors)]
  if not len(errors):
    return None
  half = _Z95 * float(errors.std(ddof=1)) / len(errors) ** 0.5 if len(errors) >= _ENOUGH else None
  compared = float(np.nanmean(reference)) if not np.isnan(reference).all() else None
  return Bar(name, float(errors.mean()), half, compared, f"{len(errors):,}")


def bones(run: RunFiles) -> str | None:
  """How much the bones of a finger differ in length between the two hands."""
  values = run.values
  if "bone_asymmetry" not in values or not values["bone_asymmetry_weight"].any():
    return None
  rows = []
  for finger, name in enumerate(FINGERS):
    own = slice(4 * finger, 4 * finger + 4)  # a finger's four bones, see `hands.skeleton`
    errors = mean_of_each(values["bone_asymmetry"][:, own], values["bone_asymmetry_weight"][:, own])
    rows.append(_bar(name, errors, np.full(len(errors), np.nan)))
  caption = (
    "Mean absolute difference in length between the same predicted bone of right and left hand, in pictures of two "
    "hands, which hands of one person do not have. Line: 95 % interval of the mean."
  )
  title = "Bones of unequal length"
  return section(title, charts.bars([row for row in rows if row], "mm", "pictures", title), caption)


def closeness(run: RunFiles) -> str | None:
  """Share of joints within a distance of the truth (PCK), by how many hands there are; beside it the mean pose's."""
  of_groups = [_pck(run.values, "", group, GROUPS[group], f"s{index}") for index, group in enumerate(_PCK_GROUPS)]
  if not all(of_groups):  # all pictures show as many hands: one curve says it
    del of_groups[1:]
  curves = [curve for curve in (*of_groups, _pck(run.values, "mean_pose_", "all", "mean pose", "reference")) if curve]
  if not curves:
    return None
  drawn = charts.chart(curves, "share of joints", x_name="mm from the truth", y_range=(0.0, 1.0), size=(480, 250))
  caption = "How many of the joints, as a mean over joints, lie so near (PCK)." + _areas(run.result)
  return section("Joints within a distance", drawn, caption)


def _pck(values: Mapping[str, np.ndarray], prefix: str, group: str, name: str, kind: str) -> Curve | None:
  """The curve of a group's examples; None where none of their joints counts."""
  if f"{prefix}joint_error" not in values:
    return None
  weight = values[f"{prefix}joint_error_weight"]
  weight = weight if group == "all" else weight * values[f"group_{group}"][:, None, None]
  if not weight.any():
    return None
  shares = _shares_within(values[f"{prefix}joint_error"], weight)
  return Curve(name, np.arange(_FARTHEST_MM + 1.0).tolist(), shares.tolist(), kind)


def _areas(result: Mapping[str, Any]) -> str:
  """The areas under the curves, of the metric of that name, beside the mean pose's."""
  told = []
  for group in _PCK_GROUPS:
    if (key := f"pck_auc/{group}") in result["metrics"]:
      mean = f" (mean pose {number(result['mean_pose'][key])})" if key in result["mean_pose"] else ""
      told.append(f"{GROUPS[group]} {number(result['metrics'][key])}{mean}")
  return f" Area under the curve: {', '.join(told)}." if told else ""


def _shares_within(error: np.ndarray, weight: np.ndarray) -> np.ndarray:
  """Of errors [N, 2, 21], the weighted share at 0, 1, .. mm and less, of each joint, then the mean over joints."""
  count = int(_FARTHEST_MM) + 2
  bins = np.minimum(np.ceil(error), count - 1).astype(int) + count * np.arange(42).reshape(2, 21)
  weights = np.bincount(bins.ravel(), weight.ravel(), 42 * count).reshape(42, count)
  weights = weights[weights.sum(1) > 0]
  return (weights.cumsum(1) / weights.sum(1, keepdims=True))[:, :-1].mean(0)


def overlap_and_closeness(run: RunFiles) -> str | None:
  """Narrow sections beside each other."""
  parts = overlap(run), closeness(run), bones(run), confidence(run), samples(run)
  found = [text for text in parts if text]
  return f'<div class="two">{"".join(found)}</div>' if found else None


def confidence(run: RunFiles) -> str | None:
  """How often joints are near the truth, by the confidence that they have; before and after calibration."""
  found = run.calibration
  if not found:
    return None
  before, after = (np.array(found[f"reliability_{when}"]) for when in ("before", "after"))
  curves = [
    Curve("ideal", [0.0, 1.0], [0.0, 1.0], "reference"),
    Curve("before", before[:, 0].tolist(), before[:, 1].tolist(), "s1"),
    Curve("calibrated", after[:, 0].tolist(), after[:, 1].tolist(), "s0"),
  ]
  drawn = charts.chart(curves, "share of joints near the truth", "confidence", y_range=(0.0, 1.0))
  caption = (
    f"Near: closer in the picture than {100 * found['near']:.0f} % of the hand's size. Mean difference from the "
    f"diagonal: {number(found['error_before'])} before, {number(found['error_after'])} calibrated, on scenes that the "
    f"calibration was not made with; {found['joints']:,} joints."
  )
  return section("Confidence", drawn, caption)


def samples(run: RunFiles) -> str | None:
  """Whether the samples of a distribution deviate as much as their mean is wrong."""
  curves, largest = [Curve("ideal", [], [], "reference")], 0.0
  for index, (alignment, words) in enumerate((("rr", "each wrist"), ("rrr", "right wrist"), ("global", "camera"))):
    name = f"deviation_and_error_{alignment}"
    if name in run.values and run.values[f"{name}_weight"].any():
      said, found, _ = calibration_curve(*np.moveaxis(run.values[name], -1, 0), run.values[f"{name}_weight"]).T
      curves.append(Curve(words, said.tolist(), found.tolist(), f"s{index}"))
      largest = max(largest, float(said.max()))
  if len(curves) == 1:
    return None
  smallest = min(min(curve.x) for curve in curves[1:])
  curves[0] = Curve("ideal", [smallest, largest], [smallest, largest], "reference")
  drawn = charts.chart(curves, "error of the samples' mean, mm", "deviation of the samples, mm")
  caption = (
    "Joints in bins by how far their samples deviate, as they are seen from their own wrist, from the right wrist, and "
    "from the camera; root mean squares. On the diagonal a distribution is as sure as it is right; above it, too sure."
  )
  return section("Deviation and error", drawn, caption)


def configuration(run: RunFiles) -> str | None:
  """The configuration, folded."""
  if not run.config:
    return None
  text = html.escape(json.dumps(run.config, indent=2, sort_keys=True))
  return f"<section><details><summary>Configuration</summary><pre>{text}</pre></details></section>"


def _protocol(text: str) -> str:
  return html.escape(text.replace(" ", " · "))


def _difference(text: str, main: str) -> str:
  return _protocol(" ".join(word for word in text.split() if word not in main.split()))


SECTIONS: tuple[Section, ...] = (
  differences,
  table,
  ablations.methods,
  ablations.parts,
  joints,
  overlap_and_closeness,
  pictures.at_random,
  pictures.worst,
  training,
  ablations.times,
  configuration,
)
