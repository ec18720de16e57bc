"""3D pose, shape and uncertainty of two interacting hands from one colour picture, in JAX."""

from __future__ import annotations

from typing import Any

from jaxhands import former_names

__version__ = "0.1.0"


def load(path: Any, **options: Any) -> Any:
  """A trained system, from a run's folder, weights of the package or a file of released ones: see `prediction.load`.

  hands = jaxhands.load("internet").predict([picture])
  """
  from jaxhands.prediction.load import load  # JAX is imported when it is needed

  return load(path, **options)


former_names.install()
