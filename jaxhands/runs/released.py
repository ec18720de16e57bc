"""Trained systems from the files of others: which config fits a release, and its weights as variables."""

from __future__ import annotations

import dataclasses
import difflib
import pathlib
import pkgutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from jaxhands import former_names
from jaxhands.configuration import locate
from jaxhands.paths import expanded
from jaxhands.runs import lock, stages
from jaxhands.systems import base, construct
from jaxhands.train import checkpoint
from jaxhands.train import state as states
from jaxhands.weights import files


@dataclasses.dataclass(frozen=True)
class Imported:
  """Weights of a file as variables, with what was counted on the way.

  Attributes:
    config: of the system that they are for.
    variables: without "constants".
    file: what was read.
    tensors: of the network, by the file's names.
  """

  config: Any
  variables: base.Variables
  file: files.Stored
  tensors: dict[str, np.ndarray]

  @property
  def arrays(self) -> dict[str, np.ndarray]:
    """Path -> array of the variables."""
    return {path: np.asarray(leaf) for path, leaf in states.leaves(self.variables).items()}

  @property
  def parts(self) -> list[str]:
    """Subtrees that are there, e.g. ["backbone", "heatmap_right"]."""
    return sorted({path.split("/")[1] for path in self.arrays if path.startswith("params/")})

  def summary(self) -> list[str]:
    """Lines to compare an import with another one, or with the same file read elsewhere."""
    arrays = self.arrays
    in_file, used = (sum(array.size for array in tree.values()) for tree in (self.tensors, arrays))
    params = sum(array.size for path, array in arrays.items() if path.startswith("params/"))
    digest = files.checksum(arrays)
    return [
      f"file       {self.file.path} ({self.file.format}), SHA-256 {files.file_checksum(self.file.path)}",
      f"tensors    {len(self.tensors)} with {in_file:,} values, checksum {files.checksum(self.tensors)}; "
      "each was used once",
      f"variables  {len(arrays)} with {used:,} values, of them {params:,} parameters, checksum {digest}",
      f"left out   {in_file - used:,} values that the network has no use for, as counters of batches",
    ]


def released_config(system: str, where: str = "", hand_model: str = "") -> Any:
  """The config of a system as its authors released it.

  Args:
    system: name of a module of `jaxhands.systems`.
    where: "NAME:VARIANT" of a config; "" = the one that fits best: of the released network, of the paper's size.
    hand_model: folder of MANO files, whose parameters the network estimates; "" = the config's.
  Raises:
    ValueError: no such config, or none that builds the system; says which there are.
  """
  if where:
    name, _, variant = where.partition(":")
    module = locate.module(name)
    if not hasattr(module, "VARIANTS"):
      raise ValueError(f"config {where!r} is what others share, and of no system; there are {', '.join(_modules())}")
    described = stages.of(module.get_config(variant))
    fitting = [config for _, config in described if config.system.name == system]
    if not fitting:
      raise ValueError(f"config {where!r} does not build the system {system!r}")
    return _with_hand_model(fitting[-1], hand_model)
  best: tuple[tuple[bool, ...], Any] | None = None
  known = set()
  for variant, config, whole in _all_configs():
    known.add(config.system.name)
    words = variant.split(",")
    rank = ("released" in words, "paper" in words, whole, not set(words) - {"released", "paper"})
    if config.system.name == system and (best is None or rank > best[0]):
      best = rank, config
  if best is None:
    close = difflib.get_close_matches(system, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {sorted(known)}"
    raise ValueError(f"no config builds the system {system!r}; {hint}")
  return _with_hand_model(best[1], hand_model)


def _with_hand_model(config: Any, folder: str) -> Any:
  if folder:
    config.hand_model = str(expanded(folder).absolute())
  return config


def import_file(path: pathlib.Path, config: Any, key: str = "") -> Imported:
  """Reads a file of weights, of whatever format, for the system of a config.

  Args:
    path: of the file.
    config: that the system is built of.
    key: under which the file keeps the network; "" = found by itself.
  Raises:
    FileNotFoundError: no such file.
    ValueError: it cannot be read, or a tensor is unknown, missing or of another shape; named.
  """
  stored = files.read(path)
  tensors = files.state_dict(stored, key)
  try:
    variables = construct.load(config).import_weights(tensors)
  except ValueError as error:
    raise ValueError(f"{path} does not fit system {config.system.name!r}: {error}") from error
  return Imported(config, variables, stored, tensors)


def write_run(imported: Imported, workdir: pathlib.Path) -> None:
  """Makes a folder of a run that `load`, `launch.py --mode=eval` and `init_from` read.

  Raises:
    ValueError, FileNotFoundError: of `check_new`.
  """
  check_new(workdir)
  with checkpoint.Checkpoints(workdir) as saved:
    saved.save(0, states.State(jnp.int32(0), imported.variables, {}, {}))
  checkpoint.write_config(workdir, imported.config)  # last: with it the folder is that of a run


def check_new(workdir: pathlib.Path) -> None:
  """Refuses a folder that `write_run` cannot make a run of; may be called before anything is read.

  Raises:
    ValueError: it holds something already.
    ValueError, FileNotFoundError: of `checkpoint.check_name`.
  """
  checkpoint.check_name(workdir)
  if workdir.exists() and (not workdir.is_dir() or not lock.is_empty(workdir)):
    raise ValueError(f"{workdir} is there already and not empty; choose another folder")


def _modules() -> dict[str, Any]:
  """Our configs by name, without what they share."""
  names = [one.name for one in pkgutil.iter_modules(locate.module_beside(locate.CONFIGS).__path__)]
  found = {name: locate.module(name) for name in names}
  return {name: module for name, module in found.items() if hasattr(module, "VARIANTS")}


def _all_configs() -> Iterator[tuple[str, Any, bool]]:
  """Variant, config of each of its runs, and whether that is the whole of it, of all configs."""
  for module in _modules().values():
    for variant in module.VARIANTS:
      parts = stages.of(module.get_config(variant))
      for _, config in parts:
        yield variant, config, len(parts) == 1


if not TYPE_CHECKING:

  def __getattr__(name):  # until 0.2
    return former_names.moved(__name__, name)
