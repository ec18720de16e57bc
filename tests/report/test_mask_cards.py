"""Masks over pictures: every pixel has the colour of what happened to it, and the page shows them where they exist."""

import jax
import numpy as np

from jaxhands import report
from jaxhands.evaluation import verdict
from jaxhands.evaluation.evaluator import Evaluator
from jaxhands.evaluation.metrics.base import Protocol
from jaxhands.report import examples, mask_cards
from tests import replay
from tests.evaluation.metrics import scenes
from tests.report.test_report import Reader

COUNT = 5


def test_errors_in_colour():
  predicted = np.array([[True, True, False, False]])
  truth = np.array([[True, False, True, False]])
  right, left = (mask_cards.errors_in_colour(hand, predicted, truth)[0] for hand in (0, 1))
  assert len({tuple(pixel) for pixel in right}) == 4
  assert right[3, 3] == 0  # nothing to see where neither is
  np.testing.assert_array_equal(right[1:], left[1:])
  assert tuple(right[0]) != tuple(left[0])


def test_a_system_of_masks_alone_has_a_page(tmp_path):
  rng = np.random.default_rng(0)
  truth = scenes.truth(count=COUNT) | {
    "masks": rng.integers(0, 2, (COUNT, 2, 2, 8, 8), np.uint8),
    "masks_valid": np.ones((COUNT, 2, 2), bool),
    "image": rng.integers(0, 255, (COUNT, 16, 16, 3), np.uint8),
  }
  truth["masks_valid"][0, 1] = False
  mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
  evaluator = Evaluator(replay.Replay(), mesh, protocol=Protocol())
  variables = replay.variables({"masks": rng.random((COUNT, 2, 2, 8, 8)).astype(np.float32)})
  result = evaluator(variables, replay.batches(truth, COUNT), ("masks", "noise", "test"), resamples=5)
  result.write(tmp_path / "eval")
  chosen = examples.choose(result.examples_values, random=2, worst=2)
  error, unit = examples.example_errors(result.examples_values)
  assert unit == "of the masks wrong"
  others = np.setdiff1d(np.arange(COUNT), chosen.positions[~chosen.worst])
  assert set(chosen.positions[chosen.worst]) == set(others[np.argsort(-error[others])[:2]])
  seen = evaluator.look(variables, replay.batches({key: value[chosen.positions] for key, value in truth.items()}, 4))
  examples.save(tmp_path / "eval" / "shown.npz", chosen, seen)
  page = Reader(report.write(tmp_path).read_text())
  assert {"Pictures at random", "Results", "The worst pictures"} <= set(page.titles())
  assert "Error by joint" not in page.titles()
  cards = page.having("masks")
  assert len(cards) == 4
  assert len(page.having("layer")) == 4 * 4
  # Those with a number that no verdict names; and no mean pose.
  untold = verdict.untold(result.beside(), result.verdicts)
  assert len(page.having("method")) == len(untold) > 1
