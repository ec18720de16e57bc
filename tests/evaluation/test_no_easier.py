"""No evaluation is easier for what a network leaves out: no numbers, other samples, hands without a place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxhands.evaluation.evaluator import Evaluator
from jaxhands.evaluation.metrics import pose, spread
from jaxhands.evaluation.metrics.base import Protocol
from tests import replay
from tests.evaluation.conftest import COUNT
from tests.evaluation.test_evaluator import PROTOCOL, mesh_of


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("key", ["masks", "boxes", "boxes_prob"])
def test_what_thresholds_make_a_number_of_is_named(truth, key, value):
  """A network that is no number has no masks and no boxes, and no wrong ones either."""
  found = {"masks": np.zeros((COUNT, 2, 2, 8, 8), np.float32)}
  if key != "masks":
    found = {"boxes": np.ones((COUNT, 5, 4), np.float32), "boxes_prob": np.zeros((COUNT, 5, 2), np.float32)}
  found[key][[3, 7], 0, 0] = value
  seen = {
    "masks": np.ones((COUNT, 2, 2, 8, 8), np.uint8), "masks_valid": np.ones((COUNT, 2, 2), bool),
    "image": np.zeros((COUNT, 8, 8, 3), np.uint8), "crop_from_img": np.ones((COUNT, 2, 3), np.float32),
  }  # fmt: skip
  evaluator = Evaluator(replay.Replay(), mesh_of(1), protocol=PROTOCOL)
  with pytest.raises(ValueError, match=rf"predicted {key} is not finite for 2 examples, the first of them \[12, 28\]"):
    evaluator(replay.variables(found), replay.batches(truth | seen, 8), resamples=0)


class Draws(replay.Replay):
  """Samples with a noise that is the same for all pictures of a batch, as HandFlowNet's."""

  def predict(self, variables, batch, rng):
    joints = super().predict(variables, batch, rng)["joints_cam"]
    return {"samples": joints[:, None] + 20 * jax.random.normal(rng, (1, 5, 2, 21, 3))}


def test_samples_do_not_depend_on_the_batch_size(truth, prediction):
  evaluator = Evaluator(Draws(), mesh_of(1), (spread.best_of_samples("rr"),))
  found = [
    evaluator(replay.variables(prediction), replay.batches(truth, size), resamples=0).metrics["mpjpe_best/rr"]
    for size in (4, COUNT)
  ]
  assert found[0] == pytest.approx(found[1], rel=1e-6)


class Unseen(replay.Replay):
  """The same, but that no right hand is seen in every other picture, from which the left one could be placed."""

  def predict(self, variables, batch, rng):
    found = super().predict(variables, batch, rng)
    return found | {"hand_prob": jnp.where((batch["example_id"] % 8 == 0)[:, None], 0, found["hand_prob"])}


def test_a_method_is_compared_on_the_hands_that_both_can_place(truth, prediction):
  of_right = truth | {"root_depth_valid": truth["root_depth_valid"] & np.array([True, False])}
  seen = prediction | {"hand_prob": np.ones((COUNT, 2), np.float32)}
  protocol = Protocol(depth="gt", left_root="relative_if_seen")
  metrics = (pose.mpjpe(protocol),)
  evaluator = Evaluator(replay.Replay(), mesh_of(1), metrics, protocol, methods={"fewer": Unseen()})
  found = evaluator(replay.variables(seen), replay.batches(of_right, 8), resamples=20)
  (fewer,) = found.also
  assert fewer["metrics"]["mpjpe/all"] != pytest.approx(found.metrics["mpjpe/all"], rel=1e-3)
  # Where both can be placed, both are the same.
  assert fewer["differences"]["mpjpe/all"] == pytest.approx((0, 0), abs=1e-9)
