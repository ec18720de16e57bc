"""From a config to the system that it describes."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxhands.data import augment
from jaxhands.systems import base


def config_of_part(config: Any, system: Any, **data: Any) -> Any:
  """The config of a system that is a part of another one: `system` in place of its own, nothing frozen.

  Args:
    config: of the run.
    system: what `config.system` is of the part, a mapping.
    data: fields of `config.data` that differ.
  """
  own = config.copy_and_resolve_references()
  with own.unlocked():
    own.system = ConfigDict(system)
    own.freeze = ()
    own.data.update(data)
  return own


T = TypeVar("T")


def from_fields(system: Callable[..., T], config: Any, tuples: Sequence[str] = (), **given: Any) -> T:
  """A system (a dataclass) from the fields of `config.system`, which need not name all.

  Crop size, augmentation, `shrink` and `rough` (of a system that has them), arithmetic and frozen parts come from
  elsewhere in the config.

  Args:
    system: the class.
    config: of a run.
    tuples: fields that are sequences.
    given: further fields, which `config.system` does not have as they are.
  Raises:
    ValueError: an unknown field, with the known ones.
  """
  fields = {key: config.system[key] for key in config.system if key not in ("name", *given)}
  fields |= {key: tuple(fields[key]) for key in tuples if key in fields}
  fixed: dict[str, Any] = {
    "crop_hw": tuple(config.data.crop_hw), "dtype": jnp.dtype(config.compute_dtype), "frozen": tuple(config.freeze),
  }  # fmt: skip
  names = {field.name for field in dataclasses.fields(system)}  # pyright: ignore[reportArgumentType]
  fixed = {name: value for name, value in fixed.items() if name in names}  # one of parts has none of its own
  for name in {"shrink", "rough"} & names:
    fixed[name] = bool(config.data.get(name, False))  # runs of before it was there have none
  if "augmentation" in names:
    fixed["augmentation"] = augment.Augmentation(**config.data.augmentation)
  if config.freeze and "frozen" not in names:
    raise ValueError(f"freeze={tuple(config.freeze)}: {system.__name__} freezes no parts")  # pyright: ignore[reportAttributeAccessIssue]
  known = names - fixed.keys()
  if unknown := sorted(set(fields) - known):
    raise ValueError(f"config.system has unknown fields {unknown}; {system.__name__} has {sorted(known)}")  # pyright: ignore[reportAttributeAccessIssue]
  return system(**fields, **fixed, **given)


def load(config: Any) -> base.System:
  """Builds the system that `config.system.name` names; a dot goes down a folder ("hdr.hasm").

  Raises:
    ValueError: no module `jaxhands.systems.NAME`.
  """
  name = config.system.name
  try:
    module = importlib.import_module(f"jaxhands.systems.{name}")
  except ModuleNotFoundError as error:
    if not f"jaxhands.systems.{name}.".startswith(f"{error.name}."):
      raise
    path = name.replace(".", "/")
    raise ValueError(f"config.system.name is {name!r}, but there is no jaxhands/systems/{path}.py") from error
  return module.build(config)
