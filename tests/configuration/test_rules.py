"""Which values a config may have."""

import contextlib
import dataclasses
import importlib
import pkgutil
import types
from typing import Literal

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from ml_collections import ConfigDict

import configs
from configs import base as base_config
from jaxhands.configuration import rules
from jaxhands.runs import stages
from jaxhands.systems import construct

CONFIGS = [info.name for info in pkgutil.iter_modules(configs.__path__)]


def _with(path, value):
  config = base_config.get_config()
  *parents, leaf = path.split(".")
  with config.unlocked(), config.ignore_type():
    node = config
    for parent in parents:
      if parent not in node:
        node[parent] = ConfigDict()
      node = node[parent]
    with node.ignore_type():
      node[leaf] = value
  return config


@pytest.mark.parametrize("name", CONFIGS)
def test_all_our_configs_are_allowed(name):
  module = importlib.import_module(f"configs.{name}")
  for variant in getattr(module, "VARIANTS", ("",) if hasattr(module, "VARIANTS") else ()):
    for stage, config in stages.of(module.get_config(variant)):
      rules.check(config, stage)


@pytest.mark.parametrize(
  ("path", "value", "expected"),
  [
    ("seed", -1, "a whole number from 0 to 4294967295"),
    ("batch_size", 0, "a whole number, 1 or more"),
    ("batch_size", True, "a whole number, 1 or more"),
    ("batch_size", "8", "a whole number, 1 or more"),
    ("train_for", "5", "'20 epochs' or '5000 steps'"),
    ("train_for", "1e999 steps", "'20 epochs' or '5000 steps'"),
    ("log_every", 5, "'20 epochs' or '5000 steps'"),
    ("schedule.warmup", "-1 steps", "'20 epochs' or '5000 steps'"),
    ("schedule.drops", (("15 epochs",),), "durations with factors"),
    ("schedule.drops", (("15 epochs", np.nan),), "durations with factors"),
    ("optimizer.learning_rate", float("nan"), "a number from 0"),
    ("optimizer.b1", 1.0, "a number from 0 and below 1"),
    ("optimizers.discriminator.learning_rate", -1.0, "a number from 0"),
    ("optimizer.faster", ("head", 10.0), "parts of paths with factors"),
    ("optimizer.name", "lion", "one of 'adam', 'adamw', 'sgd'"),
    ("data.crop_hw", (256,), "height and width in pixels"),
    ("data.crop_hw", (256, 0), "height and width in pixels"),
    ("data.train", (), "NAME:SPLIT, NAME/VARIANT:SPLIT or FOLDER:SPLIT"),
    ("data.eval", ("synthetic",), "NAME:SPLIT, NAME/VARIANT:SPLIT or FOLDER:SPLIT"),
    ("data.keep_mb", -1, "a whole number, 0 or more"),
    ("data.synthetic.train", -1, "a whole number, 0 or more"),
    ("data.augmentation.mirror_probability", 1.5, "a number from 0 to 1"),
    ("data.augmentation.rotation_deg", float("nan"), "a number from 0"),
    ("data.augmentation.rotation_deg", "45", "a number"),
    ("data.augmentation.translation", float("inf"), "a number from 0"),
    ("data.augmentation.translation", -0.1, "a number from 0"),
    ("eval.protocol.root", "elbow", "one of 'wrist', 'middle1', 'right_wrist', 'none'"),
    ("eval.also.other.scale", "mine", "one of 'predicted', 'gt'"),
    ("eval.checkpoint", "last", "one of 'latest', 'best'"),
    ("eval.methods.other.bins", 0, "a whole number, 1 or more"),
    ("system.bins", 0, "a whole number, 1 or more"),
    ("system.hdrm.levels", 0, "a whole number, 1 or more"),
    ("system.dilation", 4, "0 or an odd number"),
    ("system.hdrm.dilation", -1, "0 or an odd number"),
    ("eval.methods.other.dilation", 3.0, "0 or an odd number"),
    ("system.whatever", float("inf"), "a number from 0"),
    ("hand_model", "", "a text that is not empty"),
    ("sharding.rules", (("kernel$", "last"),), "patterns of paths with axes"),
    ("keep", 0, "a whole number, 1 or more"),
  ],
)  # fmt: skip
def test_what_cannot_be_is_named_with_its_value(path, value, expected):
  with pytest.raises(ValueError, match=f"config.{path}=") as found:
    rules.check(_with(path, value))
  assert f"{value!r}: expected {expected}" in str(found.value)


@pytest.mark.parametrize("value", [0, 1, 9])
def test_holes_may_be_enlarged_by_an_odd_number_or_not(value):
  rules.check(_with("system.dilation", value))


def test_a_stage_is_named():
  with pytest.raises(ValueError, match=r"config\.ema=2\.0 \(of stage 'first'\): expected a number from 0 and below 1"):
    rules.check(_with("ema", 2.0), "first")


@hypothesis.given(st.one_of(st.integers(), st.floats(), st.text(), st.lists(st.integers()), st.none()), st.data())
def test_any_value_of_any_field_is_taken_or_refused_in_words(value, data):
  paths = ("seed", "data.crop_hw", "data.train", "schedule.drops", "optimizer.faster", "train_for", "system.sigma",
           "eval.protocol.depth", "freeze", "data.augmentation.scale")  # fmt: skip
  path = data.draw(st.sampled_from(paths))
  config = _with(path, tuple(value) if isinstance(value, list) else value)
  with contextlib.suppress(ValueError):
    rules.check(config)
    return
  with pytest.raises(ValueError, match=rf"^config\.{path}=.*: expected "):
    rules.check(config)


@dataclasses.dataclass(frozen=True)
class _Part:
  sizes: tuple[int, ...] = (1, 2)
  hw: tuple[int, int] = (4, 4)


@dataclasses.dataclass(frozen=True)
class _System:
  decode: Literal["argmax", "soft"] = "argmax"
  width: int = 3
  weight: float = 1
  part: _Part = _Part()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"decode": "hard"}, "config.system: decode='hard': expected one of 'argmax', 'soft'"),
    ({"width": 2.5}, "config.system: width=2.5: expected a whole number"),
    ({"width": -1}, "config.system: width=-1: expected a number from 0"),
    ({"weight": float("nan")}, "config.system: weight=nan: expected a number from 0"),
    ({"part": _Part(hw=(4,))}, "config.system.part: hw=(4,): expected a tuple as tuple[int, int]"),
    ({"part": _Part(sizes=(1, "a"))}, "expected a tuple as tuple[int, any number of them]"),
  ],
)
def test_fields_of_a_system_are_of_their_types(changes, message):
  rules.check_system(_System())
  with pytest.raises(ValueError) as found:  # noqa: PT011
    rules.check_system(dataclasses.replace(_System(), **changes))
  assert message in str(found.value)


@pytest.mark.parametrize(
  ("checkpoint", "metric", "trained", "refused"),
  [
    ("best", "", True, True), ("best", "mpjpe/all", True, False), ("latest", "", True, False),
    ("best", "", False, False),
  ],
)  # fmt: skip
def test_a_best_checkpoint_that_nothing_chooses_is_refused(checkpoint, metric, trained, refused):
  config = base_config.get_config()
  config.eval.checkpoint, config.best_metric = checkpoint, metric
  message = r"config\.eval\.checkpoint='best': set config\.best_metric"
  with pytest.raises(ValueError, match=message) if refused else contextlib.nullcontext():
    rules.check_best(config, types.SimpleNamespace(objectives=("pose",) * trained))


@pytest.mark.parametrize(
  ("variant", "reads"), [("tiny,hdrm", False), ("tiny,hdrm_finetune", False), ("tiny,hasm", True)]
)
def test_a_switch_that_nobody_reads_is_refused(variant, reads):
  config = importlib.import_module("configs.hdr").get_config(variant)
  rules.check_read(config, construct.load(config))
  config.data.rough = True
  expected = contextlib.nullcontext() if reads else pytest.raises(ValueError, match="rough=True: HDRM does not read it")
  with expected:
    rules.check_read(config, construct.load(config))


@pytest.mark.parametrize(
  ("name", "variant", "system"),
  [
    ("hdr", "small,shpe", "SHPE"), ("hdr", "tiny,hdrm", "HDRM"), ("hdr", "tiny,hdrm_finetune", "HDRM"),
    ("hdr", "tiny,hasm", "HASM"), ("internet", "tiny", ""), ("digit", "tiny", ""), ("intershape", "tiny", ""),
  ],
)  # fmt: skip
def test_a_change_of_the_augmentation_is_refused_where_nobody_reads_it(name, variant, system):
  _, config = stages.of(importlib.import_module(f"configs.{name}").get_config(variant))[-1]
  rules.check_read(config, construct.load(config))
  config.data.augmentation.rotation_deg = 0.0
  message = rf"config\.data\.augmentation\.rotation_deg=0\.0: {system} does not read it; leave it at 45\.0"
  with pytest.raises(ValueError, match=message) if system else contextlib.nullcontext():
    rules.check_read(config, construct.load(config))


@pytest.mark.parametrize("name", sorted({*CONFIGS} - {"base"} - {name for name in CONFIGS if name.startswith("hdr_")}))
def test_every_stage_reads_what_its_config_sets(name):
  for variant in importlib.import_module(f"configs.{name}").VARIANTS:
    for stage, config in stages.of(importlib.import_module(f"configs.{name}").get_config(variant)):
      try:
        rules.check_read(config, construct.load(config))
      except ValueError as error:
        raise AssertionError(f"{name}:{variant}, stage {stage!r}") from error


def test_parts_are_frozen_only_by_systems_that_can():
  config = base_config.get_config()
  config.freeze = ("trunk",)
  with pytest.raises(ValueError, match=r"freeze=\('trunk',\): _System freezes no parts"):
    construct.from_fields(_System, config)


def test_what_a_library_says_of_a_network_that_cannot_be_made_is_a_line():
  with pytest.raises(rules.UnbuildableError, match="make no network: ZeroDivisionError: division by zero"), \
    rules.while_building():  # fmt: skip
    _ = 1 / 0
  with pytest.raises(ValueError, match=r"^own words$"), rules.while_building():
    raise ValueError("own words")
