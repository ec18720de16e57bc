"""What the values of a config may be: one table, looked at before anything is built.

Types of values are the config's own matter (`ml_collections` refuses others on the command line); here are ranges,
words and lengths. What only the data or the network can tell is found when they are made.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from flax import traverse_util

from jaxhands.data import augment, folders
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.train import optim, plan

_Rule = Callable[[Any], str]  # value -> what was expected instead; "" = nothing


class UnbuildableError(ValueError):
  """Values that are allowed each, but of which together no network can be made."""


def check(config: Any, stage: str = "") -> None:
  """Looks at all values of a run's config.

  Args:
    config: of one run, as `runs.stages.of` gives it.
    stage: its name, for the message.
  Raises:
    ValueError: names the first field that cannot be, with its value and what was expected.
  """
  values = traverse_util.flatten_dict({**config.to_dict(), "stages": {}}, sep=".")  # stages are looked at as runs
  # Of the parts that other objectives, protocols and methods change, as of what they change.
  for path, value in values.items():
    expected = _expected(_usual(path), value)
    if expected:
      where = f" (of stage {stage!r})" if stage else ""
      raise ValueError(f"config.{path}={value!r}{where}: expected {expected}")


def check_system(system: Any, where: str = "config.system") -> None:
  """Looks at the fields of a system (a dataclass), and of those that are parts of it.

  Raises:
    ValueError: a word, a length or a number that its type does not have, or a number below 0 or not finite.
  """
  if not dataclasses.is_dataclass(system):
    return
  hints = typing.get_type_hints(type(system))
  for field in dataclasses.fields(system):
    value = getattr(system, field.name)
    if dataclasses.is_dataclass(value):
      check_system(value, f"{where}.{field.name}")
    elif expected := _as_hinted(hints[field.name], value) or _of_any_number(value):
      raise ValueError(f"{where}: {field.name}={value!r}: expected {expected}")


def check_read(config: Any, system: Any) -> None:
  """Looks for fields of `config.data` that are set though neither the system, which is trained, nor a part reads them.

  Raises:
    ValueError: names the first one.
  """
  for name in ("rough", "shrink"):
    read = _has_field(system, name) and name not in getattr(system, "unread", ())
    if config.data.get(name, False) and system.objectives and not read:
      raise ValueError(f"config.data.{name}=True: {type(system).__name__} does not read it")
  if not system.objectives or _has_field(system, "augmentation"):
    return
  for name, usual in dataclasses.asdict(augment.INTERNET).items():
    value = config.data.augmentation.get(name, usual)
    if value != usual:
      raise ValueError(
        f"config.data.augmentation.{name}={value!r}: {type(system).__name__} does not read it; leave it at {usual!r}"
      )


def check_best(config: Any, system: Any) -> None:
  """Raises `ValueError` if a trained system is to be evaluated at its best checkpoint, and no metric chooses that."""
  if system.objectives and config.eval.checkpoint == "best" and not config.best_metric:
    raise ValueError(
      "config.eval.checkpoint='best': set config.best_metric, as 'mpjpe/all', which chooses it, or leave it at 'latest'"
    )


def _has_field(system: Any, name: str) -> bool:
  if not dataclasses.is_dataclass(system):
    return False
  values = {field.name: getattr(system, field.name) for field in dataclasses.fields(system)}
  return name in values or any(_has_field(value, name) for value in values.values())


@contextlib.contextmanager
def while_building() -> Iterator[None]:
  """Within this context, errors of libraries that do not say which value they are about become `UnbuildableError`."""
  try:
    yield
  except (ValueError, OSError, MemoryError):
    raise
  except Exception as error:
    what = " ".join(str(error).split())[:200]
    raise UnbuildableError(f"config.system and config.data make no network: {type(error).__name__}: {what}") from error


# ---- kinds of values -----------------------------------------------------------


def _whole(low: int = 0, high: int | float = math.inf) -> _Rule:
  words = f"a whole number, {low} or more" if high == math.inf else f"a whole number from {low} to {high}"
  return lambda v: "" if isinstance(v, int) and not isinstance(v, bool) and low <= v <= high else words


def _zero_or_odd(value: Any) -> str:
  fits = not _whole()(value) and (value == 0 or value % 2 == 1)
  return "" if fits else "0 or an odd number"


def _number(low: int | float = 0, high: int | float = math.inf, above: bool = False, below: bool = False) -> _Rule:
  """Finite; `above` and `below`: `low` and `high` themselves are not allowed."""
  words = f"a number {'above' if above else 'from'} {low:g}" + (
    f" {'and below' if below else 'to'} {high:g}" if high < math.inf else ""
  )

  def rule(value: Any) -> str:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    fits = known and low <= value <= high and not (above and value == low) and not (below and value == high)
    return "" if fits else words

  return rule


def _word(*words: str) -> _Rule:
  return lambda value: "" if value in words else f"one of {', '.join(map(repr, words))}"


def _text(value: Any) -> str:
  return "" if isinstance(value, str) and value.strip() else "a text that is not empty"


def _texts(value: Any) -> str:
  fits = isinstance(value, (tuple, list)) and all(isinstance(text, str) and text for text in value)
  return "" if fits else "texts, as ('one',)"


def _size(value: Any) -> str:
  fits = isinstance(value, (tuple, list)) and len(value) == 2 and not any(map(_whole(1), value))
  return "" if fits else "height and width in pixels, as (256, 256)"


def _duration(value: Any) -> str:
  try:
    steps = plan.steps_of(value, 1.0)
  except (TypeError, ValueError, OverflowError):
    steps = math.nan
  return "" if math.isfinite(steps) else "'20 epochs' or '5000 steps'"


def _lengths(value: Any) -> str:
  steps = [text.split() for text in value] if not _texts(value) else [[]]
  counts = [
    int(words[0]) for words in steps if len(words) == 2 and words[0].isdecimal() and words[1].startswith("step")
  ]
  fits = len(counts) == len(steps) and counts == sorted(counts)
  return "" if fits else "lengths in steps, from short to long, as ('500 steps', '2000 steps')"


def _data_sets(value: Any) -> str:
  expected = "NAME:SPLIT, NAME/VARIANT:SPLIT or FOLDER:SPLIT, as ('synthetic:train',)"
  if not value or _texts(value):
    return expected
  try:
    for text in value:
      folders.parse(text)
  except ValueError:
    return expected
  return ""


def _pairs(value: Any) -> bool:
  return isinstance(value, (tuple, list)) and all(isinstance(p, (tuple, list)) and len(p) == 2 for p in value)


def _drops(value: Any) -> str:
  fits = _pairs(value) and not any(_duration(when) or _number()(factor) for when, factor in value)
  return "" if fits else "durations with factors, as (('15 epochs', 0.1),)"


def _faster(value: Any) -> str:
  fits = _pairs(value) and not any(_text(part) or _number(above=True)(factor) for part, factor in value)
  return "" if fits else "parts of paths with factors, as (('head', 10.0),)"


def _sharding(value: Any) -> str:
  fits = _pairs(value) and all(isinstance(path, str) and type(axis) is int for path, axis in value)
  return "" if fits else "patterns of paths with axes, as (('kernel$', -1),)"


def _of(cls: type) -> dict[str, _Rule]:
  """Rules of a section that is a dataclass's arguments."""
  hints = typing.get_type_hints(cls)
  return {
    field.name: lambda v, hint=hints[field.name]: _as_hinted(hint, v) or _of_any_number(v)
    for field in dataclasses.fields(cls)
  }


def _as_hinted(hint: Any, value: Any) -> str:
  """Words of a `Literal`, lengths and members of tuples, plain types; other hints allow anything."""
  kind, members = typing.get_origin(hint), typing.get_args(hint)
  if kind is Literal:
    return _word(*members)(value) if isinstance(value, str) else f"one of {members}"
  if kind in (typing.Union, types.UnionType):
    refusals = [_as_hinted(member, value) for member in members]
    return "" if "" in refusals else refusals[0]
  if kind is tuple:
    if not isinstance(value, tuple):
      return f"a tuple as {hint}"
    each = members[:1] * len(value) if members[-1:] == (...,) else members
    if len(each) != len(value) or any(_as_hinted(member, v) for member, v in zip(each, value, strict=True)):
      return f"a tuple as {str(hint).replace('...', 'any number of them')}"
    return ""
  if hint in (int, float, bool, str):
    allowed = (int, float) if hint is float else hint
    fits = isinstance(value, allowed) and (hint is bool or not isinstance(value, bool))
    return "" if fits else {int: "a whole number", float: "a number", bool: "True or False", str: "a text"}[hint]
  return ""


def _of_any_number(value: Any) -> str:
  """None of a config's numbers is negative or infinite."""
  if isinstance(value, (tuple, list)):
    return next(filter(None, map(_of_any_number, value)), "")
  is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
  return _number()(value) if is_number else ""


# ---- the table -------------------------------------------------------------------

_COUNTS: dict[str, _Rule] = {"train": _whole(), "val": _whole(), "test": _whole(), "seed": _whole(0, 2**32 - 1)}
_SYSTEM: dict[str, _Rule] = {
  **dict.fromkeys(
    ("depth", "upsampler_features", "bins", "bn_groups", "decoder_features", "head_features", "levels",
     "oversampling", "modules", "blocks", "stem", "stride", "segmentation_features", "semantic_features",
     "fusion_features", "pooled_features", "discriminator_width", "hidden"),
    lambda v: next(filter(None, map(_whole(1), v if isinstance(v, (tuple, list)) else (v,))), ""),
  ),
  **dict.fromkeys(("depth_range_mm", "sigma", "box_factor", "hand_factor"), _number(above=True)),
  **dict.fromkeys(("dropout", "drop_path"), _number(0, 1, below=True)),
  "doublings": _whole(0, 5), "dilation": _zero_or_odd, "picture_hw": _size, "hand_hw": _size, "map_hw": _size,
  "real_mm": lambda v: next(filter(None, map(_number(above=True), v)), ""),
}  # fmt: skip
_PARTS: dict[str, Mapping[str, _Rule]] = {
  "optimizer": {
    "name": _word(*optim.OPTIMIZERS), "learning_rate": _number(), "b1": _number(0, 1, below=True),
    "b2": _number(0, 1, below=True), "eps": _number(above=True), "weight_decay": _number(), "no_decay": _texts,
    "faster": _faster,
  },
  "schedule": {
    "name": _word(*optim.SCHEDULES), "warmup": _duration, "warmup_start": _number(0, 1), "drops": _drops,
    "power": _number(above=True), "end": _number(0, 1),
  },
  "data.augmentation": _of(augment.Augmentation)
  | {"rotation_probability": _number(0, 1), "mirror_probability": _number(0, 1), "scale": _number(0, 1, below=True)},
  "data.synthetic": _COUNTS,
  "data.aih": _COUNTS | {"upright_deg": _number(0, 180, above=True)},
  "data.multihands": {
    "annotations": _whole(1), "population": _whole(1), "rounds": _whole(1), "seed": _whole(0, 2**32 - 1),
  },
  "data": {
    "train": _data_sets, "eval": _data_sets, "limit": _whole(), "crop_hw": _size,
    "threads": _whole(1, 1024), "processes": _whole(0, 1024), "keep_mb": _whole(), "kind": _text,
  },
  "fit": {"seconds": _number(), "choices": _lengths, "cost": _number(above=True)},
  "sharding": {"fsdp": _whole(1), "rules": _sharding},
  "eval.protocol": _of(Protocol),
  "eval": {
    "batch_size": _whole(1), "checkpoint": _word("latest", "best"), "mean_pose": _whole(), "metrics": _texts,
    "annotations": _whole(),
  },
  "": {
    "name": _text, "seed": _whole(0, 2**32 - 1), "compute_dtype": _word("float32", "bfloat16"), "hand_model": _text,
    "train_for": _duration, "log_every": _duration, "eval_every": _duration, "checkpoint_every": _duration,
    "batch_size": _whole(1), "accumulation": _whole(1), "clip_norm": _number(), "ema": _number(0, 1, below=True),
    "freeze": _texts, "keep": _whole(1), "best_mode": _word("min", "max"),
  },
}  # fmt: skip
_RULES = {f"{part}.{name}".lstrip("."): rule for part, fields in _PARTS.items() for name, rule in fields.items()}


def _usual(path: str) -> str:
  """The field that one of `optimizers`, `eval.also` or `eval.methods` is like."""
  words = path.split(".")
  if words[0] == "optimizers":
    return ".".join(["optimizer", *words[2:]])
  if words[:2] == ["eval", "also"]:
    return ".".join(["eval", "protocol", *words[3:]])
  return ".".join(["system", *words[3:]]) if words[:2] == ["eval", "methods"] else path


def _expected(path: str, value: Any) -> str:
  if path in _RULES:
    return _RULES[path](value)
  words = path.split(".")
  if words[0] == "system" and words[-1] in _SYSTEM:
    return _SYSTEM[words[-1]](value)
  return _of_any_number(value)
