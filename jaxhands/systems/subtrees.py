"""Variables of a system with parts, each below its name: {"params": {NAME: ...}, "batch_stats": {NAME: ...}}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jaxhands.systems.base import PartlyPredictingSystem, System, Variables


def for_prediction(system: System, variables: Variables) -> Variables:
  """What of the variables, or of their shapes, predictions need; without "constants"."""
  trained = {collection: tree for collection, tree in variables.items() if collection != "constants"}
  if not isinstance(system, PartlyPredictingSystem):
    return trained
  kept = {
    collection: {name: part for name, part in tree.items() if name in system.predicts_with}
    for collection, tree in trained.items()
  }
  return {collection: tree for collection, tree in kept.items() if tree}


def nested(name: str, variables: Mapping[str, Any]) -> Variables:
  """A network's variables as the part `name` of a system's: {"params": {name: ...}, ...}."""
  return {collection: {name: tree} for collection, tree in variables.items()}


def part(variables: Mapping[str, Any], name: str) -> Variables:
  """A part's variables; undoes `nested`."""
  return {collection: tree[name] for collection, tree in variables.items() if name in tree}


def joined(*parts: Mapping[str, Any]) -> Variables:
  """The variables of all parts."""
  collections = dict.fromkeys(collection for found in parts for collection in found)
  return {
    collection: {name: tree for found in parts for name, tree in found.get(collection, {}).items()}
    for collection in collections
  }
