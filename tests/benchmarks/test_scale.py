"""Examples of a run, by its config."""

import pytest

from benchmarks import scale, subjects


@pytest.mark.parametrize(
  ("name", "examples"), [("internet", 20 * 1_361_062), ("hdr/hasm", 200_000 * 48), ("hdr/hdrm", 100_000 * 48)]
)
def test_examples_of_a_run_follow_from_its_config(name, examples):
  (subject,) = subjects.all_of("paper", [name])
  assert scale.examples_of(subject.config) == examples


def test_a_system_that_there_is_not_is_named():
  with pytest.raises(ValueError, match=r"there is no system 'hdr/nothing'; there are .*'hdr/hasm'"):
    subjects.all_of("tiny", ["hdr/nothing"])
