"""`config.system.name = "spots"`."""

import sys

import pytest

from tests.prediction import spots


@pytest.fixture(autouse=True)
def systems(monkeypatch):
  monkeypatch.setitem(sys.modules, "jaxhands.systems.spots", spots)
