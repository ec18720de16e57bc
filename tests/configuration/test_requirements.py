"""A run of a paper's size has what the paper has, or says beside its numbers what it has not."""

import contextlib
import importlib
import json

import pytest

from configs import base as base_config
from configs import hdr, internet
from jaxhands import report, run
from jaxhands.configuration import requirements
from jaxhands.results import page, record
from jaxhands.runs import stages
from tests.contract.test_systems import CONFIGS
from tests.test_run import _config, data, systems  # noqa: F401  fixtures

OF_NO_PAPER = {"finder"}
CONFIG_FILES = [name for name in CONFIGS if "paper" in importlib.import_module(f"configs.{name}").VARIANTS]


def _check(config, *chosen):
  described = dict(stages.of(config))
  requirements.check(config, described, chosen or list(described))


@pytest.mark.parametrize("name", CONFIG_FILES)
def test_every_paper_asks_for_what_it_has_and_no_other_size_does(name):
  module = importlib.import_module(f"configs.{name}")
  refusal = pytest.raises(ValueError, match=r"this run lacks what the paper has: .*--config\.accept=.*no_imagenet")
  with contextlib.nullcontext() if name in OF_NO_PAPER else refusal:
    _check(module.get_config("paper"))
  for size in ("demo", "tiny", "small", "synth"):
    _check(module.get_config(size))


def test_one_line_names_all_that_is_missing_with_the_flags_that_give_it():
  with pytest.raises(ValueError, match="lacks") as caught:
    _check(hdr.get_config("paper"))
  message = str(caught.value)
  assert "\n" not in message
  for flag in (
    "--config.stages.hasm.init_from.backbone=", "--config.vgg=", "--config.data.aih.singles=",
    "--config.data.aih.poses=", "--config.data.aih.mano=", "--config.data.aih.textures=",
  ):  # fmt: skip
    assert message.count(flag) == 1, flag
  assert message.endswith("--config.accept=drawn_skin,embedded_aih,no_imagenet,no_vgg")


def test_what_is_given_is_not_asked_for():
  config = hdr.get_config("paper")
  config.stages.hasm.init_from.backbone, config.vgg = "mit.npz", "vgg.h5"
  config.data.aih.update(singles="interhand26m", poses="interhand26m", mano="mano", textures="skins")
  _check(config)
  config.vgg = ""
  with pytest.raises(ValueError, match=r"paper has: VGG-16's weights[^;]*\. Give it"):
    _check(config)
  config.accept = "no_vgg"
  _check(config)


def test_the_authors_own_aih_needs_nothing_to_be_made_of():
  config = hdr.get_config("paper,hdrm")
  config.vgg, config.data.train = "vgg.h5", ("aih/released:train",)
  _check(config)


@pytest.mark.parametrize(
  ("variant", "asked"), [("syn_only", {"singles"}), ("render_only", {"poses", "mano", "textures"})]
)
def test_a_part_of_aih_needs_what_it_is_made_of(variant, asked):
  with pytest.raises(ValueError, match="lacks") as caught:
    _check(hdr.get_config(f"paper,hdrm,{variant}"))
  assert {field for field in ("singles", "poses", "mano", "textures") if f"aih.{field}=" in str(caught.value)} == asked


def test_single_hands_with_aih_need_it_too():
  _check(hdr.get_config("paper,shpe"))
  with pytest.raises(ValueError, match=r"AIH made of InterHand2\.6M"):
    _check(hdr.get_config("paper,shpe,with_aih"))


def test_a_stage_alone_asks_for_its_own():
  config = hdr.get_config("paper")
  _check(config, "shpe")
  with pytest.raises(ValueError, match=r"no_imagenet$"):
    _check(config, "hasm")
  config.accept = "no_imagenet"  # of another stage
  _check(config, "shpe")


def test_weights_of_the_whole_network_are_weights_of_its_backbone():
  config = internet.get_config("paper")
  config.init_from["all"] = "snapshot.pth.tar"
  _check(config)


@pytest.mark.parametrize(
  ("variant", "accept", "hint"),
  [("paper", "no_imagnet", "did you mean 'no_imagenet'"), ("demo", "no_imagenet", "it requires nothing")],
)
def test_a_difference_that_is_none_is_refused(variant, accept, hint):
  config = internet.get_config(variant)
  config.accept = accept
  with pytest.raises(ValueError, match=hint):
    _check(config)


def test_accepted_differences_follow_the_weights_to_numbers_report_and_results(data, tmp_path):  # noqa: F811
  text = "no_imagenet: ImageNet weights of <toys>"
  first, second = _config(data).unlock(), _config(data).unlock()
  for stage in (first, second):
    stage.requires.no_imagenet = ("ImageNet weights of <toys>", "init_from.hidden or init_from.all")
  second.init_from.all = "stages/first"
  config = base_config.staged(second, {"first": first, "second": second})
  missing = r"lacks what the paper has: ImageNet weights of <toys> \(--config\.stages\.first\.init_from\.hidden="
  with pytest.raises(ValueError, match=missing):
    run.run(config, tmp_path / "run")
  assert not (tmp_path / "run").exists(), "nothing was built"
  config.accept = "no_imagenet"
  assert run.run(config, tmp_path / "run", report=report.write)
  # The second stage has the weights of the first.
  answer = json.loads((tmp_path / "run" / "eval" / "metrics.json").read_text())
  assert answer["accepted"] == [text]
  assert "no_imagenet: ImageNet weights of &lt;toys&gt;" in (tmp_path / "run" / "report" / "index.html").read_text()
  found = record.of_run(tmp_path / "run")
  assert found["accepted"] == [text]
  assert f"Lacks what the paper has: {text}." in page.page({"toy": found})
  # Evaluating it needs no acceptance, and forgets nothing.
  config.accept = ""
  assert run.run(config, tmp_path / "run", "eval")
  assert json.loads((tmp_path / "run" / "eval" / "metrics.json").read_text())["accepted"] == [text]


def test_the_working_directory_may_be_what_a_run_starts_from(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  config = internet.get_config("tiny")
  config.init_from["all"] = "."
  assert requirements.differences(config, tmp_path) == ()
  (tmp_path / "origin.json").write_text(json.dumps([{"accepted": ["no_vgg: VGG-16"]}]))
  assert requirements.differences(config, tmp_path) == ("no_vgg: VGG-16",)
