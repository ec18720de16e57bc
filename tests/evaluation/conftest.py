"""Scenes of known content, and what a network says of them."""

import pytest

from tests.evaluation.metrics import scenes

COUNT = 21


@pytest.fixture(scope="module")
def truth():
  return scenes.truth(count=COUNT)


@pytest.fixture(scope="module")
def prediction(truth):
  return scenes.prediction(truth)
