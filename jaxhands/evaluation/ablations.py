"""The system of a run with other fields and the same weights, to stand beside it in its evaluation."""

from __future__ import annotations

from typing import Any

from flax import traverse_util

from jaxhands.systems import base


def methods_of(config: Any, system: base.System) -> dict[str, base.System]:
  """The system with the changed fields of each of `config.eval.methods`.

  Args:
    config: of the run.
    system: the run's, whose examples they are evaluated on.
  Raises:
    ValueError: a field that the system does not have, or of another type, or with which it would need other examples.
  """
  methods = {}
  for name, changes in config.eval.get("methods", {}).items():  # runs of before it was there have none
    changed = config.copy_and_resolve_references().lock()
    try:
      changed.system.update(changes)
    except (AttributeError, KeyError, TypeError) as error:
      raise ValueError(f"config.eval.methods.{name}: {error}") from error
    methods[name] = method = base.load(changed)
    examples = {"view": (method.view, system.view), "host_ops(False)": (method.host_ops(False), system.host_ops(False))}
    for what, (own, runs) in examples.items():
      if own != runs:
        raise ValueError(
          f"config.eval.methods.{name}: with its {', '.join(_paths(changes))} the system's {what} would be {own}, and "
          f"the examples are made with {runs}; evaluate it in a run of its own"
        )
  return methods


def _paths(changes: Any) -> list[str]:
  """Names of the changed fields, like "hdrm.over"."""
  return sorted(".".join(path) for path in traverse_util.flatten_dict(changes.to_dict()))
