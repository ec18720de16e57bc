"""Charts as inline SVG: curves, intervals, bars with a reference, an error for each joint of two hands.

Colours and type come from `style.css` by class, so that one drawing serves light and dark pages.
"""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Sequence

import numpy as np

from jaxhands.hands.skeleton import FINGERS, JOINT_NAMES, PARENTS, WRIST
from jaxhands.schema import HANDS, LEFT, RIGHT

_POINTS = 240  # of a curve; longer ones are averaged
_TOLD = 48  # of them that say their values where they are pointed at
_NAME_GAP = 13.0  # px between the names of curves
_LETTER = 7.0  # width of a digit, px


@dataclasses.dataclass(frozen=True)
class Curve:
  """One line of a chart: its name, points, and class in `style.css` ("s0".."s4", "reference")."""

  name: str
  x: Sequence[float]
  y: Sequence[float]
  kind: str = "s0"


def chart(
  curves: Sequence[Curve],
  title: str,
  x_name: str = "step",
  log: bool = False,
  y_range: tuple[float, float] | None = None,
  size: tuple[int, int] = (360, 210),
) -> str:
  """Curves in one frame, each named at its end.

  Args:
    curves: with finite points, at least one each.
    title: above the chart, with the unit of y.
    x_name: under the axis.
    log: y is logarithmic; needs positive values.
    y_range: of the axis; None = what the curves need.
    size: width and height in px.
  """
  curves = [_thinned(curve) for curve in curves]
  frame = _Frame.around(curves, size, log, y_range)
  parts = [_text(0.0, 14.0, title, "title"), _grid(frame, x_name)]
  ends = [frame.at(curve.x[-1], curve.y[-1]) for curve in curves]
  names = spread([y for _, y in ends], _NAME_GAP, frame.top, frame.bottom)
  for curve, (x, y), name in zip(curves, ends, names, strict=True):
    points = " ".join("{:.1f},{:.1f}".format(*frame.at(*point)) for point in zip(curve.x, curve.y, strict=True))
    parts.append(f'<polyline class="curve {curve.kind}" points="{points}"/>')
    parts.append(_values(curve, frame, x_name))
    if curve.kind != "reference":
      parts.append(f'<circle class="dot {curve.kind}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>')
    if len(curves) > 1:
      parts.append(_text(frame.right + 8, name + 4, curve.name, f"name {curve.kind}"))
  last = ", ".join(f"{curve.name or title} ends at {number(curve.y[-1])}" for curve in curves)
  return _svg(*size, f"{title}: {last}", parts)


def _values(curve: Curve, frame: _Frame, x_name: str) -> str:
  """Invisible discs on a curve's points, each with its values."""
  told = []
  for index in np.unique(np.linspace(0, len(curve.x) - 1, min(len(curve.x), _TOLD)).round().astype(int)):
    point = curve.x[index], curve.y[index]
    x, y = frame.at(*point)
    words = html.escape(f"{curve.name} {number(point[1])} at {x_name} {point[0]:.6g}".strip())
    told.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"><title>{words}</title></circle>')
  return f'<g class="values">{"".join(told)}</g>'


@dataclasses.dataclass(frozen=True)
class _Frame:
  """Where a chart's numbers are on its page: the ranges that the axes show, and the edges (px) of the plot."""

  x_range: tuple[float, float]
  y_ticks: list[float]
  log: bool
  left: float
  right: float
  top: float
  bottom: float

  @classmethod
  def around(
    cls, curves: Sequence[Curve], size: tuple[int, int], log: bool, y_range: tuple[float, float] | None
  ) -> _Frame:
    xs = [x for curve in curves for x in curve.x]
    ys = [y for curve in curves for y in curve.y]
    low, high = y_range or (min(ys), max(ys))
    marks = log_ticks(low, high) if log else ticks(low, high)
    names = 84.0 if len(curves) > 1 else 18.0
    labels = max(_LETTER * max(len(f"{value:g}") for value in marks) + 10, 38.0)
    return cls((min(xs), max(xs)), marks, log, labels, size[0] - names, 30.0, size[1] - 36.0)

  def at(self, x: float, y: float) -> tuple[float, float]:
    scale = math.log10 if self.log else float
    low, high = scale(self.y_ticks[0]), scale(self.y_ticks[-1])
    first, last = self.x_range
    across, up = (x - first) / ((last - first) or 1), (scale(y) - low) / (high - low)
    return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)


def _grid(frame: _Frame, x_name: str) -> str:
  parts = []
  for value in frame.y_ticks:
    y = frame.at(frame.x_range[0], value)[1]
    parts.append(f'<line class="grid" x1="{frame.left:g}" x2="{frame.right:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
    parts.append(_text(frame.left - 6, y + 4, f"{value:g}", "end"))
  first, last = frame.x_range
  for value in ticks(first, last, 4):
    if first <= value <= last:
      parts.append(_text(frame.at(value, frame.y_ticks[0])[0], frame.bottom + 16, f"{value:g}", "middle"))
  parts.append(_text((frame.left + frame.right) / 2, frame.bottom + 32, x_name, "middle"))
  return "".join(parts)


def _thinned(curve: Curve) -> Curve:
  """Means of neighbouring points where there are more than a screen shows; first and last stay."""
  if len(curve.x) <= _POINTS:
    return curve
  x, y = (
    [float(part.mean()) for part in np.array_split(np.asarray(values, float), _POINTS)] for values in (curve.x, curve.y)
  )
  return dataclasses.replace(curve, x=[curve.x[0], *x, curve.x[-1]], y=[curve.y[0], *y, curve.y[-1]])


def strip(value: float, interval: tuple[float, float], reference: float | None, high: float) -> str:
  """A value with its interval on a line from 0 to `high`, and a tick at the reference, as wide as its place."""

  def at(number: float) -> float:
    return 100 * min(max(number / (high or 1), 0.0), 1.0)

  low, top = at(interval[0]), at(interval[1])
  parts = [f'<i style="left:{low:.1f}%;width:{top - low:.1f}%"></i>']
  if reference is not None:
    parts.append(f'<s style="left:{at(reference):.1f}%"></s>')
  parts.append(f'<b style="left:{at(value):.1f}%"></b>')
  return f'<div class="strip" aria-hidden="true">{"".join(parts)}</div>'


@dataclasses.dataclass(frozen=True)
class Bar:
  """One bar: its name, value, half of its interval if that is known, what it is compared with, a remark at its end."""

  name: str
  value: float
  half: float | None
  reference: float | None
  remark: str


def bars(rows: Sequence[Bar], unit: str, remark: str, label: str) -> str:
  """Horizontal bars, each with its interval as a line and the reference as a tick; `remark` heads the remarks."""
  width, step, left, right, top = 480, 30, 78, 118, 24
  high = max(max(row.value + (row.half or 0), row.reference or 0) for row in rows) or 1

  def at(value: float) -> float:
    return left + (width - left - right) * value / high

  parts = [_text(width - right + 48, 12, unit, "end"), _text(width, 12, remark, "end")]
  for index, row in enumerate(rows):
    y, x = index * step + top, at(row.value)
    middle = y + 10
    parts.append(_text(0, middle + 4, row.name, "strong"))
    parts.append(f"<g><title>{html.escape(_told(row, unit, remark))}</title>")
    parts.append(f'<rect class="bar" x="{left}" y="{y}" width="{x - left:.1f}" height="20" rx="2"/>')
    if row.half is not None:
      ends = f'x1="{at(max(row.value - row.half, 0)):.1f}" x2="{at(row.value + row.half):.1f}"'
      parts.append(f'<line class="whisker" {ends} y1="{middle}" y2="{middle}"/>')
    if row.reference is not None:
      r = at(row.reference)
      parts.append(f'<line class="tick" x1="{r:.1f}" x2="{r:.1f}" y1="{y - 2}" y2="{y + 22}"/>')
    parts.append(_text(width - right + 48, middle + 4, number(row.value), "end inside"))
    parts.append(_text(width, middle + 4, row.remark, "end") + "</g>")
  told = "; ".join(f"{row.name} {number(row.value)} {unit}, {row.remark} {remark}" for row in rows)
  return _svg(width, len(rows) * step + top, f"{label}: {told}", parts)


def _told(row: Bar, unit: str, remark: str) -> str:
  """A bar's numbers in words."""
  words = f"{row.name}: {row.value:.6g}" + (f" ± {number(row.half)}" if row.half is not None else "") + f" {unit}"
  words += f", compared with {number(row.reference)}" if row.reference is not None else ""
  return f"{words}; {row.remark} {remark}"


# Joints of a spread right hand seen from its back, in units of about a finger's breadth; y is up, the wrist is at 0.
_DIRECTIONS_DEG = {"thumb": -57, "index": -19, "middle": -1, "ring": 16, "little": 33}
_DISTANCES = {
  "thumb": (40, 82, 116, 144),
  "index": (106, 150, 180, 206),
  "middle": (108, 156, 190, 218),
  "ring": (101, 146, 178, 205),
  "little": (93, 128, 153, 176),
}


def _spread_hand() -> np.ndarray:
  points = np.zeros((21, 2))
  for index, finger in enumerate(FINGERS):
    angle = math.radians(_DIRECTIONS_DEG[finger])
    for joint, distance in enumerate(_DISTANCES[finger]):
      points[4 * index + 3 - joint] = distance * np.array([math.sin(angle), math.cos(angle)])
  return points


def hands(errors: np.ndarray, unit: str, label: str) -> str:
  """Errors of each joint [2, 21] (NaN = none) as discs on both hands, seen from their backs; area = error."""
  high = float(np.nanmax(errors)) or 1.0
  return "".join(
    _hand(errors[hand], high, hand, unit, label) for hand in (LEFT, RIGHT) if not np.isnan(errors[hand]).all()
  )


def _hand(errors: np.ndarray, high: float, hand: int, unit: str, label: str) -> str:
  width, height, kind = 360, 310, HANDS[hand]
  side = 1 if hand == RIGHT else -1
  centres = _spread_hand() * [side, -1] + [width / 2 + 20 * side, 262]
  parts = []
  for joint in range(WRIST):
    (x1, y1), (x2, y2) = centres[joint], centres[PARENTS[joint]]
    parts.append(f'<line class="grid bone" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')
  shown = np.flatnonzero(~np.isnan(errors))
  for joint in shown[np.argsort(-errors[shown])]:
    (x, y), error = centres[joint], float(errors[joint])
    tip = html.escape(f"{kind} {JOINT_NAMES[joint]}: {number(error)} {unit}")
    disc = f'<circle class="disc {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{20 * math.sqrt(error / high):.1f}"/>'
    words = f"{error:.1f}" if error < 9.95 else f"{error:.0f}"
    parts.append(f"<g><title>{tip}</title>{disc}{_text(x, y + 4, words, 'middle on')}</g>")
  x, y = centres[WRIST]
  parts.append(_text(x, y + 36, f"{kind} {number(float(np.nanmean(errors)))} {unit}", f"middle name {kind}"))
  worst = JOINT_NAMES[shown[np.argmax(errors[shown])]]
  return _svg(width, height, f"{label}: {kind} hand, largest at {worst}", parts)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
  """Round numbers, about `count`, that enclose low .. high."""
  if not high > low:
    low, high = (low - abs(low) * 0.1 - 1e-12, high + abs(high) * 0.1 + 1e-12)
  rough = (high - low) / count
  power = 10.0 ** math.floor(math.log10(rough))
  step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
  first, last = math.floor(low / step + 1e-6), math.ceil(high / step - 1e-6)
  return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
  """1, 2, 5 of each decade (or the decades alone, where they are many) that enclose low .. high."""
  first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
  factors = (1, 2, 5) if high / low <= 200 else (1,)
  every = max(-(-(last - first) // 5), 1) if len(factors) == 1 else 1
  values = [factor * 10.0**power for power in range(first, last + 1, every) for factor in factors]
  inside = [value for value in values if low * 0.999 <= value <= high * 1.001]
  below = [value for value in values if value < low * 0.999][-1:]
  above = [value for value in values if value > high * 1.001][:1]
  return below + inside + above


def number(value: float) -> str:
  """Three digits, as people write them: 1234, 12.0, 0.123, 4.1e-6."""
  if value == 0:
    return "0"
  size = abs(value)
  if size >= 1e5 or size < 1e-3:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
  digits = max(0, 2 - math.floor(math.log10(float(f"{size:.2e}"))))
  return f"{value:.{digits}f}"


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
  """The positions moved apart, in their order, so that neighbours are at least `gap` apart, within low .. high."""
  order = np.argsort(positions, kind="stable")
  placed = [float(positions[i]) for i in order]
  for index in range(len(placed)):
    floor = placed[index - 1] + gap if index else low
    placed[index] = max(placed[index], floor)
  ceiling = high
  for index in reversed(range(len(placed))):
    placed[index] = min(placed[index], ceiling)
    ceiling = placed[index] - gap
  result = [0.0] * len(placed)
  for index, position in zip(order, placed, strict=True):
    result[index] = position
  return result


def _text(x: float | int, y: float | int, words: str, kind: str) -> str:
  return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{html.escape(words)}</text>'


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
  described = f'role="img" aria-label="{html.escape(label)}"'
  return f'<svg viewBox="0 0 {width} {height}" {described}>{"".join(parts)}</svg>'
