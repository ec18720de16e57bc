"""What a step of training changes, and which objective may change which part of it.

Variables are nested dictionaries. A leaf is named by its path, `params/backbone/conv1/kernel`; its first word is the
collection. A *subtree*, as configs name it, leaves the collection out: `backbone` is `params/backbone` and
`batch_stats/backbone`.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
from flax import traverse_util

from jaxhands.systems import base

Tree = dict[str, Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
  """Everything that a checkpoint holds; the batch and the random key of a step follow from the seed and the step.

  Attributes:
    step: updates made so far, int32[].
    variables: all collections but "constants".
    opt: optimizer state by objective.
    ema: running average of all that the objectives change, shaped like `variables`; {} when switched off.
  """

  step: Any
  variables: Tree
  opt: dict[str, Any]
  ema: Tree


def leaves(tree: Mapping[str, Any]) -> dict[str, Any]:
  """Path -> leaf."""
  return traverse_util.flatten_dict(dict(tree), sep="/")


def keep(tree: Mapping[str, Any], paths: Collection[str]) -> Tree:
  """The tree with the leaves of the given paths only."""
  return traverse_util.unflatten_dict({path: leaf for path, leaf in leaves(tree).items() if path in paths}, sep="/")


def merge(tree: Any, part: Mapping[str, Any]) -> Any:
  """`tree` with the leaves of `part` in place of its own.

  Raises:
    KeyError: `part` has a leaf that `tree` lacks.
  """
  for key in part:
    if key not in tree:
      raise KeyError(f"{key!r} is not among {sorted(tree)}")
  return {
    key: (merge(value, part[key]) if isinstance(value, dict) else part[key]) if key in part else value
    for key, value in tree.items()
  }


def under(path: str, roots: Iterable[str]) -> bool:
  """Whether a path is one of `roots` or below one of them."""
  return any(path == root or path.startswith(root + "/") for root in roots)


@dataclasses.dataclass(frozen=True)
class Share:
  """What one objective changes: `trained` paths by its gradient, `owned` ones by what its loss returns."""

  trained: frozenset[str]
  owned: frozenset[str]

  @property
  def paths(self) -> frozenset[str]:
    return self.trained | self.owned


def shares(
  objectives: Sequence[base.Objective], variables: Mapping[str, Any], freeze: Sequence[str] = ()
) -> dict[str, Share]:
  """Divides the variables among the objectives.

  Args:
    objectives: of the system.
    variables: arrays or shapes; "constants" belong to nobody.
    freeze: subtrees that nobody changes.
  Returns:
    The share of each objective, by its name.
  Raises:
    ValueError: a name that matches nothing, a leaf with two owners, or a leaf that is neither owned nor frozen.
  """
  paths = [path for path in leaves(variables) if not path.startswith("constants/")]
  subtrees = {path: path.split("/", 1)[-1] for path in paths}
  for subtree in freeze:
    if not any(under(inner, (subtree,)) for inner in subtrees.values()):
      raise ValueError(f"freeze: there is no subtree {subtree!r}{hint(subtree, paths)}")
  frozen = {path for path in paths if under(subtrees[path], freeze)}

  owners: dict[str, str] = {}
  result = {}
  for objective in objectives:
    if objective.name in result:
      raise ValueError(f"two objectives are called {objective.name!r}")
    trained = _below([f"params/{key}" for key in objective.trains], paths, f"objective {objective.name!r} trains")
    owned = _below(objective.owns, paths, f"objective {objective.name!r} owns")
    for path in sorted(trained | owned):
      if path in owners or path in trained & owned:
        raise ValueError(f"{path!r} has two owners, {owners.get(path, objective.name)!r} and {objective.name!r}")
      owners[path] = objective.name
    result[objective.name] = Share(frozenset(trained - frozen), frozenset(owned - frozen))

  idle = [path for path in paths if path not in owners and path not in frozen]
  if objectives and idle:
    raise ValueError(
      f"no objective changes {idle[0]!r} ({len(idle)} leaves in all): name it in an objective's `trains` or `owns`, "
      "freeze it, or move it to variables['constants']"
    )
  return result


def _below(roots: Iterable[str], paths: Sequence[str], who: str) -> set[str]:
  """The paths below each of `roots`, of which each must be there."""
  found = set()
  for root in roots:
    matches = {path for path in paths if under(path, (root,))}
    if not matches:
      raise ValueError(f"{who} {root!r}, which is not among the variables{hint(root.split('/', 1)[-1], paths)}")
    found |= matches
  return found


def hint(subtree: str, paths: Iterable[str]) -> str:
  """Names the nearest subtree, or the top-level ones."""
  inner = {"/".join(words[1:n]) for words in (path.split("/") for path in paths) for n in range(2, len(words) + 1)}
  close = difflib.get_close_matches(subtree, sorted(inner), n=1)
  return f"; did you mean {close[0]!r}?" if close else f"; there are {sorted({name.split('/')[0] for name in inner})}"
