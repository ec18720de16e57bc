"""Weights from elsewhere: which leaves of fresh variables a run or a file fills."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from jaxhands.paths import check_on_disk, expanded
from jaxhands.runs import folder as files
from jaxhands.train import checkpoint
from jaxhands.train import state as states
from jaxhands.weights import kept

Import = Callable[[pathlib.Path], states.Tree]
_SOURCE = re.compile(r"(?P<place>.+?)(?::(?P<subtree>[\w./-]+))?")


def fill(
  variables: states.Tree,
  init_from: Mapping[str, str],
  import_file: Import,
  workdir: pathlib.Path = pathlib.Path(),
  widened: Collection[str] = (),
) -> states.Tree:
  """Variables with subtrees replaced by those of other runs (see `checkpoint.read_variables`) or of files.

  Args:
    variables: fresh ones, without "constants".
    init_from: subtree -> "RUN or file[:source subtree]" as in `configs/base.py`; "all" is everything, "" fills nothing.
      The source subtree is the same one unless it is given; "." is the whole source. "kept/NAME" is the package's.
    import_file: reads the authors' weights.
    workdir: that "stages/NAME" is relative to.
    widened: paths of kernels [..., in, out] that may see more channels than the source's: those channels come last,
      and their weights stay fresh.
  Returns:
    The same structure; what was filled as host arrays.
  Raises:
    FileNotFoundError: no such run or file.
    ValueError: a subtree that is not there, or a source that lacks it or has it in another shape.
  """
  for subtree, text in sorted(init_from.items(), key=lambda item: item[0] != "all"):
    if text:
      place, source = parse(text)
      place = workdir / place if place.parts[:1] == (files.STAGES,) else kept.located(place)
      path_in_source = {path: source_path(path, subtree, source) for path in sorted(filled(variables, {subtree: text}))}
      fresh = states.leaves(variables)
      wanted = {theirs: fresh[path] for path, theirs in path_in_source.items()}
      if place.is_dir():
        narrow = _narrower({path_in_source[path]: fresh[path] for path in path_in_source.keys() & set(widened)}, place)
        wanted |= {theirs: jax.ShapeDtypeStruct(shape, wanted[theirs].dtype) for theirs, shape in narrow.items()}
        source_leaves = states.leaves(checkpoint.read_variables(place, traverse_util.unflatten_dict(wanted, sep="/")))
      else:
        check_sources({subtree: str(place)})
        source_leaves = states.leaves(import_file(place))
        checkpoint.check_same(source_leaves, wanted, str(place))
      part = {path: _beside(np.asarray(source_leaves[theirs]), fresh[path]) for path, theirs in path_in_source.items()}
      variables = states.merge(variables, traverse_util.unflatten_dict(part, sep="/"))
  return variables


def _narrower(wanted: Mapping[str, Any], run: pathlib.Path) -> dict[str, tuple[int, ...]]:
  """Shapes of the run's kernels that only have fewer input channels than wanted."""
  there = {path: leaf.shape for path, leaf in checkpoint.stored(run).items()} if wanted else {}
  pairs = {path: (there[path], leaf.shape) for path, leaf in wanted.items() if path in there}
  return {
    path: own
    for path, (own, wide) in pairs.items()
    if len(own) == len(wide) and own[-2] < wide[-2] and (*own[:-2], own[-1]) == (*wide[:-2], wide[-1])
  }


def _beside(found: np.ndarray, fresh: Any) -> np.ndarray:
  """A kernel with the last input channels of a fresh one where it has fewer; any other array as it is."""
  if found.shape == fresh.shape:
    return found
  return np.concatenate([found, np.asarray(fresh)[..., found.shape[-2] :, :]], axis=-2)


def check_sources(init_from: Mapping[str, str]) -> None:
  """Raises `FileNotFoundError` if a run or file is missing; stages of the same run come later."""
  for subtree, text in init_from.items():
    place = kept.located(parse(text)[0]) if text else pathlib.Path()
    if not place.exists() and place.parts[:1] != (files.STAGES,):
      raise FileNotFoundError(f"init_from.{subtree}: there is no run or file {place}")


def filled(variables: Mapping[str, Any], init_from: Mapping[str, str]) -> set[str]:
  """Paths of the variables that `fill` replaces.

  Raises:
    ValueError: a subtree that is not there.
  """
  found: set[str] = set()
  for subtree, text in init_from.items():
    if text:
      paths = {
        path
        for path in states.leaves(variables)
        if subtree == "all" or states.under(path.split("/", 1)[-1], (subtree,))
      }
      if not paths:
        raise ValueError(f"init_from: there is no subtree {subtree!r}{states.hint(subtree, states.leaves(variables))}")
      found |= paths
  return found


def parse(text: str) -> tuple[pathlib.Path, str]:
  """The run or file of "RUN or file[:source subtree]", and the subtree or ""; an address raises `FileNotFoundError`."""
  check_on_disk(text)
  match = _SOURCE.fullmatch(text)
  assert match is not None, text
  return expanded(match["place"]), match["subtree"] or ""


def source_path(path: str, subtree: str, source: str) -> str:
  """Path in the source of what fills `path`: "params/hasm/conv", of subtree "hasm" from "." -> "params/conv"."""
  collection, inner = path.split("/", 1)
  if not source:
    return path
  rest = inner if subtree == "all" else inner[len(subtree) :].removeprefix("/")
  return "/".join(part for part in (collection, "" if source == "." else source, rest) if part)
