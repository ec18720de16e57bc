"""Records of finished runs: whole, small, with the code that made them."""

import json
import pathlib
import subprocess

import pytest

from configs import rootnet
from jaxhands import cli, run
from jaxhands.results import page, record
from jaxhands.runs import folder as files
from jaxhands.runs import provenance
from tests.data.conftest import build
from tests.results.made_up import CODE, PROTOCOL, lines_of, made_up

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> pathlib.Path:
  """A run of seconds on a small data set."""
  folder = tmp_path_factory.mktemp("results")
  data = build(folder / "data", train=13, val=7)
  config = rootnet.get_config("tiny")
  config.data.train, config.data.eval, config.data.threads = (f"{data}:train",), (f"{data}:val",), 2
  config.train_for, config.eval_every = "1 step", "1 step"
  assert run.run(config, folder / "run")
  return folder / "run"


def test_a_finished_run_becomes_a_record_and_a_line(finished, tmp_path, capsys, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert cli.main(["results", "add", str(finished), "--note", "One step."]) == 0
  path = tmp_path / "results" / "rootnet-tiny-seed0.json"
  assert path.stat().st_size <= record.LARGEST_BYTES
  made = json.loads(path.read_text())
  answer = json.loads((finished / "eval" / "metrics.json").read_text())
  assert made["metrics"].keys() == answer["metrics"].keys()
  for key, metric in made["metrics"].items():
    assert metric["value"] == pytest.approx(answer["metrics"][key], rel=1e-5)
    assert metric["interval"] == pytest.approx(answer["intervals"][key], rel=1e-5)
  assert made["config"]["system"]["name"] == "rootnet"
  assert made["config"]["data"]["train"] == ["data:train"]  # no folder of one machine
  assert made["dataset"] == "data"
  (data,) = made["evaluated_with"]["data"]
  assert (data["builder"], data["split"], data["examples"]) == ("tiny", "val", 7)
  assert len(data["hash"]) == 8
  assert [entry["data"][0]["split"] for entry in made["trained_with"]] == ["train"]
  assert made["evaluated_with"]["code"] == provenance.code()
  text = (tmp_path / "RESULTS.md").read_text()
  assert "### rootnet-tiny-seed0" in text
  assert "One step." in text
  capsys.readouterr()
  assert cli.main(["results", "add", str(finished)]) == 1
  assert "is there already; give another --name, or --replace it" in capsys.readouterr().err
  assert cli.main(["results", "add", str(finished), "--replace"]) == 0
  before = (tmp_path / "RESULTS.md").read_text()
  assert cli.main(["results", "add", str(finished), "--name", "again"]) == 1
  assert "rootnet-tiny-seed0.json is of rootnet-tiny-seed0 on data val, too" in capsys.readouterr().err
  assert [path.name for path in (tmp_path / "results").glob("*.json")] == [path.name]
  assert (tmp_path / "RESULTS.md").read_text() == before
  assert cli.main(["results"]) == 0
  assert page.page(record.read_all(tmp_path / "results")) == (tmp_path / "RESULTS.md").read_text()


def test_a_run_compares_with_itself(finished, capsys, monkeypatch):
  monkeypatch.setenv("COLUMNS", "200")
  assert cli.main(["compare", str(finished), str(finished), "--resamples", "50"]) == 0
  assert "root_depth/all" in capsys.readouterr().out


def test_what_is_no_record_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match=r"no .*config\.json: train and evaluate the run first"):
    record.of_run(tmp_path)
  (tmp_path / "odd.json").write_text("{}")
  with pytest.raises(ValueError, match=r"odd\.json is .*lacks 'format'.*records of experiments"):
    record.read_all(tmp_path)
  with pytest.raises(ValueError, match=r"the record would have .* bytes of 20,000: .*eval\.methods"):
    record.write(made_up(note="x" * 30_000), tmp_path / "large.json")
  assert not (tmp_path / "large.json").exists()
  (tmp_path / "odd.json").write_text(json.dumps(made_up(note="x" * 30_000)))
  with pytest.raises(ValueError, match="a record has at most 20,000"):
    record.read_all(tmp_path)


def test_records_say_nothing_twice():
  part = {"name": "hdr.hasm", "width": 8}
  first = {"system": part, "eval": {}, "schedule": {"name": "poly"}}
  second = {"system": {"masks": "predicted", "hasm": part}, "batch_size": 4, "schedule": {"name": "poly"}}
  other = {"system": part | {"width": 9}}
  config = {"name": "hdr", "data": {"dir": ""}, "stages": {"hasm": first, "fine": second, "other": other}}
  assert record._without_repeats(config) == config | {
    "stages": {
      "hasm": first,
      "fine": second
      | {"system": {"masks": "predicted", "hasm": "as stages.hasm.system"}, "schedule": "as stages.hasm.schedule"},
      "other": other,
    }
  }
  assert record._without_repeats({"system": part, "again": part}) == {"system": part, "again": part}
  ends = [0.123456789, 1.0]
  metrics = {"mpjpe/all": 1.0, "mrrpe": 2.0}
  entry = {"method": "a", "metrics": metrics, "differences": {"mpjpe/all": ends, "mrrpe": ends}}
  found = record._rounded_entry(entry, "mpjpe/single")
  assert found == entry | {"differences": {"mpjpe/all": [0.123457, 1.0]}}


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("/data/of/me/set:train", "set:train"), ("~/runs/a:backbone", "a:backbone"), ("/a/b+/c/d", "b+d"),
    ("synthetic/demo:train", "synthetic/demo:train"), ("stages/first", "stages/first"), ("", ""), ("1/2", "1/2"),
  ],
)  # fmt: skip
def test_folders_of_a_machine_are_left_out(text, expected):
  assert record._without_folders({"a": [text, 3]}) == {"a": [expected, 3]}


def test_the_code_is_known_by_its_commit_and_changes(tmp_path, monkeypatch):
  def git(*arguments):
    subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments], check=True)

  (tmp_path / "jaxhands").mkdir()
  source = tmp_path / "jaxhands" / "__init__.py"
  source.write_text("")
  kept = [tmp_path / "RESULTS.md", tmp_path / "results" / "a-seed0.json"]
  kept[1].parent.mkdir()
  for path in kept:
    path.write_text("")
  monkeypatch.setattr(provenance, "_ROOT", tmp_path.resolve())
  assert provenance.code()["commit"] == ""
  git("init", "-q")
  git("add", "-A")
  git("commit", "-qm", "first")
  found = provenance.code()
  assert len(found["commit"]) == 40
  assert not found["modified"]
  for path in kept:  # which a run changes when it is done
    path.write_text("changed")
  assert provenance.code() == found
  source.write_text("changed = True\n")
  assert provenance.code() == found | {"modified": True}


def test_code_that_trained_is_noted_once_a_version(tmp_path, monkeypatch):
  versions = iter(["a", "a", "b"])
  monkeypatch.setattr(provenance, "code", lambda: {"commit": next(versions)})
  for _ in range(3):
    provenance.note_training(tmp_path, [])
  entries = json.loads((tmp_path / "origin.json").read_text())
  assert [entry["code"]["commit"] for entry in entries] == ["a", "b"]


def test_what_a_paper_has_and_a_run_has_not_stands_beside_its_number():
  accepted = ["no_vgg: VGG-16's weights", "no_imagenet: ImageNet weights of ResNet-50"]
  records = {"a": made_up(accepted=accepted)}
  (line,) = lines_of(records, "| human | test | mpjpe/single | 12.58 mm |")
  assert line.endswith("| 12 [11, 13]; no_imagenet, no_vgg | missing |")
  assert f"Lacks what the paper has: {'; '.join(accepted)}." in page.page(records)


def test_the_command_is_the_one_that_was_typed():
  typed = ["/usr/bin/python3", "/somewhere/launch.py", "--config=configs/hdr.py:tiny", "--workdir", "a folder"]
  assert provenance.command(typed) == "python launch.py --config=configs/hdr.py:tiny --workdir 'a folder'"
  assert provenance.command([typed[0], "-u", *typed[1:]]) == provenance.command(typed)
  assert provenance.command(["python", "-m", "pytest", "tests"]) == provenance.command([]) == ""


def test_a_record_holds_verdicts_and_no_command(tmp_path):
  evaluated = {
    "metrics": {"mrrpe": 1.0}, "intervals": {"mrrpe": [0.0, 2.0]}, "units": {"mrrpe": "mm"}, "mean_pose": {},
    "also": [], "system": "s", "dataset": "d", "split": "test", "examples": 3, "protocol": PROTOCOL,
    "verdicts": {"mrrpe": {"kind": "few", "beside": "mean wrists", "baseline": 1 / 3, "more": [0.1, 0.2]}},
  }  # fmt: skip
  kept = {"code": CODE, "devices": "1 x cpu", "data": []}
  noted = kept | {"date": "2026-11-29T12:34+00:00", "command": "python launch.py --workdir=/a/b"}
  made = record.of_run(_run_of(tmp_path, {"name": "n", "variant": "v", "seed": 0}, evaluated, noted))
  assert made["date"] == "2026-11-29"
  assert made["verdicts"] == {"mrrpe": {"kind": "few", "beside": "mean wrists", "baseline": 0.333333}}
  assert made["evaluated_with"] == kept


def _run_of(folder, config, evaluated, noted):
  """The folder of an evaluated run, with what a record is made of."""
  (folder / "eval").mkdir(parents=True)
  for name, content in (("config.json", config), ("eval/metrics.json", evaluated), ("eval/origin.json", noted)):
    (folder / name).write_text(json.dumps(content))
  return folder


CONFIG = {"name": "n", "variant": "small", "seed": 0}
ANSWER = {
  "metrics": {"mrrpe": 1.0}, "intervals": {"mrrpe": [0.0, 2.0]}, "units": {"mrrpe": "mm"}, "mean_pose": {},
  "also": [], "system": "s", "dataset": "d", "split": "test", "examples": 3, "protocol": PROTOCOL,
}  # fmt: skip
NOTED = {"code": CODE, "devices": "1 x cpu", "data": []}


@pytest.mark.parametrize(("config", "answer", "noted", "named"), [
  ({}, ANSWER, NOTED, r"config\.json is damaged.*lacks 'name'"), ([], ANSWER, NOTED, r"config\.json is damaged"),
  (CONFIG, {}, NOTED, r"metrics\.json is damaged"),
  (CONFIG, ANSWER | {"also": 3}, NOTED, r"metrics\.json.*it\.also is 3"),
  (CONFIG, ANSWER | {"intervals": {}}, NOTED, r"metrics\.json.*it\.intervals lacks 'mrrpe'"),
  (CONFIG, ANSWER, NOTED | {"code": 1}, r"origin\.json.*it\.code is 1"), (CONFIG, ANSWER, [], r"origin\.json"),
  (CONFIG | {"seed": "0"}, ANSWER, NOTED, r"config\.json.*it\.seed is '0'"),
])  # fmt: skip
def test_a_damaged_run_is_no_record_and_named(tmp_path, capsys, config, answer, noted, named):
  run = _run_of(tmp_path / "run", config, answer, noted)
  with pytest.raises(files.DamagedFile, match=rf"{named}.*evaluate the run again"):
    record.of_run(run)
  assert not list(tmp_path.rglob("*-seed*.json"))


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "/tmp/evil"])
def test_no_record_is_written_outside_of_the_folder(tmp_path, capsys, name):
  config = CONFIG | {"name": name, "variant": "../x" if not name else "small"}
  run = _run_of(tmp_path / "in" / "run", config, ANSWER, NOTED)
  arguments = [
    "results",
    "--folder",
    str(tmp_path / "in" / "results"),
    "--out",
    str(tmp_path / "P.md"),
    "add",
    str(run),
  ]
  assert cli.main(arguments) == 1
  assert "config.json names the record" in capsys.readouterr().err
  assert [path.name for path in tmp_path.iterdir()] == ["in"]
  assert cli.main([*arguments, "--name", "good"]) == 0


@pytest.mark.parametrize(("change", "named"), [
  ({"dataset": None}, "it.dataset is None"), ({"evaluated_with": {}}, "it.evaluated_with lacks 'code'"),
  ({"metrics": []}, "it.metrics is []"),
  ({"metrics": {"mrrpe": {"value": "3", "interval": [1, 2], "unit": ""}}}, "value is '3'"),
  ({"metrics": {"mrrpe": {"value": 3, "interval": [1], "unit": ""}}}, "has 1 elements, expected 2"),
  ({"variant": 4}, "it.variant is 4"), ({"also": [{}]}, "it.also[0] lacks 'protocol'"),
  ({"verdicts": {"mrrpe": {"kind": "odd", "beside": "a", "baseline": 1.0}}}, "kind is 'odd', expected one of better"),
  ({"trained_with": [{}]}, "it.trained_with[0] lacks 'data'"), ({"accepted": "a"}, "it.accepted is 'a'"),
])  # fmt: skip
def test_a_damaged_record_is_named(tmp_path, capsys, change, named):
  folder = tmp_path / "results"
  folder.mkdir()
  (folder / "mine.json").write_text(json.dumps(made_up() | change))
  assert cli.main(["results", "--folder", str(folder), "--out", str(tmp_path / "P.md")]) == 1
  said = capsys.readouterr().err
  assert "mine.json is damaged" in said
  assert named in said
  assert not (tmp_path / "P.md").exists()
  (folder / "mine.json").write_text(json.dumps({key: value for key, value in made_up().items() if key not in change}))
  if not change.keys() <= {"verdicts", "accepted"}:
    with pytest.raises(files.DamagedFile, match=rf"lacks '{next(iter(change))}'"):
      record.read_all(folder)
