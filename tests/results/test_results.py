"""Records of experiments and the page made of them: whole, small, honest about what is missing."""

import importlib
import json
import pathlib

import jax
import numpy as np
import pytest

from configs import base as base_config
from data_builders.synthetic.config import VARIANTS
from jaxhands.results import directions, page, record, views
from jaxhands.runs import stages
from jaxhands.systems import construct
from jaxhands.train import checkpoint, step
from tests.contract import records as contract_records
from tests.results.made_up import CODE, lines_of, made_up

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_what_is_missing_is_listed_as_missing():
  text = page.page({})
  numbers = sum(
    value not in (None, "unread")
    for paper in page.published() for table in paper["tables"] for row in table["rows"] for value in row["values"]
  )  # fmt: skip
  assert f"0 experiments. Of {numbers} published numbers, 0 have a result" in text
  assert text.count("| missing | missing |") == numbers + text.count("| unread | missing | missing |")
  assert "None yet." in text


def test_a_result_on_the_papers_data_stands_beside_its_number():
  records = {"a": made_up()}
  (line,) = lines_of(records, "| human | test | mpjpe/single | 12.58 mm |")
  assert line.endswith("| 12 [11, 13] | missing |")
  # Of another split, data set, variant or config it does not.
  assert not [line for line in lines_of(records, "| human | val |") if "12 [" in line]
  assert not [line for line in lines_of(records, "| machine |") if "12 [" in line]
  assert "1 experiment. Of" in page.page(records)
  for other in (made_up(config="digit"), made_up("paper"), made_up(split="val"), made_up(dataset="interhand26m/human")):
    (line,) = lines_of({"a": other}, "| human | test | mpjpe/single | 12.58 mm |")
    assert line.endswith("| missing | missing |")


def test_seeds_are_averaged_and_each_is_shown():
  records = {f"s{seed}": made_up(seed=seed, value=12.0 + seed) for seed in range(3)}
  (line,) = lines_of(records, "| human | test | mpjpe/single | 12.58 mm |")
  # By scenes 1 each; by seeds Student's t of two degrees of freedom, their deviation 1, their root: 2.48.
  assert line.endswith("| 13 [10.32, 15.68] (12, 13, 14) | missing |")


def test_rendered_hands_are_never_put_beside_real_ones():
  records = {"a": made_up("small-single_only", dataset="synthetic/demo", value=51.0)}
  records["a"]["metrics"]["mpjpe/interacting"] = records["a"]["metrics"]["mpjpe/single"]
  (line,) = lines_of(records, "| one hand only | test | mpjpe/interacting | 51.19 mm |")
  assert line.endswith("| missing | small: 51 [50, 52] |")


def test_other_data_and_splits_are_no_seeds():
  """The first three are seeds of one experiment; the others stand beside them, with the names of their data."""
  others = (("synthetic/other", "test", 80.0), ("synthetic/demo", "val", 40.0))
  records = {f"s{seed}": made_up("small-single_only", seed, dataset="synthetic/demo", value=51.0) for seed in range(3)}
  for dataset, split, value in others:
    records[dataset + split] = made_up("small-single_only", dataset=dataset, split=split, value=value)
  for made in records.values():
    made["metrics"]["mpjpe/interacting"] = made["metrics"]["mpjpe/single"]
  (line,) = lines_of(records, "| one hand only | test | mpjpe/interacting | 51.19 mm |")
  assert line.endswith(
    "small: 51 [50, 52] (51, 51, 51); small on synthetic/other test: 80 [79, 81]; "
    "small on synthetic/demo val: 40 [39, 41] |"
  )


def test_directions_are_of_the_same_data():
  """A second evaluation set of the same runs has a direction of its own."""
  records = _two_rows((53.0,), (52.0,))
  for name, made in _two_rows((90.0,), (95.0,)).items():
    records[f"{name}-other"] = made | {"dataset": "synthetic/other"}
  lines = lines_of(records, "| + segmentation loss against + bone loss |")
  assert [line.split(" | ")[-2] for line in lines] == [
    "small: +1.00 (+1.00) mm", "small on synthetic/other test: -5.00 (-5.00) mm",
  ]  # fmt: skip


def test_another_protocol_is_found_among_those_besides():
  (line,) = lines_of({"a": made_up("paper")}, "| 92.14 mm |")
  assert line.endswith("| 91.5 | missing |")
  (line,) = lines_of({"a": made_up("paper")}, "| 32.57 mm |", "12 [11, 13]")
  assert line.startswith("| InterNet | test | mrrpe |")


def _pipeline():
  """A record of HDR's whole pipeline with a method, on the paper's data."""
  protocol = "depth=predicted root=wrist scale=gt"
  metric = {"value": 18.0, "interval": [17.0, 19.0], "unit": "mm"}
  method = {
    "protocol": protocol, "method": "pose_alone", "metrics": {"mpjpe/all": 26.0, "mpjpe/interacting": 41.0},
    "differences": {"mpjpe/all": [7.5, 8.5]},
  }  # fmt: skip
  return made_up(
    "paper", config="hdr", dataset="interhand26m/machine", system="hdr.pipeline", protocol=protocol,
    metrics={"mpjpe/all": metric, "mpjpe/interacting": metric}, also=[method],
  )  # fmt: skip


def test_a_method_of_a_run_is_another_row_of_the_paper():
  for published, ours in (("25.78 mm", "26"), ("40.98 mm", "41")):
    lines = lines_of({"a": _pipeline()}, "| pose net alone | test |", published)
    assert lines
    assert all(line.endswith(f"| {ours} | missing |") for line in lines)
  for line in lines_of({"a": _pipeline()}, "17.98 mm"):
    assert line.endswith("| 18 [17, 19] | missing |")
  # What was not evaluated is missing, and another variant's is not taken.
  for line in (*lines_of({"a": _pipeline()}, "| without removal |"), *lines_of({"a": _pipeline()}, "with AIH |")):
    assert line.endswith("| missing | missing |")


def test_methods_stand_below_their_experiment():
  text = page.page({"mine": _pipeline()})
  assert "| hdr.pipeline | 18 |\n| pose alone | 26 [+7.5, +8.5] |" in text[text.index("### mine") :]
  assert "other fields" not in page.page({"mine": made_up()})


def test_published_methods_are_those_of_their_config():
  checked = 0
  for paper in page.published():
    for row in (row for table in paper["tables"] for row in table["rows"] if "method" in row):
      module = importlib.import_module(f"configs.{paper['config']}")
      config = module.get_config(",".join(word for word in ("paper", row["variant"]) if word))
      _, last = stages.of(config)[-1]
      assert row["method"] in last.eval.methods
      checked += 1
  assert checked


def test_every_experiment_says_where_it_comes_from():
  text = page.page({"mine": made_up(note="With a note.")})
  assert "### mine\n" in text
  assert "`configs/internet.py:paper,human`, seed 0; 1,000 pictures of interhand26m:test, trained on" in text
  assert "0123456789, 1 x cpu, 2026-11-25. With a note." in text
  assert "| mpjpe/single | 12 | 11 – 13 | mm | better than the mean pose (30) |" in text
  assert "| mrrpe | 12 | 11 – 13 | mm |  |" in text
  changed = made_up() | {"evaluated_with": made_up()["evaluated_with"] | {"code": CODE | {"modified": True}}}
  assert "0123456789 with changes" in page.page({"mine": changed})


def test_verdicts_are_those_of_the_evaluation():
  judged = {"mrrpe": {"kind": "no better", "beside": "mean wrists", "baseline": 11.5}}
  text = page.page({"mine": made_up(verdicts=judged)})
  assert "| mrrpe | 12 | 11 – 13 | mm | no better than the mean wrists (11.5) |" in text
  assert "| mpjpe/single | 12 | 11 – 13 | mm |  |" in text  # what was not judged is not judged afterwards
  older = made_up(mean_pose={"mpjpe/single": 12.5})
  assert "| mpjpe/single | 12 | 11 – 13 | mm | not surely better than the mean pose (12.5) |" in page.page({"a": older})


def _two_rows(values_with, values_without) -> dict:
  """Records of DIGIT without segmentation features, and without its loss as well, a seed each."""
  runs = [("small-no_segmentation_features", values_with),
          ("small-no_segmentation_features-no_segmentation_loss", values_without)]  # fmt: skip
  found = {}
  for variant, values in runs:
    for seed, value in enumerate(values):
      made = made_up(variant, seed, "digit", dataset="synthetic/demo")
      made["metrics"] = {"mpjpe/interacting": {"value": value, "interval": [value, value], "unit": "mm"}}
      found[f"{variant}-{seed}"] = made
  return found


@pytest.mark.parametrize(
  ("values", "says"),
  [
    ((50.0, 51.0), "small: -2.00 ± 0.00 (-2.00, -2.00) mm | as in the paper |"),
    ((50.0, 54.0), "small: -0.50 ± 19.06 (-2.00, +1.00) mm | seeds disagree |"),
    ((53.0, 54.0), "small: +1.00 ± 0.00 (+1.00, +1.00) mm | the other way |"),
    ((52.001, 53.002), "small: +0.00 ± 0.01 (+0.00, +0.00) mm | no difference |"),
  ],
)
def test_directions_are_judged_seed_by_seed(values, says):
  (line,) = lines_of(_two_rows(values, (52.0, 53.0)), "| + segmentation loss against + bone loss |")
  # The paper's 17.05 and 17.54 mm, of its test set.
  assert line == f"| + segmentation loss against + bone loss | mpjpe/interacting | -0.49 mm | {says}"


def test_what_the_paper_has_not_stands_beside_its_numbers():
  made = made_up("small", 0, "intershape", dataset="synthetic/demo") | {"system": "intershape"}
  made |= {"protocol": "root=middle1 scale=gt"}
  made["metrics"] = {"mpjpe/interacting": {"value": 37.0, "interval": [36.0, 38.0], "unit": "mm"}}
  other = {"method": "intershape", "protocol": "root=middle1 scale=predicted", "metrics": {"mpjpe/interacting": 38.5}}
  made["also"] = [other]
  (of_method,) = lines_of({"run": made}, "| Zhang et al. | test | mpjpe/interacting, scale=predicted |")
  (of_parts,) = lines_of({"run": made}, "| full | test | mpjpe/interacting, scale=predicted |")
  assert of_method.endswith("| none | missing | small: 38.5 |")
  assert of_parts.endswith("| none | missing | small: 38.5 |")
  assert not lines_of({}, "| full | test | mpjpe/interacting, scale=predicted |")
  (haggling,) = lines_of({"run": made}, "| Zhang et al. | test | mpjpe/interacting | 11.42 mm |")
  assert haggling.endswith("| missing | missing |"), "rendered hands stand for InterHand2.6M"


def test_directions_of_methods_are_those_of_one_run():
  made = made_up("small", 0, "hdr", dataset="synthetic/demo") | {"protocol": "scale=gt", "system": "hdr.pipeline"}
  made["metrics"] = {"mpjpe/all": {"value": 70.0, "interval": [69.0, 71.0], "unit": "mm"}}
  made["also"] = [{"method": "pose_alone", "protocol": "scale=gt", "metrics": {"mpjpe/all": 72.5}, "differences": {}}]
  found = {line for line in page.page({"run": made}).splitlines() if line.startswith("| full against pose net alone |")}
  # The paper's 17.98 and 25.78 mm.
  assert found == {"| full against pose net alone | mpjpe/all | -7.80 mm | small: -2.50 (-2.50) mm | as in the paper |"}


def _of_multihands(variant, config, value, seed=0):
  metric = {"value": value, "interval": [value, value], "unit": ""}
  made = made_up(variant, seed, config, dataset="multihands/demo")
  return made | {"metrics": dict.fromkeys(("mmd/rr", "mpjpe/interacting"), metric)}


def test_data_with_annotations_are_those_of_multihands_alone():
  """InterNet learns from them as HandFlow does; that is no experiment of InterNet's own paper."""
  records = {"flow": _of_multihands("small", "handflow", 0.4), "delta": _of_multihands("small", "internet", 0.5),
             "own": made_up("small", config="internet", dataset="synthetic/demo", value=51.0)}  # fmt: skip
  for key in ("mmd/rr", "mpjpe/interacting"):
    records["own"]["metrics"][key] = records["own"]["metrics"]["mpjpe/single"]
  (line,) = lines_of(records, "| InterNet | test | mmd/rr | 0.56 |")
  assert line.endswith("| missing | small: 0.5 [0.5, 0.5] |")
  (line,) = lines_of(records, "| one hand only | test | mpjpe/interacting |")
  assert line.endswith("| missing | missing |")
  own = records | {"own": records["own"] | {"variant": "small-single_only"}}
  own["delta"] = own["delta"] | {"variant": "small-single_only"}
  (line,) = lines_of(own, "| one hand only | test | mpjpe/interacting |")
  assert line.endswith("| missing | small: 51 [50, 52] |")
  other = records | {"flow": records["flow"] | {"dataset": "multihands/mine"}}
  assert len(lines_of(other, "| HandFlowNet | test | mmd/rr | 0.44 | missing | missing |")) == 2  # tables 2 and 3
  (line,) = lines_of(records, "| HandFlowNet against InterNet | mmd/rr |")
  assert line.endswith("| -0.120 | small: -0.100 (-0.100) | as in the paper |")


def test_what_cannot_be_read_has_a_direction_where_the_paper_says_it():
  records = {"flow": _of_multihands("small", "handflow", 0.4), "less": _of_multihands("small-no_mode", "handflow", 0.3)}
  (line,) = lines_of(records, "| without the loss of the mode | test | mmd/rr |")
  assert line.endswith("| unread | missing | small: 0.3 [0.3, 0.3] |")
  (line,) = lines_of(records, "| HandFlowNet against without the loss of the mode | mmd/rr |")
  assert line.endswith("| lower | small: +0.100 (+0.100) | the other way |")


def test_other_protocols_stand_below_their_experiment():
  made = made_up()
  (other,) = made["also"]
  same = {"mrrpe": 12.0, "mpjpe/single": 30.5}  # the first is as under the first protocol
  made["also"] = [other | {"metrics": same}, other | {"method": "mean_pose"}, other | {"metrics": {"mrrpe": 12.0}}]
  text = page.page({"mine": made})
  text = text[text.index("### mine") :]
  assert "| `left_root=own` | mpjpe/single 30.5 |\n" in text
  assert text.count("left_root=own") == 1


def test_variants_of_embedded_hands_are_those_that_there_are():
  assert page._EMBEDDED == VARIANTS


def test_view_selection_has_a_section_of_its_own(tmp_path):
  row = {"error_mm": {"mean": 51.25, "interval": [50, 52.5]}, "regret_mm": {"mean": 3.0, "interval": [2, 4.04]}}
  measured = {"choices": {"lowest deviation": row, "any view": row}, "correlation": 0.314}
  content = {"run": "a", "date": "2026-11-30", "code": CODE, "scenes": 40, "cameras": 8, "seed": 7}
  content["views"] = {"rr": measured}
  assert "View selection" not in page.page({}, chosen=views.read_all(tmp_path))
  (tmp_path / "views").mkdir()
  (tmp_path / "views" / "mine.json").write_text(json.dumps(content))
  text = page.page({}, chosen=views.read_all(tmp_path))
  about = "| mine: run a, 40 scenes of 8 views of seed 7, 0123456789, 2026-11-30 "
  first = f"{about}| rr | lowest deviation | 51.2 [50.0, 52.5] | 3.0 [2.0, 4.0] | 0.31 |"
  assert first in text[text.index("## View selection") :]
  (tmp_path / "views" / "mine.json").write_text('{"run": "a"}')
  with pytest.raises(ValueError, match=r"mine\.json"):
    views.read_all(tmp_path)
  for change in ({"code": 1}, {"views": {"rr": {"choices": {"any view": {}}, "correlation": 0.3}}}, {"seed": None}):
    (tmp_path / "views" / "mine.json").write_text(json.dumps(content | change))
    with pytest.raises(ValueError, match=r"mine\.json is damaged.*view_selection RUN --json FILE` writes it"):
      views.read_all(tmp_path)


def test_remarks_stand_below_the_directions_and_need_their_table(tmp_path):
  records = _two_rows((53.0,), (52.0,))
  assert "What the paper" not in page.page(records)
  (tmp_path / "remarks.toml").write_text('[digit]\n"Table 2" = "What the paper has not."\n')
  text = page.page(records, page.read_remarks(tmp_path))
  assert "| the other way |\n\nWhat the paper has not.\n\n### section 4.3" in text
  (tmp_path / "remarks.toml").write_text('[digit]\n"Table 9" = "?"\n')
  with pytest.raises(ValueError, match=r"a remark on \('digit', 'Table 9'\)"):
    page.read_remarks(tmp_path)
  (tmp_path / "remarks.toml").write_text('[digit]\n"Table 2" = 3\n')
  with pytest.raises(ValueError, match=r"remarks\.toml is damaged.*Table 2 is 3"):
    page.read_remarks(tmp_path)
  assert page.read_remarks(tmp_path / "none") == {}


def test_remarks_need_no_directions(tmp_path):
  (tmp_path / "remarks.toml").write_text('[hdr]\n"Table 5" = "Not all of it."\n"Table 1" = "Once."\n')
  text = page.page({}, page.read_remarks(tmp_path))
  assert "\n\nNot all of it.\n" in text
  assert text.count("Once.") == 1


def test_published_experiments_are_variants_that_exist():
  for paper in page.published():
    path = pathlib.Path(base_config.__file__).parent / f"{paper['config']}.py"
    if not path.is_file():
      continue
    module = importlib.import_module(f"configs.{paper['config']}")
    if "paper" not in module.VARIANTS:  # has a part of the method only, so far
      continue
    for table in paper["tables"]:
      assert table.get("same", {}).keys() <= {"version", "depth", "variant"}
      names = {directions.named(row) for row in table["rows"] if row["variant"] is not None}
      assert {name for one, other, *_ in table.get("directions", ()) for name in (one, other)} <= names
      assert {word for _, _, *words in table.get("directions", ()) for word in words} <= {"lower", "higher"}
      for row in table["rows"]:
        assert len(row["values"]) == len(table["metrics"])
        if row["variant"] is not None:
          module = importlib.import_module(f"configs.{row.get('config', paper['config'])}")
          config = module.get_config(",".join(word for word in ("paper", row["variant"]) if word))
          assert page._is_of({"variant": config.variant, "config_name": config.name}, paper, row)


@pytest.mark.parametrize("folder", sorted((ROOT / "results" / "weights").iterdir()), ids=lambda folder: folder.name)
def test_committed_weights_are_of_a_record_and_fit_the_code(folder):
  assert folder.name in record.read_all(ROOT / "results")
  config = checkpoint.read_config(folder)
  system = construct.load(config)
  shapes = jax.eval_shape(step.make_init(system, 0), contract_records.batch(system, 1, train=False))
  shapes.pop("constants", None)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(checkpoint.read_variables(folder, shapes)))


def test_the_committed_page_is_what_the_committed_records_give():
  folder = ROOT / "results"
  expected = page.page(record.read_all(folder), page.read_remarks(folder), views.read_all(folder))
  assert (ROOT / "RESULTS.md").read_text() == expected, "run `python -m jaxhands results` and commit RESULTS.md"
