"""A section of a config whose keys have an order."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict


class Ordered(ConfigDict):
  """A `ConfigDict` with its keys as they came, which a plain one sorts; its copies keep them so."""

  def __init__(self, initial_dictionary: Any = None):
    super().__init__(initial_dictionary, sort_keys=False)
