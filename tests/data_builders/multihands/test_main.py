"""The command: one clear line for whatever is wrong with its arguments."""

import sys

import pytest

from data_builders.multihands import __main__


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (("--population", "5"), "population is 5, expected at least the 100 annotations"),
    (("--pixels", "0"), "pixels is 0.0, expected more than 0"),
    (("--train", "-1"), "train is -1 records, expected 0 or more"),
    (("--report", "-1"), "report is -1, expected 0 or more"),
    (("--source", "nowhere"), "nowhere: there is no data set 'nowhere'"),
    (("--beam", "runner"), "--beam 'runner': write key=value"),
  ],
)
def test_a_bad_argument_is_one_clear_line(tmp_path, monkeypatch, arguments, message):
  monkeypatch.setenv("JAXHANDS_DATA", str(tmp_path))
  monkeypatch.setattr(sys, "argv", ["multihands", "--source", "synthetic/demo-pair", *arguments])
  with pytest.raises(SystemExit) as caught:
    __main__.main()
  assert message in str(caught.value.code)
  assert str(caught.value.code).startswith("python -m data_builders.multihands: error: ")
  assert "\n" not in str(caught.value.code)
  assert not list(tmp_path.iterdir())
