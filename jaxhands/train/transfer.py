"""Weights from elsewhere: which leaves of fresh variables a run or a file fills."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

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
) -> states.Tree:
  """Variables with subtrees replaced by those of other runs (see `checkpoint.read_variables`) or of files.

  Args:
    variables: fresh ones, without "constants".
    init_from: subtree -> "RUN or file[:source subtree]" as in `configs/base.py`; "all" is everything, "" fills nothing.
      The source subtree is the same one unless it is given; "." is the whole source. "kept/NAME" is the package's.
    import_file: reads the authors' weights.
    workdir: that "stages/NAME" is relative to.
  Returns:
    The same structure; what was filled as host arrays.
  Raises:
    FileNotFoundError: no such run or file.
    ValueError: a subtree that is not there, or a source that lacks it or has it in another shape.
  """
  for subtree, text in sorted(init_from.items(), key=lambda item: item[0] != "all"):
    if text:
      place, source = parse(text)
      place = workdir / place if place.parts[0] == "stages" else kept.located(place)
      own = {path: source_path(path, subtree, source) for path in sorted(filled(variables, {subtree: text}))}
      wanted = {theirs: states.leaves(variables)[path] for path, theirs in own.items()}
      if place.is_dir():
        found = states.leaves(checkpoint.read_variables(place, traverse_util.unflatten_dict(wanted, sep="/")))
      else:
        check_sources({subtree: str(place)})
        found = states.leaves(import_file(place))
        checkpoint.check_same(found, wanted, str(place))
      part = {path: np.asarray(found[theirs]) for path, theirs in own.items()}
      variables = states.merge(variables, traverse_util.unflatten_dict(part, sep="/"))
  return variables


def check_sources(init_from: Mapping[str, str]) -> None:
  """Raises `FileNotFoundError` if a run or file is missing; stages of the same run come later."""
  for subtree, text in init_from.items():
    place = kept.located(parse(text)[0]) if text else pathlib.Path()
    if not place.exists() and place.parts[0] != "stages":
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
  """The run or file of "RUN or file[:source subtree]", and the subtree or ""."""
  match = _SOURCE.fullmatch(text)
  assert match is not None, text
  return pathlib.Path(match["place"]).expanduser(), match["subtree"] or ""


def source_path(path: str, subtree: str, source: str) -> str:
  """Path in the source of what fills `path`: "params/hasm/conv", of subtree "hasm" from "." -> "params/conv"."""
  collection, inner = path.split("/", 1)
  if not source:
    return path
  rest = inner if subtree == "all" else inner[len(subtree) :].removeprefix("/")
  return "/".join(part for part in (collection, "" if source == "." else source, rest) if part)
