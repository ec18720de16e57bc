"""Charts: round axes, names that do not collide, and what is drawn is where the numbers say."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxhands.report import charts
from jaxhands.report.charts import Bar, Curve

FINITE = st.floats(-1e9, 1e9).filter(lambda value: value == 0 or abs(value) > 1e-9)


def parsed(svg):
  return ET.fromstring(f"<body>{svg}</body>")


def texts(svg):
  return [element.text for element in parsed(svg).iter("text")]


@given(FINITE, FINITE)
def test_ticks_are_few_evenly_spaced_and_enclose(one, other):
  low, high = min(one, other), max(one, other)
  found = charts.ticks(low, high)
  assert 2 <= len(found) <= 12
  slack = 1e-5 * max(high - low, abs(low) * 1e-3, 1e-9)
  assert found[0] <= low + slack
  assert found[-1] >= high - slack
  steps = np.diff(found)
  np.testing.assert_allclose(steps, steps[0], rtol=1e-3, atol=1e-9)


def test_ticks_are_round():
  assert charts.ticks(0.3, 9.2) == [0, 2, 4, 6, 8, 10]
  assert charts.ticks(0.0, 1.0) == [0, 0.2, 0.4, 0.6, 0.8, 1]
  assert charts.log_ticks(0.3, 12.0) == [0.2, 0.5, 1, 2, 5, 10, 20]
  assert charts.log_ticks(1e-6, 2e3)[0] <= 1e-6
  assert charts.log_ticks(1e-6, 2e3)[-1] >= 2e3
  assert len(charts.log_ticks(1e-6, 2e3)) <= 8


@pytest.mark.parametrize(
  ("value", "words"),
  [
    (0.0, "0"), (1234.4, "1234"), (12.0, "12.0"), (0.1234, "0.123"), (-3.456, "-3.46"), (4.1e-6, "4.1e-6"),
    (2e5, "2e5"), (9.999, "10.0"), (1.0, "1.00"),
  ],
)  # fmt: skip
def test_numbers_have_three_digits(value, words):
  assert charts.number(value) == words


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_names_keep_apart_and_in_order(positions):
  placed = charts.spread(positions, 10.0, 0.0, 100.0)
  order = np.argsort(positions, kind="stable")
  assert (np.diff(np.array(placed)[order]) >= 10 - 1e-9).all()
  assert min(placed) >= -1e-9
  assert max(placed) <= 100 + 1e-9


def test_names_stay_where_there_is_room():
  assert charts.spread([80.0, 20.0], 10.0, 0.0, 100.0) == [80.0, 20.0]


def test_a_chart_draws_its_points_between_its_axes():
  svg = charts.chart([Curve("", [0.0, 10.0], [1.0, 3.0])], "loss <1>")
  (line,) = parsed(svg).iter("polyline")
  (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in line.get("points", "").split())
  assert x1 < x2
  assert y1 > y2  # more is higher
  rows = {text: float(element.get("y", "")) for element in parsed(svg).iter("text") if (text := element.text)}
  assert y1 == pytest.approx(rows["1"] - 4, abs=0.2)
  assert y2 == pytest.approx(rows["3"] - 4, abs=0.2)
  assert "loss <1>" in rows


def test_a_logarithmic_axis_has_equal_decades():
  svg = charts.chart([Curve("", [0.0, 1.0, 2.0], [100.0, 10.0, 1.0])], "loss", log=True)
  (line,) = parsed(svg).iter("polyline")
  heights = [float(point.split(",")[1]) for point in line.get("points", "").split()]
  assert heights[1] - heights[0] == pytest.approx(heights[2] - heights[1], abs=0.2)


def test_long_curves_are_thinned_but_keep_their_ends():
  y = np.random.default_rng(0).uniform(0, 1, 10_000)
  svg = charts.chart(
    [Curve("a", np.arange(10_000.0).tolist(), y.tolist()), Curve("b", [0.0, 9_999.0], [0.5, 0.5])], "loss"
  )
  assert len(svg) < 10_000
  assert {"a", "b"} <= set(texts(svg))


def test_one_value_all_along_is_a_chart_too():
  for value in (0.0, 5.0, -1e-12):
    parsed(charts.chart([Curve("", [0.0, 1.0], [value, value])], "flat"))
  parsed(charts.chart([Curve("", [3.0], [2.0])], "one point"))


def test_bars_are_as_long_as_their_values():
  rows = [Bar("one & two", 10.0, 2.0, 20.0, "7"), Bar("b", 5.0, None, None, "1")]
  svg = charts.bars(rows, "mm", "pictures", "errors")
  widths = [float(element.get("width", "")) for element in parsed(svg).iter("rect")]
  assert widths[0] == pytest.approx(2 * widths[1])
  kinds = [element.get("class") for element in parsed(svg).iter("line")]
  assert kinds == ["whisker", "tick"]
  assert {"one & two", "10.0", "5.00", "7"} <= set(texts(svg))


def test_discs_have_the_area_of_the_error_and_joints_without_one_have_none():
  errors = np.full((2, 21), np.nan)
  errors[0, 0], errors[0, 1] = 16.0, 4.0
  svg = charts.hands(errors, "mm", "errors")
  discs = list(parsed(svg).iter("circle"))
  assert [disc.get("class") for disc in discs] == ["disc right"] * 2
  assert float(discs[0].get("r", "")) == pytest.approx(2 * float(discs[1].get("r", "")))
  assert {"16", "4.0"} <= set(texts(svg))
  assert [element.text for element in parsed(svg).iter("title")] == ["right thumb4: 16.0 mm", "right thumb3: 4.00 mm"]


def test_hands_are_seen_from_the_back():
  """The thumbs point to each other with the left hand on the left."""
  left, right = (
    charts.hands(np.where(np.arange(2)[:, None] == hand, 1.0, np.full((2, 21), np.nan)), "mm", "") for hand in (1, 0)
  )
  for svg, side in ((left, 1), (right, -1)):
    x = [float(disc.get("cx", "")) for disc in parsed(svg).iter("circle")]
    thumb, little = x[0], x[16]
    assert (thumb - little) * side > 0


def test_a_strip_stays_within_its_row():
  assert "left:100.0%" in charts.strip(7.0, (5.0, 9.0), 4.0, 6.0)
  assert "<s" not in charts.strip(7.0, (5.0, 9.0), None, 10.0)
  charts.strip(0.0, (0.0, 0.0), 0.0, 0.0)
