"""Words for a number beside a plain method: they follow the interval of the difference, in either direction."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxhands.evaluation import verdict


@pytest.mark.parametrize(
  ("more", "interval", "better", "kind"),
  [
    (-5.0, (-7.0, -3.0), "lower", "better"), (-5.0, (-11.0, 1.0), "lower", "unsure"),
    (0.0, (0.0, 0.0), "lower", "no better"), (1.8, (-0.4, 4.0), "lower", "no better"),
    (1.8, (0.4, 3.0), "lower", "worse"), (0.2, (0.1, 0.3), "higher", "better"), (0.2, (-0.1, 0.3), "higher", "unsure"),
    (0.0, (0.0, 0.0), "higher", "no better"), (-3.8, (-4.0, -3.0), "higher", "worse"),
  ],
)  # fmt: skip
def test_the_interval_decides(more, interval, better, kind):
  assert verdict.judge(more, interval, better) == kind


@given(st.floats(-9, 9), st.floats(0, 9), st.floats(0, 9))
def test_what_is_less_of_an_error_is_more_of_a_score(more, below, above):
  low, high = more - below, more + above
  assert verdict.judge(more, (low, high), "lower") == verdict.judge(-more, (-high, -low), "higher")


def test_a_few_scenes_tell_nothing():
  assert verdict.judge(-5.0, (-7.0, -3.0), "lower", verdict.FEWEST_SCENES - 1) == "few"
  assert verdict.judge(-5.0, (-7.0, -3.0), "lower", verdict.FEWEST_SCENES) == "better"


def test_words():
  answer = {"verdicts": {"mpjpe/all": {"kind": "no better", "beside": "mean_pose"}}}
  assert verdict.words_of(answer, "mpjpe/all") == "no better than the mean pose"
  assert verdict.words_of(answer, "mrrpe") == verdict.words_of({}, "mrrpe") == ""
  assert verdict.words("few", "commonest hands") == "too few scenes to tell from the commonest hands"
  assert set(verdict.COLOURS) == {"better", "unsure", "no better", "worse", "few"}


def test_a_method_has_a_column_where_a_verdict_does_not_name_its_number():
  methods = {"mean_pose": {"a": 1.0, "b": 2.0}, "hull": {"b": 3.0}, "ellipse": {"c": 4.0, "b": 1.0}}
  verdicts = {"a": {"beside": "mean_pose"}, "b": {"beside": "mean_pose"}, "c": {"beside": "ellipse"}}
  assert list(verdict.untold(methods, verdicts)) == ["hull", "ellipse"]
  assert verdict.untold(methods, {}) == methods
