"""What stands beside a paper's number in the column of the same data: versions, depths, words of the variant."""

import pytest

from tests.results.made_up import PROTOCOL, lines_of, made_up


def test_true_depths_do_not_stand_beside_estimated_ones():
  """But for handedness, which needs no depth; and the other way round, where the paper's are true."""
  made = made_up("paper", protocol=PROTOCOL.replace("rootnet", "gt"), also=[])
  made["metrics"] |= {"handedness_ap": {"value": 0.98, "interval": [0.97, 0.99], "unit": "0..1"}}
  for line in (*lines_of({"a": made}, "| 12.16 mm |"), *lines_of({"a": made}, "| InterNet | test | mrrpe |")):
    assert line.endswith("| missing | missing |")
  (line,) = lines_of({"a": made}, "| handedness_ap | 0.9909 0..1 |")
  assert line.endswith("| 0.98 [0.97, 0.99] | missing |")
  (line,) = lines_of({"a": made}, "| InterNet, MMPose 1.x | test | mpjpe/single |")
  assert line.endswith("| 12 [11, 13] | missing |")
  made["also"] = [{"protocol": PROTOCOL, "method": "internet", "metrics": {"mpjpe/single": 14.5}}]
  (line,) = lines_of({"a": made}, "| both | test | mpjpe/single | 12.16 mm |")
  assert line.endswith("| 14.5 | missing |")


@pytest.mark.parametrize("where", ["evaluated", "trained"])
def test_versions_of_the_data_do_not_stand_beside_each_other(where):
  made = {version: made_up("paper", config="digit", value=value) for version, value in (("V0.0", 16.0), ("V1.0", 14.0))}
  for version, record_of in made.items():
    record_of["metrics"] = {"mpjpe/interacting": record_of["metrics"]["mrrpe"]}
    learnt = {"name": "interhand26m", "split": "train", "builder": "interhand26m", "version": version}
    record_of["trained_with"] = [{"data": [learnt, {"name": "synthetic", "builder": "synthetic", "version": 7}]}]
    record_of["evaluated_with"]["data"][0]["version"] = version
  (final,) = lines_of(made, "| DIGIT | test | mpjpe/interacting | 14.27 mm |")
  (initial,) = lines_of(made, "| DIGIT | test | mpjpe/interacting | 16.55 mm |")
  assert final.endswith("| 14 [13, 15] | missing |")
  assert initial.endswith("| 16 [15, 17] | missing |")
  of_which = {"evaluated": made["V1.0"]["evaluated_with"]["data"], "trained": made["V1.0"]["trained_with"][0]["data"]}
  of_which[where][0]["version"] = "V0.0"
  (mixed,) = lines_of({"a": made["V1.0"]}, "| DIGIT | test | mpjpe/interacting | 14.27 mm |")
  assert mixed.endswith("| missing | missing |")


@pytest.mark.parametrize("variant", ["paper", "paper-all", "paper-rootnet"])
def test_words_that_change_no_experiment_are_of_its_row(variant):
  (line,) = lines_of({"a": made_up(variant)}, "| both | test | mpjpe/single | 12.16 mm |")
  assert line.endswith("| 12 [11, 13] | missing |")


def test_released_weights_have_rows_of_their_own():
  made = {
    name: made_up(name, config="digit", value=value) for name, value in (("paper", 14.0), ("paper-released", 11.0))
  }
  (released,) = lines_of(made, "| DIGIT | test | mpjpe/single | 10.73 mm |")
  assert released.endswith("| 11 [10, 12] | missing |")
  (paper,) = lines_of(made, "| DIGIT | test | mrrpe | 29.22 mm |")
  assert paper.endswith("| 14 [13, 15] | missing |")
  rendered = {"a": made_up("small", config="digit", dataset="synthetic/demo", value=43.0)}
  (line,) = lines_of(rendered, "| DIGIT | test | mpjpe/single | 10.73 mm |")
  assert line.endswith("| missing | small: 43 [42, 44] |")
